/// Section 3.8.
public struct SubscribePacket: Equatable, Sendable {
    public enum RetainHandling: UInt8, Sendable {
        case send = 0
        case sendIfNew = 1
        case doNotSend = 2
    }

    public struct Subscription: Equatable, Sendable {
        public var filter: [UInt8]
        public var qos: QoS
        public var noLocal: Bool
        public var retainAsPublished: Bool
        public var retainHandling: RetainHandling

        public init(
            filter: [UInt8],
            qos: QoS,
            noLocal: Bool = false,
            retainAsPublished: Bool = false,
            retainHandling: RetainHandling = .send
        ) {
            self.filter = filter
            self.qos = qos
            self.noLocal = noLocal
            self.retainAsPublished = retainAsPublished
            self.retainHandling = retainHandling
        }
    }

    public var packetIdentifier: UInt16
    public var properties: Properties
    public var subscriptions: [Subscription]

    public init(packetIdentifier: UInt16, properties: Properties = Properties(), subscriptions: [Subscription]) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.subscriptions = subscriptions
    }
}

extension SubscribePacket {
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) -> SubscribePacket {
        guard header.type == .subscribe else { throw .malformed("packet of another type than expected") }
        var reader = try TopicFilterReader(packet, header: header, version: version)
        var result = SubscribePacket(
            packetIdentifier: reader.packetIdentifier,
            properties: reader.properties,
            subscriptions: []
        )
        while let entry = try reader.next(packet) {
            result.subscriptions.append(
                Subscription(
                    filter: [UInt8](entry.filter),
                    qos: entry.qos,
                    noLocal: entry.noLocal,
                    retainAsPublished: entry.retainAsPublished,
                    retainHandling: entry.retainHandling
                )
            )
        }
        return result
    }

    static func decodeOptions(
        _ options: UInt8,
        of filter: TopicFilter.Parsed,
        _ version: ProtocolVersion,
        into entry: inout TopicFilterReader.Entry
    ) throws(DecodeError) {
        guard let qos = QoS(rawValue: options & 0b11) else { throw .malformed("SUBSCRIBE with QoS 3") }
        entry.qos = qos
        switch version {
        case .v3_1:
            // The upper six bits are "not used" there, and some clients let them be anything.
            break
        case .v3_1_1:
            // [MQTT-3.8.3-4] of 3.1.1.
            guard options <= 2 else { throw .malformed("reserved bits of the requested QoS are set") }
        case .v5_0:
            // [MQTT-3.8.3-5]
            guard options & 0b1100_0000 == 0 else { throw .malformed("reserved subscription options are set") }
            // Section 3.8.3.1.
            guard let handling = RetainHandling(rawValue: options >> 4 & 0b11) else {
                throw .malformed("retain handling 3")
            }
            entry.noLocal = options & 0b0100 != 0
            entry.retainAsPublished = options & 0b1000 != 0
            entry.retainHandling = handling
            // [MQTT-3.8.3-4]
            if entry.noLocal, filter != .plain {
                throw .protocolError("no local on a shared subscription")
            }
        }
    }

    public func encode(into buffer: inout ByteBuffer, version: ProtocolVersion) {
        buffer.write(PacketType.subscribe.rawValue << 4 | PacketType.subscribe.requiredFlags)
        let start = buffer.beginLength()
        buffer.writeBigEndian(self.packetIdentifier)
        if version.hasProperties { self.properties.encode(into: &buffer) }
        for subscription in self.subscriptions {
            buffer.writeMQTTString(subscription.filter)
            var options = subscription.qos.rawValue
            if version.hasProperties {
                if subscription.noLocal { options |= 0b0100 }
                if subscription.retainAsPublished { options |= 0b1000 }
                options |= subscription.retainHandling.rawValue << 4
            }
            buffer.write(options)
        }
        buffer.endLength(start)
    }
}
