import Common

// What waits for the commit of what it promises.
extension RouterCore {
    /// Whether something that the session's client had a part in is not committed.
    @inline(__always)
    func mustWaitForCommit(_ session: Session) -> Bool { session.touchedGroup > self.changes.committed }

    /// Whether QoS 1 and 2 messages can be stored at the moment.
    var takesPromises: Bool {
        !self.changes.isInTrouble && self.changes.waitingBytes < RouterLimits.uncommittedBytesMax
    }

    /// Has something leave once a group is committed. What is held leaves in order.
    mutating func hold(_ content: HeldAnswer.Content, _ group: UInt64, _ session: Session, _ link: RouterLink) {
        session.heldCount += 1
        link.held.append(HeldAnswer(group: group, handle: session.handle, content: content))
    }

    /// Holds back the first sending of a QoS 2 message until its packet identifier is stored; for QoS 1 it may be sent twice.
    /// - Returns: false when it can go at once.
    mutating func isHeldBack(
        _ identifier: UInt16,
        _ item: QueuedMessage,
        _ layout: PublishLayout,
        _ session: Session,
        _ link: RouterLink
    ) -> Bool {
        if item.number == 0 { session.inflight.setNumber(self.takeItemNumber(item), of: identifier) }
        guard item.qos == .exactlyOnce || item.number == 0 else { return false }
        self.recordInflight(identifier, session, isNew: item.number == 0)
        guard item.qos == .exactlyOnce else { return false }
        session.touchedGroup = self.changes.group
        if layout.packetBytes <= self.partBytes { self.debit(layout.packetBytes, session, link) }
        self.hold(.publish(identifier), session.touchedGroup, session, link)
        return true
    }

    /// All groups up to this one are committed: what waited for them leaves.
    package mutating func committed(upTo group: UInt64, now: Instant) {
        self.now = now
        self.changes.commit(upTo: group)
        for link in self.links {
            guard let link, !link.held.isEmpty else { continue }
            // What is released may hold new things back: those wait for a later group, and stay behind the rest.
            let held = link.held
            let count = held.firstIndex { $0.group > group } ?? held.count
            link.held = Array(held[count...])
            for answer in held[..<count] { self.release(answer, link) }
        }
        self.settle()
    }

    /// Commits fail, or work again.
    package mutating func storeIsInTrouble(_ isInTrouble: Bool) {
        self.changes.isInTrouble = isInTrouble
    }

    private mutating func release(_ answer: HeldAnswer, _ link: RouterLink) {
        // Of a connection that has ended meanwhile: its client asks again, or gets it again, on the next one.
        guard let slot = link.slot(of: answer.handle), link.slots[slot].session != RouterLink.Slot.noSession,
            let session = self.sessions[Int(link.slots[slot].session)], session.handle == answer.handle
        else { return }
        session.heldCount -= 1
        switch answer.content {
        case .packets(let packets): packets.withUnsafeBytes { self.sendControl($0, session) }
        case .publish(let identifier): self.releasePublish(identifier, session, link)
        case .pump: self.markForPump(session)
        }
    }

    private mutating func releasePublish(_ identifier: UInt16, _ session: Session, _ link: RouterLink) {
        guard let entry = session.inflight.entry(of: identifier), entry.stage == .published, let item = entry.item
        else {
            return
        }
        let shape = item.shape(hasProperties: session.hasProperties)
        let further = item.furtherIdentifiers ?? []
        let layout = PublishLayout(item.message.view, shape, furtherIdentifiers: further, now: self.now)
        let isWhole = layout.packetBytes <= self.partBytes
        if let pending = session.pending, pending.partialOutput != nil {
            // Behind a large packet that is on its way.
            if isWhole {
                session.credit += layout.packetBytes
                link.credit += layout.packetBytes
            }
            session.sendQuota += 1
            pending.resend.insert(identifier, at: 0)
            return
        }
        if isWhole {
            link.writePublish(
                item.message.view,
                shape,
                layout,
                furtherIdentifiers: further,
                handle: session.handle,
                packetIdentifier: identifier
            )
        } else {
            self.write(item, shape, layout, identifier, session, link)
            self.markForPump(session)
        }
        withExtendedLifetime(item.message) {}
    }
}
