// The data representations of MQTT 5.0, section 1.5. Errors say what was cut short or ill-formed.
extension ByteReader {
    /// Stands behind the fixed header, which must be of this type; `packet` must be exactly the packet that it announces.
    init(_ packet: UnsafeRawBufferPointer, after header: FixedHeader, of type: PacketType) throws(DecodeError) {
        guard header.type == type else { throw .malformed("packet of another type than expected") }
        guard header.headerBytes >= 0, header.bodyBytes >= 0, packet.count == header.packetBytes else {
            throw .malformed("packet is not as long as its header says")
        }
        self.init(packet)
        self.position = header.headerBytes
    }

    mutating func requireUInt8() throws(DecodeError) -> UInt8 {
        guard let byte = self.readUInt8() else { throw Self.tooShort }
        return byte
    }

    mutating func requireUInt16() throws(DecodeError) -> UInt16 {
        guard let value = self.readBigEndian(UInt16.self) else { throw Self.tooShort }
        return value
    }

    mutating func requireUInt32() throws(DecodeError) -> UInt32 {
        guard let value = self.readBigEndian(UInt32.self) else { throw Self.tooShort }
        return value
    }

    /// Section 1.5.5; at most 268,435,455.
    mutating func requireVariableByteInteger() throws(DecodeError) -> UInt32 {
        var value: UInt32 = 0
        for index in 0..<4 as Range<UInt32> {
            let byte = try self.requireUInt8()
            value |= UInt32(byte & 0x7F) << (7 * index)
            guard byte < 0x80 else { continue }
            guard byte != 0 || index == 0 else {
                // [MQTT-1.5.5-1]
                throw .malformed("variable byte integer takes more bytes than needed")
            }
            return value
        }
        throw .malformed("variable byte integer takes more than four bytes")
    }

    /// Section 1.5.6: two bytes of length, and so many bytes.
    mutating func requireBinary() throws(DecodeError) -> UnsafeRawBufferPointer {
        let count = try self.requireUInt16()
        guard let bytes = self.readBytes(Int(count)) else { throw Self.tooShort }
        return bytes
    }

    /// Section 1.5.4: as binary data, and what `MQTTText` takes.
    mutating func requireText() throws(DecodeError) -> UnsafeRawBufferPointer {
        let bytes = try self.requireBinary()
        guard MQTTText.isValid(bytes) else {
            // [MQTT-1.5.4-1], [MQTT-1.5.4-2]
            throw .malformed("string is not UTF-8, or has control characters in it")
        }
        return bytes
    }

    /// A packet identifier where one must be ([MQTT-2.2.1-3], [MQTT-2.2.1-5]).
    /// - Parameter zeroCode: what identifier 0 is called.
    mutating func requirePacketIdentifier(zeroCode: ReasonCode = .protocolError) throws(DecodeError) -> UInt16 {
        let identifier = try self.requireUInt16()
        guard identifier != 0 else { throw DecodeError(zeroCode, "packet identifier 0") }
        return identifier
    }

    /// The length of properties and the bytes it counts: the range of the latter, which are skipped (section 2.2.2).
    mutating func requireProperties() throws(DecodeError) -> Range<Int> {
        let count = Int(try self.requireVariableByteInteger())
        let start = self.offset
        guard self.readBytes(count) != nil else { throw .malformed("properties are longer than the packet") }
        return start..<start + count
    }

    /// The properties that stand here, with their length.
    /// - Parameter strayCode: see `PropertyCursor`.
    mutating func requireProperties(
        of packet: UnsafeRawBufferPointer,
        allowed: PropertySet,
        repeatable: PropertySet = .none + .userProperty,
        strayCode: ReasonCode = .protocolError
    ) throws(DecodeError) -> Properties {
        let range = try self.requireProperties()
        if range.isEmpty { return Properties() }
        let cursor = PropertyCursor(packet, range, allowed: allowed, repeatable: repeatable, strayCode: strayCode)
        return try Properties.decode(cursor)
    }

    /// A reason code that table 2-6 has for packets of this type.
    mutating func requireReasonCode(for type: PacketType) throws(DecodeError) -> ReasonCode {
        guard let code = ReasonCode(rawValue: try self.requireUInt8()), code.isAllowed(in: type) else {
            throw .protocolError("reason code that this packet cannot have")
        }
        return code
    }

    /// Bytes that no field claims make a packet malformed.
    func requireEnd() throws(DecodeError) {
        guard self.isAtEnd else { throw .malformed("packet is longer than its fields") }
    }

    private static var tooShort: DecodeError { .malformed("packet ends in the middle of a field") }
}
