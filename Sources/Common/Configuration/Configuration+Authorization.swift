extension Configuration {
    public struct Authorization: Equatable, Sendable {
        /// What happens to a client whose PUBLISH is not allowed.
        public enum DenyAction: String, CaseIterable, Sendable {
            case ignore
            case disconnect
        }

        /// How rows of `authentication.acl_command` and the rules go together.
        public enum AccessRows: String, CaseIterable, Sendable {
            /// The device's rows, then the rules, then `no_match` (EMQX 5 with Redis as its first source).
            case first
            /// The rules, then the device's rows, then `no_match` (EMQX 5 with other sources ahead of Redis).
            case last
            /// For a device that has rows they are all: what none of them matches is denied (EMQX 4). Others have the rules.
            case only
        }

        public var accessRows = AccessRows.first
        /// What applies when no rule matches.
        public var noMatch = AccessRule.Permission.deny
        public var denyAction = DenyAction.ignore
        /// In the file's order; names are unique.
        public var ruleSets: [RuleSet] = []

        public init() {}

        public func ruleSet(named name: String) -> RuleSet? {
            self.ruleSets.first { Array($0.name.utf8) == Array(name.utf8) }
        }
    }
}

extension Configuration.Authorization {
    public struct RuleSet: Equatable, Sendable {
        public var name: String
        /// Tried in order; the first that matches decides.
        public var rules: [Rule]

        public init(name: String, rules: [Rule]) {
            self.name = name
            self.rules = rules
        }
    }

    /// One line of a set. It becomes one `AccessRule` per topic when the placeholders are filled in for a client.
    public struct Rule: Equatable, Sendable {
        public var permission: AccessRule.Permission
        public var actions: AccessRule.Actions
        public var topics: [TopicTemplate]
        /// Bit n: applies to QoS n.
        public var qosMask: UInt8
        public var retain: AccessRule.RetainCondition

        public init(
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
    public struct TopicTemplate: Equatable, Sendable {
        public var filter: [UInt8]
        /// Written as `eq …`: a topic to compare byte by byte, wildcards and all.
        public var isLiteral: Bool

        public init(_ filter: String, isLiteral: Bool = false) {
            self.filter = Array(filter.utf8)
            self.isLiteral = isLiteral
        }
    }
}
