/// A value of HOCON, the form of EMQX 5's configuration, as far as that is used there.
indirect enum HOCONValue: Equatable {
    struct Member: Equatable {
        var key: String
        var line: Int
        var value: HOCONValue
    }

    case object([Member])
    case array([HOCONValue])
    /// What `+=` appends, as long as there is nothing before it: an object that is merged later may have the list.
    case addition([HOCONValue])
    /// Quoted or not; numbers and switches too.
    case text(String)
    /// The following three are only there until `HOCONReferences` has put in what is meant.
    case reference(Reference)
    /// Values side by side of which one is a reference.
    case joined([Part])
    /// Values of one key, the latest last, of which one is a reference.
    case layers([HOCONValue])

    /// `${path}`
    struct Reference: Equatable {
        var path: [String]
        var line: Int
    }

    struct Part: Equatable {
        var value: HOCONValue
        /// The blanks before it.
        var space: String
        var line: Int
    }

    /// By a path of keys.
    subscript(_ path: String...) -> HOCONValue? { self.value(at: path) }

    func value(at path: [String]) -> HOCONValue? {
        guard let first = path.first else { return self }
        return self.member(first)?.value.value(at: Array(path.dropFirst()))
    }

    func member(_ key: String) -> Member? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.key == key }
    }

    var text: String? { if case .text(let text) = self { text } else { nil } }
    var members: [Member] { if case .object(let members) = self { members } else { [] } }

    /// A switch that is written out and off.
    var isOff: Bool { self.text == "false" || self.text == "off" }
    var isOn: Bool { self.text == "true" || self.text == "on" }
}

/// As long as there are references.
extension HOCONValue {
    /// It is known already what kind of value this is.
    var isPlain: Bool {
        switch self {
        case .object, .array, .addition, .text: true
        case .reference, .joined, .layers: false
        }
    }

    /// Of the last reference in it; nil if there is none.
    var line: Int? {
        switch self {
        case .reference(let reference): reference.line
        case .joined(let parts): parts.last?.line
        case .layers(let values): values.last { !$0.isPlain }?.line
        case .object, .array, .addition, .text: nil
        }
    }

    var elementCount: Int {
        switch self {
        case .array(let elements), .addition(let elements): elements.count
        case .object(let members): members.count
        case .text(let text): text.utf8.count / 64
        case .reference, .joined, .layers: 0
        }
    }
}

/// Lists, which EMQX also writes as objects whose keys count from 1: `authentication.1 {…}`.
extension HOCONValue {
    /// A list, or the one value that stands for a list of one.
    var elements: [HOCONValue] {
        switch self {
        case .array(let elements), .addition(let elements): return elements
        case .text, .reference, .joined, .layers: return [self]
        case .object:
            let counted = self.counted
            return counted.isEmpty ? [self] : counted.filter(\.isElement).map(\.member.value)
        }
    }

    /// Members of such an object that are no elements: 0, and what comes after a gap.
    var strayMembers: [Member] { self.counted.filter { !$0.isElement }.map(\.member) }

    /// In the order of their numbers; none, if one key is no number.
    private var counted: [(member: Member, isElement: Bool)] {
        let numbered = self.members.compactMap { member in Self.index(member.key).map { (index: $0, member: member) } }
        guard numbered.count == self.members.count else { return [] }
        var next = 1
        return numbered.sorted { $0.index < $1.index }.map { index, member in
            guard index == next else { return (member, false) }
            next += 1
            return (member, true)
        }
    }

    /// More elements than six digits count no configuration has.
    private static func index(_ key: String) -> Int? {
        let isNumber = key.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return isNumber && key.utf8.count <= 6 ? Int(key) : nil
    }
}

/// Putting together.
extension HOCONValue {
    /// Puts a value at a path. Objects are merged, a number goes to that element of a list, anything else is replaced.
    ///
    /// - Returns: false if something names no element of the list that is there; it is left out.
    mutating func set(_ path: [String], _ value: HOCONValue, line: Int) -> Bool {
        guard let key = path.first else { return self.merge(value) }
        let rest = path.dropFirst()
        switch self {
        case .array(var elements):
            guard Self.set(key, rest, value, line, in: &elements) else { return false }
            self = .array(elements)
            return true
        case .addition(var elements):
            guard Self.set(key, rest, value, line, in: &elements) else { return false }
            self = .addition(elements)
            return true
        case .reference, .joined, .layers:
            return self.merge(Self.nested(path[...], value, line: line))
        case .object, .text:
            var members = self.members
            var isPlaced = true
            if let index = members.firstIndex(where: { $0.key == key }) {
                isPlaced = members[index].value.set(Array(rest), value, line: line)
                members[index].line = line
            } else {
                members.append(Member(key: key, line: line, value: Self.nested(rest, value, line: line)))
            }
            self = .object(members)
            return isPlaced
        }
    }

    private static func set(
        _ key: String,
        _ rest: ArraySlice<String>,
        _ value: HOCONValue,
        _ line: Int,
        in elements: inout [HOCONValue]
    ) -> Bool {
        guard let index = Self.index(key), (1...elements.count + 1).contains(index) else { return false }
        if index <= elements.count { return elements[index - 1].set(Array(rest), value, line: line) }
        elements.append(Self.nested(rest, value, line: line))
        return true
    }

    private static func nested(_ path: ArraySlice<String>, _ value: HOCONValue, line: Int) -> HOCONValue {
        path.reversed().reduce(value) { .object([Member(key: $1, line: line, value: $0)]) }
    }

    private mutating func merge(_ value: HOCONValue) -> Bool {
        if !self.isPlain || !value.isPlain {
            var layers = [self]
            if case .layers(let earlier) = self { layers = earlier }
            self = .layers(layers + [value])
            return true
        }
        switch (self, value) {
        case (.object, .object(let added)): return self.merge(added)
        case (.array, .object(let added)), (.addition, .object(let added)):
            // An object whose keys are all numbers overrides elements, another one takes the place of the list.
            guard added.allSatisfy({ Self.index($0.key) != nil }) else { break }
            return self.merge(added)
        case (.addition(let elements), .addition(let added)):
            self = .addition(elements + added)
            return true
        case (_, .addition(let added)):
            self = .array(self.elements + added)
            return true
        default: break
        }
        self = value
        return true
    }

    private mutating func merge(_ members: [Member]) -> Bool {
        var isPlaced = true
        for member in members where !self.set([member.key], member.value, line: member.line) { isPlaced = false }
        return isPlaced
    }

    /// Two values side by side: objects are merged, lists and texts joined.
    ///
    /// - Returns: nil if they do not go together.
    func joined(with other: HOCONValue, space: String) -> HOCONValue? {
        switch (self, other) {
        case (.text(let text), .text(let added)): return .text(text + space + added)
        case (.array(let elements), .array(let added)): return .array(elements + added)
        case (.object, .object):
            var joined = self
            _ = joined.merge(other)
            return joined
        default: return nil
        }
    }
}
