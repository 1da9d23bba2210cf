/// Texts of others, a device's name or what it sent, where people read them.
public enum ReadableText {
    /// Whether a character shows as nothing, or makes what stands beside it look other than it is: control characters, line and paragraph
    /// separators, characters of no width, and those that turn the direction of writing.
    public static func isHidden(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x20..<0x7F: return false
        case 0..<0xA0: return true
        default: break
        }
        let properties = scalar.properties
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: return true
        default: return properties.isDefaultIgnorableCodePoint
        }
    }

    /// The text with its hidden characters as `\u{…}`.
    /// - Parameter keepsLines: for a text of ours that has several lines.
    public static func escaped(_ text: String, keepsLines: Bool = false) -> String {
        func isEscaped(_ scalar: Unicode.Scalar) -> Bool { Self.isHidden(scalar) && !(keepsLines && scalar == "\n") }
        guard text.unicodeScalars.contains(where: isEscaped) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if isEscaped(scalar) {
                result += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
