/// A QoS 1 message in a session's queue that is not stored: whoever published it has it until it is on its way, or stored.
struct AwaitedMessage {
    let session: Session
    /// As `Session.unstoredQueued` counts.
    let position: UInt64

    var isWaiting: Bool { self.session.unstoredLeft < self.position }
}
