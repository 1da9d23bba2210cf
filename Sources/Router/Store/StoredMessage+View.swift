import Common
import RouterStore

extension StoredMessage {
    /// - Parameter storeOffset: the store's time less ours.
    init(_ message: MessageView, storeOffset: UInt64, exchange: UInt64 = 0) {
        self.init(
            topic: message.topic,
            properties: message.properties,
            payload: message.payload,
            expiry: message.expiry == Instant.max ? UInt64.max : message.expiry &+ storeOffset,
            qos: message.qos,
            retain: message.retain,
            exchange: exchange
        )
    }

    /// In memory of its own.
    func message(storeOffset: UInt64) -> Message {
        let message = Message.make(
            copying: MessageView(
                topic: self.topic,
                properties: self.properties,
                payload: self.payload,
                expiry: self.expiry == UInt64.max ? Instant.max : Self.instant(self.expiry, storeOffset: storeOffset),
                qos: self.qos,
                retain: self.retain
            )
        )
        message.header.exchange = self.exchange
        return message
    }

    /// A moment of the store's time as one of ours; one before this host started has passed.
    static func instant(_ stored: UInt64, storeOffset: UInt64) -> Instant {
        stored > storeOffset ? stored - storeOffset : 0
    }
}
