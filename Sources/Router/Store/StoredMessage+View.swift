import Common
import RouterStore

extension StoredMessage {
    /// - Parameter wallOffset: the wall clock less ours.
    init(_ message: MessageView, wallOffset: UInt64) {
        self.init(
            topic: message.topic,
            properties: message.properties,
            payload: message.payload,
            expiry: message.expiry == Instant.max ? UInt64.max : message.expiry &+ wallOffset,
            qos: message.qos,
            retain: message.retain
        )
    }

    /// In memory of its own.
    func message(wallOffset: UInt64) -> Message {
        Message.make(
            copying: MessageView(
                topic: self.topic,
                properties: self.properties,
                payload: self.payload,
                expiry: self.expiry == UInt64.max ? Instant.max : Self.instant(self.expiry, wallOffset: wallOffset),
                qos: self.qos,
                retain: self.retain
            )
        )
    }

    /// A moment of the wall clock as one of ours; one before this host started has passed.
    static func instant(_ wall: UInt64, wallOffset: UInt64) -> Instant {
        wall > wallOffset ? wall - wallOffset : 0
    }
}
