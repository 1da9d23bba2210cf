/// What a reading of the configuration gathers: mistakes, and which keys there are.
final class ConfigurationReading {
    var problems: [ConfigurationError.Problem] = []
    /// All keys that were asked for, `listeners.0.tls.key_file`: a test compares them with the documented example.
    private(set) var askedKeys: [String] = []
    /// What relative paths count from; absolute.
    let baseDirectory: String

    init(baseDirectory: String) {
        self.baseDirectory = baseDirectory
    }

    func report(_ origin: ConfigurationOrigin?, _ key: String, _ message: String) {
        self.problems.append(
            ConfigurationError.Problem(origin: origin, key: ConfigurationText.shown(key), message: message)
        )
    }

    /// Whether something was said of the key itself.
    func hasProblem(of key: String) -> Bool { self.problems.contains { $0.key.hasSameBytes(as: key) } }

    fileprivate func ask(_ key: String) {
        self.askedKeys.append(key)
    }

    /// A relative path counted from the file's folder.
    func absolutePath(_ path: String) -> String {
        path.hasPrefix("/") ? path : Configuration.join(self.baseDirectory, path)
    }

    /// An override's text may be YAML where a list or section is wanted: `["[::]:8883"]`, `{level: debug}`.
    func expanded(_ node: YAMLNode) -> YAMLNode {
        guard node.origin.isOverride, case .scalar(let text, _) = node.value else { return node }
        guard text.hasPrefix("[") || text.hasPrefix("{") else { return node }
        guard let (root, duplicates) = try? YAMLReader.read(Array(text.utf8), origin: node.origin), let root else {
            return node
        }
        self.problems.append(contentsOf: duplicates)
        return root
    }
}

extension Configuration {
    static func join(_ directory: String, _ path: String) -> String {
        directory.hasSuffix("/") ? directory + path : "\(directory)/\(path)"
    }
}

/// One section (mapping) of the configuration. Each key is asked for once; `finish` reports those nobody asked for.
///
/// A key that is not there leaves the value as it is; a wrong one is reported and leaves it too, so that one pass over the
/// file reports all mistakes.
struct ConfigurationSection {
    let reading: ConfigurationReading
    /// Empty for the whole file.
    let path: String
    /// Where the section begins; nil for an empty file.
    let origin: ConfigurationOrigin?
    private let entries: [YAMLNode.Entry]
    private var asked: [String] = []

    /// - Parameter node: nil when the section is not there.
    init(_ node: YAMLNode?, path: String, parentOrigin: ConfigurationOrigin?, reading: ConfigurationReading) {
        self.reading = reading
        self.path = path
        let node = node.map { reading.expanded($0) }
        self.origin = node?.origin ?? parentOrigin
        switch node?.value {
        case .mapping(let entries):
            self.entries = entries
        case .scalar, .sequence:
            self.entries = []
            if let node, !node.isNull {
                reading.report(node.origin, path, "is \(node.kind); a section of keys is needed here")
            }
        case nil:
            self.entries = []
        }
    }

    func keyPath(_ key: String) -> String {
        ConfigurationText.path(self.path, key)
    }

    /// The section's keys as written, for sections whose keys are names.
    var names: [YAMLNode.Entry] { self.entries }

    func contains(_ key: String) -> Bool {
        self.entries.contains { $0.key.hasSameBytes(as: key) }
    }

    /// The key's value is none of the file's.
    func isOverridden(_ key: String) -> Bool {
        self.entries.first { $0.key.hasSameBytes(as: key) }?.value.origin.isOverride ?? false
    }

    /// Reports a mistake at a key's value, or at the section when the key is not there.
    func report(_ key: String, _ message: String) {
        let entry = self.entries.first { $0.key.hasSameBytes(as: key) }
        self.reading.report(entry?.value.origin ?? self.origin, self.keyPath(key), message)
    }

    /// The key's value, nil when it is not there.
    mutating func value(_ key: String) -> YAMLNode? {
        self.asked.append(key)
        self.reading.ask(self.keyPath(key))
        return self.entries.first { $0.key.hasSameBytes(as: key) }?.value
    }

    /// Reports the keys that nobody asked for.
    func finish() {
        for entry in self.entries where !self.asked.contains(where: { $0.hasSameBytes(as: entry.key) }) {
            let hint: String
            if let nearest = ConfigurationText.nearest(to: entry.key, among: self.asked) {
                hint = "did you mean \(nearest)?"
            } else {
                hint = "known here: \(self.asked.joined(separator: ", "))"
            }
            self.reading.report(entry.keyOrigin, self.keyPath(entry.key), "unknown key; \(hint)")
        }
    }
}

// MARK: - Kinds of values

extension ConfigurationSection {
    /// A section within this one. `body` is called even when it is not there, so that its keys are known.
    mutating func section(_ key: String, _ body: (inout ConfigurationSection) -> Void) {
        let node = self.value(key)
        var section = ConfigurationSection(
            node,
            path: self.keyPath(key),
            parentOrigin: self.origin,
            reading: self.reading
        )
        body(&section)
        section.finish()
    }

    /// The elements of a list with their paths; nil when it is not there or wrong.
    mutating func list(_ key: String) -> [(node: YAMLNode, path: String)]? {
        guard let written = self.value(key) else { return nil }
        let node = self.reading.expanded(written)
        switch node.value {
        case .sequence(let elements):
            return elements.enumerated().map { ($0.element, "\(self.keyPath(key)).\($0.offset)") }
        case .scalar(let text, _) where node.origin.isOverride:
            return text.split(separator: ",").enumerated().map { offset, part in
                let element = YAMLNode(value: .scalar(String(part), isQuoted: false), origin: node.origin)
                return (element, "\(self.keyPath(key)).\(offset)")
            }
        case .scalar, .mapping:
            self.reading.report(
                node.origin,
                self.keyPath(key),
                "is \(node.kind); a list is needed here, such as [a, b]"
            )
            return nil
        }
    }

    /// A single value as text.
    mutating func text(_ key: String) -> (text: String, isQuoted: Bool, origin: ConfigurationOrigin)? {
        guard let node = self.value(key) else { return nil }
        guard let text = self.reading.text(of: node, path: self.keyPath(key)) else { return nil }
        return (text.text, text.isQuoted, node.origin)
    }

    mutating func text(_ key: String, into value: inout String) {
        if let found = self.text(key) { value = found.text }
    }

    mutating func text(_ key: String, into value: inout String?) {
        if let found = self.text(key) { value = found.text }
    }

    mutating func path(_ key: String, into value: inout String) {
        if let found = self.text(key) { value = self.reading.absolutePath(found.text) }
    }

    mutating func path(_ key: String, into value: inout String?) {
        if let found = self.text(key) { value = self.reading.absolutePath(found.text) }
    }

    mutating func flag(_ key: String, into value: inout Bool) {
        guard let found = self.text(key) else { return }
        switch (found.text, found.isQuoted) {
        case ("true", false): value = true
        case ("false", false): value = false
        default:
            let shown = ConfigurationText.shown(found.text)
            self.report(key, "\"\(shown)\" is neither true nor false (without quotation marks)")
        }
    }

    mutating func integer<Integer: FixedWidthInteger>(
        _ key: String,
        _ range: ClosedRange<Integer>,
        into value: inout Integer
    ) {
        guard let found = self.text(key) else { return }
        let shown = ConfigurationText.shown(found.text)
        if found.isQuoted, NumberText.parse(found.text) != nil {
            self.report(key, "\"\(shown)\" is text because of its quotation marks; write \(shown)")
            return
        }
        let isNegative = found.text.hasPrefix("-")
        let digits = isNegative ? String(found.text.dropFirst()) : found.text
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            self.report(key, "\"\(shown)\" is not a whole number from \(range.lowerBound) to \(range.upperBound)")
            return
        }
        guard let number = Integer(found.text), range.contains(number) else {
            self.report(key, "\(shown) is out of range; it must be from \(range.lowerBound) to \(range.upperBound)")
            return
        }
        value = number
    }

    mutating func duration(_ key: String, _ range: ClosedRange<UInt64>, into value: inout UInt64) {
        guard let found = self.text(key) else { return }
        do {
            let nanoseconds = try DurationText.parse(found.text)
            guard range.contains(nanoseconds) else {
                let lowest = DurationText.describe(nanoseconds: range.lowerBound)
                let highest = DurationText.describe(nanoseconds: range.upperBound)
                self.report(key, "\(found.text) is out of range; it must be from \(lowest) to \(highest)")
                return
            }
            value = nanoseconds
        } catch {
            self.report(key, error.message)
        }
    }

    /// A duration that the protocol counts in whole seconds.
    mutating func seconds<Integer: FixedWidthInteger & UnsignedInteger>(
        _ key: String,
        _ range: ClosedRange<Integer>,
        into value: inout Integer
    ) {
        guard let found = self.text(key) else { return }
        do {
            let nanoseconds = try DurationText.parse(found.text)
            guard nanoseconds.isMultiple(of: Configuration.nanosecondsPerSecond) else {
                self.report(key, "\(found.text) is not a whole number of seconds")
                return
            }
            let seconds = nanoseconds / Configuration.nanosecondsPerSecond
            guard let number = Integer(exactly: seconds), range.contains(number) else {
                self.report(
                    key,
                    "\(found.text) is out of range; it must be from \(range.lowerBound)s to \(range.upperBound)s"
                )
                return
            }
            value = number
        } catch {
            self.report(key, error.message)
        }
    }

    mutating func size(_ key: String, _ range: ClosedRange<Int>, into value: inout Int) {
        guard let found = self.text(key) else { return }
        do {
            let bytes = try SizeText.parse(found.text)
            guard range.contains(bytes) else {
                let lowest = SizeText.describe(bytes: range.lowerBound)
                let highest = SizeText.describe(bytes: range.upperBound)
                self.report(key, "\(found.text) is out of range; it must be from \(lowest) to \(highest)")
                return
            }
            value = bytes
        } catch {
            self.report(key, error.message)
        }
    }

    mutating func choice<Choice: RawRepresentable & CaseIterable>(
        _ key: String,
        into value: inout Choice
    ) where Choice.RawValue == String {
        guard let found = self.text(key) else { return }
        if let choice = Choice.allCases.first(where: { $0.rawValue.hasSameBytes(as: found.text) }) {
            value = choice
            return
        }
        let words = Choice.allCases.map(\.rawValue)
        self.report(key, ConfigurationText.notOneOf(found.text, words))
    }
}

extension ConfigurationReading {
    /// A single value's text; reports what is not one.
    func text(of node: YAMLNode, path: String) -> (text: String, isQuoted: Bool)? {
        if node.isNull {
            self.report(node.origin, path, "is empty; give it a value, or remove the key for its default")
            return nil
        }
        guard case .scalar(let text, let isQuoted) = node.value else {
            self.report(node.origin, path, "is \(node.kind); a single value is needed here")
            return nil
        }
        guard !text.isEmpty else {
            self.report(node.origin, path, "is empty; give it a value, or remove the key for its default")
            return nil
        }
        guard !text.utf8.contains(0) else {
            self.report(node.origin, path, "holds a NUL character")
            return nil
        }
        return (text, isQuoted)
    }
}
