import Common
import RouterStore

extension StoredSession {
    init(_ session: Session, storeOffset: UInt64) {
        self.init()
        self.clientIdentifier = session.clientIdentifier
        self.expirySeconds = session.expirySeconds
        self.version = session.version
        self.isConnected = session.isConnected
        self.connectStamp = session.connectStamp
        self.isResumed = session.isResumed
        self.isResending = session.isResending
        self.expiryDue = session.expiryDue.map { $0 &+ storeOffset } ?? 0
        self.willDue = session.willDue.map { $0 &+ storeOffset } ?? 0
        // A will that its rules forbid would not be published; who comes back from the store has no rules until its client does.
        guard let will = session.will,
            session.mayPublish(
                topic: will.message.view.topic,
                qos: will.message.header.qos,
                retain: will.message.header.retain
            )
        else { return }
        self.willDelaySeconds = will.delaySeconds
        self.willExpirySeconds = will.expirySeconds
        var buffer = ByteBuffer()
        StoredMessage(will.message.view, storeOffset: storeOffset).encode(into: &buffer)
        self.will = buffer.array
    }
}
