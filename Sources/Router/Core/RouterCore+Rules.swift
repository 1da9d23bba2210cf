import Common

// Rules that change while a session is connected, or while it is away.
extension RouterCore {
    /// New rules apply at once: subscriptions that they do not allow end. MQTT has no word for that to the client; what it is
    /// told is that its next SUBSCRIBE or PUBLISH is not authorized.
    mutating func receivedRules(_ frame: Frame, _ link: RouterLink) -> StaticString? {
        guard let access = SessionRules.decode(frame.body) else { return "broken sessionRules frame" }
        guard let slot = link.slot(of: frame.handle), link.slots[slot].session != RouterLink.Slot.noSession,
            let session = self.sessions[Int(link.slots[slot].session)]
        else { return nil }
        self.apply(access, to: session)
        return nil
    }

    /// The session has these rules from now on: what it subscribed to under others and may not any more ends, and what waits for it
    /// because of that alone goes. A session that comes back has them too.
    mutating func apply(_ access: AccessRules, to session: Session) {
        guard access != session.access else { return }
        session.setAccess(access)
        let ended = session.subscriptions.filter { !self.isAllowed($0, session) }
        guard !ended.isEmpty else { return }
        let filters = ended.map { self.trie.filter(of: self.node(of: $0)) }
        for subscription in ended { self.endSubscription(subscription, session) }
        self.counters.subscriptionsEndedByRules += UInt64(ended.count)
        self.dropQueued(session, after: filters)
    }

    private func node(of subscription: Session.Subscription) -> UInt32 {
        subscription.isShared ? self.trie.groups[subscription.place].node : subscription.place
    }

    private func isAllowed(_ subscription: Session.Subscription, _ session: Session) -> Bool {
        let node = self.node(of: subscription)
        let options =
            subscription.isShared
            ? self.trie.groups.options(of: session.index, in: subscription.place)
            : self.trie.subscription(node: node, session: session.index)
        guard let options else { return false }
        return self.trie.filter(of: node).withUnsafeBytes {
            session.access.allowsSubscribe(filter: $0, qos: options.qos)
        }
    }

    /// Messages that only the ended subscriptions brought; those of shared ones go to other members.
    private mutating func dropQueued(_ session: Session, after ended: [[UInt8]]) {
        guard !session.queue.isEmpty else { return }
        func isMatched(_ topic: UnsafeRawBufferPointer, _ filters: [[UInt8]]) -> Bool {
            filters.contains { $0.withUnsafeBytes { TopicFilter.matches(filter: $0, topic: topic) } }
        }
        let others = session.subscriptions.map { self.trie.filter(of: self.node(of: $0)) }
        let dropped = self.removeQueued(session) { item in
            let topic = item.message.view.topic
            return !isMatched(topic, ended) || isMatched(topic, others)
        }
        self.counters.droppedByRules += UInt64(dropped.count)
        for item in dropped where item.group != QueuedMessage.noGroup { self.redistribute(item) }
    }
}
