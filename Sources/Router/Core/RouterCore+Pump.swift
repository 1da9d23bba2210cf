import Common

// Sending what waits in a session: large packets part by part, then what is to be sent again, retained messages, the queue.
extension RouterCore {
    /// Sends as much as credit and quota allow.
    mutating func pump(_ session: Session) {
        var nodes = RouterLimits.retainedNodesPerTurn
        while let link = session.link {
            guard session.hasBacklog, !self.isEnding else { return }
            guard session.credit > 0 else { return }
            guard link.admits(session.credit) else { return link.holdBack(session) }
            if let pending = session.pending {
                if pending.partialOutput != nil {
                    guard self.sendPart(session, pending, link) else { return }
                    continue
                }
                if !pending.resend.isEmpty {
                    guard self.resendNext(session, pending, link, &nodes) else { return }
                    continue
                }
                // Retained messages first, unless the queue would overflow meanwhile.
                if session.queue.count * 2 <= self.settings.session.maxQueuedMessages {
                    // They come behind the SUBACK, and what came later behind them.
                    guard session.unfinishedFilters == nil else { return }
                    guard self.sendRetained(session, pending, link, &nodes) else { return }
                    continue
                }
            }
            guard self.sendFirstQueued(session, link) else { return }
        }
    }

    /// - Returns: false when it cannot go on now.
    private mutating func sendFirstQueued(_ session: Session, _ link: RouterLink) -> Bool {
        // `endTurn` goes on with it.
        guard session.queueCheck == nil, let item = session.queue.first else { return false }
        if self.isExpired(item.message) {
            self.removeFirstQueued(session)
            self.dropExpired(item, session)
            return true
        }
        if item.qos.isAcknowledged, !self.mayStart(session) { return false }
        if item.message.header.payloadBytes > self.partBytes, self.waitsForPacketBefore(item, session) {
            self.waitsForUnfinished.insert(session.index)
            return false
        }
        let records = self.changes.records
        guard self.start(item, session, link) else { return false }
        if session.isStored, item.number == 0, item.qos == .atLeastOnce || item.isKept {
            self.noteUnstored(session, link)
            // A large packet is stored when it begins.
            if self.changes.records != records { session.unstoredGroup = self.changes.group }
        }
        self.removeFirstQueued(session)
        return true
    }

    @discardableResult
    mutating func removeFirstQueued(_ session: Session) -> QueuedMessage? {
        guard let item = session.queue.removeFirst() else { return nil }
        session.queueCheck?.removedFirst()
        self.queuedBytes -= item.message.countedBytes
        self.queuedMessages -= 1
        self.leftQueue(item, session)
        return item
    }

    /// Takes those out of a session's queue that are not wanted there, and out of the store.
    mutating func removeQueued(
        _ session: Session,
        unless isWanted: (QueuedMessage) -> Bool
    ) -> [QueuedMessage] {
        guard !session.queue.isEmpty else { return [] }
        session.queueCheck?.position = 0
        // Answers that wait for messages in there count on their order.
        self.storeQueue(session)
        var removed: [QueuedMessage] = []
        _ = session.queue.removeAll { item in
            if isWanted(item) { return true }
            removed.append(item)
            return false
        }
        for item in removed {
            self.queuedBytes -= item.message.countedBytes
            self.queuedMessages -= 1
            self.recordDone(item, session)
        }
        return removed
    }

    /// Begins the delivery of a message that was not sent before; drops it when it is too large for the receiver.
    /// - Returns: false when all packet identifiers are taken.
    mutating func start(_ item: QueuedMessage, _ session: Session, _ link: RouterLink) -> Bool {
        let message = item.message.view
        var shape = item.shape(hasProperties: session.hasProperties)
        let further = item.furtherIdentifiers
        var layout = PublishLayout(message, shape, furtherIdentifiers: further, now: self.now)
        guard layout.packetBytes <= session.maximumPacketBytes, layout.isPossible else {
            // [MQTT-3.1.2-25]
            self.counters.droppedTooLarge += 1
            self.recordDone(item, session)
            return true
        }
        var identifier: UInt16 = 0
        if item.qos.isAcknowledged {
            guard !session.inflight.isFull else { return false }
            identifier = session.inflight.add(item)
            session.sendQuota -= 1
            if item.qos == .atLeastOnce, session.isDurable { session.timeAcknowledgement(now: self.now) }
            if session.isStored, self.isHeldBack(identifier, item, layout, session, link) { return true }
        }
        self.chooseAlias(&shape, &layout, message, session, furtherIdentifiers: further)
        self.write(item, shape, layout, identifier, session, link)
        return true
    }

    mutating func write(
        _ item: QueuedMessage,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        _ identifier: UInt16,
        _ session: Session,
        _ link: RouterLink
    ) {
        if layout.packetBytes <= self.partBytes {
            self.debit(layout.packetBytes, session, link)
            return self.writeWhole(item, shape, layout, identifier, session, link)
        }
        let message = item.message.view
        let further = item.furtherIdentifiers
        let headBytes = layout.packetBytes - message.payload.count
        let head = [UInt8](unsafeUninitializedCapacity: headBytes) { bytes, count in
            guard let start = UnsafeMutableRawBufferPointer(bytes).baseAddress else { return }
            var writer = RawWriter(start)
            _ = writer.writePublishHead(
                message,
                shape,
                layout,
                furtherIdentifiers: further,
                packetIdentifier: identifier
            )
            count = headBytes
        }
        var partial = Session.PartialOutput(message: item.message, head: head, packetBytes: layout.packetBytes)
        if session.isStored {
            if item.qos.isAcknowledged { self.recordPartial(&partial, item, identifier, session) }
            partial.isKept = !partial.isStored
        }
        let pending = session.makePending()
        pending.partialOutput = partial
        self.counters.publishesSent += 1
        self.counters.publishBytesSent += UInt64(layout.packetBytes)
        // Its publisher's answer waits for what is handed over with this turn.
        if partial.isKept, item.qos.isAcknowledged, link.admits(session.credit) {
            _ = self.sendPart(session, pending, link)
        }
    }

    func writeWhole(
        _ item: QueuedMessage,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        _ identifier: UInt16,
        _ session: Session,
        _ link: RouterLink
    ) {
        let isNamed = item.isKept && !session.isDurable && link.takesExchanges
        if isNamed { self.noteDelivered(item.message.header.exchange, session) }
        link.writePublish(
            item.message.view,
            shape,
            layout,
            furtherIdentifiers: item.furtherIdentifiers,
            handle: session.handle,
            packetIdentifier: identifier,
            exchange: isNamed ? item.message.header.exchange : 0
        )
    }

    // MARK: Large packets

    /// Whether a large packet that will be kept, instead of stored, has to wait for the one before it to leave: the time of a write.
    @inline(never)
    func waitsForPacketBefore(_ item: QueuedMessage, _ session: Session) -> Bool {
        item.qos == .atLeastOnce && item.number == 0 && session.isStored
            && self.unfinished.isLeaving(session.storeNumber) && self.mayGoUnstored(item, session)
    }

    /// Has the store know the packet before it begins, or goes on. Where the disk is full it begins all the same.
    mutating func recordPartial(
        _ partial: inout Session.PartialOutput,
        _ item: QueuedMessage,
        _ identifier: UInt16,
        _ session: Session
    ) {
        guard item.qos == .atLeastOnce else {
            // Its record was committed before.
            partial.isStored = true
            return
        }
        guard !self.changes.isInTrouble, session.inflight.entry(of: identifier)?.number ?? 0 != 0 else { return }
        // With those before it, which would come after it otherwise: what has no identifier in the store is sent after what has one.
        self.recordIdentifiers(session)
        partial.group = self.changes.group
        partial.isStored = true
    }

    /// - Returns: false when it cannot go on now.
    private mutating func sendPart(_ session: Session, _ pending: Session.Pending, _ link: RouterLink) -> Bool {
        guard let partial = pending.partialOutput else { return true }
        if self.waitsForCommit(partial.group, session, pending, link) { return false }
        if partial.isKept, partial.sentBytes == 0, !self.unfinished.begin(session.storeNumber, partial.message) {
            self.waitsForUnfinished.insert(session.index)
            return false
        }
        // Of a packet that is in parts anyway no more than the session's share, or each client that does not read would take a whole part.
        let allowed = max(RouterLimits.packetPartBytesMin, link.allowance(session.credit))
        let count = min(self.partBytes, allowed, partial.packetBytes - partial.sentBytes)
        let end = partial.sentBytes + count
        let isLast = end == partial.packetBytes
        var flags = FrameFlags.debitsCredit
        if !isLast { flags |= FrameFlags.packetContinues }
        if partial.isStored || partial.isKept, partial.sentBytes == 0 { flags |= FrameFlags.packetIsStored }
        var writer = link.beginDeliver(handle: session.handle, flags: flags, bytes: count)
        let headEnd = partial.headBytes
        if partial.sentBytes < headEnd {
            let range = partial.sentBytes..<min(end, headEnd)
            partial.head.withUnsafeBytes { writer.write(UnsafeRawBufferPointer(rebasing: $0[range])) }
        }
        if end > headEnd {
            let from = max(partial.sentBytes, headEnd) - headEnd
            writer.write(UnsafeRawBufferPointer(rebasing: partial.message.view.payload[from..<end - headEnd]))
        }
        session.credit -= count
        link.credit -= count
        guard isLast else {
            pending.partialOutput?.sentBytes = end
            return true
        }
        pending.partialOutput = nil
        session.dropPendingIfEmpty()
        if partial.isKept, let reference = self.unfinished.wrote(session.storeNumber) {
            link.writtenPackets.append((self.turn, reference))
        }
        partial.heldControl.withUnsafeBytes { held in
            if held.count > 0 { self.sendControl(held, session) }
        }
        if !partial.heldControl.isEmpty { session.exchanges?.leaveLater(turn: self.turn + 1) }
        return true
    }

    /// Whether sending has to wait for a group; it goes on when that is committed.
    private mutating func waitsForCommit(
        _ group: UInt64,
        _ session: Session,
        _ pending: Session.Pending,
        _ link: RouterLink,
        leavesUnstored: Bool = false
    ) -> Bool {
        guard group > self.changes.committed else { return false }
        if !pending.isPumpHeld {
            pending.isPumpHeld = true
            self.hold(.pump, group, session, link, leavesUnstored: leavesUnstored)
        }
        return true
    }

    // MARK: Resuming

    /// Sends again what was under way when the last connection ended, in the order of its first sending [MQTT-4.4.0-1].
    /// - Returns: false when it cannot go on now.
    private mutating func resendNext(
        _ session: Session,
        _ pending: Session.Pending,
        _ link: RouterLink,
        _ nodes: inout Int
    ) -> Bool {
        guard let identifier = pending.resend.last else { return true }
        let stage = session.inflight.stage(of: identifier)
        if self.waitsForCommit(session.resendGroup, session, pending, link) { return false }
        if stage == .published, session.sendQuota <= 0 { return false }
        guard nodes > 0 else {
            if !self.runnable.contains(session.index) { self.runnable.append(session.index) }
            return false
        }
        pending.resend.removeLast()
        if pending.resend.isEmpty { self.finishResending(session) }
        let isRepetition = pending.unsent.remove(identifier) == nil
        session.dropPendingIfEmpty()
        switch stage {
        case .free:
            return true
        case .released:
            self.sendPubrel(identifier, session)
        case .published:
            guard let item = session.inflight.item(of: identifier) else { return true }
            let work = self.work
            let isAllowed = self.mayBeSent(item, identifier, session)
            nodes -= Int(truncatingIfNeeded: self.work &- work)
            guard isAllowed else {
                self.counters.droppedByRules += 1
                self.giveUp(item, identifier, wasSent: isRepetition, session)
                if item.group != QueuedMessage.noGroup, item.qos != .exactlyOnce { self.redistribute(item) }
                return true
            }
            let shape = item.shape(hasProperties: session.hasProperties, dup: isRepetition)
            let further = item.furtherIdentifiers
            let layout = PublishLayout(item.message.view, shape, furtherIdentifiers: further, now: self.now)
            guard layout.packetBytes <= session.maximumPacketBytes, layout.isPossible else {
                self.counters.droppedTooLarge += 1
                self.giveUp(item, identifier, wasSent: isRepetition, session)
                return true
            }
            session.sendQuota -= 1
            self.write(item, shape, layout, identifier, session, link)
        }
        return true
    }

    /// A message under way is not sent again. Its client may have it from an earlier connection, and acknowledge it late.
    /// - Parameter wasSent: false: no client can have it.
    private mutating func giveUp(
        _ item: QueuedMessage,
        _ identifier: UInt16,
        wasSent: Bool,
        _ session: Session
    ) {
        guard wasSent, item.qos == .exactlyOnce else {
            self.recordDone(identifier, session)
            return wasSent ? session.inflight.withdraw(identifier) : session.inflight.remove(identifier)
        }
        // The client that has it would take the next message with this identifier for the same one [MQTT-4.3.3-10], until a PUBREL has come.
        // One that does not have it answers that too; code 0x92 is no error then.
        self.recordReleased(identifier, session)
        session.inflight.release(identifier)
        session.sendQuota -= 1
        self.sendPubrel(identifier, session)
    }

    private mutating func sendPubrel(_ identifier: UInt16, _ session: Session) {
        self.scratch.clear()
        self.scratch.writeAcknowledgement(
            type: .pubrel,
            packetIdentifier: identifier,
            reasonCode: .success,
            version: session.version
        )
        let pubrel = self.scratch.array
        self.countSent(packets: 1, bytes: pubrel.count)
        pubrel.withUnsafeBytes { self.sendControl($0, session) }
    }

    /// What was under way on an earlier connection is all sent again: from now on nothing is a repetition on this one.
    mutating func finishResending(_ session: Session) {
        guard session.isResending else { return }
        session.isResending = false
        self.recordSession(session)
    }

    // MARK: Retained messages

    /// Sends the next retained message of the oldest subscription that waits for some.
    /// - Returns: false when it cannot go on now.
    private mutating func sendRetained(
        _ session: Session,
        _ pending: Session.Pending,
        _ link: RouterLink,
        _ nodes: inout Int
    ) -> Bool {
        let leavesUnstored = session.isStored && !session.isDurable
        if self.waitsForCommit(pending.retainedGroup, session, pending, link, leavesUnstored: leavesUnstored) {
            return false
        }
        // A QoS 0 subscription needs no quota; what comes next is not known before it is taken.
        let needsQuota = pending.retainedCursors.first.options.qos.isAcknowledged
        if needsQuota, !self.mayStart(session) { return false }
        switch pending.retainedCursors.first.next(&self.retained, budget: &nodes) {
        case .finished:
            let cursor = pending.retainedCursors.removeFirst()
            self.recordRetainedSent(cursor, session)
            session.dropPendingIfEmpty()
        case .paused:
            if !self.runnable.contains(session.index) { self.runnable.append(session.index) }
            return false
        case .message(let message):
            if self.isExpired(message) { return true }
            let item = self.retainedItem(message, pending.retainedCursors.first.options)
            if !self.start(item, session, link) { self.enqueue(item, session, hasPublisher: false) }
        }
        return true
    }

    func retainedItem(_ message: Message, _ options: Subscriber.Options) -> QueuedMessage {
        QueuedMessage(
            message: message,
            identifier: options.identifier,
            qos: QoS.lower(message.header.qos, options.qos),
            retain: true
        )
    }
}
