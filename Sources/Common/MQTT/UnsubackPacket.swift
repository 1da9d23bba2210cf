/// Section 3.11. `reasonCodes` is empty in 3.1 and 3.1.1.
public struct UnsubackPacket: Equatable, Sendable {
    public var packetIdentifier: UInt16
    public var properties: Properties
    public var reasonCodes: [ReasonCode]

    public init(packetIdentifier: UInt16, properties: Properties = Properties(), reasonCodes: [ReasonCode] = []) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.reasonCodes = reasonCodes
    }
}

extension UnsubackPacket {
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) -> UnsubackPacket {
        var reader = try ByteReader(packet, after: header, of: .unsuback)
        var result = UnsubackPacket(packetIdentifier: try reader.requirePacketIdentifier())
        if version.hasProperties {
            result.properties = try reader.requireProperties(of: packet, allowed: .acknowledgement)
            // [MQTT-3.11.3-1]: a code for every filter, and there is no UNSUBSCRIBE without filters.
            repeat {
                result.reasonCodes.append(try reader.requireReasonCode(for: .unsuback))
            } while !reader.isAtEnd
        }
        try reader.requireEnd()
        return result
    }

    public func encode(into buffer: inout ByteBuffer, version: ProtocolVersion) {
        buffer.write(PacketType.unsuback.rawValue << 4)
        let start = buffer.beginLength()
        buffer.writeBigEndian(self.packetIdentifier)
        if version.hasProperties {
            self.properties.encode(into: &buffer)
            for reasonCode in self.reasonCodes { buffer.write(reasonCode.rawValue) }
        }
        buffer.endLength(start)
    }
}
