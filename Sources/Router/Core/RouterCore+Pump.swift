import Common

// Sending what waits in a session: large packets part by part, then what is to be sent again, retained messages, the queue.
extension RouterCore {
    /// Sends as much as credit and quota allow.
    mutating func pump(_ session: Session) {
        var nodes = RouterLimits.retainedNodesPerTurn
        while let link = session.link {
            guard session.hasBacklog else { return }
            guard session.credit > 0 else { return }
            guard link.credit > 0 else {
                if !session.isWaitingForLink {
                    session.isWaitingForLink = true
                    link.waiting.append(session.index)
                }
                return
            }
            if session.partialOutput != nil {
                self.sendPart(session, link)
                continue
            }
            if !session.resend.isEmpty {
                guard self.resendNext(session, link) else { return }
                continue
            }
            // Retained messages first, unless the queue would overflow meanwhile.
            if !session.retainedCursors.isEmpty, session.queue.count * 2 < self.settings.session.maxQueuedMessages {
                guard self.sendRetained(session, link, &nodes) else { return }
                continue
            }
            guard self.sendFirstQueued(session, link) else { return }
        }
    }

    /// - Returns: false when it cannot go on now.
    private mutating func sendFirstQueued(_ session: Session, _ link: RouterLink) -> Bool {
        guard let item = session.queue.first else { return false }
        if self.isExpired(item.message) {
            self.counters.droppedExpired += 1
            self.removeFirstQueued(session)
            return true
        }
        if item.qos != .atMostOnce, !self.mayStart(session) { return false }
        guard self.start(item, session, link) else { return false }
        self.removeFirstQueued(session)
        return true
    }

    private mutating func removeFirstQueued(_ session: Session) {
        guard let item = session.queue.removeFirst() else { return }
        self.queuedBytes -= item.message.countedBytes
        self.queuedMessages -= 1
    }

    /// Begins the delivery of a message that was not sent before; drops it when it is too large for the receiver.
    /// - Returns: false when all packet identifiers are taken.
    private mutating func start(_ item: QueuedMessage, _ session: Session, _ link: RouterLink) -> Bool {
        let message = item.message.view
        var shape = item.shape(hasProperties: session.version.hasProperties)
        var layout = PublishLayout(message, shape, now: self.now)
        guard layout.packetBytes <= session.maximumPacketBytes, layout.isPossible else {
            // [MQTT-3.1.2-25]
            self.counters.droppedTooLarge += 1
            return true
        }
        var identifier: UInt16 = 0
        if item.qos != .atMostOnce {
            guard let free = session.inflight.add(item) else { return false }
            identifier = free
            session.sendQuota -= 1
        }
        self.chooseAlias(&shape, &layout, message, session)
        self.write(item.message, shape, layout, identifier, session, link)
        return true
    }

    private mutating func write(
        _ message: Message,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        _ identifier: UInt16,
        _ session: Session,
        _ link: RouterLink
    ) {
        if layout.packetBytes <= Limits.packetPartBytes {
            self.debit(layout.packetBytes, session, link)
            link.writePublish(message.view, shape, layout, handle: session.handle, packetIdentifier: identifier)
            return
        }
        self.scratch.clear()
        _ = self.scratch.writePublishHead(message.view, shape, layout, packetIdentifier: identifier)
        session.partialOutput = Session.PartialOutput(
            message: message,
            head: self.scratch.array,
            packetBytes: layout.packetBytes
        )
        self.counters.publishesSent += 1
        self.counters.publishBytesSent += UInt64(layout.packetBytes)
        self.countSent(packets: 1, bytes: layout.packetBytes)
    }

    // MARK: Large packets

    private mutating func sendPart(_ session: Session, _ link: RouterLink) {
        guard let partial = session.partialOutput else { return }
        let count = min(Limits.packetPartBytes, partial.packetBytes - partial.sentBytes)
        let end = partial.sentBytes + count
        let isLast = end == partial.packetBytes
        let flags = FrameFlags.debitsCredit | (isLast ? 0 : FrameFlags.packetContinues)
        link.beginDeliver(handle: session.handle, flags: flags, bytes: count)
        let headEnd = partial.head.count
        if partial.sentBytes < headEnd {
            link.output.write(partial.head[partial.sentBytes..<min(end, headEnd)])
        }
        if end > headEnd {
            let payload = partial.message.view.payload
            let from = max(partial.sentBytes, headEnd) - headEnd
            link.output.write(UnsafeRawBufferPointer(rebasing: payload[from..<end - headEnd]))
        }
        session.credit -= count
        link.credit -= count
        guard isLast else {
            session.partialOutput?.sentBytes = end
            return
        }
        session.partialOutput = nil
        partial.heldControl.withUnsafeBytes { held in
            if held.count > 0 { self.sendControl(held, session) }
        }
    }

    // MARK: Resuming

    /// Sends again what was under way when the last connection ended, in the order of its first sending [MQTT-4.4.0-1].
    private mutating func resendNext(_ session: Session, _ link: RouterLink) -> Bool {
        guard let identifier = session.resend.last else { return true }
        switch session.inflight.stage(of: identifier) {
        case .free:
            break
        case .released:
            self.scratch.clear()
            self.scratch.writeAcknowledgement(
                type: .pubrel,
                packetIdentifier: identifier,
                reasonCode: .success,
                version: session.version
            )
            session.resend.removeLast()
            let pubrel = self.scratch.array
            self.countSent(packets: 1, bytes: pubrel.count)
            pubrel.withUnsafeBytes { self.sendControl($0, session) }
            return true
        case .published:
            guard session.sendQuota > 0 else { return false }
            guard let item = session.inflight.item(of: identifier) else { break }
            let shape = item.shape(hasProperties: session.version.hasProperties, dup: true)
            let layout = PublishLayout(item.message.view, shape, now: self.now)
            session.resend.removeLast()
            guard layout.packetBytes <= session.maximumPacketBytes, layout.isPossible else {
                self.counters.droppedTooLarge += 1
                session.inflight.remove(identifier)
                return true
            }
            session.sendQuota -= 1
            self.write(item.message, shape, layout, identifier, session, link)
            return true
        }
        session.resend.removeLast()
        return true
    }

    // MARK: Retained messages

    /// Sends the next retained message of the oldest subscription that waits for some.
    /// - Returns: false when it cannot go on now.
    private mutating func sendRetained(_ session: Session, _ link: RouterLink, _ nodes: inout Int) -> Bool {
        // A QoS 0 subscription needs no quota, but what comes next is not known before it is taken.
        guard self.mayStart(session) || session.retainedCursors[0].options.qos == .atMostOnce else { return false }
        switch session.retainedCursors[0].next(&self.retained, budget: &nodes) {
        case .finished:
            session.retainedCursors.removeFirst()
        case .paused:
            if !self.runnable.contains(session.index) { self.runnable.append(session.index) }
            return false
        case .message(let message):
            if self.isExpired(message) { return true }
            let item = self.retainedItem(message, session.retainedCursors[0].options)
            if !self.start(item, session, link) { self.enqueue(item, session) }
        }
        return true
    }

    func retainedItem(_ message: Message, _ options: Subscriber.Options) -> QueuedMessage {
        QueuedMessage(
            message: message,
            identifier: options.identifier,
            qos: min(message.header.qos, options.qos),
            retain: true
        )
    }
}
