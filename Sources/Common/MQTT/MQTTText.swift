/// What MQTT takes for an UTF-8 string (MQTT 5.0, section 1.5.4).
public enum MQTTText {
    /// Well-formed UTF-8 without surrogates and overlong forms ([MQTT-1.5.4-1]) and without U+0000 ([MQTT-1.5.4-2]).
    ///
    /// Other control characters (U+0001 to U+001F, U+007F to U+009F) and non-characters (U+FDD0 to U+FDEF, U+FFFE, U+FFFF and
    /// their like in the other planes) are refused too: the standard says that they should not be sent and may be taken for a
    /// malformed packet, and so nothing that ends up in logs, terminals and other clients' screens can be forged with them.
    public static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        Self.isWellFormed(bytes, allowsControl: false)
    }

    /// Well-formed UTF-8, whatever its characters: what a payload with payload format indicator 1 holds (section 3.3.2.3.2).
    public static func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
        Self.isWellFormed(bytes, allowsControl: true)
    }

    private static func isWellFormed(_ bytes: UnsafeRawBufferPointer, allowsControl: Bool) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highBits: UInt64 = 0x8080_8080_8080_8080
        var index = 0
        while index < bytes.count {
            // Eight bytes at a time while they are printable ASCII. In a word without high bits, subtracting 0x20 from each byte
            // sets a high bit if a byte is below, and adding 1 if a byte is 0x7F; borrows set one too many at worst, and the
            // bytes are looked at one by one then.
            if bytes.count - index >= 8 {
                let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                let hit = allowsControl ? word : word | (word &- ones &* 0x20) | (word &+ ones)
                if hit & highBits == 0 {
                    index += 8
                    continue
                }
            }
            let byte = bytes[index]
            if byte < 0x80 {
                guard allowsControl || (byte >= 0x20 && byte != 0x7F) else { return false }
                index += 1
                continue
            }
            let length = Self.sequenceLength(bytes, at: index)
            guard length > 0 else { return false }
            if !allowsControl, Self.isControl(bytes, at: index, length) { return false }
            index += length
        }
        return true
    }

    /// Whether a well-formed character of two to four bytes is a control character or no character.
    private static func isControl(_ bytes: UnsafeRawBufferPointer, at index: Int, _ length: Int) -> Bool {
        if length == 2 { return bytes[index] == 0xC2 && bytes[index + 1] < 0xA0 }
        let last = bytes[index + length - 1]
        let beforeLast = bytes[index + length - 2]
        // U+xFFFE and U+xFFFF end in the same two bytes in every plane, but for the lead byte in plane 0 and bits above them.
        if beforeLast == 0xBF, last >= 0xBE {
            return length == 3 ? bytes[index] == 0xEF : bytes[index + 1] & 0x0F == 0x0F
        }
        return length == 3 && bytes[index] == 0xEF && beforeLast == 0xB7 && last >= 0x90 && last <= 0xAF
    }

    /// Bytes of the character of two to four bytes at `index`; 0 if it is ill-formed (table 3-7 of the Unicode standard).
    private static func sequenceLength(_ bytes: UnsafeRawBufferPointer, at index: Int) -> Int {
        let lead = bytes[index]
        let length: Int
        // The bounds of the second byte are what excludes overlong forms, surrogates and what is beyond U+10FFFF.
        var lowest: UInt8 = 0x80
        var highest: UInt8 = 0xBF
        switch lead {
        case 0xC2...0xDF:
            length = 2
        case 0xE0...0xEF:
            length = 3
            if lead == 0xE0 { lowest = 0xA0 }
            if lead == 0xED { highest = 0x9F }
        case 0xF0...0xF4:
            length = 4
            if lead == 0xF0 { lowest = 0x90 }
            if lead == 0xF4 { highest = 0x8F }
        default:
            return 0
        }
        guard bytes.count - index >= length else { return 0 }
        let second = bytes[index + 1]
        guard second >= lowest, second <= highest else { return 0 }
        for offset in 2..<4 where offset < length {
            guard bytes[index + offset] & 0xC0 == 0x80 else { return 0 }
        }
        return length
    }
}
