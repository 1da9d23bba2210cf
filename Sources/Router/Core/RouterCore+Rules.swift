import Common

// Rules that change while a session is connected.
extension RouterCore {
    /// New rules apply at once: subscriptions that they do not allow end. MQTT has no word for that to the client; what it is
    /// told is that its next SUBSCRIBE or PUBLISH is not authorized.
    mutating func receivedRules(_ frame: Frame, _ link: RouterLink) -> StaticString? {
        guard let access = SessionRules.decode(frame.body) else { return "broken sessionRules frame" }
        guard let slot = link.slot(of: frame.handle), link.slots[slot].session != RouterLink.Slot.noSession,
            let session = self.sessions[Int(link.slots[slot].session)]
        else { return nil }
        session.setAccess(access)
        for subscription in session.subscriptions where !self.isAllowed(subscription, session) {
            self.endSubscription(subscription, session)
            self.counters.subscriptionsEndedByRules += 1
        }
        return nil
    }

    private func isAllowed(_ subscription: Session.Subscription, _ session: Session) -> Bool {
        let node: UInt32
        let options: Subscriber.Options?
        if subscription.isShared {
            let group = self.trie.groups[Int(subscription.place)]
            node = group.node
            options = group.members.first { $0.session == session.index }?.options
        } else {
            node = subscription.place
            options = self.trie.subscription(node: node, session: session.index)
        }
        guard let options else { return false }
        return self.trie.filter(of: node).withUnsafeBytes {
            session.access.allowsSubscribe(filter: $0, qos: options.qos)
        }
    }
}
