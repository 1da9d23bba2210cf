/// Section 3.9. `returnCodes` are bytes on the wire: in 3.1.1 the granted QoS or 0x80.
public struct SubackPacket: Equatable, Sendable {
    public var packetIdentifier: UInt16
    public var properties: Properties
    public var returnCodes: [UInt8]

    public init(packetIdentifier: UInt16, properties: Properties = Properties(), returnCodes: [UInt8]) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.returnCodes = returnCodes
    }
}

extension SubackPacket {
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) -> SubackPacket {
        var reader = try ByteReader(packet, after: header, of: .suback)
        var result = SubackPacket(packetIdentifier: try reader.requirePacketIdentifier(), returnCodes: [])
        if version.hasProperties {
            result.properties = try reader.requireProperties(of: packet, allowed: .acknowledgement)
        }
        let codes = reader.readRest()
        guard codes.count > 0 else { throw .protocolError("SUBACK without return codes") }
        for byte in codes {
            // [MQTT-3.9.3-2]
            let isKnown =
                version.hasProperties
                ? ReasonCode(rawValue: byte)?.isAllowed(in: .suback) ?? false
                : byte <= 2 || byte == 0x80
            guard isKnown else { throw .protocolError("unknown return code in SUBACK") }
        }
        result.returnCodes = [UInt8](codes)
        return result
    }

    public func encode(into buffer: inout ByteBuffer, version: ProtocolVersion) {
        buffer.write(PacketType.suback.rawValue << 4)
        let start = buffer.beginLength()
        buffer.writeBigEndian(self.packetIdentifier)
        if version.hasProperties { self.properties.encode(into: &buffer) }
        buffer.write(self.returnCodes)
        buffer.endLength(start)
    }
}
