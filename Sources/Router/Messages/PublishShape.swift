import Common

/// What makes the encoded PUBLISH of one message differ between receivers, apart from its packet id: receivers of one shape
/// get the same bytes.
struct PublishShape: Equatable {
    var hasProperties: Bool
    var qos: QoS
    var retain: Bool
    var dup = false
    /// 0: none.
    var identifier: UInt32
    /// Of overlapping subscriptions; empty nearly always.
    var furtherIdentifiers: [UInt32] = []
    /// Topic alias, 0: none. Belongs to one connection: shapes that several receivers share have none.
    var alias: UInt16 = 0
    /// The alias alone names the topic.
    var omitsTopic = false

    /// Identifiers left out, in one number.
    @inline(__always) var bits: UInt8 {
        (self.hasProperties ? 1 : 0) | (self.retain ? 2 : 0) | self.qos.rawValue << 2
    }
}

/// The lengths of a PUBLISH about to be encoded.
struct PublishLayout {
    /// After the length field itself; 0 and unused before MQTT 5.0.
    let propertiesBytes: Int
    let bodyBytes: Int
    let packetBytes: Int
    /// Seconds left of the message expiry interval; nil: none.
    let expirySeconds: UInt32?

    init(_ view: MessageView, _ shape: PublishShape, now: Instant) {
        var body = 2 + (shape.omitsTopic ? 0 : view.topic.count) + view.payload.count
        if shape.qos != .atMostOnce { body += 2 }
        var properties = 0
        var seconds: UInt32?
        if shape.hasProperties {
            properties = view.properties.count
            if view.expiry != Instant.max {
                // What is left, begun seconds counted [MQTT-3.3.2-6].
                let left = view.expiry > now ? view.expiry - now : 0
                let rounded = left / Nanoseconds.perSecond + (left % Nanoseconds.perSecond == 0 ? 0 : 1)
                seconds = UInt32(clamping: rounded)
                properties += 5
            }
            if shape.alias != 0 { properties += 3 }
            if shape.identifier != 0 {
                properties += 1 + ByteBuffer.variableByteIntegerLength(Int(shape.identifier))
                for further in shape.furtherIdentifiers {
                    properties += 1 + ByteBuffer.variableByteIntegerLength(Int(further))
                }
            }
            body += ByteBuffer.variableByteIntegerLength(properties) + properties
        }
        self.propertiesBytes = properties
        self.bodyBytes = body
        self.packetBytes = 1 + ByteBuffer.variableByteIntegerLength(min(body, Limits.packetBodyBytesMax)) + body
        self.expirySeconds = seconds
    }

    /// Identifiers and the expiry interval can make a packet longer than any packet can be.
    var isPossible: Bool { self.bodyBytes <= Limits.packetBodyBytesMax }
}

extension ByteBuffer {
    /// Everything of a PUBLISH before its payload (MQTT 5.0, section 3.3).
    /// - Returns: where in the packet the packet id is; 0 with QoS 0.
    mutating func writePublishHead(
        _ view: MessageView,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        packetIdentifier: UInt16
    ) -> Int {
        let start = self.readableBytes
        self.reserve(16 + view.topic.count + layout.propertiesBytes)
        let flags = (shape.dup ? 8 : 0) | shape.qos.rawValue << 1 | (shape.retain ? 1 : 0)
        self.write(PacketType.publish.rawValue << 4 | flags)
        self.writeVariableByteInteger(layout.bodyBytes)
        self.writeMQTTString(shape.omitsTopic ? UnsafeRawBufferPointer(start: nil, count: 0) : view.topic)
        var identifierOffset = 0
        if shape.qos != .atMostOnce {
            identifierOffset = self.readableBytes - start
            self.writeBigEndian(packetIdentifier)
        }
        if shape.hasProperties {
            self.writeVariableByteInteger(layout.propertiesBytes)
            if let seconds = layout.expirySeconds {
                self.write(PropertyIdentifier.messageExpiryInterval.rawValue)
                self.writeBigEndian(seconds)
            }
            if shape.alias != 0 {
                self.write(PropertyIdentifier.topicAlias.rawValue)
                self.writeBigEndian(shape.alias)
            }
            if shape.identifier != 0 {
                self.write(PropertyIdentifier.subscriptionIdentifier.rawValue)
                self.writeVariableByteInteger(Int(shape.identifier))
                for further in shape.furtherIdentifiers {
                    self.write(PropertyIdentifier.subscriptionIdentifier.rawValue)
                    self.writeVariableByteInteger(Int(further))
                }
            }
            self.write(view.properties)
        }
        return identifierOffset
    }
}
