import Common

// QoS 2 messages from sessions that end with their connections to such sessions. Nothing of them is stored: the publisher's listener
// keeps each until its PUBCOMP and sends it again to the next router, and the subscribers' listeners say which ones their clients
// have. See docs/adr/0014.
extension RouterCore {
    func exchanges(of session: Session) -> SessionExchanges {
        if let exchanges = session.exchanges { return exchanges }
        let made = SessionExchanges(identity: Self.identity(of: session))
        session.exchanges = made
        return made
    }

    private static func identity(of session: Session, publishCount: UInt64 = 0) -> ExchangeIdentity {
        ExchangeIdentity(
            clientIdentifier: session.clientIdentifier,
            sessionNumber: session.storeNumber,
            connectStamp: session.connectStamp,
            publishCount: publishCount
        )
    }

    // MARK: From a publisher

    /// What a QoS 2 PUBLISH is called.
    struct Exchange {
        /// 0: the store has it.
        var identity: UInt64 = 0
        /// The listener sends it again.
        var isRepeated = false
        /// The client has the PUBREC.
        var hasPubrec = false
    }

    /// Takes from a frame what the packet in it is called, which the listener sends again.
    /// - Returns: nil when the frame is broken.
    func takeRepeated(_ body: inout UnsafeRawBufferPointer, flags: UInt8) -> Exchange? {
        var reader = ByteReader(body)
        guard let identity = reader.readLittleEndian(UInt64.self), identity != 0, !reader.isAtEnd else { return nil }
        body = reader.readRest()
        return Exchange(identity: identity, isRepeated: true, hasPubrec: flags & FrameFlags.hasPubrec != 0)
    }

    /// Of the QoS 2 PUBLISH at hand.
    func nextExchange(_ session: Session) -> Exchange {
        guard session.keepsExchanges else { return Exchange() }
        let exchanges = self.exchanges(of: session)
        guard let repeated = exchanges.incoming else { return Exchange(identity: exchanges.identity.next()) }
        exchanges.incoming = nil
        return repeated
    }

    /// PUBREL came for a message that the listener keeps.
    mutating func publishKept(_ message: Message, _ held: Session.ReceivedMessage, _ session: Session) {
        let view = message.view
        if held.isRepeated {
            self.repeatedExchange = held.exchange
            self.exchanges(of: session).complete(repeated: held.exchange)
        }
        defer {
            self.repeatedExchange = 0
            self.repeatedReceivers = []
        }
        guard self.findReceivers(view.topic, of: session) else { return }
        if self.matchesGoUnstored(view) {
            self.settling.messages += self.matches.subscribers.count
            if self.matches.subscribers.count != 1 || !self.deliverNamed(message, to: self.matches.subscribers[0]) {
                self.deliverToMatches(view, kept: message)
            }
        } else {
            // Either all copies of a message are stored, or those that are not can be told apart when it comes again. Stored ones need
            // no name for that, unless it has come again: then a listener that comes later says who has it.
            if !held.isRepeated { message.header.exchange = 0 }
            self.publishReleased(message, session)
            self.complete(held.exchange, session)
        }
        withExtendedLifetime(message) {}
    }

    /// Sends a message for which `matchesGoUnstored` is true to one of its receivers, if nothing at all is in its way.
    /// - Returns: false: something is, and nothing was done.
    private mutating func deliverNamed(_ message: Message, to subscriber: Subscriber) -> Bool {
        guard self.repeatedExchange == 0, let session = self.sessions[Int(subscriber.session)], let link = session.link,
            link.admits(session.credit), !session.hasBacklog, session.heldPublishes == 0,
            session.outboundAliases == nil,
            self.mayStart(session), !session.inflight.isFull
        else { return false }
        let view = message.view
        let item = QueuedMessage(
            message: message,
            identifier: subscriber.options.identifier,
            qos: .exactlyOnce,
            retain: false
        )
        let shape = item.shape(hasProperties: session.hasProperties)
        let layout = PublishLayout(view, shape, now: self.now)
        guard layout.packetBytes <= self.partBytes, layout.packetBytes <= session.maximumPacketBytes else {
            return false
        }
        let identifier = session.inflight.add(consume item)
        session.sendQuota -= 1
        self.noteDelivered(message.header.exchange, session)
        self.debit(layout.packetBytes, session, link)
        link.writePublish(
            view,
            shape,
            layout,
            handle: session.handle,
            packetIdentifier: identifier,
            exchange: message.header.exchange
        )
        self.noteUnstored(session, link)
        return true
    }

    /// Finds who gets the message, without the trie where the session last published to that topic too.
    /// - Returns: as of `match`.
    mutating func findReceivers(_ topic: UnsafeRawBufferPointer, of session: Session) -> Bool {
        let isRecent = session.recentTopic.matches(topic)
        guard isRecent, session.recentTopic.isMatched(at: self.trie.revision) else {
            guard self.match(topic, publisher: session.index) else { return false }
            if isRecent { self.rememberMatches(session) }
            return true
        }
        self.matches.set(session.recentTopic.subscriber)
        return true
    }

    /// Whether all who get the message will be known to have it by what their listeners say.
    private func matchesGoUnstored(_ message: MessageView) -> Bool {
        // Names go with whole packets alone.
        guard self.matches.groups.isEmpty, self.matches.furtherIdentifiers.isEmpty, !message.retain,
            Message.countedBytes(of: message) <= self.partBytes, self.settling.messages < RouterLimits.exchangesMax
        else { return false }
        return self.matches.subscribers.allSatisfy { subscriber in
            guard let session = self.sessions[Int(subscriber.session)] else { return true }
            return session.isStored && !session.isDurable && subscriber.options.qos == .exactlyOnce
                && session.link?.takesExchanges == true
        }
    }

    /// The copies of a message are stored, in the same group as this: it must not go on a second time.
    private mutating func complete(_ exchange: UInt64, _ session: Session) {
        let exchanges = self.exchanges(of: session)
        let handedTurn = session.pending?.partialOutput == nil ? session.link?.handedTurn ?? 0 : 0
        while let oldest = exchanges.takeOldest(handedTurn: handedTurn) { self.recordNotCompleted(oldest, session) }
        self.recordCompleted(exchange, session)
        exchanges.store(exchange)
        self.completedInFrame += 1
    }

    // MARK: To a subscriber

    /// Whether the message at hand comes again, and a former router gave it to the session; otherwise it gets a copy now.
    @inline(__always)
    mutating func hasRepeated(_ session: Session) -> Bool {
        guard self.repeatedExchange != 0, !self.repeatedReceivers.contains(session.index) else { return false }
        // It is looked for among all that the session has: a queue of thousands costs as much as a match.
        self.work &+= UInt64(truncatingIfNeeded: (session.queue.count &+ session.inflight.count) >> 3)
        if self.has(self.repeatedExchange, session) { return true }
        self.repeatedReceivers.insert(session.index)
        return false
    }

    private func has(_ exchange: UInt64, _ session: Session) -> Bool {
        session.exchanges?.delivered.contains(exchange) == true || session.queue.contains(exchange: exchange)
            || session.inflight.contains(exchange: exchange)
    }

    /// A message goes to the session's client. One that the former router left in the store may be sent again by its publisher's listener
    /// too, which comes later than the subscriber's.
    func noteDelivered(_ exchange: UInt64, _ session: Session) {
        guard self.settling.isAgain else { return }
        self.exchanges(of: session).delivered.insert(exchange)
    }

    // MARK: After another router

    /// What the listener says of the messages that it keeps, and of those that the client has.
    mutating func attach(_ told: SessionAttach.Exchanges?, _ session: Session) {
        // Until everything that is sent again has its answer.
        self.settling.beginAgain(after: self.now &+ RouterLimits.relinkGraceNanoseconds)
        session.keepsExchanges = (told?.keeps ?? false) && !session.isDurable
        guard let told, told.publishCount > 0 || !told.delivered.isEmpty || session.exchanges != nil else { return }
        let exchanges = self.exchanges(of: session)
        exchanges.identity = Self.identity(of: session, publishCount: told.publishCount)
        exchanges.incoming = nil
        exchanges.attached(turn: self.turn + 1)
        exchanges.delivered.formUnion(told.delivered)
        let delivered = exchanges.delivered
        guard !delivered.isEmpty else { return }
        // Those that were sent again before the listener said that its client has them.
        _ = self.removeQueued(session) { !delivered.contains($0.message.header.exchange) }
    }

    // MARK: Settling

    /// Tells listeners which of the messages that they passed on nobody will send again, from time to time: all those that went before the
    /// last time.
    mutating func settleExchanges() {
        guard self.settling.messages >= self.settling.messagesPerMark, self.now >= self.settling.notBefore else {
            return
        }
        if self.settling.isAgain {
            self.settling.isAgain = false
            self.settling.hasDelivered = true
            self.settling.markTurn = self.turn
        }
        if self.settling.answeredTurn == 0 {
            guard self.areAnswered(upTo: self.settling.markTurn) else { return }
            self.settling.answeredTurn = self.turn
        }
        guard self.links.allSatisfy({ $0.map { $0.handedTurn >= self.settling.answeredTurn } ?? true }) else { return }
        for link in self.links {
            guard let link, link.takesExchanges else { continue }
            link.output.writeFrameHeader(.exchangesSettled, handle: 0, bodyBytes: 0)
        }
        self.settling.marked(turn: self.turn)
        guard self.settling.hasDelivered else { return }
        self.settling.hasDelivered = false
        for session in self.sessions { session?.exchanges?.delivered = [] }
    }

    /// Whether all answers of that turn and those before it have left.
    private mutating func areAnswered(upTo turn: UInt64) -> Bool {
        self.settling.controlHeld = self.settling.controlHeld.filter { index in
            self.sessions[Int(index)]?.pending?.partialOutput?.heldControl.isEmpty == false
        }
        guard self.settling.controlHeld.isEmpty, self.waitingInput.isEmpty else { return false }
        return self.links.allSatisfy { $0?.held.allSatisfy { $0.created > turn } ?? true }
    }
}
