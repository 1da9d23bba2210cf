import Common

// From a message to its receivers.
extension RouterCore {
    /// Retains a message if it asks for it, and routes it.
    /// - Parameter publisher: the session it comes from.
    /// - Returns: why nobody gets it; nil: somebody does.
    mutating func publish(_ message: MessageView, publisher: UInt32) -> ReasonCode? {
        guard message.retain else { return self.route(message, kept: nil, publisher: publisher) }
        // What is refused is not retained either.
        guard self.match(message.topic, publisher: publisher) else { return .quotaExceeded }
        guard message.payload.count > 0 else {
            // An empty one removes, and is itself not kept [MQTT-3.3.1-6], [MQTT-3.3.1-7].
            if let former = self.retained.remove(topic: message.topic) { self.recordNotRetained(former) }
            return self.deliverToMatches(message, kept: nil)
        }
        let kept = Message.make(copying: message)
        var result = self.retained.store(kept)
        if case .full = result, self.dropExpiredRetained(atMost: RouterLimits.expiredPerMessage) > 0 {
            result = self.retained.store(kept)
        }
        switch result {
        case .stored(let former): self.recordRetained(kept, insteadOf: former)
        case .full: self.counters.retainedRefused += 1
        }
        return self.deliverToMatches(message, kept: kept)
    }

    /// Finds who gets a message.
    /// - Returns: false: it is refused, for too many filters match the beginning of its topic.
    mutating func match(_ topic: UnsafeRawBufferPointer, publisher: UInt32) -> Bool {
        let isWhole = self.trie.match(topic: topic, publisher: publisher, into: &self.matches)
        self.work &+= UInt64(truncatingIfNeeded: self.trie.nodesVisited)
        if isWhole { return true }
        self.counters.publishesBeyondMatch += 1
        self.beyondMatch =
            publisher == SubscriptionTrie.noSession ? nil : self.sessions[Int(publisher)]?.clientIdentifier
        return false
    }

    /// Publishes a message to the session's `recentTopic`.
    @inline(__always)
    mutating func publishRecent(_ message: MessageView, _ session: Session) -> ReasonCode? {
        guard !message.retain else { return self.publish(message, publisher: session.index) }
        guard session.recentTopic.isMatched(at: self.trie.revision) else { return self.matchRecent(message, session) }
        guard let subscriber = session.recentTopic.subscriber else { return .noMatchingSubscribers }
        var kept: Message?
        self.deliver(message, &kept, to: subscriber, gathers: false, keeps: false)
        return nil
    }

    @inline(never)
    private mutating func matchRecent(_ message: MessageView, _ session: Session) -> ReasonCode? {
        guard self.match(message.topic, publisher: session.index) else { return .quotaExceeded }
        self.rememberMatches(session)
        return self.deliverToMatches(message, kept: nil)
    }

    /// What was found is of the session's `recentTopic`.
    func rememberMatches(_ session: Session) {
        guard self.matches.subscribers.count <= 1, self.matches.furtherIdentifiers.isEmpty, self.matches.groups.isEmpty
        else { return }
        session.recentTopic.match(self.matches.subscribers.first, at: self.trie.revision)
    }

    /// Publishes a message that nobody would send again if we lost it: its publisher has been told that it is here.
    mutating func publishStored(_ message: MessageView, publisher: UInt32) {
        self.storesAllCopies = self.changes.isOn
        _ = self.publish(message, publisher: publisher)
        self.storesAllCopies = false
    }

    /// The same of a QoS 2 message that has its PUBREL: its copies share its memory, and its entry in the store if it has one.
    mutating func publishReleased(_ message: Message, _ session: Session) {
        let view = message.view
        guard !view.retain else { return self.publishStored(view, publisher: session.index) }
        guard self.findReceivers(view.topic, of: session) else { return }
        self.storesAllCopies = self.changes.isOn
        self.deliverToMatches(view, kept: message)
        self.storesAllCopies = false
        withExtendedLifetime(message) {}
    }

    /// - Parameter kept: the message in memory of its own, if somebody made that already.
    /// - Returns: as of `publish`.
    mutating func route(_ message: MessageView, kept: Message?, publisher: UInt32) -> ReasonCode? {
        guard self.match(message.topic, publisher: publisher) else { return .quotaExceeded }
        return self.deliverToMatches(message, kept: kept)
    }

    @discardableResult
    mutating func deliverToMatches(_ message: MessageView, kept: Message?) -> ReasonCode? {
        let count = self.matches.subscribers.count
        if count == 0, self.matches.groups.isEmpty { return .noMatchingSubscribers }
        var kept = kept
        if count == 1, self.matches.furtherIdentifiers.isEmpty {
            self.deliver(message, &kept, to: self.matches.subscribers[0], gathers: false)
        } else if count > 0 {
            self.deliverToMany(message, &kept)
        }
        if !self.matches.groups.isEmpty { self.deliverToGroups(message, &kept) }
        return nil
    }

    /// Nodes looked at and copies made cost about the same, and so do 512 bytes copied.
    private mutating func charge(_ copies: Int, of message: MessageView) {
        self.work &+= UInt64(truncatingIfNeeded: copies &* (1 &+ message.payload.count >> 9))
    }

    private mutating func deliverToMany(_ message: MessageView, _ kept: inout Message?) {
        self.charge(self.matches.subscribers.count &+ self.matches.furtherIdentifiers.count, of: message)
        if self.matches.furtherIdentifiers.isEmpty {
            let subscribers = self.matches.subscribers
            for subscriber in subscribers { self.deliver(message, &kept, to: subscriber, gathers: true) }
        } else {
            self.deliverWithIdentifiers(message, &kept)
        }
        self.fanout.flush(message)
    }

    /// Some of the receivers have several subscription identifiers.
    private mutating func deliverWithIdentifiers(_ message: MessageView, _ kept: inout Message?) {
        var further = self.matches.furtherIdentifiers[...]
        for entry in 0..<self.matches.subscribers.count {
            var identifiers: [UInt32] = []
            while let next = further.first, Int(next.entry) == entry {
                identifiers.append(next.identifier)
                further.removeFirst()
            }
            let subscriber = self.matches.subscribers[entry]
            if identifiers.isEmpty {
                self.deliver(message, &kept, to: subscriber, gathers: true)
            } else {
                self.deliverSlowly(message, &kept, to: subscriber, furtherIdentifiers: identifiers)
            }
        }
    }

    private mutating func deliverToGroups(_ message: MessageView, _ kept: inout Message?) {
        self.charge(self.matches.groups.count, of: message)
        for position in 0..<self.matches.groups.count {
            self.deliverToGroup(self.matches.groups[position], message, &kept)
        }
    }

    /// One member gets the message: one that is connected, if there is any (section 4.8.2), and takes packets that large (section 3.1.2.11.4).
    private mutating func deliverToGroup(_ group: UInt32, _ message: MessageView, _ kept: inout Message?) {
        let (sessions, inflightBytesMax, now) = (self.sessions, self.settings.session.maxInflightBytes, self.now)
        var lookedAt: UInt64 = 0
        let member = self.trie.chooseMember(of: group, self.settings.sharedSpread) { subscriber in
            lookedAt &+= 1
            guard let session = sessions[Int(subscriber.session)], let link = session.link else { return .away }
            guard session.takes(message, subscriber.options, now: now) else { return .unable }
            let waiting = session.inflight.count + session.queue.count
            let isAcknowledged = QoS.lower(message.qos, subscriber.options.qos).isAcknowledged
            let goesAtOnce =
                !session.hasBacklog && link.admits(session.credit)
                && (!isAcknowledged || session.mayStart(inflightBytesMax: inflightBytesMax))
            return goesAtOnce ? .free(waiting: waiting) : .busy(waiting: waiting)
        }
        self.work &+= lookedAt
        if let member { self.deliverSlowly(message, &kept, to: member, group: group) }
    }

    /// Gives a message that a leaving member of a shared group did not acknowledge to another member.
    mutating func redistribute(_ item: QueuedMessage) {
        guard self.trie.hasMembers(group: item.group, stamp: item.groupStamp) else { return }
        // Its publisher may have been told that it is here.
        let storesAllCopies = self.storesAllCopies
        self.storesAllCopies = self.changes.isOn
        defer { self.storesAllCopies = storesAllCopies }
        var kept: Message? = item.message
        self.deliverToGroup(item.group, item.message.view, &kept)
    }

    /// Sends a message to one session, or has it wait there. This is the loop of every fan-out: what is rare is elsewhere.
    /// - Parameters:
    ///   - kept: as of `route`.
    ///   - gathers: other receivers may get the same bytes: leave the writing to `fanout`.
    ///   - keeps: others may want what `kept` becomes.
    @inline(__always)
    private mutating func deliver(
        _ message: MessageView,
        _ kept: inout Message?,
        to subscriber: Subscriber,
        gathers: Bool,
        keeps: Bool = true
    ) {
        guard let session = self.sessions[Int(subscriber.session)] else { return }
        let options = subscriber.options
        let qos = QoS.lower(message.qos, options.qos)
        guard let link = session.link, link.admits(session.credit), !session.hasBacklog,
            !qos.isAcknowledged
                ? !self.waitsForCommit(message)
                : ((self.goesAtOnce(qos, session)
                    || (!gathers || self.matches.subscribers.count <= RouterLimits.awaitedReceiversMax)
                        && self.mayAwaitAcknowledgement(message.qos, qos, session))
                    && self.mayStart(session))
        else { return self.deliverSlowly(message, &kept, to: subscriber, keeps: keeps) }
        let shape = PublishShape(
            hasProperties: session.hasProperties,
            qos: qos,
            retain: message.retain && (options.retainAsPublished || session.isBridge),
            identifier: session.hasProperties ? options.identifier : 0
        )
        let bucket = gathers ? self.fanout.bucket(link, shape, message, now: self.now) : nil
        let layout = bucket?.layout ?? PublishLayout(message, shape, now: self.now)
        guard layout.packetBytes <= self.partBytes, layout.packetBytes <= session.maximumPacketBytes else {
            return self.deliverSlowly(message, &kept, to: subscriber, keeps: keeps)
        }
        var identifier: UInt16 = 0
        if qos.isAcknowledged {
            let item = self.makeItem(message, kept, options, qos, shape.retain)
            if keeps { kept = item.message }
            guard !session.inflight.isFull else { return self.enqueue(item, session) }
            identifier = session.inflight.add(consume item)
            session.sendQuota -= 1
            if session.isDurable { self.awaitAcknowledgement(session) } else { self.noteUnstored(session, link) }
        }
        if session.outboundAliases != nil, bucket == nil {
            return self.writeWithAlias(message, shape, layout, identifier, session, link)
        }
        self.debit(layout.packetBytes, session, link)
        if let bucket {
            bucket.add(handle: session.handle, packetIdentifier: identifier)
        } else {
            link.writePublish(message, shape, layout, handle: session.handle, packetIdentifier: identifier)
        }
    }

    /// Whether even copies at QoS 0 wait until it is stored that the message has gone on: it must not do so twice [MQTT-4.3.3-12].
    @inline(__always)
    private func waitsForCommit(_ message: MessageView) -> Bool {
        self.storesAllCopies && message.qos == .exactlyOnce
    }

    /// Whether a copy needs no store: the session ends with its connection, and the publisher, or its listener, has the message
    /// until this copy is with the receiver's listener. QoS 2 needs one, or a router that is killed would send it twice.
    @inline(__always)
    private func goesAtOnce(_ qos: QoS, _ session: Session) -> Bool {
        !session.isStored || (!session.isDurable && qos == .atLeastOnce && !self.storesAllCopies)
    }

    /// The same of one that is not plain; at QoS 2 its publisher's listener must keep it, and its receiver's know of that.
    @inline(__always)
    func mayGoUnstored(_ item: QueuedMessage, _ session: Session) -> Bool {
        if self.goesAtOnce(item.qos, session) { return true }
        return !session.isDurable && item.isKept && !self.storesAllCopies && session.heldPublishes == 0
            && session.link?.takesExchanges == true
    }

    /// For one session alone that has aliases for its topics.
    @inline(never)
    private mutating func writeWithAlias(
        _ message: MessageView,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        _ identifier: UInt16,
        _ session: Session,
        _ link: RouterLink
    ) {
        var shape = shape
        var layout = layout
        self.chooseAlias(&shape, &layout, message, session)
        self.debit(layout.packetBytes, session, link)
        link.writePublish(message, shape, layout, handle: session.handle, packetIdentifier: identifier)
    }

    /// Has a PUBLISH that is for one session alone, and written at once, name its topic by an alias if that pays.
    func chooseAlias(
        _ shape: inout PublishShape,
        _ layout: inout PublishLayout,
        _ message: MessageView,
        _ session: Session,
        furtherIdentifiers: [UInt32]? = nil
    ) {
        // The packet that introduces an alias is longer, and must still be one that the client takes.
        guard let aliases = session.outboundAliases, message.topic.count >= OutboundAliases.topicBytesMin,
            layout.packetBytes + OutboundAliases.packetBytesAddedMax <= session.maximumPacketBytes,
            layout.bodyBytes + OutboundAliases.packetBytesAddedMax <= Limits.packetBodyBytesMax
        else { return }
        switch aliases.choose(message.topic) {
        case .none:
            return
        case .introduce(let alias):
            shape.alias = alias
        case .use(let alias):
            shape.alias = alias
            shape.omitsTopic = true
        }
        layout = PublishLayout(message, shape, furtherIdentifiers: furtherIdentifiers, now: self.now)
    }

    /// Whether another QoS 1 or 2 message may go to the client before it acknowledges one.
    @inline(__always)
    func mayStart(_ session: Session) -> Bool {
        session.mayStart(inflightBytesMax: self.settings.session.maxInflightBytes)
    }

    /// The same for whatever is not plain: through the queue, which may well be empty and let it go at once.
    /// - Parameter group: the shared group through which it comes.
    @inline(never)
    private mutating func deliverSlowly(
        _ message: MessageView,
        _ kept: inout Message?,
        to subscriber: Subscriber,
        furtherIdentifiers: [UInt32]? = nil,
        group: UInt32 = QueuedMessage.noGroup,
        keeps: Bool = true
    ) {
        guard let session = self.sessions[Int(subscriber.session)], !self.hasRepeated(session) else { return }
        let options = subscriber.options
        let qos = QoS.lower(message.qos, options.qos)
        guard qos.isAcknowledged || session.isConnected else {
            self.counters.droppedOffline += 1
            return
        }
        let retain = message.retain && (options.retainAsPublished || session.isBridge)
        var item = self.makeItem(message, kept, options, qos, retain)
        if keeps { kept = item.message }
        if furtherIdentifiers != nil { item.furtherIdentifiers = furtherIdentifiers }
        if group != QueuedMessage.noGroup {
            item.group = group
            item.groupStamp = self.trie.groups[group].stamp
        }
        if !qos.isAcknowledged, self.waitsForCommit(message), let link = session.link {
            return self.hold(.message(item), self.changes.group, session, link)
        }
        guard let link = session.link, link.admits(session.credit), !session.hasBacklog, qos.isAcknowledged,
            message.expiry > self.now, self.mayStart(session),
            message.payload.count <= self.partBytes || !self.waitsForPacketBefore(item, session)
        else { return self.enqueue(item, session) }
        // It needs no place in the queue. QoS 2 is stored with its packet identifier.
        let isUnstored = self.mayGoUnstored(item, session)
        if !isUnstored, qos == .atLeastOnce {
            self.recordUnhanded(session)
            self.record(&item, session)
        }
        guard self.start(item, session, link) else { return self.enqueue(item, session) }
        if isUnstored, qos == .atLeastOnce || item.isKept { self.noteUnstored(session, link) }
        if session.pending != nil { self.markForPump(session) }
    }

    @inline(__always)
    private func makeItem(
        _ message: MessageView,
        _ kept: Message?,
        _ options: Subscriber.Options,
        _ qos: QoS,
        _ retain: Bool
    ) -> QueuedMessage {
        QueuedMessage(
            message: kept ?? Message.make(copying: message),
            identifier: options.identifier,
            qos: qos,
            retain: retain
        )
    }

    @inline(__always)
    mutating func debit(_ bytes: Int, _ session: Session, _ link: RouterLink) {
        session.credit -= bytes
        link.credit -= bytes
        self.counters.publishesSent += 1
        self.counters.publishBytesSent += UInt64(bytes)
    }

    // MARK: Waiting

    /// Puts a message into a session's queue, within the limits: which message goes when one must is configuration.
    /// - Parameter hasPublisher: whose PUBACK can wait.
    mutating func enqueue(_ item: QueuedMessage, _ session: Session, hasPublisher: Bool = true) {
        guard !self.isExpired(item.message) else { return self.dropExpired(item, session) }
        let limits = self.settings.session
        let bytes = item.message.countedBytes
        guard self.findRoom(for: bytes) else {
            if !item.qos.isAcknowledged { self.counters.droppedQoS0 += 1 } else { self.counters.droppedTotalFull += 1 }
            return
        }
        let share = self.findShare(of: session.queue.bytes + bytes)
        // A queue that is larger than its share has become grows no more, and keeps what it has.
        var room = 0
        while session.queue.count >= limits.maxQueuedMessages || session.queue.bytes + bytes > limits.maxQueuedBytes
            || (room < bytes && !session.queue.isEmpty && session.queue.bytes + bytes > share)
        {
            // What has expired goes first.
            if let expired = self.dropExpired(of: session) {
                room += expired
                continue
            }
            // QoS 0 never pushes anything out.
            guard item.qos.isAcknowledged, limits.queueFull == .dropOldest, let oldest = self.removeFirstQueued(session)
            else {
                if !item.qos.isAcknowledged {
                    self.counters.droppedQoS0 += 1
                } else {
                    self.counters.droppedQueueFull += 1
                }
                return
            }
            room += oldest.message.countedBytes
            self.recordDone(oldest, session)
            if !oldest.qos.isAcknowledged {
                self.counters.droppedQoS0 += 1
            } else {
                self.counters.droppedQueueFull += 1
            }
        }
        let hadBacklog = session.hasBacklog
        if hasPublisher, self.mayWaitUnstored(item, session) {
            session.queue.append(item)
            self.awaitDelivery(session)
        } else {
            if item.qos.isAcknowledged {
                self.storeQueue(session)
                self.recordUnhanded(session)
            }
            var item = item
            self.record(&item, session)
            session.queue.append(item)
        }
        self.queuedBytes += bytes
        self.queuedMessages += 1
        if item.message.header.expiry != Instant.max { self.scheduleSweep(session) }
        // With a backlog, what it waits for sets it going.
        if session.isConnected, !hadBacklog { self.markForPump(session) }
    }

    /// What one session may have of the bytes of all queues: clients that are away leave room for those that only have to wait for a moment.
    var queueShare: Int {
        let total = self.settings.maxQueuedBytesTotal
        return FairShare.of(self.settings.session.maxQueuedBytes, free: total - self.queuedBytes, whole: total)
    }
}
