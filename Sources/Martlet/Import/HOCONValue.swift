/// A value of HOCON, the form of EMQX 5's configuration, as far as that is used there.
indirect enum HOCONValue: Equatable {
    struct Member: Equatable {
        var key: String
        var line: Int
        var value: HOCONValue
    }

    case object([Member])
    case array([HOCONValue])
    /// Quoted or not; numbers and switches too.
    case text(String)

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

    /// A list, or the one value that stands for a list of one.
    var elements: [HOCONValue] { if case .array(let elements) = self { elements } else { [self] } }

    /// Puts a value at a path; objects are merged, anything else is replaced.
    mutating func set(_ path: [String], _ value: HOCONValue, line: Int) {
        guard let key = path.first else {
            if case .object(let added) = value, case .object = self {
                for member in added { self.set([member.key], member.value, line: member.line) }
            } else {
                self = value
            }
            return
        }
        var members = self.members
        if let index = members.firstIndex(where: { $0.key == key }) {
            members[index].value.set(Array(path.dropFirst()), value, line: line)
            members[index].line = line
        } else {
            var fresh = HOCONValue.object([])
            fresh.set(Array(path.dropFirst()), value, line: line)
            members.append(Member(key: key, line: line, value: fresh))
        }
        self = .object(members)
    }
}
