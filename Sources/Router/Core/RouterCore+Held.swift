import Common

// What waits for the commit of what it promises.
extension RouterCore {
    /// Whether QoS 1 and 2 messages can be stored at the moment.
    var takesPromises: Bool { !self.changes.isInTrouble }

    /// The store works, and so much waits for its commit that what clients want stored waits where it is, until less does.
    @inline(__always)
    var isStoreBehind: Bool { self.isStoreBehind(by: self.uncommittedBytesMax) }

    /// The same of what the router does by itself: it gives way to clients.
    var isStoreBusy: Bool { self.isStoreBehind(by: self.uncommittedBytesMax / 2) }

    @inline(__always)
    private func isStoreBehind(by bytes: Int) -> Bool {
        self.changes.waitingBytes >= bytes && !self.changes.isInTrouble
    }

    /// Has something leave once a group is committed. What is held leaves in order.
    /// - Parameter leavesUnstored: as in `HeldAnswer`.
    mutating func hold(
        _ content: HeldAnswer.Content,
        _ group: UInt64,
        _ session: Session,
        _ link: RouterLink,
        leavesUnstored: Bool = false,
        debited: Int = 0
    ) {
        session.heldCount += 1
        var isPackets = false
        if case .packets = content {
            isPackets = true
            if self.refusesInFrame { session.heldRefusals += 1 }
        }
        // Made where it is to be: a variable would be copied.
        link.held.append(
            HeldAnswer(
                group: group,
                links: self.handedLinks & ~link.bit,
                // The one that is under way, and ends as that.
                turn: self.turn + 1,
                leavesUnstored: leavesUnstored,
                awaited: isPackets ? self.awaited.all : [],
                refuses: isPackets && self.refusesInFrame,
                completed: isPackets ? self.completedInFrame : 0,
                debited: debited,
                created: self.turn + 1,
                handle: session.handle,
                content: content
            )
        )
        if link.held[link.held.count - 1].waitsForLinks { self.waitsForHandOver = true }
    }

    /// Whether the frame that is being handled gave messages to other listeners that nobody else has once they are acknowledged.
    @inline(__always)
    func mustBeHandedOver(_ link: RouterLink) -> Bool {
        self.handedLinks & ~link.bit != 0 && self.changes.isOn
    }

    /// Has a frame leave once everything that was recorded up to now is committed, whether or not its session is still there.
    mutating func send(afterCommit frame: consuming ByteBuffer, _ link: RouterLink) {
        guard self.changes.newestGroup > self.changes.committed else { return link.output.write(frame.readable) }
        link.held.append(
            HeldAnswer(group: self.changes.newestGroup, handle: RouterLink.noHandle, content: .frame(frame.array))
        )
    }

    /// The last message that was sent to the session is not stored: whoever published it has it until this link's listener does.
    @inline(__always)
    mutating func noteUnstored(_ session: Session, _ link: RouterLink) {
        self.handedLinks |= link.bit
        if session.unhandedTurn <= link.handedTurn { session.unhandedSequence = session.inflight.nextSequence - 1 }
        session.unhandedTurn = self.turn + 1
    }

    /// Before a message for the session is stored, the ones before it are that its listener may not have: otherwise, were we
    /// killed now, this one would come first [MQTT-4.6.0-5].
    /// - Parameter identifier: of this one, if it has one already.
    mutating func recordUnhanded(_ session: Session, before identifier: UInt16 = 0) {
        if session.inflight.awaitedFrom != 0 { self.recordUnacknowledged(session, before: identifier) }
        guard session.isStored, session.unhandedTurn != 0, let link = session.link,
            session.unhandedTurn > link.handedTurn
        else { return }
        session.unhandedTurn = 0
        self.recordUnderWay(session, from: session.unhandedSequence, before: identifier)
    }

    /// Stores what is under way, from that sequence on, and is not stored.
    /// - Parameter identifier: of a message that is not among them.
    mutating func recordUnderWay(_ session: Session, from sequence: UInt64, before identifier: UInt16) {
        for other in session.inflight.identifiersInOrder(from: sequence) where other != identifier {
            guard let entry = session.inflight.entry(of: other), entry.number == 0, let item = entry.item,
                item.qos == .atLeastOnce || item.isKept
            else { continue }
            session.inflight.setNumber(self.takeItemNumber(item), of: other)
            if item.qos == .atLeastOnce {
                self.recordUnidentified(other, session)
            } else {
                self.recordInflight(other, item, session, isNew: true)
            }
        }
    }

    /// Holds back the first sending of a QoS 2 message until its packet identifier is stored; for QoS 1 it may be sent twice.
    /// - Returns: false when it can go at once.
    mutating func isHeldBack(
        _ identifier: UInt16,
        _ item: QueuedMessage,
        _ layout: PublishLayout,
        _ session: Session,
        _ link: RouterLink
    ) -> Bool {
        let isWhole = layout.packetBytes <= self.partBytes
        // What goes at once to a session that ends with its connection is in its listener's hands: all of it, or its beginning, and the
        // rest is kept.
        let mayGo = isWhole || self.mayBeginUnstored(item, session)
        guard item.number != 0 || !mayGo || !self.mayGoUnstored(item, session) else { return false }
        self.recordUnhanded(session, before: identifier)
        if item.number == 0 { session.inflight.setNumber(self.takeItemNumber(item), of: identifier) }
        guard item.qos == .exactlyOnce else {
            if item.number == 0 { self.recordUnidentified(identifier, session) }
            self.noteUnidentified(session)
            return false
        }
        self.recordInflight(identifier, item, session, isNew: item.number == 0)
        session.touchedGroup = self.changes.group
        let debited = isWhole ? layout.packetBytes : 0
        if isWhole { self.debit(debited, session, link) }
        session.heldPublishes += 1
        self.hold(.publish(identifier), session.touchedGroup, session, link, debited: debited)
        return true
    }

    private func mayBeginUnstored(_ item: QueuedMessage, _ session: Session) -> Bool {
        item.qos == .atLeastOnce && self.unfinished.mayBegin(session.storeNumber, item.message, now: self.now)
    }

    /// All groups up to this one are committed: what waited for them leaves.
    package mutating func committed(upTo group: UInt64, now: Instant) {
        self.now = now
        self.changes.commit(upTo: group)
        self.releaseHeld()
        self.closeUnanswered()
        self.tellStored()
    }

    /// What was written for a link up to the end of that turn is with the listener.
    package mutating func handedOver(_ index: Int, turn: UInt64) {
        guard index < self.links.count, let link = self.links[index] else { return }
        link.handedTurn = max(link.handedTurn, turn)
        self.finishPackets(link, turn: turn)
    }

    private mutating func finishPackets(_ link: RouterLink, turn: UInt64) {
        let count = link.writtenPackets.prefix { $0.turn <= turn }.count
        guard count > 0 else { return }
        for (_, packet) in link.writtenPackets.prefix(count) { self.unfinished.finish(packet) }
        link.writtenPackets.removeFirst(count)
        self.runnable += self.waitsForUnfinished.sorted()
        self.waitsForUnfinished = []
    }

    /// Lets go what waits for nothing any more.
    package mutating func releaseHeld() {
        self.waitsForHandOver = false
        self.awaitedIsDone = false
        for link in self.links {
            guard let link, !link.held.isEmpty else { continue }
            self.releaseHeld(link)
        }
        self.settle()
    }

    private mutating func releaseHeld(_ link: RouterLink) {
        // What is released may hold new things back: those stay behind the rest, and are not looked at.
        let count = link.held.count
        var kept = 0
        // Answers to one client stay in order.
        var waiting: Set<UInt64> = []
        for position in 0..<count {
            if self.leaves(position, link, waiting) {
                self.release(link.takeHeld(at: position), link)
            } else {
                if link.held[position].waitsForLinks { self.waitsForHandOver = true }
                waiting.insert(link.held[position].handle)
                if kept < position { link.held.swapAt(kept, position) }
                kept += 1
            }
        }
        link.held.removeSubrange(kept..<count)
    }

    private mutating func leaves(_ position: Int, _ link: RouterLink, _ waiting: Set<UInt64>) -> Bool {
        if !link.held[position].awaited.isEmpty { self.lookAtAwaited(of: &link.held[position], link) }
        return self.mayLeave(link.held[position]) && (waiting.isEmpty || !waiting.contains(link.held[position].handle))
    }

    @inline(__always)
    private func mayLeave(_ answer: HeldAnswer) -> Bool {
        if case .accepted = answer.content, self.changes.isInTrouble { return true }
        guard answer.awaited.isEmpty else { return false }
        guard answer.group <= self.changes.committed || (answer.leavesUnstored && self.changes.isInTrouble) else {
            return false
        }
        guard answer.links != 0 else { return true }
        for link in self.links {
            guard let link, answer.links & link.bit != 0 else { continue }
            if link.handedTurn < answer.turn { return false }
        }
        return true
    }

    /// The client's message could not be stored, and its version has no word for that.
    mutating func leaveUnanswered(_ session: Session) {
        guard !session.isUnanswered else { return }
        session.isUnanswered = true
        self.unanswered.insert(session.index)
    }

    /// Clients send again what was not acknowledged when they come back, and not before [MQTT-4.4.0-1].
    private mutating func closeUnanswered() {
        guard !self.unanswered.isEmpty, self.takesPromises else { return }
        let indexes = self.unanswered.sorted()
        self.unanswered = []
        for index in indexes {
            if let session = self.sessions[Int(index)], session.isUnanswered { self.closeUnanswered(session) }
        }
        self.settle()
    }

    mutating func closeUnanswered(_ session: Session) {
        guard session.isConnected else { return }
        self.counters.closedUnanswered += 1
        self.flushControl(session)
        self.writeClose(session, .quotaExceeded)
        let grace = RouterLimits.restartGraceNanoseconds
        self.connectionEnded(session, publishesWill: true, willGraceNanoseconds: grace)
    }

    /// Its client is about to be told what the next router would not know. Its listener has to know that before the client.
    /// - Parameter group: in which it is.
    mutating func noteUnstoredAnswer(_ group: UInt64, _ session: Session, _ link: RouterLink) {
        let former = self.unstored[session.index]
        self.unstored[session.index] = max(group, former ?? 0)
        if former == nil { SessionUnstored.encode(true, into: &link.output, handle: session.handle) }
    }

    private mutating func tellStored() {
        guard !self.unstored.isEmpty else { return }
        for index in self.unstored.keys.sorted() {
            if let session = self.sessions[Int(index)] { self.tellStored(session) } else { self.unstored[index] = nil }
        }
        self.settle()
    }

    /// A session whose link is broken is told when it is attached again.
    mutating func tellStored(_ session: Session) {
        guard let link = session.link, let group = self.unstored[session.index], group <= self.changes.committed else {
            return
        }
        self.unstored[session.index] = nil
        SessionUnstored.encode(false, into: &link.output, handle: session.handle)
    }

    /// Commits fail, or work again.
    package mutating func storeIsInTrouble(_ isInTrouble: Bool) {
        self.changes.isInTrouble = isInTrouble
        // What was to wait for the commit that turned out to fail, and need not.
        if isInTrouble { self.releaseHeld() }
    }

    private mutating func release(_ answer: HeldAnswer, _ link: RouterLink) {
        if case .frame(let bytes) = answer.content { return link.output.write(bytes) }
        // Of a connection that has ended meanwhile: its client asks again, or gets it again, on the next one.
        guard let slot = link.slot(of: answer.handle), link.slots[slot].session != RouterLink.Slot.noSession,
            let session = self.sessions[Int(link.slots[slot].session)], session.handle == answer.handle
        else {
            if case .message = answer.content { self.counters.droppedOffline += 1 }
            return self.creditReturned(answer.debited, link)
        }
        session.heldCount -= 1
        if answer.leavesUnstored, answer.group > self.changes.committed {
            self.leaveUnstored(answer, session, link)
        }
        // The frequent ones by themselves: a switch copies whatever it is about.
        if case .publish(let identifier) = answer.content {
            session.heldPublishes -= 1
            return self.releasePublish(identifier, debited: answer.debited, session, link)
        }
        if case .packets(let packets) = answer.content {
            if answer.refuses {
                session.heldRefusals -= 1
                session.refusalTurn = self.turn + 1
            }
            if answer.completed > 0 { session.exchanges?.left(answer.completed, turn: self.turn + 1) }
            return packets.withUnsafeBytes { self.sendControl($0, session) }
        }
        switch answer.content {
        case .message(let item): self.enqueue(item, session)
        case .pump:
            session.pending?.isPumpHeld = false
            self.markForPump(session)
        case .accepted(let frame):
            link.output.write(frame)
            session.credit = Int(link.peer.sessionCreditBytes)
            if session.hasBacklog { self.markForPump(session) }
        case .publish, .packets, .frame, .nothing: break
        }
    }

    /// A SUBACK or UNSUBACK leaves that is not stored, or what comes behind it.
    private mutating func leaveUnstored(_ answer: HeldAnswer, _ session: Session, _ link: RouterLink) {
        if case .packets = answer.content { self.noteUnstoredAnswer(answer.group, session, link) }
        guard let pending = session.pending, pending.retainedGroup <= answer.group else { return }
        pending.retainedGroup = 0
        self.markForPump(session)
    }

    /// - Parameter debited: goes back if it is not written now.
    private mutating func releasePublish(
        _ identifier: UInt16,
        debited: Int,
        _ session: Session,
        _ link: RouterLink
    ) {
        guard session.inflight.stage(of: identifier) == .published, let item = session.inflight.item(of: identifier)
        else {
            // The client has answered what it was not sent.
            return self.notWritten(debited, session, link)
        }
        let shape = item.shape(hasProperties: session.hasProperties)
        let further = item.furtherIdentifiers
        let layout = PublishLayout(item.message.view, shape, furtherIdentifiers: further, now: self.now)
        let isWhole = layout.packetBytes <= self.partBytes
        if let pending = session.pending, pending.partialOutput != nil || !pending.resend.isEmpty {
            // Behind a large packet that is on its way, and those that wait behind it already.
            self.notWritten(debited, session, link)
            session.sendQuota += 1
            pending.resend.insert(identifier, at: 0)
            pending.unsent.insert(identifier)
            return
        }
        if isWhole {
            self.writeWhole(item, shape, layout, identifier, session, link)
        } else {
            self.write(item, shape, layout, identifier, session, link)
            self.markForPump(session)
        }
        withExtendedLifetime(item.message) {}
    }
}
