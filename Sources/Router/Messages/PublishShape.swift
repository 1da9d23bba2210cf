import Common

/// What makes the encoded PUBLISH of one message differ between receivers, apart from its packet id: receivers of one shape
/// get the same bytes.
struct PublishShape {
    /// MQTT 5.0.
    var hasProperties: Bool
    var qos: QoS
    var retain: Bool
    var dup = false
    /// The subscription identifier, 0: none. Further ones, of overlapping subscriptions, are told apart from the shape.
    var identifier: UInt32
    /// Topic alias, 0: none. Belongs to one connection: shapes that several receivers share have none.
    var alias: UInt16 = 0
    /// The alias alone names the topic.
    var omitsTopic = false

    /// The identifier left out, in one number.
    @inline(__always) var bits: UInt8 {
        (self.hasProperties ? 1 : 0) | (self.retain ? 2 : 0) | self.qos.level << 2
    }
}

/// The lengths of a PUBLISH about to be encoded.
struct PublishLayout {
    /// After the length field itself; 0 and unused before MQTT 5.0.
    let propertiesBytes: Int
    let bodyBytes: Int
    let packetBytes: Int
    /// Seconds left of the message expiry interval, if there is one.
    let expirySeconds: UInt32
    let hasExpiry: Bool

    init(
        _ view: MessageView,
        _ shape: PublishShape,
        furtherIdentifiers: borrowing [UInt32]? = nil,
        now: Instant
    ) {
        var body = 2 + (shape.omitsTopic ? 0 : view.topic.count) + view.payload.count
        if shape.qos.isAcknowledged { body += 2 }
        var properties = 0
        var seconds: UInt32 = 0
        var hasExpiry = false
        if shape.hasProperties {
            properties = view.properties.count
            if view.expiry != Instant.max {
                // What is left, begun seconds counted [MQTT-3.3.2-6].
                let left = view.expiry > now ? view.expiry - now : 0
                let rounded = left / Nanoseconds.perSecond + (left % Nanoseconds.perSecond == 0 ? 0 : 1)
                seconds = UInt32(clamping: rounded)
                hasExpiry = true
                properties += 5
            }
            if shape.alias != 0 { properties += 3 }
            if shape.identifier != 0 {
                properties += 1 + RawWriter.variableByteIntegerLength(Int(shape.identifier))
                for further in copy furtherIdentifiers ?? [] {
                    properties += 1 + RawWriter.variableByteIntegerLength(Int(further))
                }
            }
            body += RawWriter.variableByteIntegerLength(properties) + properties
        }
        self.propertiesBytes = properties
        self.bodyBytes = body
        self.packetBytes = 1 + RawWriter.variableByteIntegerLength(body) + body
        self.expirySeconds = seconds
        self.hasExpiry = hasExpiry
    }

    /// Identifiers and the expiry interval can make a packet longer than any packet can be.
    var isPossible: Bool { self.bodyBytes <= 268_435_455 }
}

extension RawWriter {
    /// Everything of a PUBLISH before its payload (MQTT 5.0, section 3.3).
    /// - Returns: where in the packet the packet id is; 0 with QoS 0.
    @inline(__always)
    mutating func writePublishHead(
        _ view: MessageView,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        furtherIdentifiers: [UInt32]? = nil,
        packetIdentifier: UInt16
    ) -> Int {
        let start = self.position
        let flags = (shape.dup ? 8 : 0) | shape.qos.level << 1 | (shape.retain ? 1 : 0)
        self.write(0x30 | flags)
        self.writeVariableByteInteger(layout.bodyBytes)
        if shape.omitsTopic {
            self.writeBigEndian(0 as UInt16)
        } else {
            self.writeBigEndian(UInt16(truncatingIfNeeded: view.topic.count))
            self.write(view.topic)
        }
        var identifierOffset = 0
        if shape.qos.isAcknowledged {
            identifierOffset = self.position - start
            self.writeBigEndian(packetIdentifier)
        }
        guard shape.hasProperties else { return identifierOffset }
        self.writeVariableByteInteger(layout.propertiesBytes)
        if layout.hasExpiry {
            self.write(PropertyIdentifier.messageExpiryInterval.rawValue)
            self.writeBigEndian(layout.expirySeconds)
        }
        if shape.alias != 0 {
            self.write(PropertyIdentifier.topicAlias.rawValue)
            self.writeBigEndian(shape.alias)
        }
        if shape.identifier != 0 {
            self.write(PropertyIdentifier.subscriptionIdentifier.rawValue)
            self.writeVariableByteInteger(Int(shape.identifier))
            for further in furtherIdentifiers ?? [] {
                self.write(PropertyIdentifier.subscriptionIdentifier.rawValue)
                self.writeVariableByteInteger(Int(further))
            }
        }
        self.write(view.properties)
        return identifierOffset
    }

    /// A whole PUBLISH: `layout.packetBytes` bytes.
    /// - Returns: where in the packet the packet id is; 0 with QoS 0.
    @inline(__always)
    @discardableResult
    mutating func writePublish(
        _ view: MessageView,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        furtherIdentifiers: [UInt32]? = nil,
        packetIdentifier: UInt16
    ) -> Int {
        let start = self.position
        let offset = self.writePublishHead(
            view,
            shape,
            layout,
            furtherIdentifiers: furtherIdentifiers,
            packetIdentifier: packetIdentifier
        )
        self.write(view.payload)
        precondition(self.position == start + layout.packetBytes, "a PUBLISH has another length than computed")
        return offset
    }
}
