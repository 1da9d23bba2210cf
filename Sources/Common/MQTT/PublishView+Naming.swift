extension PublishView {
    /// The packet with a topic of its own instead of an alias, for somebody who may know the alias for another topic (MQTT 5.0,
    /// section 3.3.2.3.4).
    ///
    /// - Parameters:
    ///   - packet: the one this view was decoded from: all of it, or its first part, in which the payload begins.
    ///   - header: of the whole packet.
    ///   - topic: what the alias stands for.
    /// - Returns: as many bytes of the payload as there were.
    public func naming(
        _ topic: [UInt8],
        in packet: UnsafeRawBufferPointer,
        _ header: FixedHeader
    ) -> (bytes: [UInt8], header: FixedHeader) {
        var properties: [UInt8] = []
        var cursor = PropertyCursor(packet, self.properties, allowed: .publish, repeatable: .publish)
        while let property = try? cursor.next() {
            if property.identifier != .topicAlias { properties.append(contentsOf: packet[property.range]) }
        }
        var beforePayload = ByteBuffer()
        beforePayload.writeBigEndian(UInt16(truncatingIfNeeded: topic.count))
        beforePayload.write(topic)
        if self.qos != .atMostOnce { beforePayload.writeBigEndian(self.packetIdentifier) }
        beforePayload.writeVariableByteInteger(properties.count)
        beforePayload.write(properties)
        var header = header
        header.bodyBytes += beforePayload.readableBytes - (self.payload.lowerBound - header.headerBytes)
        header.headerBytes = 1 + VariableByteInteger.length(header.bodyBytes)
        var bytes = ByteBuffer()
        bytes.write(packet[0])
        bytes.writeVariableByteInteger(header.bodyBytes)
        bytes.write(beforePayload.readable)
        bytes.write(UnsafeRawBufferPointer(rebasing: packet[self.payload.lowerBound...]))
        return (bytes.array, header)
    }
}
