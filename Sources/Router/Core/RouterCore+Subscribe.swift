import Common

// One topic filter of a SUBSCRIBE or UNSUBSCRIBE (MQTT 5.0, sections 3.8 to 3.11).
extension RouterCore {
    func mayHave(_ subscription: TopicFilterReader.Entry, _ session: Session) -> Bool {
        let qos = min(subscription.qos, self.offer(to: session).maxQoS)
        return session.access.allowsSubscribe(filter: subscription.filter, qos: qos)
    }

    /// - Returns: what SUBACK says of this filter.
    mutating func subscribe(
        _ session: Session,
        _ subscription: TopicFilterReader.Entry,
        identifier: UInt32
    ) -> ReasonCode {
        let filter = subscription.filter
        let qos = min(subscription.qos, self.offer(to: session).maxQoS)
        let countedBytes = Session.Subscription.countedBytes(of: filter)
        if let refusal = self.refusal(of: filter, qos, countedBytes, session) { return refusal }
        let options = Subscriber.Options(
            qos: qos,
            noLocal: subscription.noLocal,
            retainAsPublished: subscription.retainAsPublished,
            identifier: identifier
        )
        let subscriber = Subscriber(session: session.index, options: options)
        let granted = ReasonCode(granted: qos)
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
            // Those that are not sent yet come with the new options where all are asked for again. Otherwise what was asked for first goes on:
            // no message is lost because a subscription is replaced [MQTT-3.8.4-4].
            let goesOn =
                subscription.retainHandling != .send
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

    private func refusal(
        of filter: UnsafeRawBufferPointer,
        _ qos: QoS,
        _ countedBytes: UInt32,
        _ session: Session
    ) -> ReasonCode? {
        let isShared = TopicFilter.hasSharePrefix(filter)
        let offer = self.offer(to: session)
        if isShared, !offer.sharedSubscriptions { return .sharedSubscriptionsNotSupported }
        let plain = TopicFilter.withoutShare(filter)
        if !offer.wildcardSubscriptions, TopicName.hasWildcard(plain) {
            return .wildcardSubscriptionsNotSupported
        }
        if TopicFilter.levelCount(plain) > self.settings.maxTopicLevels { return .topicFilterInvalid }
        if !session.access.allowsSubscribe(filter: filter, qos: qos) { return .notAuthorized }
        if !self.hasRoom(for: countedBytes, session), !self.isSubscribed(filter, session) { return .quotaExceeded }
        return nil
    }

    private func hasRoom(for countedBytes: UInt32, _ session: Session) -> Bool {
        session.subscriptions.count < self.settings.session.maxSubscriptions
            && session.subscriptions.countedBytes + Int(countedBytes) <= self.settings.session.maxSubscriptionBytes
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

    mutating func unsubscribe(_ filter: UnsafeRawBufferPointer, _ session: Session) -> Bool {
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
