import Common
import Glibc

/// What is the same for every receiver of a message.
struct MessageHeader {
    var topicBytes: Int
    var propertiesBytes: Int
    var payloadBytes: Int
    /// When it stops being worth delivering; `Instant.max`: never.
    var expiry: Instant
    var qos: QoS
    var retain: Bool
    /// `ExchangeIdentity` of a QoS 2 message that its publisher's listener keeps until PUBCOMP; 0: it is none.
    var exchange: UInt64 = 0
    /// Its number in the store; 0: it is not there.
    var storeNumber: UInt64 = 0
    /// Stored entries that name it.
    var storeReferences: UInt32 = 0
}

/// A published content: one block of memory, shared by all queues that hold it.
///
/// ```
///  | object header | MessageHeader | topic | forwarded properties, encoded | payload |
/// ```
///
/// It comes to be only when somebody has to keep it; what goes straight on is encoded from the received bytes.
final class Message: ManagedBuffer<MessageHeader, UInt8> {
    static func make(copying view: MessageView) -> Message {
        let count = view.topic.count + view.properties.count + view.payload.count
        let buffer = Message.create(minimumCapacity: count) { _ in
            MessageHeader(
                topicBytes: view.topic.count,
                propertiesBytes: view.properties.count,
                payloadBytes: view.payload.count,
                expiry: view.expiry,
                qos: view.qos,
                retain: view.retain
            )
        }
        buffer.withUnsafeMutablePointerToElements { elements in
            let topic = UnsafeMutableRawPointer(elements)
            Self.copy(view.topic, to: topic)
            Self.copy(view.properties, to: topic + view.topic.count)
            Self.copy(view.payload, to: topic + view.topic.count + view.properties.count)
        }
        return unsafeDowncast(buffer, to: Message.self)
    }

    /// One of which only the payload is known.
    static func make(payload: UnsafeRawBufferPointer) -> Message {
        let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        return Message.make(
            copying: MessageView(
                topic: nothing,
                properties: nothing,
                payload: payload,
                expiry: Instant.max,
                qos: .atMostOnce,
                retain: false
            )
        )
    }

    private static func copy(_ part: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) {
        if let source = part.baseAddress, part.count > 0 { memcpy(target, source, part.count) }
    }

    /// Bytes it is counted with in queues and limits.
    var countedBytes: Int { self.header.topicBytes + self.header.propertiesBytes + self.header.payloadBytes + 64 }

    static func countedBytes(of view: MessageView) -> Int {
        view.topic.count + view.properties.count + view.payload.count + 64
    }

    /// Refers to the message's memory: valid as long as somebody holds the message.
    var view: MessageView {
        let header = self.header
        let elements = self.withUnsafeMutablePointerToElements { UnsafeRawPointer($0) }
        let properties = elements + header.topicBytes
        return MessageView(
            topic: UnsafeRawBufferPointer(start: elements, count: header.topicBytes),
            properties: UnsafeRawBufferPointer(start: properties, count: header.propertiesBytes),
            payload: UnsafeRawBufferPointer(start: properties + header.propertiesBytes, count: header.payloadBytes),
            expiry: header.expiry,
            qos: header.qos,
            retain: header.retain
        )
    }
}

/// A message where it lies: in a received frame or in a `Message`.
struct MessageView {
    var topic: UnsafeRawBufferPointer
    /// Encoded, without their length: what every receiver that speaks MQTT 5.0 gets.
    var properties: UnsafeRawBufferPointer
    var payload: UnsafeRawBufferPointer
    /// `Instant.max`: never.
    var expiry: Instant
    var qos: QoS
    var retain: Bool
}
