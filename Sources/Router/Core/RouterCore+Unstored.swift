import Common

// QoS 1 messages, and QoS 2 messages that listeners keep, which wait in the queue of a session that ends with its connection and are
// not stored: most waits are for a few milliseconds. Until they are on their way their publishers get no PUBACK or PUBCOMP, so that
// they, or their listeners, have them should we be killed. QoS 1 messages to clients with lasting sessions that acknowledge soon are
// not stored either until they do: see docs/adr/0023.
extension RouterCore {
    // MARK: Waiting in a queue

    /// Whether a message may wait without being stored. Where some are stored already the client is slow, and its publishers
    /// should not wait for it.
    func mayWaitUnstored(_ item: QueuedMessage, _ session: Session) -> Bool {
        guard session.isStored, !session.isDurable, session.isConnected, item.number == 0,
            item.qos == .atLeastOnce || (item.isKept && session.link?.takesExchanges == true),
            !self.storesAllCopies, !self.changes.isInTrouble
        else { return false }
        return session.queue.storedCount == 0 && session.queue.bytes < RouterLimits.unstoredBytesMax
            && self.awaited.hasRoom(for: session)
    }

    /// The publisher's answer waits for the message that was just put into the queue.
    mutating func awaitDelivery(_ session: Session) {
        session.unstoredQueued += 1
        self.note(AwaitedMessage(session: session, position: session.unstoredQueued))
    }

    private mutating func note(_ awaited: AwaitedMessage) {
        self.awaited.note(awaited)
        self.lookAgain(awaited)
    }

    /// A message is in the queue no more.
    @inline(__always)
    func leftQueue(_ item: QueuedMessage, _ session: Session) {
        guard session.hasUnstoredQueued, item.qos.isAcknowledged else { return }
        session.unstoredLeft += 1
    }

    /// Stores what waits in the queue and is not stored, and before it what its listener may not have.
    mutating func storeQueue(_ session: Session) {
        guard session.hasUnstoredQueued else { return }
        self.recordUnhanded(session)
        var queue = session.queue
        session.queue = SessionQueue()
        queue.updateEach { self.record(&$0, session) }
        session.queue = queue
        session.unstoredGroup = self.changes.group
        session.unstoredLeft = session.unstoredQueued
    }

    /// Stores what has waited too long.
    mutating func storeWhatWaitsLong() {
        let due = self.unstoredQueues.prefix { $0.due <= self.now }
        guard !due.isEmpty else { return }
        self.unstoredQueues.removeFirst(due.count)
        for (_, awaited) in due {
            let session = awaited.session
            session.isInUnstoredQueues = false
            if awaited.isWaiting {
                session.acknowledgesSoon = false
                self.storeQueue(session)
                self.recordUnacknowledged(session)
            }
            if let last = self.lastUnacknowledged(session) {
                self.lookAgain(last)
            } else if session.hasUnstoredQueued {
                self.lookAgain(AwaitedMessage(session: session, position: session.unstoredQueued))
            }
        }
    }

    private mutating func lookAgain(_ awaited: AwaitedMessage) {
        guard !awaited.session.isInUnstoredQueues else { return }
        awaited.session.isInUnstoredQueues = true
        self.unstoredQueues.append((self.now &+ RouterLimits.unstoredNanoseconds, awaited))
    }

    /// What a link that breaks has not taken, or its listener not read, is with nobody else once its publishers have their answers.
    mutating func storeUnhanded(_ link: RouterLink) {
        guard self.changes.isOn else { return }
        let records = self.changes.records
        for slot in link.slots where slot.session != RouterLink.Slot.noSession {
            guard let session = self.sessions[Int(slot.session)] else { continue }
            self.storeQueue(session)
            (session.unhandedTurn, session.unhandedSequence) = (UInt64.max, 0)
            self.recordUnhanded(session)
        }
        guard self.changes.records != records else { return }
        for other in self.links {
            guard let other else { continue }
            for position in other.held.indices where other.held[position].links & link.bit != 0 {
                other.held[position].group = self.changes.group
            }
        }
    }

    // MARK: Under way

    /// Whether a message may go to a client whose session lasts without being stored, for its publisher's PUBACK can wait for this one's.
    /// - Parameters:
    ///   - published: the QoS at which it was published.
    ///   - qos: at which it goes.
    func mayAwaitAcknowledgement(_ published: QoS, _ qos: QoS, _ session: Session) -> Bool {
        guard session.acknowledgesSoon, case .atLeastOnce = published, case .atLeastOnce = qos else { return false }
        return session.isDurable && !self.storesAllCopies && !self.changes.isInTrouble
            && session.inflight.bytes < RouterLimits.unstoredBytesMax
            && self.awaited.hasRoom(for: session)
    }

    /// The publisher's answer waits for the PUBACK of the message that was just sent.
    @inline(never)
    mutating func awaitAcknowledgement(_ session: Session) {
        session.inflight.awaitLast()
        session.timeAcknowledgement(now: self.now)
        if let last = self.lastUnacknowledged(session) { self.note(last) }
    }

    private func lastUnacknowledged(_ session: Session) -> AwaitedMessage? {
        guard session.inflight.awaitedFrom != 0 else { return nil }
        return AwaitedMessage(session: session, position: session.inflight.nextSequence - 1, isUnderWay: true)
    }

    /// Stores what is under way and neither stored nor acknowledged.
    /// - Parameter identifier: of a message that is not among them.
    mutating func recordUnacknowledged(_ session: Session, before identifier: UInt16 = 0) {
        let from = session.inflight.awaitedFrom
        guard from != 0 else { return }
        self.recordUnderWay(session, from: from, before: identifier)
        session.inflight.awaitNothing()
        session.unstoredGroup = self.changes.group
        // Identifiers of later ones may have been stored meanwhile.
        session.unidentifiedSequence = min(session.unidentifiedSequence, from)
        self.noteUnidentified(session)
    }

    // MARK: Answers

    /// Drops what waits no more from what an answer waits for: from then on it waits for the hand-over, or the commit.
    mutating func lookAtAwaited(of answer: inout HeldAnswer, _ link: RouterLink) {
        guard answer.awaited.contains(where: { !$0.isWaiting }) else { return }
        var waiting: [AwaitedMessage] = []
        for awaited in answer.awaited {
            guard !awaited.isWaiting else {
                waiting.append(awaited)
                continue
            }
            let session = awaited.session
            answer.group = max(answer.group, session.unstoredGroup)
            if awaited.isUnderWay { continue }
            if session.unhandedTurn == 0 {
                // Stored after it had left the queue.
                answer.group = max(answer.group, self.changes.newestGroup)
            }
            guard let receiver = session.link, receiver !== link else { continue }
            answer.links |= receiver.bit
            answer.turn = max(answer.turn, session.unhandedTurn)
        }
        answer.awaited = waiting
    }
}
