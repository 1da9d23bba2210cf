/// Section 3.3.
package struct PublishPacket: Equatable, Sendable {
    package var dup: Bool
    package var qos: QoS
    package var retain: Bool
    package var topic: [UInt8]
    /// 0 for QoS 0, where the wire has none.
    package var packetIdentifier: UInt16
    package var properties: Properties
    package var payload: [UInt8]

    package init(
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
