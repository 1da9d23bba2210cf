import Common

// QoS 2 messages from a client, from their PUBLISH to their PUBREL (MQTT 5.0, section 4.3.3, method A).
extension RouterCore {
    /// Answers a PUBLISH whose identifier is under way: it must not cause a second delivery [MQTT-4.3.3-10].
    /// - Returns: false when it is a new message.
    mutating func isKnown(
        _ publish: PublishView,
        _ packet: UnsafeRawBufferPointer,
        topic: UnsafeRawBufferPointer,
        _ exchange: Exchange,
        _ session: Session
    ) -> Bool {
        let identifier = publish.packetIdentifier
        if exchange.isRepeated, session.exchanges?.isCompleted(exchange.identity) == true {
            if !exchange.hasPubrec { self.acknowledge(.pubrec, identifier, .success, session) }
            return true
        }
        guard let position = session.received.firstIndex(of: identifier) else {
            return false
        }
        if let message = session.received[position].message,
            !equalBytes(message.view.payload, UnsafeRawBufferPointer(rebasing: packet[publish.payload]))
                || !equalBytes(message.view.topic, topic)
        {
            // The client knows nothing of the other message any more.
            self.forget(session.received[position], session)
            return false
        }
        if !publish.dup, session.received[position].message != nil, self.isStuck(position, session) {
            self.close(session, .protocolError, "a QoS 2 PUBLISH came again and again without DUP")
            return true
        }
        if exchange.identity != 0 {
            // The listener goes by the last one. It keeps it too: what the store had of it, for a session that was to last, goes.
            self.recordForgotten(session.received[position], session)
            session.received[position].exchange = exchange.identity
            session.received[position].message?.header.exchange = exchange.identity
        }
        if !exchange.hasPubrec { self.acknowledge(.pubrec, identifier, .success, session) }
        return true
    }

    /// A message came that says that it did not come before [MQTT-3.3.1-1]. On each connection that is forgiven once, for a client that does so
    /// for ever is stuck; but one that has lost what it knew, and begins anew with its identifiers, sends it for the first time.
    private func isStuck(_ position: Int, _ session: Session) -> Bool {
        guard session.received[position].lastSentStamp == session.connectStamp else {
            session.received[position].lastSentStamp = session.connectStamp
            session.received[position].repetitions = 0
            return false
        }
        session.received[position].repetitions += 1
        return session.received[position].repetitions > 1
    }

    /// Keeps a message until its PUBREL, and sends PUBREC.
    /// - Parameter refusal: why it is not taken.
    mutating func hold(
        _ view: MessageView,
        _ identifier: UInt16,
        _ refusal: ReasonCode?,
        _ exchange: Exchange,
        _ session: Session
    ) {
        var reason = refusal
        let bytes = Message.countedBytes(of: view)
        if reason == nil, !exchange.hasPubrec, !self.hasRoom(for: bytes, session) {
            self.counters.droppedQueueFull += 1
            reason = .quotaExceeded
            // [MQTT-4.8.0-2] of 3.1.1: acknowledging it would lose it.
            guard session.hasProperties else { return self.close(session, .quotaExceeded) }
        }
        var held = Session.ReceivedMessage(packetIdentifier: identifier)
        held.exchange = exchange.identity
        held.isRepeated = exchange.isRepeated
        if reason == nil {
            // From its first PUBREC on its listener counts on the store: it says which of the exchanges are over.
            self.bringIntoStore(session)
            let message = Message.make(copying: view)
            message.header.exchange = exchange.identity
            held.message = message
            held.connectStamp = session.connectStamp
            held.lastSentStamp = session.connectStamp
            session.received.append(held)
            if held.isStored { self.recordReceived(identifier, message, session) }
            session.receivedBytes += bytes
            self.queuedBytes += bytes
        } else if !session.hasProperties || exchange.hasPubrec {
            // Before 5.0 there is no failure to tell: the exchange goes on without the message.
            session.received.append(held)
            if held.isStored { self.recordReceived(identifier, nil, session) }
        }
        guard !exchange.hasPubrec else { return }
        // In 5.0 a PUBREC with a failure ends the exchange [MQTT-4.3.3-9].
        self.acknowledge(.pubrec, identifier, reason ?? .success, session)
    }

    /// One message always finds room, as long as all sessions together have it.
    private mutating func hasRoom(for bytes: Int, _ session: Session) -> Bool {
        guard self.findRoom(for: bytes) else { return false }
        let most = min(self.settings.session.maxQueuedBytes, self.findShare(of: session.receivedBytes + bytes))
        return session.received.isEmpty || session.receivedBytes + bytes <= most
    }

    /// PUBREL came: the message goes on.
    mutating func release(_ identifier: UInt16, _ session: Session) {
        guard let position = session.received.firstIndex(of: identifier) else {
            // The PUBCOMP that its listener did not get leaves now.
            session.exchanges?.leaveLater(turn: self.turn + 1)
            return
        }
        let entry = session.received[position].message.flatMap { self.holdEntry(of: $0) }
        defer { if let entry { self.letGo(entry) } }
        let held = self.forget(at: position, session)
        guard let message = held.message else { return }
        // The exchange goes on though the message has expired meanwhile [MQTT-4.3.3-13].
        guard !self.isExpired(message) else {
            self.counters.droppedExpired += 1
            return
        }
        guard held.isStored else { return self.publishKept(message, held, session) }
        self.publishReleased(message, session)
    }

    /// Forgets what came on the connection that the session has, of which it turns out that its client had left it before we
    /// started: its listener sent it again. The client did so too, on its next connection, and may have been refused there.
    mutating func forgetReceivedOnThisConnection(_ session: Session) {
        for held in session.received where held.connectStamp == session.connectStamp { self.forget(held, session) }
    }

    mutating func forget(_ held: Session.ReceivedMessage, _ session: Session) {
        guard let position = session.received.firstIndex(of: held.packetIdentifier) else {
            return
        }
        _ = self.forget(at: position, session)
    }

    private mutating func forget(at position: Int, _ session: Session) -> Session.ReceivedMessage {
        let held = session.received.remove(at: position)
        self.recordForgotten(held, session)
        let bytes = held.message?.countedBytes ?? 0
        session.receivedBytes -= bytes
        self.queuedBytes -= bytes
        return held
    }
}
