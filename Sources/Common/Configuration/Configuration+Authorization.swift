extension Configuration {
    package struct Authorization: Equatable, Sendable {
        /// What happens to a client whose PUBLISH is not allowed.
        package enum DenyAction: String, CaseIterable, Sendable {
            case ignore
            case disconnect
        }

        /// How rows of `authentication.acl_command` and the rules go together.
        package enum AccessRows: String, CaseIterable, Sendable {
            /// The device's rows, then the rules, then `no_match` (EMQX 5).
            case first
            /// For a device that has rows they are all: what none of them matches is denied (EMQX 4). Others have the rules.
            case only
        }

        package var accessRows = AccessRows.first
        /// What applies when no rule matches.
        package var noMatch = AccessRule.Permission.deny
        package var denyAction = DenyAction.ignore
        /// In the file's order; names are unique.
        package var ruleSets: [RuleSet] = []

        package init() {}

        package func ruleSet(named name: String) -> RuleSet? {
            self.ruleSets.first { Array($0.name.utf8) == Array(name.utf8) }
        }
    }
}

extension Configuration.Authorization {
    package struct RuleSet: Equatable, Sendable {
        package var name: String
        /// Tried in order; the first that matches decides.
        package var rules: [Rule]

        package init(name: String, rules: [Rule]) {
            self.name = name
            self.rules = rules
        }
    }

    /// One line of a set. It becomes one `AccessRule` per topic when the placeholders are filled in for a client.
    package struct Rule: Equatable, Sendable {
        package var permission: AccessRule.Permission
        package var actions: AccessRule.Actions
        package var topics: [TopicTemplate]
        /// Bit n: applies to QoS n.
        package var qosMask: UInt8
        package var retain: AccessRule.RetainCondition

        package init(
            permission: AccessRule.Permission,
            actions: AccessRule.Actions,
            topics: [TopicTemplate],
            qosMask: UInt8 = 0b111,
            retain: AccessRule.RetainCondition = .any
        ) {
            self.permission = permission
            self.actions = actions
            self.topics = topics
            self.qosMask = qosMask
            self.retain = retain
        }
    }

    /// A topic filter with placeholders (`%C`, `%c`, `%u`, `%d`, or `${…}`).
    package struct TopicTemplate: Equatable, Sendable {
        package var filter: [UInt8]
        /// Written as `eq …`: a topic to compare byte by byte, wildcards and all.
        package var isLiteral: Bool

        package init(_ filter: String, isLiteral: Bool = false) {
            self.filter = Array(filter.utf8)
            self.isLiteral = isLiteral
        }
    }
}
