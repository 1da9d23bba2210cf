/// The variable byte integer (MQTT 5.0, section 1.5.5): seven bits a byte, least significant first, at most four bytes.
public enum VariableByteInteger {
    /// 268,435,455: the largest remaining length and property length.
    @inlinable public static var maximum: Int { 0x0FFF_FFFF }

    /// Bytes of the encoded form, 1 to 4. `value` must lie between 0 and `maximum`.
    @inlinable public static func length(_ value: Int) -> Int {
        if value < 0x80 { return 1 }
        if value < 0x4000 { return 2 }
        return value < 0x20_0000 ? 3 : 4
    }
}
