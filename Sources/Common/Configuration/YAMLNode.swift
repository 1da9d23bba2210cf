/// Where a value of the configuration was written, for error messages.
public enum ConfigurationOrigin: Equatable, Sendable {
    /// Counted from 1; columns in characters.
    case file(line: Int, column: Int)
    /// The variable's name.
    case environment(String)
    /// The path given to `--set`.
    case flag(String)

    var isOverride: Bool {
        switch self {
        case .file: return false
        case .environment, .flag: return true
        }
    }
}

/// A YAML value with the place it was written at. Scalars keep their text: what it means is for the reader of the key.
struct YAMLNode: Equatable, Sendable {
    enum Value: Equatable, Sendable {
        case scalar(String, isQuoted: Bool)
        case sequence([YAMLNode])
        case mapping([Entry])
    }

    struct Entry: Equatable, Sendable {
        var key: String
        var keyOrigin: ConfigurationOrigin
        var value: YAMLNode
    }

    var value: Value
    var origin: ConfigurationOrigin

    /// Nothing written, `~` or `null`.
    var isNull: Bool {
        guard case .scalar(let text, isQuoted: false) = self.value, !self.origin.isOverride else { return false }
        return ["", "~", "null", "Null", "NULL"].contains { text.hasSameBytes(as: $0) }
    }

    /// What it is, for messages.
    var kind: String {
        if self.isNull { return "empty" }
        switch self.value {
        case .scalar: return "a single value"
        case .sequence: return "a list"
        case .mapping: return "a section"
        }
    }
}

extension String {
    /// Equality of bytes: String's own takes canonically equivalent texts as equal.
    func hasSameBytes(as other: String) -> Bool {
        self.utf8.elementsEqual(other.utf8)
    }
}
