import Common

// SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0, sections 3.8 to 3.11).
extension RouterCore {
    mutating func receivedSubscribe(_ packet: SubscribePacket, _ session: Session) {
        let identifier = packet.properties.subscriptionIdentifiers.first ?? 0
        if identifier != 0, !self.offer(to: session).subscriptionIdentifiers {
            return self.close(session, .subscriptionIdentifiersNotSupported)
        }
        if self.denyAction == .disconnect, packet.subscriptions.contains(where: { !self.mayHave($0, session) }) {
            self.counters.subscriptionsDenied += 1
            return self.close(session, .notAuthorized)
        }
        self.flushControl(session)
        let records = self.changes.records
        // From its first SUBACK on its listener counts on the store.
        self.bringIntoStore(session)
        var codes: [UInt8] = []
        codes.reserveCapacity(packet.subscriptions.count)
        // A packet with more filters than a session may have keeps nobody waiting.
        let isTooLong = packet.subscriptions.count > self.settings.session.maxSubscriptions
        for subscription in packet.subscriptions {
            let reason =
                isTooLong
                ? .quotaExceeded
                : subscription.filter.withUnsafeBytes { filter in
                    self.subscribe(session, filter, subscription, identifier: identifier)
                }
            if reason.isFailure { self.counters.subscriptionsDenied += 1 }
            codes.append(reason.subackReturnCode(for: session.version))
        }
        let before = self.control.readableBytes
        SubackPacket(packetIdentifier: packet.packetIdentifier, returnCodes: codes)
            .encode(into: &self.control, version: session.version)
        guard self.fits(since: before, session) else { return }
        self.countSent(packets: 1, bytes: 0)
        // The SUBACK goes before the retained messages.
        let group = self.flushAnswer(session, since: records)
        guard let pending = session.pending else { return }
        if session.heldCount > 0 { pending.retainedGroup = group }
        self.markForPump(session)
    }

    private func mayHave(_ subscription: SubscribePacket.Subscription, _ session: Session) -> Bool {
        let qos = min(subscription.qos, self.offer(to: session).maxQoS)
        return subscription.filter.withUnsafeBytes { session.access.allowsSubscribe(filter: $0, qos: qos) }
    }

    /// - Returns: what SUBACK says of this filter.
    private mutating func subscribe(
        _ session: Session,
        _ filter: UnsafeRawBufferPointer,
        _ subscription: SubscribePacket.Subscription,
        identifier: UInt32
    ) -> ReasonCode {
        let qos = min(subscription.qos, self.offer(to: session).maxQoS)
        if let refusal = self.refusal(of: filter, qos, session) { return refusal }
        let options = Subscriber.Options(
            qos: qos,
            noLocal: subscription.noLocal,
            retainAsPublished: subscription.retainAsPublished,
            identifier: identifier
        )
        let subscriber = Subscriber(session: session.index, options: options)
        let granted = ReasonCode(granted: qos)
        let countedBytes = Session.Subscription.countedBytes(of: filter)
        switch TopicFilter.parse(filter) {
        case .invalid:
            return .topicFilterInvalid
        case .shared(let group, let shared):
            let (place, result) = self.trie.addShared(
                filter: UnsafeRawBufferPointer(rebasing: filter[shared]),
                name: UnsafeRawBufferPointer(rebasing: filter[group]),
                subscriber
            )
            let added = Session.Subscription(place: place, isShared: true, countedBytes: countedBytes)
            if result == .added { session.subscriptions.append(added) }
            self.recordSubscription(added, filter, options, session)
        case .plain:
            let (place, result) = self.trie.add(filter: filter, subscriber)
            let added = Session.Subscription(place: place, isShared: false, countedBytes: countedBytes)
            if result == .added { session.subscriptions.append(added) }
            let wantsRetained =
                subscription.retainHandling == .send
                || (subscription.retainHandling == .sendIfNew && result == .added)
            let sendsRetained = wantsRetained && !self.retained.isEmpty
            // Those that are not sent yet are so with the new options, or not at all, unless what was asked for first goes on.
            let goesOn =
                subscription.retainHandling == .sendIfNew
                && session.pending?.retainedCursors.contains(place: place) == true
            if !goesOn { self.dropCursors(place, session) }
            self.recordSubscription(added, filter, options, session, awaitsRetained: sendsRetained || goesOn)
            if sendsRetained {
                let cursor = RetainedCursor(
                    filter: filter,
                    options: options,
                    place: place,
                    isRecorded: session.isStored,
                    store: &self.retained
                )
                session.makePending().retainedCursors.append(cursor)
            }
        }
        return granted
    }

    private func refusal(of filter: UnsafeRawBufferPointer, _ qos: QoS, _ session: Session) -> ReasonCode? {
        let isShared = TopicFilter.hasSharePrefix(filter)
        let offer = self.offer(to: session)
        if isShared, !offer.sharedSubscriptions { return .sharedSubscriptionsNotSupported }
        let plain = TopicFilter.withoutShare(filter)
        if !offer.wildcardSubscriptions, TopicName.hasWildcard(plain) {
            return .wildcardSubscriptionsNotSupported
        }
        if TopicFilter.levelCount(plain) > self.settings.maxTopicLevels { return .topicFilterInvalid }
        if !session.access.allowsSubscribe(filter: filter, qos: qos) { return .notAuthorized }
        if !self.hasRoom(for: filter, session), !self.isSubscribed(filter, session) { return .quotaExceeded }
        return nil
    }

    private func hasRoom(for filter: UnsafeRawBufferPointer, _ session: Session) -> Bool {
        let bytes = session.subscriptions.countedBytes + Int(Session.Subscription.countedBytes(of: filter))
        return session.subscriptions.count < self.settings.session.maxSubscriptions
            && bytes <= self.settings.session.maxSubscriptionBytes
    }

    private func isSubscribed(_ filter: UnsafeRawBufferPointer, _ session: Session) -> Bool {
        switch TopicFilter.parse(filter) {
        case .invalid:
            return false
        case .plain:
            let node = self.trie.find(filter: filter)
            return node != 0 && self.trie.subscription(node: node, session: session.index) != nil
        case .shared(let name, let plain):
            return self.findGroup(filter, name, plain).map {
                session.subscriptions.contains(Session.Subscription(place: $0, isShared: true))
            } ?? false
        }
    }

    private func findGroup(_ filter: UnsafeRawBufferPointer, _ name: Range<Int>, _ plain: Range<Int>) -> UInt32? {
        let node = self.trie.find(filter: UnsafeRawBufferPointer(rebasing: filter[plain]))
        return node == 0 ? nil : self.trie.findGroup(node: node, name: UnsafeRawBufferPointer(rebasing: filter[name]))
    }

    // MARK: UNSUBSCRIBE

    mutating func receivedUnsubscribe(_ packet: UnsubscribePacket, _ session: Session) {
        self.flushControl(session)
        let records = self.changes.records
        var reply = UnsubackPacket(packetIdentifier: packet.packetIdentifier)
        for filter in packet.filters {
            let existed = filter.withUnsafeBytes { self.unsubscribe($0, session) }
            reply.reasonCodes.append(existed ? .success : .noSubscriptionExisted)
        }
        let before = self.control.readableBytes
        reply.encode(into: &self.control, version: session.version)
        guard self.fits(since: before, session) else { return }
        self.countSent(packets: 1, bytes: 0)
        _ = self.flushAnswer(session, since: records)
    }

    /// Sends what was answered, and that alone. What is subscribed for a connection alone goes on while nothing can be stored; what its
    /// client is told afterwards need not wait for that either.
    /// - Returns: the group of changes that the answer waits for.
    private mutating func flushAnswer(_ session: Session, since records: UInt64) -> UInt64 {
        let group = self.changes.records == records ? 0 : self.changes.group
        self.flushControl(session, unstoredGroup: session.isStored && !session.isDurable ? group : nil)
        self.recordsBefore = self.changes.records
        return max(session.touchedGroup, group)
    }

    /// A client gets no packet above its maximum [MQTT-3.1.2-24]: if it cannot even take the answer that it asked for, it is
    /// closed.
    private mutating func fits(since start: Int, _ session: Session) -> Bool {
        let bytes = self.control.readableBytes - start
        if bytes <= session.maximumPacketBytes { return true }
        self.control.removeLast(bytes)
        self.close(session, .packetTooLarge, "the answer would be larger than the client's maximum packet size")
        return false
    }

    private mutating func unsubscribe(_ filter: UnsafeRawBufferPointer, _ session: Session) -> Bool {
        switch TopicFilter.parse(filter) {
        case .invalid:
            return false
        case .plain:
            let node = self.trie.find(filter: filter)
            guard node != 0, self.trie.remove(node: node, session: session.index) else { return false }
            self.forget(Session.Subscription(place: node, isShared: false), session)
            return true
        case .shared(let name, let plain):
            guard let group = self.findGroup(filter, name, plain),
                self.trie.removeShared(group: group, session: session.index)
            else { return false }
            self.forget(Session.Subscription(place: group, isShared: true), session)
            return true
        }
    }

    /// Retained messages that a subscription has not brought yet are not sent any more [MQTT-3.10.4-2].
    private mutating func dropCursors(_ place: UInt32, _ session: Session) {
        guard let pending = session.pending else { return }
        for var cursor in pending.retainedCursors.removeAll(place: place) { cursor.close(&self.retained) }
        session.dropPendingIfEmpty()
    }

    /// Ends a subscription from this side.
    mutating func endSubscription(_ subscription: Session.Subscription, _ session: Session) {
        if subscription.isShared {
            _ = self.trie.removeShared(group: subscription.place, session: session.index)
        } else {
            _ = self.trie.remove(node: subscription.place, session: session.index)
        }
        self.forget(subscription, session)
    }

    private mutating func forget(_ subscription: Session.Subscription, _ session: Session) {
        if !subscription.isShared { self.dropCursors(subscription.place, session) }
        guard let position = session.subscriptions.firstIndex(of: subscription) else { return }
        self.recordUnsubscribed(session.subscriptions[position], session)
        session.subscriptions.remove(at: position)
    }
}
