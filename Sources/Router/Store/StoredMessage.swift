import Common

/// A message as a value of the store: QoS, retain flag, expiry by the wall clock (nanoseconds since 1970; all ones: never),
/// lengths of topic and properties, then topic, properties and payload.
enum StoredMessage {
    private static var headerBytes: Int { 18 }

    static func encode(_ message: MessageView, wallOffset: UInt64, into buffer: inout ByteBuffer) {
        buffer.write(message.qos.level)
        buffer.write(message.retain ? 1 : 0)
        let expiry = message.expiry == Instant.max ? UInt64.max : message.expiry &+ wallOffset
        buffer.writeLittleEndian(expiry)
        buffer.writeLittleEndian(UInt32(truncatingIfNeeded: message.topic.count))
        buffer.writeLittleEndian(UInt32(truncatingIfNeeded: message.properties.count))
        buffer.write(message.topic)
        buffer.write(message.properties)
        buffer.write(message.payload)
    }

    /// Nil: the value is broken.
    static func decode(_ value: UnsafeRawBufferPointer, wallOffset: UInt64) -> Message? {
        var reader = ByteReader(value)
        guard let qos = reader.readUInt8(), qos <= 2, let flags = reader.readUInt8(),
            let expiry = reader.readLittleEndian(UInt64.self), let topicBytes = reader.readLittleEndian(UInt32.self),
            let propertiesBytes = reader.readLittleEndian(UInt32.self),
            let topic = reader.readBytes(Int(topicBytes)), TopicName.isValid(topic),
            let properties = reader.readBytes(Int(propertiesBytes))
        else { return nil }
        let view = MessageView(
            topic: topic,
            properties: properties,
            payload: reader.readRest(),
            expiry: expiry == UInt64.max ? Instant.max : Self.instant(expiry, wallOffset: wallOffset),
            qos: QoS(level: qos),
            retain: flags & 1 != 0
        )
        return Message.make(copying: view)
    }

    /// A moment of the wall clock as one of ours; one before this host started has passed.
    static func instant(_ wall: UInt64, wallOffset: UInt64) -> Instant {
        wall > wallOffset ? wall - wallOffset : 0
    }
}
