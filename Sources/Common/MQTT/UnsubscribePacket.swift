/// Section 3.10.
package struct UnsubscribePacket: Equatable, Sendable {
    package var packetIdentifier: UInt16
    package var properties: Properties
    package var filters: [[UInt8]]

    package init(packetIdentifier: UInt16, properties: Properties = Properties(), filters: [[UInt8]]) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.filters = filters
    }
}

extension UnsubscribePacket {
    package static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) -> UnsubscribePacket {
        var reader = try ByteReader(packet, after: header, of: .unsubscribe)
        var result = UnsubscribePacket(packetIdentifier: try reader.requirePacketIdentifier(), filters: [])
        if version.hasProperties { result.properties = try reader.requireProperties(of: packet, allowed: .unsubscribe) }
        while !reader.isAtEnd {
            let filter = try reader.requireText()
            // [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1], [MQTT-4.8.2-1], [MQTT-4.8.2-2]
            guard TopicFilter.isValid(filter) else {
                throw DecodeError(.topicFilterInvalid, "topic filter breaks the rules")
            }
            result.filters.append([UInt8](filter))
        }
        // [MQTT-3.10.3-2]
        if result.filters.isEmpty { throw .protocolError("UNSUBSCRIBE without topic filters") }
        return result
    }

    package func encode(into buffer: inout ByteBuffer, version: ProtocolVersion) {
        buffer.write(PacketType.unsubscribe.rawValue << 4 | PacketType.unsubscribe.requiredFlags)
        let start = buffer.beginLength()
        buffer.writeBigEndian(self.packetIdentifier)
        if version.hasProperties { self.properties.encode(into: &buffer) }
        for filter in self.filters { buffer.writeMQTTString(filter) }
        buffer.endLength(start)
    }
}
