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

    // MARK: Changes

    struct Change: Equatable {
        /// As written in one of the two readings (`listeners.0.addresses.0`): for what it is.
        var key: String
        /// For people: `listeners.devices.addresses.0`, and `listeners.devices (added)` for all keys of such an entry.
        var shown: String
    }

    private struct NamedValue {
        var key: String
        var text: String?
        /// The list's entry that it is in: `listeners.devices`.
        var entry: String?
    }

    /// Lists whose entries have names. One is the same wherever it stands.
    private static let namedLists = ["listeners", "authentication.sources"]
    /// Of them those in which the order says something too.
    private static let orderedLists = ["authentication.sources"]

    /// Keys that say something else in a later reading, or are in one of the two only; sorted by what is shown.
    func changes(in later: WrittenValues) -> [Change] {
        let (former, new) = (self.valuesByName(), later.valuesByName())
        let formerEntries = Set(former.values.compactMap(\.entry))
        let newEntries = Set(new.values.compactMap(\.entry))
        var changes: [Change] = []
        for shown in Set(former.keys).union(new.keys) where former[shown]?.text != new[shown]?.text {
            guard let value = new[shown] ?? former[shown] else { continue }
            var change = Change(key: value.key, shown: shown)
            if let entry = value.entry {
                if !formerEntries.contains(entry) { change.shown = "\(entry) (added)" }
                if !newEntries.contains(entry) { change.shown = "\(entry) (removed)" }
            }
            changes.append(change)
        }
        for list in Self.orderedLists {
            let order = self.names(in: list).filter { newEntries.contains("\(list).\($0)") }
            let newOrder = later.names(in: list).filter { formerEntries.contains("\(list).\($0)") }
            if order != newOrder { changes.append(Change(key: "\(list).0.name", shown: "\(list) (order)")) }
        }
        return changes.sorted { ($0.shown, $0.key) < ($1.shown, $1.key) }
    }

    /// In the list's order; entries without a name are left out.
    private func names(in list: String) -> [String] {
        var names: [String] = []
        var index = 0
        while self.values["\(list).\(index)"] != nil {
            if let name = self.values["\(list).\(index).name"]?.text { names.append(name) }
            index += 1
        }
        return names
    }

    /// By their keys with the names of entries in the place of their numbers.
    private func valuesByName() -> [String: NamedValue] {
        var result: [String: NamedValue] = [:]
        for (key, value) in self.values {
            var named = NamedValue(key: key, text: value.text)
            var shown = key
            for list in Self.namedLists where key.hasPrefix("\(list).") {
                let number = key.dropFirst(list.count + 1).prefix { $0 != "." }
                guard let name = self.values["\(list).\(number).name"]?.text else { continue }
                let entry = "\(list).\(name)"
                named.entry = entry
                shown = entry + key.dropFirst(list.count + 1 + number.count)
            }
            result[shown] = named
        }
        return result
    }
}
