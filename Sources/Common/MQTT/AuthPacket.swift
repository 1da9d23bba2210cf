/// Section 3.15; MQTT 5.0 only.
public struct AuthPacket: Equatable, Sendable {
    public var reasonCode: ReasonCode
    public var properties: Properties

    public init(reasonCode: ReasonCode = .success, properties: Properties = Properties()) {
        self.reasonCode = reasonCode
        self.properties = properties
    }
}

extension AuthPacket {
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) -> AuthPacket {
        guard version.hasProperties else { throw .malformed("AUTH does not exist before MQTT 5.0") }
        var reader = try ByteReader(packet, after: header, of: .auth)
        var result = AuthPacket()
        // Section 3.15.2.1: with success and no properties there is nothing to write.
        if reader.isAtEnd { return result }
        result.reasonCode = try reader.requireReasonCode(for: .auth)
        result.properties = try reader.requireProperties(of: packet, allowed: .auth)
        // Section 3.15.2.2.2.
        if result.properties.authenticationMethod == nil { throw .protocolError("AUTH without authentication method") }
        try reader.requireEnd()
        return result
    }

    public func encode(into buffer: inout ByteBuffer) {
        buffer.write(PacketType.auth.rawValue << 4)
        let start = buffer.beginLength()
        if self != AuthPacket() {
            buffer.write(self.reasonCode.rawValue)
            self.properties.encode(into: &buffer)
        }
        buffer.endLength(start)
    }
}
