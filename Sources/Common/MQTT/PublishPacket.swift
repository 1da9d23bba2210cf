/// Section 3.3.
public struct PublishPacket: Equatable, Sendable {
    public var dup: Bool
    public var qos: QoS
    public var retain: Bool
    public var topic: [UInt8]
    /// 0 for QoS 0, where the wire has none.
    public var packetIdentifier: UInt16
    public var properties: Properties
    public var payload: [UInt8]

    public init(
        dup: Bool = false,
        qos: QoS = .atMostOnce,
        retain: Bool = false,
        topic: [UInt8],
        packetIdentifier: UInt16 = 0,
        properties: Properties = Properties(),
        payload: [UInt8] = []
    ) {
        self.dup = dup
        self.qos = qos
        self.retain = retain
        self.topic = topic
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.payload = payload
    }
}

extension PublishPacket {
    /// Reads a PUBLISH of either direction: subscription identifiers are accepted. `PublishView` is the faster form.
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) -> PublishPacket {
        var reader = try ByteReader(packet, after: header, of: .publish)
        let flags = try PublishView.decodeFlags(header)
        let topic = try reader.requireBinary()
        var result = PublishPacket(dup: flags.dup, qos: flags.qos, retain: flags.retain, topic: [UInt8](topic))
        if result.qos != .atMostOnce { result.packetIdentifier = try reader.requirePacketIdentifier() }
        if version.hasProperties {
            result.properties = try reader.requireProperties(
                of: packet,
                allowed: .publish,
                repeatable: .none + .userProperty + .subscriptionIdentifier
            )
        }
        try PublishView.checkTopic(topic, hasAlias: result.properties.topicAlias != nil)
        result.payload = [UInt8](reader.readRest())
        return result
    }

    public func encode(into buffer: inout ByteBuffer, version: ProtocolVersion) {
        let flags = (self.dup ? 0b1000 : 0) | self.qos.rawValue << 1 | (self.retain ? 1 : 0)
        buffer.write(PacketType.publish.rawValue << 4 | flags)
        let start = buffer.beginLength()
        buffer.writeMQTTString(self.topic)
        if self.qos != .atMostOnce { buffer.writeBigEndian(self.packetIdentifier) }
        if version.hasProperties { self.properties.encode(into: &buffer) }
        buffer.write(self.payload)
        buffer.endLength(start)
    }
}
