import Common

// Messages that expire while they wait give their room back (MQTT 5.0, section 3.3.2.3.3): soon after they did so, and at once where a
// live one needs it. Each queue knows which of its messages expire (`MessageExpiries`), and `queueExpiries` in which queue one is next:
// nothing is looked at that has not expired. What is under way does not expire [MQTT-4.3.3-7]. See docs/adr/0026.
extension RouterCore {
    func isExpired(_ message: Message) -> Bool { message.header.expiry <= self.now }

    /// When there are expired messages to be taken out; nil: none that are here will expire.
    var nextSweep: Instant? {
        let next = min(self.queueExpiries.earliest ?? .max, self.retained.nextExpiry ?? .max)
        return next == .max ? nil : max(next, self.sweepNotBefore)
    }

    /// To be called when something was put into the session's queue that may expire.
    mutating func scheduleSweep(_ session: Session) {
        guard let earliest = session.queue.earliestExpiry else { return }
        if let known = self.queueExpiries.deadline(of: session.index), known <= earliest { return }
        self.queueExpiries.set(session.index, deadline: earliest)
    }

    /// Takes expired messages out of all queues, and retained ones: as many as a turn allows, and no more while many changes wait for their
    /// commit.
    mutating func sweepExpired() {
        guard let due = self.nextSweep, due <= self.now else { return }
        guard self.changes.waitingBytes < RouterLimits.sweptUncommittedBytesMax else {
            self.sweepNotBefore = self.now &+ MessageExpiries.stepNanoseconds
            return
        }
        self.dropExpiredRetained(atMost: RouterLimits.expiredPerTurn)
        for _ in 0..<RouterLimits.expiredPerTurn {
            guard let session = self.firstToSweep() else { return }
            self.dropExpired(of: session)
        }
    }

    /// Whether a message finds room in what all sessions may have together; what has expired makes room for it.
    mutating func findRoom(for bytes: Int) -> Bool {
        let total = self.settings.maxQueuedBytesTotal
        if self.queuedBytes + bytes <= total { return true }
        for _ in 0..<RouterLimits.expiredPerMessage {
            guard let session = self.firstToSweep() else { return false }
            self.dropExpired(of: session)
            if self.queuedBytes + bytes <= total { return true }
        }
        return false
    }

    /// What one session may have of the bytes of all queues, if it wants that much: as `queueShare`, but for what has expired.
    mutating func findShare(of wanted: Int) -> Int {
        let enough = min(wanted, self.settings.session.maxQueuedBytes)
        var share = self.queueShare
        for _ in 0..<RouterLimits.expiredPerMessage {
            guard share < enough, let session = self.firstToSweep() else { return share }
            self.dropExpired(of: session)
            share = self.queueShare
        }
        return share
    }

    /// Takes one expired message out of a session's queue.
    /// - Returns: the bytes that it counted; nil: there is none.
    @discardableResult
    mutating func dropExpired(of session: Session) -> Int? {
        guard let earliest = session.queue.earliestExpiry, earliest <= self.now else { return nil }
        // Answers that wait for messages in there count on their order.
        self.storeQueue(session)
        guard let item = session.queue.removeExpired(self.now) else { return nil }
        session.queueCheck?.removedAny()
        let bytes = item.message.countedBytes
        self.queuedBytes -= bytes
        self.queuedMessages -= 1
        self.work &+= RouterLimits.workPerExpired
        self.dropExpired(item, session)
        // It may have been the one that had to wait.
        if session.isConnected { self.markForPump(session) }
        return bytes
    }

    /// A message that has expired goes nowhere any more.
    mutating func dropExpired(_ item: QueuedMessage, _ session: Session) {
        self.counters.droppedExpired += 1
        self.recordDone(item, session)
    }

    /// - Returns: how many retained messages had expired, and are forgotten.
    @discardableResult
    mutating func dropExpiredRetained(atMost count: Int) -> Int {
        let expired = self.retained.removeExpired(self.now, atMost: count)
        for message in expired {
            self.counters.retainedExpired += 1
            self.recordNotRetained(message)
        }
        self.work &+= UInt64(expired.count) * RouterLimits.workPerExpired
        return expired.count
    }

    private mutating func firstToSweep() -> Session? {
        while let (index, due) = self.queueExpiries.first, due <= self.now {
            let session = self.sessions[Int(index)]
            let earliest = session?.queue.earliestExpiry
            if let session, let earliest, earliest <= self.now { return session }
            self.queueExpiries.set(index, deadline: earliest)
        }
        return nil
    }
}
