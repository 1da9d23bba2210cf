/// A PUBLISH as it lies in a receive buffer (MQTT 5.0, section 3.3): ranges count from the packet's first byte.
public struct PublishView: Equatable, Sendable {
    public var dup: Bool
    public var qos: QoS
    public var retain: Bool
    /// Empty only with a topic alias (5.0).
    public var topic: Range<Int>
    /// 0 for QoS 0.
    public var packetIdentifier: UInt16
    /// The encoded properties without their length; empty before 5.0.
    public var properties: Range<Int>
    public var payload: Range<Int>
    /// 0: none.
    public var topicAlias: UInt16
    /// Seconds.
    public var messageExpiryInterval: UInt32?

    @inlinable public init(
        dup: Bool,
        qos: QoS,
        retain: Bool,
        topic: Range<Int>,
        packetIdentifier: UInt16,
        properties: Range<Int>,
        payload: Range<Int>,
        topicAlias: UInt16,
        messageExpiryInterval: UInt32?
    ) {
        self.dup = dup
        self.qos = qos
        self.retain = retain
        self.topic = topic
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.payload = payload
        self.topicAlias = topicAlias
        self.messageExpiryInterval = messageExpiryInterval
    }
}
