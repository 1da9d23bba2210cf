/// A QoS 1 message, or a QoS 2 message that its listener keeps, that is not stored: whoever published it has it until it is where it is
/// safe, or stored.
struct AwaitedMessage {
    let session: Session
    /// As `Session.unstoredQueued` counts; of one that is under way as `Inflight` orders them.
    let position: UInt64
    /// Its client is to acknowledge it, for the session lasts; else it has to leave the queue.
    var isUnderWay = false

    var isWaiting: Bool {
        guard self.isUnderWay else { return self.session.unstoredLeft < self.position }
        let awaitedFrom = self.session.inflight.awaitedFrom
        return awaitedFrom != 0 && awaitedFrom <= self.position
    }
}
