/// The topic filters of a SUBSCRIBE or UNSUBSCRIBE, one after the other as they lie in the packet: one with very many of them need not
/// be dealt with at once. It holds a place in the packet, and not the packet.
public struct TopicFilterReader: Sendable {
    /// A filter with what SUBSCRIBE asks for; UNSUBSCRIBE has the filter alone.
    public struct Entry {
        public var filter: UnsafeRawBufferPointer
        public var qos = QoS.atMostOnce
        public var noLocal = false
        public var retainAsPublished = false
        public var retainHandling = SubscribePacket.RetainHandling.send
    }

    public let type: PacketType
    public let packetIdentifier: UInt16
    public let properties: Properties
    /// 0: none is given.
    public var subscriptionIdentifier: UInt32 { self.properties.subscriptionIdentifiers.first ?? 0 }
    private let version: ProtocolVersion
    private let start: Int
    private var position: Int

    /// - Parameter packet: as in each call: the same bytes, wherever they are.
    public init(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) {
        let isSubscribe = header.type == .subscribe
        self.type = isSubscribe ? .subscribe : .unsubscribe
        self.version = version
        var reader = try ByteReader(packet, after: header, of: self.type)
        self.packetIdentifier = try reader.requirePacketIdentifier(zeroCode: .malformedPacket)
        self.properties =
            version.hasProperties
            ? try reader.requireProperties(
                of: packet,
                allowed: isSubscribe ? .subscribe : .unsubscribe,
                strayCode: .malformedPacket
            ) : Properties()
        // [MQTT-3.8.3-2], [MQTT-3.10.3-2]
        if reader.isAtEnd {
            throw .malformed(isSubscribe ? "SUBSCRIBE without topic filters" : "UNSUBSCRIBE without topic filters")
        }
        self.start = reader.offset
        self.position = reader.offset
    }

    /// Nil: there was none any more.
    public mutating func next(_ packet: UnsafeRawBufferPointer) throws(DecodeError) -> Entry? {
        var reader = ByteReader(packet)
        reader.position = self.position
        guard !reader.isAtEnd else { return nil }
        let filter = try reader.requireText()
        let parsed = try TopicFilter.require(filter)
        var entry = Entry(filter: filter)
        if self.type == .subscribe {
            let options = try reader.requireUInt8()
            try SubscribePacket.decodeOptions(options, of: parsed, self.version, into: &entry)
        }
        self.position = reader.offset
        return entry
    }

    /// Stands before the first one again.
    public mutating func rewind() {
        self.position = self.start
    }
}
