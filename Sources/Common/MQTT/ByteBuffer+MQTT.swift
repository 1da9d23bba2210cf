import Glibc

// The data representations of MQTT 5.0, section 1.5. Lengths that do not fit their field are errors of the caller: whatever
// came from a peer was bounded when it was decoded.
extension ByteBuffer {
    /// Bytes that `writeVariableByteInteger` will write, 1 to 4.
    @inlinable public static func variableByteIntegerLength(_ value: Int) -> Int {
        VariableByteInteger.length(value)
    }

    /// Section 1.5.5, in the fewest bytes possible ([MQTT-1.5.5-1]). `value` must be at most 268,435,455.
    @inlinable public mutating func writeVariableByteInteger(_ value: Int) {
        precondition(value >= 0 && value <= VariableByteInteger.maximum, "does not fit a variable byte integer")
        self.reserve(4)
        var rest = value
        while rest >= 0x80 {
            self.write(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        self.write(UInt8(truncatingIfNeeded: rest))
    }

    /// A two-byte length and the bytes: an UTF-8 string (section 1.5.4) or binary data (section 1.5.6), at most 65,535 bytes.
    @inlinable public mutating func writeMQTTString(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { self.writeMQTTString($0) }
    }

    /// A two-byte length and the bytes: an UTF-8 string (section 1.5.4) or binary data (section 1.5.6), at most 65,535 bytes.
    @inlinable public mutating func writeMQTTString(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count <= Int(UInt16.max), "longer than an MQTT string can be")
        self.reserve(2 + bytes.count)
        self.writeBigEndian(UInt16(truncatingIfNeeded: bytes.count))
        self.write(bytes)
    }

    /// A whole PUBACK, PUBREC, PUBREL or PUBCOMP without properties (MQTT 5.0, sections 3.4 to 3.7).
    ///
    /// The reason code is left out when it is success, and in 3.1 and 3.1.1, which have none.
    @inlinable public mutating func writeAcknowledgement(
        type: PacketType,
        packetIdentifier: UInt16,
        reasonCode: ReasonCode,
        version: ProtocolVersion
    ) {
        let hasReasonCode = version.hasProperties && reasonCode != .success
        self.reserve(5)
        self.write(type.rawValue << 4 | type.requiredFlags)
        self.write(hasReasonCode ? 3 as UInt8 : 2)
        self.writeBigEndian(packetIdentifier)
        if hasReasonCode { self.write(reasonCode.rawValue) }
    }

    /// Makes place for a variable byte integer that counts what is written next; `endLength` fills it in.
    @inlinable public mutating func beginLength() -> Int {
        self.write(0 as UInt8)
        return self.readableBytes
    }

    /// Writes the number of bytes written since `beginLength` into the place made there. Those bytes move by up to three
    /// places if the length needs more than one byte: cheaper than counting every packet before writing it.
    @inlinable public mutating func endLength(_ start: Int) {
        let count = self.readableBytes - start
        precondition(count >= 0 && count <= VariableByteInteger.maximum, "packet longer than MQTT allows")
        let lengthBytes = VariableByteInteger.length(count)
        if lengthBytes > 1 {
            self.writeBigEndian(0 as UInt32)
            self.removeLast(5 - lengthBytes)
            if let base = self.mutableReadable.baseAddress {
                memmove(base + start + lengthBytes - 1, base + start, count)
            }
        }
        let bytes = self.mutableReadable
        var rest = count
        for index in start - 1..<start - 1 + lengthBytes {
            let more: UInt8 = rest >= 0x80 ? 0x80 : 0
            bytes[index] = UInt8(truncatingIfNeeded: rest) & 0x7F | more
            rest >>= 7
        }
    }
}
