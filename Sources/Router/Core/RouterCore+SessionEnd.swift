import Common

// How connections and sessions end (MQTT 5.0, sections 3.1.2.5, 3.1.2.11.2 and 4.1).
extension RouterCore {
    mutating func receivedClosed(_ frame: Frame, _ link: RouterLink) -> StaticString? {
        guard let end = ConnectionEnd(frame) else { return "broken sessionClosed frame" }
        defer { self.confirmGone(frame.handle, link) }
        guard let slot = link.slot(of: frame.handle) else { return nil }
        link.slots[slot].bytesToDiscard = 0
        guard link.slots[slot].session != RouterLink.Slot.noSession,
            let session = self.sessions[Int(link.slots[slot].session)]
        else {
            // Its DISCONNECT came just before.
            if link.disconnected?.handle == frame.handle, let session = link.disconnected?.session {
                self.connectionEnded(session, before: end.age)
                if end.endsSession, self.sessions[Int(session.index)] === session { self.endSession(session) }
                link.disconnected = nil
            }
            return nil
        }
        self.connectionClosed(session, end)
        return nil
    }

    /// The connection ended when no router could be told: will delay and session expiry began then. What is overdue waits as after a start,
    /// for a listener may hold a newer connection.
    mutating func connectionEnded(_ session: Session, before age: UInt64) {
        guard age > 0, !session.isConnected, self.sessions[Int(session.index)] === session else { return }
        session.willDue = session.willDue.map { $0 &- min($0, age) }
        session.expiryDue = session.expiryDue.map { $0 &- min($0, age) }
        session.dueNotBefore = self.now &+ RouterLimits.relinkGraceNanoseconds
        self.schedule(session)
        self.recordSession(session)
    }

    /// What its listener says of the end of a connection.
    mutating func connectionClosed(_ session: Session, _ end: ConnectionEnd) {
        switch end.cause {
        case .protocolError: self.counters.closedForErrors += 1
        case .connectionLost, .keepAliveTimeout, .listenerShutdown, .administrative, .revoked: break
        }
        // [MQTT-3.1.2-8]: no DISCONNECT came, so the will is published; but not that of a device that is trusted no more.
        // A listener that stops is a server that shuts down: its clients come back through another one, and their wills may wait
        // for that (section 3.1.2.5).
        let grace = end.cause == .listenerShutdown ? RouterLimits.restartGraceNanoseconds : 0
        // Section 4.1: a session may end by administrative action. Nobody is to find what was meant for a device that is trusted no more.
        if end.endsSession { session.expirySeconds = 0 }
        self.connectionEnded(
            session,
            publishesWill: end.cause != .revoked,
            mayHoldWill: !end.endsSession,
            willGraceNanoseconds: grace
        )
        self.connectionEnded(session, before: end.age)
    }

    /// The listener keeps what it said of the end until that is stored.
    mutating func confirmGone(_ handle: UInt64, _ link: RouterLink) {
        guard self.changes.isOn else { return }
        var frame = ByteBuffer()
        frame.writeFrameHeader(.sessionGone, handle: handle, bodyBytes: 0)
        self.send(afterCommit: frame, link)
    }

    /// Closes a client's connection for a reason of ours.
    mutating func close(_ session: Session, _ reason: ReasonCode, _ explanation: StaticString? = nil) {
        guard session.isConnected else { return }
        self.counters.closedForErrors += 1
        self.flushControl(session)
        self.writeClose(session, reason, explanation)
        self.connectionEnded(session, publishesWill: true, mayHoldWill: true)
    }

    /// Closes a client's connection because of a packet that does not decode.
    mutating func close(_ session: Session, _ error: DecodeError) {
        guard error.closesSilently, session.isConnected else {
            return self.close(session, error.reasonCode, error.explanation)
        }
        self.counters.closedForErrors += 1
        self.flushControl(session)
        self.writeClose(session, error.reasonCode, packet: UnsafeRawBufferPointer(start: nil, count: 0))
        self.connectionEnded(session, publishesWill: true, mayHoldWill: true)
    }

    /// Tells the listener to close the connection, with a DISCONNECT where the version has one for us to send.
    mutating func writeClose(_ session: Session, _ reason: ReasonCode, _ explanation: StaticString? = nil) {
        var buffer = ByteBuffer()
        // In the middle of a large packet nothing can be said any more.
        if session.hasProperties, session.pending?.partialOutput == nil {
            var disconnect = DisconnectPacket(reasonCode: reason)
            if let explanation, session.wantsReasonStrings {
                disconnect.properties.reasonString = Array(explanation.description.utf8)
            }
            disconnect.encode(into: &buffer, version: session.version)
            if buffer.readableBytes > session.maximumPacketBytes {
                // [MQTT-3.14.2-3]
                buffer.clear()
                DisconnectPacket(reasonCode: reason).encode(into: &buffer, version: session.version)
            }
            // [MQTT-3.1.2-24]
            if buffer.readableBytes > session.maximumPacketBytes { buffer.clear() }
            if !buffer.isEmpty { self.countSent(packets: 1, bytes: buffer.readableBytes) }
        }
        self.writeClose(session, reason, packet: buffer.readable)
    }

    func writeClose(_ session: Session, _ reason: ReasonCode, packet: UnsafeRawBufferPointer) {
        guard let link = session.link else { return }
        SessionEnd.encode(.sessionClose, into: &link.output, handle: session.handle, reason: reason, packet: packet)
    }

    /// The connection is gone: what belongs to it is forgotten, will and expiry take their course.
    /// - Parameters:
    ///   - willGraceNanoseconds: time that the client has to come back before its will is published, if its session lasts.
    ///   - attachGraceNanoseconds: time that its listener has to attach it again, before anything else happens.
    ///   - mayHoldWill: a will that is due may wait while the store is busy, and the end of the session behind it.
    mutating func connectionEnded(
        _ session: Session,
        publishesWill: Bool,
        mayHoldWill: Bool = false,
        willGraceNanoseconds: UInt64 = 0,
        attachGraceNanoseconds: UInt64 = 0
    ) {
        guard session.isConnected else { return }
        self.recordUnacknowledged(session)
        session.forgetAcknowledgements()
        self.detach(session)
        session.mayBeAttached = attachGraceNanoseconds > 0
        if attachGraceNanoseconds == 0 {
            self.unfinished.drop(session.storeNumber)
        } else {
            self.unfinished.release(session.storeNumber, due: self.now &+ RouterLimits.unclaimedPacketNanoseconds)
        }
        if !publishesWill {
            session.will = nil
        } else if let will = session.will?.message, !self.mayPublish(will, session) {
            // Also if its delay ends under another router, which does not know the rules.
            self.denied(will, session)
            session.will = nil
        }
        if let will = session.will {
            let expiry = UInt64(session.expirySeconds) * Nanoseconds.perSecond
            let wanted = max(UInt64(will.delaySeconds) * Nanoseconds.perSecond, willGraceNanoseconds)
            let delay = max(min(wanted, expiry), attachGraceNanoseconds)
            if delay == 0, mayHoldWill, self.isStoreBusy {
                self.holdWill(session)
            } else if delay == 0 {
                self.publishWill(session)
            } else {
                session.willDue = self.now &+ delay
            }
        }
        let isHeld = session.willDue == Self.overdue
        if session.expirySeconds == 0, attachGraceNanoseconds == 0, !isHeld { return self.endSession(session) }
        if session.expirySeconds != UInt32.max {
            let expiry = UInt64(session.expirySeconds) * Nanoseconds.perSecond
            session.expiryDue = self.now &+ max(expiry, attachGraceNanoseconds)
        }
        if attachGraceNanoseconds == 0 { self.recordIdentifiers(session) }
        self.schedule(session)
        // What is held is in the store with its session: as that of a client that is connected, which comes to the same when nobody attaches it.
        if !isHeld { self.recordSession(session) }
    }

    private mutating func detach(_ session: Session) {
        if let link = session.link {
            if let slot = link.slot(of: session.handle), link.slots[slot].session == session.index {
                link.slots[slot].session = RouterLink.Slot.noSession
                link.sessionCount -= 1
                if let partial = session.partialInput { link.slots[slot].discard(restOf: partial) }
            }
            self.dropPartial(session, link)
            self.dropUnfinishedFilters(session, link)
        }
        self.dropWaitingInput(session)
        self.connectedCount -= 1
        session.link = nil
        session.handle = RouterLink.noHandle
        session.credit = 0
        session.consumedBytes = 0
        session.isInCreditReturns = false
        session.isWaitingForLink = false
        session.isHeldBack = false
        session.heldCount = 0
        session.heldPublishes = 0
        session.heldRefusals = 0
        session.refusalTurn = 0
        session.isUnanswered = false
        session.topicAliases = []
        session.outboundAliases = nil
        session.partialInput = nil
        self.keepRetained(session)
        // QoS 0 messages do not wait for a client that is away.
        session.queueCheck?.position = 0
        var lostBytes = session.queue.bytes
        let lost = session.queue.removeAll { $0.qos.isAcknowledged }
        lostBytes -= session.queue.bytes
        self.queuedBytes -= lostBytes
        self.queuedMessages -= lost
        self.counters.droppedOffline += UInt64(lost)
        session.inflight.removeUnknown()
        session.inflight.releaseMemoryIfEmpty()
    }

    /// Retained messages that were asked for go on when the client comes back, which does not subscribe again.
    private func keepRetained(_ session: Session) {
        guard let cursors = session.pending?.retainedCursors else { return }
        session.dropPending()
        if !cursors.isEmpty { session.makePending().retainedCursors = cursors }
    }

    private mutating func dropPending(_ session: Session) {
        guard let cursors = session.pending?.retainedCursors else { return }
        session.dropPending()
        for var cursor in cursors {
            cursor.close(&self.retained)
            self.recordRetainedSent(cursor, session)
        }
    }

    // MARK: Time

    mutating func schedule(_ session: Session) {
        let due = [session.willDue, session.expiryDue].compactMap { $0 }.min()
        self.deadlines.set(session.index, deadline: due.map { max($0, session.dueNotBefore) })
    }

    /// A client comes to its session while it is not known what became of the connection before: it was lost, or this one takes the session
    /// over. Either way it ended without DISCONNECT, and a will without delay was due then [MQTT-3.1.2-8]. It is not published
    /// later, for it would come behind what the client says of itself now.
    mutating func connectionReplaced(_ session: Session, by stamp: UInt64) {
        // An older CONNECT replaces nothing; stamps after our start are of the host's boot before this one.
        guard session.mayBeAttached, stamp > session.connectStamp || session.connectStamp > self.startStamp else {
            return
        }
        session.mayBeAttached = false
        guard let will = session.will, min(will.delaySeconds, session.expirySeconds) == 0 else { return }
        self.publishWill(session)
    }

    /// - Parameter instant: now, or when the client came that waits for its session.
    mutating func deadlineReached(_ session: Session, at instant: Instant) {
        guard !session.isConnected else { return }
        if let due = session.willDue, due <= instant { self.publishWill(session) }
        if let due = session.expiryDue, due <= instant {
            self.counters.sessionsExpired += 1
            return self.endSession(session)
        }
        self.schedule(session)
        self.recordSession(session)
    }

    // MARK: Wills

    /// Due before anything else, and whenever the client's next CONNECT came.
    private static var overdue: Instant { 0 }

    /// Has a will wait until the store has caught up. Those of thousands of clients that vanish together are in memory already, and would
    /// otherwise all be there a second time, in front of what others publish.
    private mutating func holdWill(_ session: Session) {
        self.counters.willsHeld += 1
        session.willDue = Self.overdue
    }

    private mutating func publishWill(_ session: Session) {
        session.willDue = nil
        guard let will = session.will else { return }
        session.will = nil
        var message = will.message.view
        if let seconds = will.expirySeconds {
            // Counted from here: the will is published now (section 3.1.3.2.4).
            message.expiry = self.now &+ UInt64(seconds) * Nanoseconds.perSecond
        }
        guard self.mayPublish(will.message, session) else { return self.denied(will.message, session) }
        self.counters.willsPublished += 1
        self.publishStored(message, publisher: session.index)
        withExtendedLifetime(will.message) {}
    }

    private mutating func denied(_ will: Message, _ session: Session) {
        self.counters.publishesDenied += 1
        let message = will.view
        self.denials.note(session, .will, message.topic, message.qos, retain: message.retain, now: self.now)
    }

    private func mayPublish(_ will: Message, _ session: Session) -> Bool {
        let message = will.view
        return session.mayPublish(topic: message.topic, qos: message.qos, retain: message.retain)
            && !Self.isReserved(message.topic)
    }

    // MARK: The end

    /// Removes a session and everything of it. A pending will is published: the session's end is its latest moment.
    mutating func endSession(_ session: Session) {
        if session.isConnected { return }
        if session.will != nil { self.publishWill(session) }
        self.dropPending(session)
        self.recordEnd(session)
        self.deadlines.set(session.index, deadline: nil)
        self.queueExpiries.set(session.index, deadline: nil)
        for subscription in session.subscriptions {
            if subscription.isShared {
                _ = self.trie.removeShared(group: subscription.place, session: session.index)
            } else {
                _ = self.trie.remove(node: subscription.place, session: session.index)
            }
        }
        session.subscriptions.removeAll()
        while let held = session.received.last { self.forget(held, session) }
        self.sessionsByClient[session.clientIdentifier] = nil
        self.sessions[Int(session.index)] = nil
        self.freeSessions.append(session.index)
        self.redistributeAll(of: session)
    }

    /// What the session got through shared groups and did not acknowledge goes to other members (section 4.8.2), but for
    /// QoS 2 messages that it may have taken already [MQTT-4.8.2-5].
    private mutating func redistributeAll(of session: Session) {
        for identifier in session.inflight.identifiersInOrder() {
            guard let item = session.inflight.item(of: identifier), item.group != QueuedMessage.noGroup,
                item.qos != .exactlyOnce
            else { continue }
            self.redistribute(item)
        }
        session.inflight = Inflight()
        self.awaitedIsDone = true
        while let item = self.removeFirstQueued(session) {
            if item.group != QueuedMessage.noGroup { self.redistribute(item) }
        }
        session.unstoredGroup = self.changes.newestGroup
    }
}
