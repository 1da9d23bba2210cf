import Common
import RouterStore

// What of the state must survive a restart, as records of `changes`; see `StoreKey` for the keys. Without a store nothing is
// durable, and all of this does nothing.
extension RouterCore {
    // MARK: Messages

    /// One more stored entry names the message.
    /// - Returns: its number.
    private mutating func keep(_ message: Message) -> UInt64 {
        if message.header.storeReferences == 0 {
            let number = self.changes.takeNumber()
            message.header.storeNumber = number
            let offset = self.storeOffset
            let exchange = message.header.exchange
            self.changes.insert(
                .message(number),
                StoredMessage(message.view, storeOffset: offset, exchange: exchange)
            )
        }
        message.header.storeReferences += 1
        return message.header.storeNumber
    }

    /// One stored entry less names it.
    mutating func letGo(_ message: Message) {
        guard message.header.storeReferences > 0 else { return }
        message.header.storeReferences -= 1
        guard message.header.storeReferences == 0 else { return }
        let number = message.header.storeNumber
        message.header.storeNumber = 0
        self.changes.delete(.message(number))
    }

    /// Has a message that is in the store stay there until `letGo`, so that who names it next finds it there.
    /// - Returns: nil: it is not there.
    func holdEntry(of message: Message) -> Message? {
        guard message.header.storeReferences > 0 else { return nil }
        message.header.storeReferences += 1
        return message
    }

    // MARK: Messages on their way to a session

    /// Stores a message that is about to wait in a session's queue, if it has to be.
    mutating func record(_ item: inout QueuedMessage, _ session: Session) {
        guard session.isStored, item.qos.isAcknowledged, item.number == 0 else { return }
        item.number = self.takeItemNumber(item)
        self.recordItem(StoredItem(item, stage: .waiting, packetIdentifier: 0, sequence: 0), session, isNew: true)
    }

    mutating func takeItemNumber(_ item: QueuedMessage) -> UInt64 {
        _ = self.keep(item.message)
        return self.changes.takeNumber()
    }

    /// The message got its packet identifier.
    mutating func recordInflight(_ identifier: UInt16, _ item: QueuedMessage, _ session: Session, isNew: Bool) {
        let sequence = session.inflight.sequence(of: identifier)
        var stored = StoredItem(item, stage: .published, packetIdentifier: identifier, sequence: sequence)
        stored.number = session.inflight.number(of: identifier)
        self.recordItem(stored, session, isNew: isNew)
    }

    /// A QoS 1 message that is stored got its identifier, which is not.
    @inline(__always)
    mutating func noteUnidentified(_ session: Session) {
        guard !session.isInUnidentified, session.isStored else { return }
        session.isInUnidentified = true
        self.unidentified.append((self.now &+ RouterLimits.unidentifiedNanoseconds, session.index))
    }

    /// Of clients that take their time with PUBACK.
    mutating func storeIdentifiers() {
        let due = self.unidentified.prefix { $0.due <= self.now }
        guard !due.isEmpty else { return }
        self.unidentified.removeFirst(due.count)
        for (_, index) in due {
            guard let session = self.sessions[Int(index)], session.isInUnidentified else { continue }
            session.isInUnidentified = false
            self.recordIdentifiers(session)
        }
    }

    /// The identifiers of QoS 1 messages under way are stored when somebody will need them: when they are with the client for a while,
    /// when it is gone, and gets them again with the same [MQTT-4.4.0-1], and when a large one begins.
    /// - Parameter all: also of those that were under way, and not stored, when that was done last.
    mutating func recordIdentifiers(_ session: Session, all: Bool = false) {
        guard session.isStored else { return }
        for identifier in session.inflight.identifiersInOrder() {
            guard let entry = session.inflight.entry(of: identifier), entry.number != 0, entry.stage == .published,
                let item = entry.item, item.qos == .atLeastOnce, all || entry.sequence >= session.unidentifiedSequence
            else { continue }
            self.recordInflight(identifier, item, session, isNew: false)
        }
        session.unidentifiedSequence = session.inflight.nextSequence
    }

    /// Stores a QoS 1 message that was sent without being stored, as one that was not: in the order of the numbers it is before those
    /// that come after it, and it may be sent twice.
    mutating func recordUnidentified(_ identifier: UInt16, _ session: Session) {
        guard let entry = session.inflight.entry(of: identifier), let item = entry.item else { return }
        var stored = StoredItem(item, stage: .waiting, packetIdentifier: 0, sequence: 0)
        stored.number = entry.number
        self.recordItem(stored, session, isNew: true)
    }

    private mutating func recordItem(_ item: StoredItem, _ session: Session, isNew: Bool) {
        self.bringIntoStore(session)
        self.changes.set(.item(session.storeNumber, item.number), item, isNew: isNew)
    }

    /// PUBREC came: of the message only its identifier is needed.
    mutating func recordReleased(_ identifier: UInt16, _ session: Session) {
        let number = session.inflight.number(of: identifier)
        guard session.isStored, number != 0, let message = session.inflight.message(of: identifier) else { return }
        guard session.isDurable else {
            // The rest of the exchange is over with the connection, and its listener knows how far it is.
            self.deleteItem(number, session)
            session.inflight.setNumber(0, of: identifier)
            return self.letGo(message)
        }
        var item = StoredItem()
        item.number = number
        item.stage = .released
        item.packetIdentifier = identifier
        item.sequence = session.inflight.sequence(of: identifier)
        item.qos = .exactlyOnce
        self.recordItem(item, session, isNew: false)
        self.letGo(message)
    }

    /// A message under way is done with.
    mutating func recordDone(_ identifier: UInt16, _ session: Session) {
        let number = session.inflight.number(of: identifier)
        guard session.isStored, number != 0 else { return }
        self.deleteItem(number, session)
        if let message = session.inflight.message(of: identifier) { self.letGo(message) }
    }

    /// A message that waited goes for good.
    mutating func recordDone(_ item: QueuedMessage, _ session: Session) {
        guard session.isStored, item.number != 0 else { return }
        self.deleteItem(item.number, session)
        self.letGo(item.message)
    }

    private mutating func deleteItem(_ number: UInt64, _ session: Session) {
        self.changes.delete(.item(session.storeNumber, number))
    }

    // MARK: QoS 2 messages from a session

    mutating func recordReceived(_ identifier: UInt16, _ message: Message?, _ session: Session) {
        guard session.isStored else { return }
        self.bringIntoStore(session)
        let number = message.map { self.keep($0) } ?? 0
        self.changes.insert(.received(session.storeNumber, identifier), number)
    }

    mutating func recordForgotten(_ held: Session.ReceivedMessage, _ session: Session) {
        guard session.isStored, held.isStored else { return }
        self.changes.delete(.received(session.storeNumber, held.packetIdentifier))
        if let message = held.message { self.letGo(message) }
    }

    /// The copies of a message that the session's listener keeps were stored: should it send the message again, nobody gets it.
    mutating func recordCompleted(_ exchange: UInt64, _ session: Session) {
        self.bringIntoStore(session)
        self.changes.set(.completed(session.storeNumber, exchange), isNew: true) { _ in }
    }

    mutating func recordNotCompleted(_ exchange: UInt64, _ session: Session) {
        self.changes.delete(.completed(session.storeNumber, exchange))
    }

    // MARK: Subscriptions

    mutating func recordSubscription(
        _ subscription: Session.Subscription,
        _ filter: UnsafeRawBufferPointer,
        _ options: Subscriber.Options,
        _ session: Session,
        awaitsRetained: Bool = false
    ) {
        guard session.isStored, let position = session.subscriptions.firstIndex(of: subscription) else { return }
        self.bringIntoStore(session)
        if session.subscriptions[position].number == 0 {
            session.lastSubscriptionNumber += 1
            session.subscriptions.setNumber(session.lastSubscriptionNumber, at: position)
        }
        self.changes.set(.subscription(session.storeNumber, session.subscriptions[position].number), isNew: false) {
            StoredSubscription(options: options.bits, awaitsRetained: awaitsRetained, filter: filter).encode(into: &$0)
        }
    }

    /// The retained messages of a subscription are with its client, or it does not get them any more.
    mutating func recordRetainedSent(_ cursor: RetainedCursor, _ session: Session) {
        guard session.isStored, cursor.isRecorded else { return }
        // Another SUBSCRIBE for the same filter asked for them again.
        let isLast = session.pending?.retainedCursors.contains(place: cursor.place) != true
        guard isLast, let options = self.trie.subscription(node: cursor.place, session: session.index) else { return }
        let subscription = Session.Subscription(place: cursor.place, isShared: false)
        self.trie.filter(of: cursor.place).withUnsafeBytes {
            self.recordSubscription(subscription, $0, options, session)
        }
    }

    mutating func recordUnsubscribed(_ subscription: Session.Subscription, _ session: Session) {
        guard session.isStored, subscription.number != 0 else { return }
        self.changes.delete(.subscription(session.storeNumber, subscription.number))
    }

    // MARK: Sessions

    /// A session that just began, of whose client nothing is known, and that ends with its connection: it is not stored until something of
    /// it has to be, and its client need not wait for that.
    mutating func leaveOutsideStore(_ session: Session) {
        guard session.isStored, !session.isDurable, session.will == nil else { return }
        session.storeNumber = self.sessionNumbers.take()
        session.isOutsideStore = true
    }

    /// Before anything of the session is stored, it is.
    mutating func bringIntoStore(_ session: Session) {
        guard session.isOutsideStore else { return }
        session.isOutsideStore = false
        self.put(session, isNew: true)
    }

    /// Stores what the session is.
    mutating func recordSession(_ session: Session) {
        guard session.isStored, !session.isOutsideStore else { return }
        let isNew = session.storeNumber == 0
        if isNew { session.storeNumber = self.changes.takeNumber() }
        self.put(session, isNew: isNew)
    }

    private mutating func put(_ session: Session, isNew: Bool) {
        let number = session.storeNumber
        let stored = StoredSession(session, storeOffset: self.storeOffset)
        self.changes.set(.session(number), isNew: isNew) { stored.encode(into: &$0) }
    }

    /// The session ends, and everything of it. What it holds is still there.
    mutating func recordEnd(_ session: Session) {
        guard session.isStored else { return }
        for identifier in session.inflight.identifiersInOrder() { self.recordDone(identifier, session) }
        var waiting: [QueuedMessage] = []
        session.queue.forEach { waiting.append($0) }
        for item in waiting { self.recordDone(item, session) }
        for held in session.received { self.recordForgotten(held, session) }
        for exchange in session.exchanges?.allStored ?? [] { self.recordNotCompleted(exchange, session) }
        for subscription in session.subscriptions { self.recordUnsubscribed(subscription, session) }
        let number = session.storeNumber
        if !session.isOutsideStore { self.changes.delete(.session(number)) }
        self.sessionNumbers.giveBack(number)
        session.storeNumber = 0
        session.isStored = false
        session.isOutsideStore = false
        session.isDurable = false
    }

    // MARK: Retained messages

    mutating func recordRetained(_ message: Message, insteadOf former: Message?) {
        guard self.changes.isOn else { return }
        let number = self.keep(message)
        let topic = message.view.topic
        self.changes.put(
            {
                $0.write(StoreKey.retained)
                $0.write(topic)
            },
            { $0.writeLittleEndian(number) }
        )
        if let former { self.letGo(former) }
        withExtendedLifetime(message) {}
    }

    mutating func recordNotRetained(_ message: Message) {
        guard self.changes.isOn, message.header.storeReferences > 0 else { return }
        let topic = message.view.topic
        self.changes.delete {
            $0.write(StoreKey.retained)
            $0.write(topic)
        }
        self.letGo(message)
        withExtendedLifetime(message) {}
    }
}
