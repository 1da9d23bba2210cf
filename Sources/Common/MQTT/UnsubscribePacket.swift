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
        guard header.type == .unsubscribe else { throw .malformed("packet of another type than expected") }
        var reader = try TopicFilterReader(packet, header: header, version: version)
        var result = UnsubscribePacket(
            packetIdentifier: reader.packetIdentifier,
            properties: reader.properties,
            filters: []
        )
        while let entry = try reader.next(packet) { result.filters.append([UInt8](entry.filter)) }
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
