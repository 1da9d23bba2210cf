/// One pair of a device's access row: a topic filter, and what may be done there.
///
/// Accesses, all in one row if need be: EMQX 4's bit mask (1 subscribe, 2 publish, 3 both); EMQX 5's words `subscribe`,
/// `publish`, `all`; and its JSON, `{"action": "publish", "qos": [0, 1], "retain": false}`, which may say
/// `"permission": "deny"` as well.
public struct AccessRow: Equatable, Sendable {
    public var filter: [UInt8]
    public var access: [UInt8]

    public init(filter: [UInt8], access: [UInt8]) {
        self.filter = filter
        self.access = access
    }

    /// What an access says; the filter is the caller's.
    public enum Meaning: Equatable, Sendable {
        case rule(AccessRule)
        /// Not understood, and no rule that denies.
        case skipped
        /// Not understood, and perhaps a rule that denies: what it was to keep away must not be allowed.
        case maybeDeny
    }

    public static func meaning(of access: [UInt8]) -> Meaning {
        if let actions = Self.bareActions(access) {
            return .rule(AccessRule(permission: .allow, actions: actions, filter: []))
        }
        let first = access.first { !JSONValue.isSpace($0) }
        guard first == UInt8(ascii: "{") else { return .skipped }
        guard let json = JSONValue(access), let action = json["action"], case .text(let word) = action,
            let actions = Self.jsonActions(word), let permission = Self.permission(json["permission"]),
            let qosMask = Self.qosMask(json["qos"]), let retain = Self.retain(json["retain"])
        else { return .maybeDeny }
        return .rule(
            AccessRule(permission: permission, actions: actions, filter: [], qosMask: qosMask, retain: retain)
        )
    }

    /// The bit mask, or one of EMQX 5's words in full.
    private static func bareActions(_ word: [UInt8]) -> AccessRule.Actions? {
        switch String(decoding: word, as: UTF8.self) {
        case "1", "subscribe": .subscribe
        case "2", "publish": .publish
        case "3", "all": .all
        default: nil
        }
    }

    private static func jsonActions(_ word: [UInt8]) -> AccessRule.Actions? {
        switch String(decoding: word, as: UTF8.self) {
        case "subscribe", "sub": .subscribe
        case "publish", "pub": .publish
        case "all": .all
        default: nil
        }
    }

    private static func permission(_ value: JSONValue?) -> AccessRule.Permission? {
        switch value {
        case nil, .null: .allow
        case .text(let word) where word == Array("allow".utf8): .allow
        case .text(let word) where word == Array("deny".utf8): .deny
        default: nil
        }
    }

    /// A number, a list of them, or text such as `0,1`.
    private static func qosMask(_ value: JSONValue?) -> UInt8? {
        switch value {
        case nil, .null: return 0b111
        case .integer(let level): return (0...2).contains(level) ? 1 << UInt8(level) : nil
        case .text(let text):
            var mask: UInt8 = 0
            for part in text.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
                let digits = part.filter { $0 != 0x20 }
                guard digits.count == 1, (0x30...0x32).contains(digits[0]) else { return nil }
                mask |= 1 << (digits[0] - 0x30)
            }
            return mask
        case .list(let elements):
            var mask: UInt8 = 0
            for element in elements {
                guard let one = Self.qosMask(element), element != .null else { return nil }
                mask |= one
            }
            return mask
        case .flag, .object, .otherNumber: return nil
        }
    }

    private static func retain(_ value: JSONValue?) -> AccessRule.RetainCondition? {
        switch value {
        case nil, .null: .any
        case .flag(true), .integer(1): .onlyRetained
        case .flag(false), .integer(0): .onlyNotRetained
        case .text(let word):
            switch String(decoding: word, as: UTF8.self) {
            case "true", "1": .onlyRetained
            case "false", "0": .onlyNotRetained
            case "all": .any
            default: nil
            }
        default: nil
        }
    }
}

/// A device's access rows with their filters taken apart.
public struct AccessRowRules: Equatable, Sendable {
    private struct Line: Equatable, Sendable {
        var rule: AccessRule
        var topic: TemplateText
    }

    private var lines: [Line] = []
    /// Something in the rows was not understood and may have been meant to deny: nothing is allowed by them.
    private var isBroken = false
    /// Rows not understood.
    public private(set) var skipped = 0

    public init(_ rows: [AccessRow]) {
        for row in rows.prefix(Limits.accessRulesMax) {
            switch AccessRow.meaning(of: row.access) {
            case .skipped: self.skipped += 1
            case .maybeDeny:
                self.skipped += 1
                self.isBroken = true
            case .rule(var rule):
                var filter = row.filter
                let literalMark = Array("eq ".utf8)
                if filter.starts(with: literalMark) {
                    rule.isLiteral = true
                    filter.removeFirst(literalMark.count)
                }
                self.lines.append(Line(rule: rule, topic: TemplateText(stored: filter)))
            }
        }
        if rows.count > Limits.accessRulesMax { self.isBroken = true }
        // A hash has no order that one could rely on: what denies comes first.
        let denying = self.lines.filter { $0.rule.permission == .deny }
        if !denying.isEmpty { self.lines = denying + self.lines.filter { $0.rule.permission == .allow } }
    }

    /// The rules for one client, and how many were left out; nil: a rule that denies cannot be filled in, or the rows are
    /// broken, so nothing may be allowed.
    ///
    /// A filter that asks for a value the client lacks, or that holds wildcards, separators or control characters, does not
    /// match.
    public func render(for client: ClientAttributes) -> (rules: [AccessRule], dropped: Int)? {
        if self.isBroken { return nil }
        var rules: [AccessRule] = []
        var dropped = self.skipped
        for line in self.lines {
            do throws(TemplateText.RenderFailure) {
                var rule = line.rule
                rule.filter = try line.topic.renderTopic(client)
                guard rule.isLiteral || rule.filter.withUnsafeBytes({ TopicFilter.isValid($0) }) else {
                    dropped += 1
                    continue
                }
                rules.append(rule)
            } catch {
                dropped += 1
                if case .notAllowed = error, line.rule.permission == .deny { return nil }
            }
        }
        return (rules, dropped)
    }
}
