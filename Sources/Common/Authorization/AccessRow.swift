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
        do throws(NotUnderstood) {
            return .rule(try Self.rule(access))
        } catch {
            return error.mayDeny ? .maybeDeny : .skipped
        }
    }

    /// What is wrong with the access, for the person who wrote it; nil: nothing.
    public static func mistake(in access: [UInt8]) -> String? {
        do throws(NotUnderstood) {
            _ = try Self.rule(access)
            return nil
        } catch {
            return error.text
        }
    }

    private struct NotUnderstood: Error {
        var text: String
        var mayDeny = true
    }

    private static func rule(_ access: [UInt8]) throws(NotUnderstood) -> AccessRule {
        if let actions = Self.bareActions(access) {
            return AccessRule(permission: .allow, actions: actions, filter: [])
        }
        let first = access.first { !JSONValue.isSpace($0) }
        guard first == UInt8(ascii: "{") else {
            throw NotUnderstood(text: "is none of 1, 2, 3, publish, subscribe, all and JSON's {…}", mayDeny: false)
        }
        guard let json = JSONValue(access) else { throw NotUnderstood(text: "is no valid JSON") }
        guard case .text(let word) = json["action"], let actions = Self.jsonActions(word) else {
            throw NotUnderstood(text: "lacks an \"action\" that is publish, subscribe or all")
        }
        guard let permission = Self.permission(json["permission"]) else {
            throw NotUnderstood(text: "has a \"permission\" other than allow and deny")
        }
        guard let qosMask = Self.qosMask(json["qos"]) else {
            throw NotUnderstood(text: "has a \"qos\" other than 0, 1, 2 and lists of them")
        }
        // A subscription retains nothing: EMQX does not look at it there.
        guard let retain = actions == .subscribe ? .any : Self.retain(json["retain"]) else {
            throw NotUnderstood(text: "has a \"retain\" other than true, false and all")
        }
        return AccessRule(permission: permission, actions: actions, filter: [], qosMask: qosMask, retain: retain)
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
    /// Those, and rows whose filter can match nothing.
    private var mistakes = 0
    /// The first one that was not, or that takes all others with it: its filter, and what to read of it.
    public private(set) var mistake: Mistake?

    public struct Mistake: Equatable, Sendable {
        public static let shownBytesMax = 128

        public let filter: String
        public let access: String
        /// What is wrong, and what follows.
        public let text: String
        /// Rows of the device with some mistake, this one among them.
        public fileprivate(set) var count = 1

        /// For the person who reads of this one alone; empty: there are no others.
        public var others: String {
            self.count == 1 ? "" : " (\(self.count) rows of the device have a mistake; this is the first that decides)"
        }

        init(_ row: AccessRow, _ text: String) {
            self.filter = Self.shown(row.filter)
            self.access = Self.shown(row.access)
            self.text = text
        }

        private static func shown(_ bytes: [UInt8]) -> String {
            String(decoding: bytes.prefix(Self.shownBytesMax), as: UTF8.self)
                + (bytes.count > Self.shownBytesMax ? "…" : "")
        }
    }

    private static let nothingAllowed = "it may be meant to deny, so all rows of the device allow nothing"

    public init(_ rows: [AccessRow]) {
        for row in rows.prefix(Limits.accessRulesMax) {
            switch AccessRow.meaning(of: row.access) {
            case .skipped:
                self.skipped += 1
                self.note(row, Self.ofAccess(row, "it counts for nothing"))
            case .maybeDeny:
                self.skipped += 1
                if !self.isBroken { self.mistake = nil }
                self.isBroken = true
                self.note(row, Self.ofAccess(row, Self.nothingAllowed))
            case .rule(var rule):
                let literalMark = Array("eq ".utf8)
                rule.isLiteral = row.filter.starts(with: literalMark)
                // As in EMQX 5 what follows the mark is the topic itself, also where it looks like a placeholder.
                let topic =
                    rule.isLiteral
                    ? TemplateText(literal: Array(row.filter.dropFirst(literalMark.count)))
                    : TemplateText(stored: row.filter)
                if !rule.isLiteral, !Self.isFilter(topic) { self.note(row, Self.noFilter) }
                self.lines.append(Line(rule: rule, topic: topic))
            }
        }
        if rows.count > Limits.accessRulesMax {
            let text = "there are more than \(Limits.accessRulesMax) rows of the device: all of them allow nothing"
            if !self.isBroken { self.mistake = Mistake(rows[Limits.accessRulesMax], text) }
            self.isBroken = true
        }
        self.mistake?.count = max(self.mistakes, 1)
        // A hash has no order that one could rely on: what denies comes first.
        let denying = self.lines.filter { $0.rule.permission == .deny }
        if !denying.isEmpty { self.lines = denying + self.lines.filter { $0.rule.permission == .allow } }
    }

    private mutating func note(_ row: AccessRow, _ text: @autoclosure () -> String) {
        self.mistakes += 1
        if self.mistake == nil { self.mistake = Mistake(row, text()) }
    }

    private static func ofAccess(_ row: AccessRow, _ consequence: String) -> String {
        "its access \(AccessRow.mistake(in: row.access) ?? ""): \(consequence)"
    }

    private static let noFilter =
        "its filter is none: # stands alone in the last level, + alone in its level; it matches nothing"

    /// Whatever is filled in, for values with wildcards or separators are not.
    private static func isFilter(_ topic: TemplateText) -> Bool {
        let filter = topic.segments.flatMap { segment in
            if case .literal(let bytes) = segment { bytes } else { [UInt8(ascii: "x")] }
        }
        return filter.withUnsafeBytes { TopicFilter.isValid($0) }
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
