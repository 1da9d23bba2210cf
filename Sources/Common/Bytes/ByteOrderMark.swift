/// What some editors put in front of UTF-8: it is part of nothing that the text says.
public enum ByteOrderMark {
    private static let bytes: [UInt8] = [0xEF, 0xBB, 0xBF]

    public static func removed(from text: [UInt8]) -> ArraySlice<UInt8> {
        text.starts(with: Self.bytes) ? text.dropFirst(Self.bytes.count) : text[...]
    }
}
