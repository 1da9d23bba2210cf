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
    /// goes where nothing that is left allows it. A session that comes back has them too: what was under way is looked at when
    /// it is about to be sent again.
    mutating func apply(_ access: AccessRules, to session: Session) {
        guard access != session.access else { return }
        session.setAccess(access)
        let ended = session.subscriptions.filter { !self.isAllowed($0, session) }
        for subscription in ended { self.endSubscription(subscription, session) }
        self.counters.subscriptionsEndedByRules += UInt64(ended.count)
        session.otherRulesSequence = session.inflight.nextSequence
        guard !session.queue.isEmpty else { return }
        session.queueCheck = Session.QueueCheck(position: 0, end: session.queue.count)
        self.checkQueue(session)
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

    // MARK: Messages that came under other rules

    /// Looks through what waits in a session's queue, as much as one turn is; `endTurn` goes on with it. Nothing leaves the queue
    /// meanwhile. Messages of shared groups that are dropped go to other members.
    mutating func checkQueue(_ session: Session) {
        guard let check = session.queueCheck else { return }
        let workEnd = self.work &+ RouterLimits.queueCheckWorkPerTurn
        var position = check.position
        var unwanted: Set<Int> = []
        // Each costs one at least.
        let most = min(check.end - position, Int(RouterLimits.queueCheckWorkPerTurn))
        for item in session.queue.messages(behind: position, atMost: most) where self.work < workEnd {
            if !self.mayHave(item, session) { unwanted.insert(position) }
            position += 1
        }
        var dropped: [QueuedMessage] = []
        if !unwanted.isEmpty {
            var next = 0
            dropped = self.removeQueued(session) { _ in
                defer { next += 1 }
                return !unwanted.contains(next)
            }
        }
        let isOver = self.work < workEnd || position >= check.end
        session.queueCheck =
            isOver
            ? nil : Session.QueueCheck(position: position - dropped.count, end: check.end - dropped.count)
        if !isOver, !self.runnable.contains(session.index) { self.runnable.append(session.index) }
        self.counters.droppedByRules += UInt64(dropped.count)
        for item in dropped where item.group != QueuedMessage.noGroup { self.redistribute(item) }
    }

    /// Whether a message that is under way may be sent again, or sent at last.
    @inline(__always)
    mutating func mayBeSent(_ item: QueuedMessage, _ identifier: UInt16, _ session: Session) -> Bool {
        session.inflight.sequence(of: identifier) >= session.otherRulesSequence || self.mayHave(item, session)
    }

    /// Whether a client may have a message that came under other rules: those that it has now allow to subscribe to the topic, or left a
    /// subscription that brings it.
    private mutating func mayHave(_ item: QueuedMessage, _ session: Session) -> Bool {
        defer { withExtendedLifetime(item.message) {} }
        let topic = item.message.view.topic
        self.work &+= UInt64(truncatingIfNeeded: 1 &+ session.access.rules.count)
        if session.access.allowsSubscribe(filter: topic, qos: item.qos) { return true }
        let isBrought = self.trie.brings(topic: topic, to: session)
        self.work &+= UInt64(truncatingIfNeeded: self.trie.nodesVisited)
        return isBrought
    }
}
