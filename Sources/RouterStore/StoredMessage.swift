import Common

/// A message as a value of the store. Its parts are where they lie: valid as long as that memory is.
///
/// ```
///  | QoS | flags | expiry (8) | topic bytes (4) | properties bytes (4) | topic | properties | exchange (8) | payload |
/// ```
/// The flags are 1: retain; 2: there is an exchange.
/// Numbers are little-endian.
package struct StoredMessage {
    package var topic: UnsafeRawBufferPointer
    /// Encoded, without their length.
    package var properties: UnsafeRawBufferPointer
    package var payload: UnsafeRawBufferPointer
    /// By the wall clock, nanoseconds since 1970; `UInt64.max`: never.
    package var expiry: UInt64
    package var qos: QoS
    package var retain: Bool
    /// `ExchangeIdentity`; 0: none.
    package var exchange: UInt64

    package init(
        topic: UnsafeRawBufferPointer,
        properties: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer,
        expiry: UInt64,
        qos: QoS,
        retain: Bool,
        exchange: UInt64 = 0
    ) {
        self.topic = topic
        self.properties = properties
        self.payload = payload
        self.expiry = expiry
        self.qos = qos
        self.retain = retain
        self.exchange = exchange
    }

    /// Of its value, at most.
    var encodedBytes: Int { 26 + self.topic.count + self.properties.count + self.payload.count }

    package func encode(into buffer: inout ByteBuffer) {
        buffer.write(self.qos.rawValue)
        buffer.write((self.retain ? 1 : 0) | (self.exchange != 0 ? 2 : 0))
        buffer.writeLittleEndian(self.expiry)
        buffer.writeLittleEndian(UInt32(truncatingIfNeeded: self.topic.count))
        buffer.writeLittleEndian(UInt32(truncatingIfNeeded: self.properties.count))
        buffer.write(self.topic)
        buffer.write(self.properties)
        if self.exchange != 0 { buffer.writeLittleEndian(self.exchange) }
        buffer.write(self.payload)
    }

    /// Nil: the value is broken.
    package init?(_ value: UnsafeRawBufferPointer) {
        var reader = ByteReader(value)
        guard let level = reader.readUInt8(), let qos = QoS(rawValue: level), let flags = reader.readUInt8(),
            let expiry = reader.readLittleEndian(UInt64.self), let topicBytes = reader.readLittleEndian(UInt32.self),
            let propertiesBytes = reader.readLittleEndian(UInt32.self),
            let topic = reader.readBytes(Int(topicBytes)), TopicName.isValid(topic),
            let properties = reader.readBytes(Int(propertiesBytes))
        else { return nil }
        var exchange: UInt64 = 0
        if flags & 2 != 0 {
            guard let identity = reader.readLittleEndian(UInt64.self) else { return nil }
            exchange = identity
        }
        self.init(
            topic: topic,
            properties: properties,
            payload: reader.readRest(),
            expiry: expiry,
            qos: qos,
            retain: flags & 1 != 0,
            exchange: exchange
        )
    }
}
