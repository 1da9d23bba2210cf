import Common

/// What a listener says of the end of a connection, in `sessionClosed`.
struct ConnectionEnd {
    var cause: SessionCloseCause
    /// Nanoseconds since it ended, when no router could be told then.
    var age: UInt64
    /// As `FrameFlags.endsSession`.
    var endsSession: Bool

    /// Nil when the body is broken.
    init?(_ frame: Frame) {
        guard let (cause, age) = SessionCloseCause.decode(frame.body) else { return nil }
        self.cause = cause
        self.age = age
        self.endsSession = frame.flags & FrameFlags.endsSession != 0
    }

    /// The device is trusted no more: its end does not wait for its turn.
    var isUrgent: Bool { self.endsSession || self.cause == .revoked }
}
