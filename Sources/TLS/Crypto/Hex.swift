/// Hexadecimal digits.
package enum Hex {
    /// Two digits a byte.
    package static func encode(_ bytes: UnsafeRawBufferPointer, uppercase: Bool = false) -> [UInt8] {
        let letterOffset = UInt8(ascii: uppercase ? "A" : "a") - 10
        return [UInt8](unsafeUninitializedCapacity: bytes.count * 2) { output, count in
            for (index, byte) in bytes.enumerated() {
                let (high, low) = (byte >> 4, byte & 15)
                output[2 * index] = high < 10 ? UInt8(ascii: "0") + high : letterOffset + high
                output[2 * index + 1] = low < 10 ? UInt8(ascii: "0") + low : letterOffset + low
            }
            count = bytes.count * 2
        }
    }

    package static func encode(_ bytes: [UInt8], uppercase: Bool = false) -> [UInt8] {
        bytes.withUnsafeBytes { Self.encode($0, uppercase: uppercase) }
    }

    /// nil for an odd count or anything but hexadecimal digits, of either case.
    package static func decode(_ digits: [UInt8]) -> [UInt8]? {
        guard digits.count % 2 == 0 else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(digits.count / 2)
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = Self.value(of: digits[index]), let low = Self.value(of: digits[index + 1]) else {
                return nil
            }
            result.append(high << 4 | low)
        }
        return result
    }

    /// Of either case.
    package static func isDigit(_ byte: UInt8) -> Bool { Self.value(of: byte) != nil }

    private static func value(of digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
