import Common

/// One publishing client: its PUBLISH, made once and stamped anew for each message, and how many are under way.
final class Publisher {
    let client: BenchClient
    let index: UInt32
    private var packet = ByteBuffer()
    private var identifierOffset = 0
    private var payloadOffset = 0
    private let qos: QoS
    private(set) var sent = 0
    /// PUBACK or PUBCOMP came.
    private(set) var acknowledged = 0

    init(_ client: BenchClient, index: Int, topic: String, qos: QoS, payloadBytes: Int, retain: Bool = false) {
        self.client = client
        self.index = UInt32(index)
        self.qos = qos
        self.setTopic(topic, payloadBytes, retain)
    }

    func setTopic(_ topic: String, _ payloadBytes: Int, _ retain: Bool = false) {
        self.packet.clear()
        let payload = MessageStamp.filler(payloadBytes)
        PublishPacket(
            qos: self.qos,
            retain: retain,
            topic: Array(topic.utf8),
            packetIdentifier: self.qos == .atMostOnce ? 0 : 1,
            payload: payload
        ).encode(into: &self.packet, version: self.client.version)
        self.payloadOffset = self.packet.readableBytes - payload.count
        let propertyBytes = self.client.version == .v5_0 ? 1 : 0
        self.identifierOffset = self.payloadOffset - propertyBytes - 2
    }

    /// Of a PUBLISH on the wire.
    var packetBytes: Int { self.packet.readableBytes }

    /// - Parameter identifier: nil: the next one in turn.
    func send(due: UInt64, identifier: UInt16? = nil) {
        let bytes = self.packet.mutableReadable
        if self.qos != .atMostOnce {
            let identifier = identifier ?? UInt16(self.sent % 65_535) + 1
            bytes.storeBytes(of: identifier.bigEndian, toByteOffset: self.identifierOffset, as: UInt16.self)
        }
        MessageStamp(publisher: self.index, sequence: UInt32(truncatingIfNeeded: self.sent), due: due).write(
            into: UnsafeMutableRawBufferPointer(rebasing: bytes[self.payloadOffset...])
        )
        self.client.output.write(self.packet.readable)
        self.client.markDirty()
        self.sent += 1
    }

    func wasAcknowledged() { self.acknowledged += 1 }
}
