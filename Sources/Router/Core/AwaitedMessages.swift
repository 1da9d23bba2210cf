/// The messages of the frame that is being handled that its answers wait for: one of each session, the last.
struct AwaitedMessages {
    private(set) var all: [AwaitedMessage] = []
    /// Of the frame.
    private var stamp: UInt64 = 1

    var isEmpty: Bool { self.all.isEmpty }

    /// Whether another message of the session can be waited for.
    func hasRoom(for session: Session) -> Bool {
        self.all.count < RouterLimits.awaitedPerFrameMax || self.position(of: session) != nil
    }

    /// To be called when there is room.
    mutating func note(_ awaited: AwaitedMessage) {
        if let known = self.position(of: awaited.session) {
            self.all[known] = awaited
        } else {
            awaited.session.awaitedPlace = self.stamp << 8 | UInt64(truncatingIfNeeded: self.all.count)
            self.all.append(awaited)
        }
    }

    @inline(__always)
    mutating func removeAll() {
        guard !self.all.isEmpty else { return }
        self.all.removeAll(keepingCapacity: true)
        self.stamp += 1
    }

    private func position(of session: Session) -> Int? {
        session.awaitedPlace >> 8 == self.stamp ? Int(session.awaitedPlace & 0xFF) : nil
    }
}
