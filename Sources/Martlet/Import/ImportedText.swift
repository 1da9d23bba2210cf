import Common

/// What stands in a file that may have been written on Windows.
enum ImportedText {
    static func bytes(_ text: String) -> ArraySlice<UInt8> { ByteOrderMark.removed(from: Array(text.utf8)) }

    /// Without their ends. Split as bytes: in a String "\r\n" is one Character, and no "\n" is found.
    static func lines(_ text: String) -> [String] {
        Self.lines(Self.bytes(text)).map { String(decoding: $0, as: UTF8.self) }
    }

    static func lines(_ bytes: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            line.last == UInt8(ascii: "\r") ? line.dropLast() : line
        }
    }

    /// Without blanks and line ends around it.
    static func trimmed(_ text: String) -> String {
        var scalars = Substring(text).unicodeScalars
        while let first = scalars.first, first.properties.isWhitespace { scalars.removeFirst() }
        while let last = scalars.last, last.properties.isWhitespace { scalars.removeLast() }
        return String(scalars)
    }
}
