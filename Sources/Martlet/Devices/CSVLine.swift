/// A line of comma-separated values (RFC 4180, without line ends in fields).
enum CSVLine {
    /// The two fields of a line; the second is empty where there is none. Nil: a quote has no end, something stands behind one, or there
    /// are more fields.
    static func pair(_ line: ArraySlice<UInt8>) -> (first: [UInt8], second: [UInt8])? {
        var rest = line
        guard let first = Self.quoted(&rest) ?? Self.plain(&rest) else { return nil }
        guard let comma = rest.popFirst() else { return (first, []) }
        guard comma == UInt8(ascii: ",") else { return nil }
        guard let second = Self.quoted(&rest) ?? Self.plain(&rest), rest.isEmpty else { return nil }
        return (first, second)
    }

    private static let quote = UInt8(ascii: "\"")

    /// Nil: there is none, or one without an end; then it is left where it was.
    private static func quoted(_ rest: inout ArraySlice<UInt8>) -> [UInt8]? {
        guard rest.first == Self.quote else { return nil }
        var text: [UInt8] = []
        var left = rest.dropFirst()
        while let end = left.firstIndex(of: Self.quote) {
            text += left[..<end]
            left = left[end...].dropFirst()
            guard left.first == Self.quote else {
                rest = left
                return text
            }
            text.append(Self.quote)
            left = left.dropFirst()
        }
        return nil
    }

    private static func plain(_ rest: inout ArraySlice<UInt8>) -> [UInt8]? {
        guard rest.first != Self.quote else { return nil }
        let end = rest.firstIndex(of: UInt8(ascii: ",")) ?? rest.endIndex
        defer { rest = rest[end...] }
        return Array(rest[..<end])
    }
}
