/// What MQTT takes for an UTF-8 string (MQTT 5.0, section 1.5.4).
package enum MQTTText {
    /// Well-formed UTF-8 without surrogates and overlong forms ([MQTT-1.5.4-1]) and without U+0000 ([MQTT-1.5.4-2]).
    ///
    /// Control characters and non-characters are accepted: the standard allows to refuse them, and peers use them.
    package static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        Self.isWellFormed(bytes, allowsNUL: false)
    }

    /// Well-formed UTF-8, U+0000 included: what a payload with payload format indicator 1 holds (section 3.3.2.3.2).
    package static func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
        Self.isWellFormed(bytes, allowsNUL: true)
    }

    private static func isWellFormed(_ bytes: UnsafeRawBufferPointer, allowsNUL: Bool) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highBits: UInt64 = 0x8080_8080_8080_8080
        var index = 0
        while index < bytes.count {
            // Eight bytes at a time while they are ASCII. In a word without high bits, subtracting one from each byte sets a
            // high bit exactly if a byte is zero.
            if bytes.count - index >= 8 {
                let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                let hit = allowsNUL ? word : word | (word &- ones)
                if hit & highBits == 0 {
                    index += 8
                    continue
                }
            }
            let byte = bytes[index]
            if byte < 0x80 {
                guard byte != 0 || allowsNUL else { return false }
                index += 1
                continue
            }
            let length = Self.sequenceLength(bytes, at: index)
            guard length > 0 else { return false }
            index += length
        }
        return true
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
