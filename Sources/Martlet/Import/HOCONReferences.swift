/// Puts in what `${path}` names elsewhere in the file.
struct HOCONReferences {
    private let root: HOCONValue
    private(set) var problems: [HOCONParser.Failure] = []
    /// What is being looked up just now, the innermost last.
    private var active: [[String]] = []
    private var depth = 0
    /// Values put in so far: a few lines may name each other so that they would fill any memory.
    private var copies = 0
    private static let activeMax = 16
    private static let depthMax = 128
    private static let copiesMax = 100_000

    init(root: HOCONValue) {
        self.root = root
    }

    /// - Throws: where a value is part of itself, or too much would be put in.
    mutating func resolved() throws(HOCONParser.Failure) -> HOCONValue {
        try self.resolve(self.root, at: [], before: nil) ?? .object([])
    }

    /// - Parameter before: what stood at the path before this value, which may name it.
    /// - Returns: nil for a reference to nothing.
    private mutating func resolve(
        _ value: HOCONValue,
        at path: [String],
        before: HOCONValue?
    ) throws(HOCONParser.Failure) -> HOCONValue? {
        self.depth += 1
        defer { self.depth -= 1 }
        let line = value.line ?? 0
        guard self.depth <= Self.depthMax else {
            throw HOCONParser.Failure(line: line, text: "values are nested too deep")
        }
        if !self.active.isEmpty { try self.count(1, line: line) }
        switch value {
        case .text: return value
        case .array(let elements): return .array(try self.resolve(elements, at: path))
        case .addition(let elements): return .addition(try self.resolve(elements, at: path))
        case .object(var members):
            for index in members.indices {
                let own = path + [members[index].key]
                let earlier = before?.member(members[index].key)?.value
                members[index].value = try self.resolve(members[index].value, at: own, before: earlier) ?? .text("")
            }
            return .object(members)
        case .reference(let reference):
            guard reference.path == path else { return try self.lookUp(reference) }
            guard let before else {
                self.leaveOut(reference)
                return nil
            }
            try self.count(max(1, before.elementCount), line: reference.line)
            return before
        case .joined(let parts): return try self.join(parts, at: path, before: before)
        case .layers(let values):
            var current: HOCONValue?
            for value in values {
                guard let next = try self.resolve(value, at: path, before: current) else { continue }
                guard var merged = current else {
                    current = next
                    continue
                }
                if !merged.set([], next, line: line) {
                    let text = "a part of \(path.joined(separator: ".")) is left out: it names no element of the list"
                    self.problems.append(HOCONParser.Failure(line: line, text: text))
                }
                current = merged
            }
            return current
        }
    }

    private mutating func count(_ copies: Int, line: Int) throws(HOCONParser.Failure) {
        self.copies += copies
        guard self.copies <= Self.copiesMax else {
            throw HOCONParser.Failure(line: line, text: "the substitutions put in too much")
        }
    }

    private mutating func resolve(
        _ elements: [HOCONValue],
        at path: [String]
    ) throws(HOCONParser.Failure) -> [HOCONValue] {
        var resolved: [HOCONValue] = []
        for (index, element) in elements.enumerated() {
            resolved.append(try self.resolve(element, at: path + ["\(index + 1)"], before: nil) ?? .text(""))
        }
        return resolved
    }

    private mutating func join(
        _ parts: [HOCONValue.Part],
        at path: [String],
        before: HOCONValue?
    ) throws(HOCONParser.Failure) -> HOCONValue? {
        var joined: HOCONValue?
        for part in parts {
            // An object is merged into those to the left of it: its members have values there already.
            let earlier = if case .object = part.value { joined ?? before } else { before }
            guard let next = try self.resolve(part.value, at: path, before: earlier) else { continue }
            guard let current = joined else {
                joined = next
                continue
            }
            guard let both = current.joined(with: next, space: part.space) else {
                throw HOCONParser.Failure(line: part.line, text: "these values do not go together")
            }
            joined = both
        }
        return joined
    }

    private mutating func lookUp(_ reference: HOCONValue.Reference) throws(HOCONParser.Failure) -> HOCONValue? {
        try self.enter(reference.path, line: reference.line)
        defer { self.active.removeLast() }
        var value = self.root
        for (index, key) in reference.path.enumerated() {
            let path = Array(reference.path.prefix(index))
            if !value.isPlain {
                try self.enter(path, line: reference.line)
                defer { self.active.removeLast() }
                value = try self.resolve(value, at: path, before: nil) ?? .text("")
            }
            guard let member = value.member(key) else {
                self.leaveOut(reference)
                return nil
            }
            value = member.value
        }
        return try self.resolve(value, at: reference.path, before: nil)
    }

    private mutating func leaveOut(_ reference: HOCONValue.Reference) {
        let text = "${\(reference.path.joined(separator: "."))} is left out: there is no such value in this file"
        self.problems.append(HOCONParser.Failure(line: reference.line, text: text))
    }

    private mutating func enter(_ path: [String], line: Int) throws(HOCONParser.Failure) {
        let name = path.joined(separator: ".")
        guard !self.active.contains(path) else {
            throw HOCONParser.Failure(line: line, text: "${\(name)} is part of itself")
        }
        guard self.active.count < Self.activeMax else {
            throw HOCONParser.Failure(line: line, text: "${\(name)}: substitutions name each other too deep")
        }
        self.active.append(path)
    }
}
