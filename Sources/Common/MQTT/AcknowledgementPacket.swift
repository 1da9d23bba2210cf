/// PUBACK, PUBREC, PUBREL, PUBCOMP: sections 3.4 to 3.7.
public struct AcknowledgementPacket: Equatable, Sendable {
    public var packetIdentifier: UInt16
    public var reasonCode: ReasonCode
    public var properties: Properties

    public init(packetIdentifier: UInt16, reasonCode: ReasonCode = .success, properties: Properties = Properties()) {
        self.packetIdentifier = packetIdentifier
        self.reasonCode = reasonCode
        self.properties = properties
    }
}

extension AcknowledgementPacket {
    /// The packet identifier of an acknowledgement in which there is nothing else, as in nearly all of them: it means success.
    /// Nil for any other packet, also for a broken one: `decode` says what it is.
    @inlinable public static func bareIdentifier(_ packet: UnsafeRawBufferPointer, header: FixedHeader) -> UInt16? {
        guard header.bodyBytes == 2, packet.count == header.headerBytes + 2 else { return nil }
        let identifier = UInt16(packet[header.headerBytes]) << 8 | UInt16(packet[header.headerBytes + 1])
        return identifier == 0 ? nil : identifier
    }

    /// Reads a PUBACK, PUBREC, PUBREL or PUBCOMP.
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) -> AcknowledgementPacket {
        switch header.type {
        case .puback, .pubrec, .pubrel, .pubcomp: break
        case .connect, .connack, .publish, .subscribe, .suback, .unsubscribe, .unsuback, .pingreq, .pingresp,
            .disconnect, .auth:
            throw .malformed("not an acknowledgement")
        }
        var reader = try ByteReader(packet, after: header, of: header.type)
        var result = AcknowledgementPacket(packetIdentifier: try reader.requirePacketIdentifier())
        if version.hasProperties {
            // Sections 3.4.2.1 and 3.4.2.2.1: reason code and properties may be left out.
            if !reader.isAtEnd { result.reasonCode = try reader.requireReasonCode(for: header.type) }
            if !reader.isAtEnd {
                result.properties = try reader.requireProperties(of: packet, allowed: .acknowledgement)
            }
        }
        try reader.requireEnd()
        return result
    }

    public func encode(into buffer: inout ByteBuffer, type: PacketType, version: ProtocolVersion) {
        if !version.hasProperties || self.properties == Properties() {
            buffer.writeAcknowledgement(
                type: type,
                packetIdentifier: self.packetIdentifier,
                reasonCode: self.reasonCode,
                version: version
            )
            return
        }
        buffer.write(type.rawValue << 4 | type.requiredFlags)
        let start = buffer.beginLength()
        buffer.writeBigEndian(self.packetIdentifier)
        buffer.write(self.reasonCode.rawValue)
        self.properties.encode(into: &buffer)
        buffer.endLength(start)
    }
}
