/// What file, variables and flags say, key by key (`listeners.0.tls.key_file`), and where: for messages about values that turn out
/// wrong, or to be others, after the configuration was read.
public struct WrittenValues: Equatable, Sendable {
    private struct Value: Equatable, Sendable {
        /// Nil: a list or section, which says nothing but what its elements say.
        var text: String?
        var origin: ConfigurationOrigin
    }

    private var values: [String: Value] = [:]

    init(_ root: YAMLNode? = nil) {
        if let root { self.add(root, path: "") }
    }

    private mutating func add(_ node: YAMLNode, path: String) {
        var value = Value(text: nil, origin: node.origin)
        switch node.value {
        case .scalar(let text, _): value.text = text
        case .sequence(let elements):
            for (index, element) in elements.enumerated() {
                self.add(element, path: ConfigurationText.path(path, "\(index)"))
            }
        case .mapping(let entries):
            for entry in entries { self.add(entry.value, path: ConfigurationText.path(path, entry.key)) }
        }
        if !path.isEmpty { self.values[path] = value }
    }

    /// Where a key was written; of one that was not, where the section is in which it could have been.
    func origin(of key: String) -> ConfigurationOrigin? {
        var path = key[...]
        while true {
            if let value = self.values[String(path)] { return value.origin }
            guard let dot = path.lastIndex(of: ".") else { return nil }
            path = path[..<dot]
        }
    }

    /// Keys that say something else in a later reading, or are in one of the two only; sorted.
    public func changedKeys(in later: WrittenValues) -> [String] {
        let keys = Set(self.values.keys).union(later.values.keys)
        return keys.filter { self.values[$0]?.text != later.values[$0]?.text }.sorted()
    }
}
