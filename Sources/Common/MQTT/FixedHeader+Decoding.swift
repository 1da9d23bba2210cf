extension FixedHeader {
    /// Reads the header at the front of `bytes`, which may hold more than one packet or a part of one. Never allocates.
    ///
    /// Refused: type 0, flags other than table 2-2 says ([MQTT-2.1.3-1]), a PUBLISH of QoS 3 ([MQTT-3.3.1-4]), and a length of
    /// more than four bytes or of more bytes than needed ([MQTT-1.5.5-1]). `version` matters for one thing: in 3.1 PUBREL,
    /// SUBSCRIBE and UNSUBSCRIBE may be sent again with the DUP flag set.
    @inlinable public static func decode(
        _ bytes: UnsafeRawBufferPointer,
        version: ProtocolVersion = .v5_0
    ) -> Result {
        guard bytes.count >= 1 else { return .needMore }
        let flags = bytes[0] & 0x0F
        guard let type = PacketType(rawValue: bytes[0] >> 4) else {
            return .malformed(DecodeError(.protocolError, "packet type 0 is reserved"))
        }
        if type == .publish {
            guard flags & 0b0110 != 0b0110 else {
                return .malformed(DecodeError(.malformedPacket, "PUBLISH with QoS 3"))
            }
        } else if flags != type.requiredFlags {
            let isResent = version == .v3_1 && type.requiredFlags == 0b0010 && flags == 0b1010
            guard isResent else {
                return .malformed(
                    DecodeError(type.wrongFlagsCode, "reserved flags in the first byte are not as required")
                )
            }
        }
        return Self.decodeLength(bytes, type, flags: flags)
    }

    /// As `decode`, without looking at the flags: a CONNECT's are not reserved in 3.1, and what it is shows only later.
    public static func decodeConnect(_ bytes: UnsafeRawBufferPointer) -> Result {
        guard bytes.count >= 1 else { return .needMore }
        return Self.decodeLength(bytes, .connect, flags: bytes[0] & 0x0F)
    }

    @inlinable static func decodeLength(_ bytes: UnsafeRawBufferPointer, _ type: PacketType, flags: UInt8) -> Result {
        var length = 0
        for index in 0..<4 {
            guard index + 1 < bytes.count else { return .needMore }
            let byte = bytes[index + 1]
            length |= Int(byte & 0x7F) << (7 * index)
            guard byte < 0x80 else { continue }
            guard byte != 0 || index == 0 else {
                return .malformed(DecodeError(.malformedPacket, "remaining length takes more bytes than needed"))
            }
            return .header(FixedHeader(type: type, flags: flags, headerBytes: index + 2, bodyBytes: length))
        }
        // What follows cannot be told from noise.
        let explanation: StaticString = "remaining length takes more than four bytes"
        return .malformed(DecodeError(.malformedPacket, explanation, closesSilently: true))
    }
}
