/// Section 3.10.
public struct UnsubscribePacket: Equatable, Sendable {
    public var packetIdentifier: UInt16
    public var properties: Properties
    public var filters: [[UInt8]]

    public init(packetIdentifier: UInt16, properties: Properties = Properties(), filters: [[UInt8]]) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.filters = filters
    }
}

extension UnsubscribePacket {
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) -> UnsubscribePacket {
        var reader = try ByteReader(packet, after: header, of: .unsubscribe)
        let identifier = try reader.requirePacketIdentifier(zeroCode: .malformedPacket)
        var result = UnsubscribePacket(packetIdentifier: identifier, filters: [])
        if version.hasProperties {
            result.properties = try reader.requireProperties(
                of: packet,
                allowed: .unsubscribe,
                strayCode: .malformedPacket
            )
        }
        while !reader.isAtEnd {
            let filter = try reader.requireText()
            _ = try TopicFilter.require(filter)
            result.filters.append([UInt8](filter))
        }
        // [MQTT-3.10.3-2]
        if result.filters.isEmpty { throw .malformed("UNSUBSCRIBE without topic filters") }
        return result
    }

    public func encode(into buffer: inout ByteBuffer, version: ProtocolVersion) {
        buffer.write(PacketType.unsubscribe.rawValue << 4 | PacketType.unsubscribe.requiredFlags)
        let start = buffer.beginLength()
        buffer.writeBigEndian(self.packetIdentifier)
        if version.hasProperties { self.properties.encode(into: &buffer) }
        for filter in self.filters { buffer.writeMQTTString(filter) }
        buffer.endLength(start)
    }
}
