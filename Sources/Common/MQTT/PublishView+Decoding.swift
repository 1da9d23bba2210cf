extension PublishView {
    /// Reads a PUBLISH that a client sent. Allocates nothing.
    ///
    /// - Parameters:
    ///   - packet: the whole packet, fixed header included.
    ///   - header: what `FixedHeader.decode` read from it.
    ///   - checksTopic: false: the caller does (`checkTopic`), because it may know the topic.
    /// - Throws: what MQTT 5.0 wants to be told; an alias beyond the maximum is for the caller to find.
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion,
        checksTopic: Bool = true
    ) throws(DecodeError) -> PublishView {
        var reader = try ByteReader(packet, after: header, of: .publish)
        var view = try Self.decodeFlags(header)
        guard let topicLength = reader.readBigEndian(UInt16.self), let topic = reader.readBytes(Int(topicLength)) else {
            throw .malformed("PUBLISH ends within its topic")
        }
        view.topic = reader.offset - topic.count..<reader.offset
        if view.qos != .atMostOnce { view.packetIdentifier = try reader.requirePacketIdentifier() }
        view.properties = reader.offset..<reader.offset
        if version.hasProperties {
            view.properties = try reader.requireProperties()
            if !view.properties.isEmpty { try view.readProperties(of: packet) }
        }
        view.payload = reader.offset..<packet.count
        if checksTopic { try Self.checkTopic(topic, hasAlias: view.topicAlias != 0) }
        return view
    }

    static func decodeFlags(_ header: FixedHeader) throws(DecodeError) -> PublishView {
        guard let qos = QoS(rawValue: header.flags >> 1 & 0b11) else {
            // [MQTT-3.3.1-4]
            throw .malformed("PUBLISH with QoS 3")
        }
        let dup = header.flags & 0b1000 != 0
        // [MQTT-3.3.1-2]
        if dup, qos == .atMostOnce { throw .malformed("PUBLISH with DUP and QoS 0") }
        return PublishView(
            dup: dup,
            qos: qos,
            retain: header.flags & 1 != 0,
            topic: 0..<0,
            packetIdentifier: 0,
            properties: 0..<0,
            payload: 0..<0,
            topicAlias: 0,
            messageExpiryInterval: nil
        )
    }

    /// Whether a client may publish to what it says; an empty name stands for the topic that its alias had before.
    public static func checkTopic(_ topic: UnsafeRawBufferPointer, hasAlias: Bool) throws(DecodeError) {
        guard topic.count > 0 else {
            // Section 3.3.2.1 and [MQTT-4.7.3-1].
            guard hasAlias else { throw .malformed("PUBLISH without topic and topic alias") }
            return
        }
        // [MQTT-3.3.2-2]; code 0x90 would say that the name is well-formed and not accepted (section 3.4.2.1).
        guard !TopicName.hasWildcard(topic) else { throw .malformed("topic name with a wildcard") }
        // [MQTT-3.3.2-1], [MQTT-4.7.3-2]
        guard MQTTText.isValid(topic) else {
            throw .malformed("topic name is not UTF-8, or has control characters in it")
        }
    }

    private mutating func readProperties(of packet: UnsafeRawBufferPointer) throws(DecodeError) {
        var cursor = PropertyCursor(
            packet,
            self.properties,
            allowed: .publish,
            repeatable: .none + .userProperty
        )
        while let property = try cursor.next() {
            switch property.identifier {
            case .topicAlias: self.topicAlias = UInt16(truncatingIfNeeded: property.integer)
            case .messageExpiryInterval: self.messageExpiryInterval = property.integer
            case .subscriptionIdentifier:
                // [MQTT-3.3.4-6]
                throw .protocolError("PUBLISH of a client with a subscription identifier")
            default: break
            }
        }
    }
}

extension PublishView {
    /// The encoded properties that go on to subscribers as they are and in their order ([MQTT-3.3.2-4], -15, -16, -17, -20):
    /// all but topic alias, message expiry interval and subscription identifiers. Without their length.
    ///
    /// `packet` is the one this view was decoded from.
    public func forwardedProperties(of packet: UnsafeRawBufferPointer) -> [UInt8] {
        var result: [UInt8] = []
        if self.properties.isEmpty { return result }
        result.reserveCapacity(self.properties.count)
        var cursor = PropertyCursor(packet, self.properties, allowed: .publish, repeatable: .publish)
        while let property = try? cursor.next() {
            if PropertySet.notForwarded.contains(property.identifier) { continue }
            result.append(contentsOf: packet[property.range])
        }
        return result
    }

    /// Whether the payload is what a payload format indicator of 1 promises; if not, the receiver may answer 0x99
    /// (section 3.3.2.3.2). `decode` does not look: a broker need not, and payloads are long.
    public static func payloadIsText(_ payload: UnsafeRawBufferPointer) -> Bool {
        MQTTText.isUTF8(payload)
    }
}
