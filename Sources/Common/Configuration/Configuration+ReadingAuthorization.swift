extension Configuration.Authorization {
    private static let ruleSetsMax = 1000
    private static let rulesMax = 10_000

    /// For `no_match`.
    private enum Permission: String, CaseIterable {
        case deny
        case allow
    }

    mutating func read(_ section: inout ConfigurationSection) {
        var noMatch = Permission.deny
        section.choice("no_match", into: &noMatch)
        self.noMatch = noMatch == .allow ? .allow : .deny
        section.choice("deny_action", into: &self.denyAction)
        section.choice("acl", into: &self.accessRows)
        guard section.contains("rules") else {
            _ = section.value("rules")
            section.report(
                "rules",
                "is missing; there is no default: say what clients may do, see docs/configuration.md"
            )
            return
        }
        var sets: [RuleSet] = []
        section.section("rules") { section in
            if section.names.count > Self.ruleSetsMax {
                section.reading.report(section.origin, section.path, "more than \(Self.ruleSetsMax) sets")
            }
            for entry in section.names.prefix(Self.ruleSetsMax) {
                if !Configuration.Listener.isName(entry.key) {
                    let shown = ConfigurationText.shown(entry.key)
                    section.reading.report(
                        entry.keyOrigin,
                        section.path,
                        "\"\(shown)\" is not a name; write up to 64 letters, digits, - and _, beginning with a letter"
                    )
                }
                sets.append(RuleSet(name: entry.key, rules: Self.readRules(&section, entry)))
            }
        }
        self.ruleSets = sets
    }

    private static func readRules(_ section: inout ConfigurationSection, _ entry: YAMLNode.Entry) -> [Rule] {
        var rules: [Rule] = []
        for (node, path) in section.list(entry.key) ?? [] {
            guard rules.count < Self.rulesMax else {
                section.reading.report(node.origin, path, "a set has at most \(Self.rulesMax) rules")
                break
            }
            var ruleSection = ConfigurationSection(
                node,
                path: path,
                parentOrigin: node.origin,
                reading: section.reading
            )
            if let rule = Self.readRule(&ruleSection) { rules.append(rule) }
            ruleSection.finish()
        }
        return rules
    }

    private enum Actions: String, CaseIterable {
        case publish
        case subscribe
        case all

        var actions: AccessRule.Actions {
            switch self {
            case .publish: return .publish
            case .subscribe: return .subscribe
            case .all: return .all
            }
        }
    }

    private static func readRule(_ section: inout ConfigurationSection) -> Rule? {
        var actions = Actions.all
        section.choice("allow", into: &actions)
        section.choice("deny", into: &actions)
        let (allows, denies) = (section.contains("allow"), section.contains("deny"))
        if allows == denies {
            let what = allows ? "has both allow and deny" : "has neither allow nor deny"
            section.reading.report(
                section.origin,
                section.path,
                "\(what); one of them is needed, with publish, subscribe or all"
            )
        }
        let topics = Self.readTopics(&section)
        var rule = Rule(permission: allows ? .allow : .deny, actions: actions.actions, topics: topics)
        Self.readQoS(&section, into: &rule)
        Self.readRetain(&section, into: &rule)
        return rule
    }

    private static func readQoS(_ section: inout ConfigurationSection, into rule: inout Rule) {
        guard let elements = section.list("qos") else { return }
        if elements.isEmpty { section.report("qos", "names none; write some of 0, 1 and 2, or remove the key") }
        rule.qosMask = 0
        for (node, path) in elements {
            guard let (text, isQuoted) = section.reading.text(of: node, path: path) else { continue }
            guard !isQuoted, let number = NumberText.parse(text), number <= 2 else {
                section.reading.report(node.origin, path, "\"\(ConfigurationText.shown(text))\" is not 0, 1 or 2")
                continue
            }
            rule.qosMask |= 1 << UInt8(number)
        }
    }

    private enum Retain: String, CaseIterable {
        case any
        case retained = "true"
        case notRetained = "false"
    }

    private static func readRetain(_ section: inout ConfigurationSection, into rule: inout Rule) {
        var retain = Retain.any
        section.choice("retain", into: &retain)
        switch retain {
        case .any: rule.retain = .any
        case .retained: rule.retain = .onlyRetained
        case .notRetained: rule.retain = .onlyNotRetained
        }
        if retain != .any, !rule.actions.contains(.publish) {
            section.report("retain", "is looked at for publish only; remove it")
        }
    }

    private static func readTopics(_ section: inout ConfigurationSection) -> [TopicTemplate] {
        guard let elements = section.list("topics") else {
            if !section.contains("topics") {
                section.report("topics", "is missing; write topic filters, such as [\"devices/%C/#\"]")
            }
            return []
        }
        if elements.isEmpty { section.report("topics", "names none; write topic filters, such as [\"devices/%C/#\"]") }
        var topics: [TopicTemplate] = []
        for (node, path) in elements {
            guard let (text, _) = section.reading.text(of: node, path: path) else { continue }
            let isLiteral = text.hasPrefix("eq ")
            let filter = isLiteral ? String(text.dropFirst("eq ".count)) : text
            let inTemplate = isLiteral ? Self.mistake(inLiteral: filter) : Self.mistake(inTemplate: filter)
            if let mistake = inTemplate ?? Self.mistake(inFilter: filter, isLiteral: isLiteral) {
                section.reading.report(node.origin, path, mistake)
                continue
            }
            topics.append(TopicTemplate(filter, isLiteral: isLiteral))
        }
        return topics
    }

    /// A rule that denies what nobody publishes to denies nothing.
    private static func mistake(inLiteral filter: String) -> String? {
        guard let template = try? TemplateText(filter), !template.placeholders.isEmpty else { return nil }
        let shown = ConfigurationText.shown(filter)
        return "\"eq \(shown)\": behind eq nothing is filled in, so no client uses that topic; remove eq"
    }

    private static func mistake(inTemplate filter: String) -> String? {
        do throws(TemplateError) {
            _ = try TemplateText(filter)
            return nil
        } catch {
            return "\"\(ConfigurationText.shown(filter))\": \(error.reason)"
        }
    }

    /// MQTT 5.0, section 4.7.1: `+` and `#` stand alone in their level, `#` in the last.
    private static func mistake(inFilter filter: String, isLiteral: Bool) -> String? {
        let bytes = Array(filter.utf8)
        let shown = ConfigurationText.shown(filter)
        if bytes.isEmpty { return "the topic is empty" }
        if bytes.count > 65_535 { return "a topic has at most 65535 bytes" }
        if isLiteral { return nil }
        if filter.hasPrefix("$share/") {
            return "\"\(shown)\": write the filter without $share/GROUP/; rules apply to shared subscriptions too"
        }
        let levels = bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        for (index, level) in levels.enumerated() where level.count > 1 || index < levels.count - 1 {
            if level.contains(UInt8(ascii: "#")) {
                return "\"\(shown)\": # must be the last level, alone, as in a/b/#"
            }
            if level.count > 1, level.contains(UInt8(ascii: "+")) {
                return "\"\(shown)\": + must be a whole level, as in a/+/b"
            }
        }
        return nil
    }
}
