import Common

// From a message to its receivers.
extension RouterCore {
    /// Retains a message if it asks for it, and routes it.
    /// - Parameter publisher: the session it comes from.
    /// - Returns: whether anybody subscribed to it.
    mutating func publish(_ message: MessageView, publisher: UInt32) -> Bool {
        guard message.retain else { return self.route(message, kept: nil, publisher: publisher) }
        guard message.payload.count > 0 else {
            // An empty one removes, and is itself not kept [MQTT-3.3.1-6], [MQTT-3.3.1-7].
            self.retained.remove(topic: message.topic)
            return self.route(message, kept: nil, publisher: publisher)
        }
        let kept = Message.make(copying: message)
        if self.retained.store(kept) == .full { self.counters.retainedRefused += 1 }
        return self.route(message, kept: kept, publisher: publisher)
    }

    /// - Parameter kept: the message in memory of its own, if somebody made that already.
    private mutating func route(_ message: MessageView, kept: Message?, publisher: UInt32) -> Bool {
        self.trie.match(topic: message.topic, publisher: publisher, into: &self.matches)
        let count = self.matches.subscribers.count
        if count == 0, self.matches.groups.isEmpty { return false }
        var kept = kept
        if count == 1, self.matches.furtherIdentifiers.isEmpty {
            self.deliver(message, &kept, to: self.matches.subscribers[0])
        } else if count > 0 {
            self.deliverToMany(message, &kept)
        }
        if !self.matches.groups.isEmpty { self.deliverToGroups(message, &kept) }
        return true
    }

    private mutating func deliverToMany(_ message: MessageView, _ kept: inout Message?) {
        var further = 0
        for entry in 0..<self.matches.subscribers.count {
            let subscriber = self.matches.subscribers[entry]
            if further < self.matches.furtherIdentifiers.count,
                Int(self.matches.furtherIdentifiers[further].entry) == entry
            {
                var identifiers: [UInt32] = []
                while further < self.matches.furtherIdentifiers.count,
                    Int(self.matches.furtherIdentifiers[further].entry) == entry
                {
                    identifiers.append(self.matches.furtherIdentifiers[further].identifier)
                    further += 1
                }
                self.deliver(message, &kept, to: subscriber, furtherIdentifiers: identifiers)
            } else {
                self.deliver(message, &kept, to: subscriber, gathers: true)
            }
        }
        self.fanout.flush(message)
    }

    private mutating func deliverToGroups(_ message: MessageView, _ kept: inout Message?) {
        for position in 0..<self.matches.groups.count {
            self.deliverToGroup(self.matches.groups[position], message, &kept)
        }
    }

    /// One member gets the message: one that can take it now, if there is any, else one that is connected (section 4.8.2).
    private mutating func deliverToGroup(_ group: UInt32, _ message: MessageView, _ kept: inout Message?) {
        let sessions = self.sessions
        let member = self.trie.chooseMember(of: group) { index in
            guard let session = sessions[Int(index)], session.isConnected else { return 0 }
            return session.hasBacklog ? 1 : 2
        }
        if let member { self.deliver(message, &kept, to: member, group: group) }
    }

    /// Gives a message that a leaving member of a shared group did not acknowledge to another member.
    mutating func redistribute(_ item: QueuedMessage) {
        guard self.trie.hasMembers(group: item.group, stamp: item.groupStamp) else { return }
        var kept: Message? = item.message
        self.deliverToGroup(item.group, item.message.view, &kept)
    }

    /// Sends a message to one session, or has it wait there.
    /// - Parameters:
    ///   - gathers: other receivers may get the same bytes: leave the writing to `fanout`.
    ///   - group: the shared group through which it comes.
    @inline(__always)
    private mutating func deliver(
        _ message: MessageView,
        _ kept: inout Message?,
        to subscriber: Subscriber,
        furtherIdentifiers: [UInt32]? = nil,
        gathers: Bool = false,
        group: UInt32 = QueuedMessage.noGroup
    ) {
        guard let session = self.sessions[Int(subscriber.session)] else { return }
        let options = subscriber.options
        let qos = min(message.qos, options.qos)
        let retain = message.retain && (options.retainAsPublished || session.isBridge)
        if let link = session.link, session.credit > 0, link.credit > 0, !session.hasBacklog,
            qos == .atMostOnce || session.sendQuota > 0
        {
            let shape = PublishShape(
                hasProperties: session.version.hasProperties,
                qos: qos,
                retain: retain,
                identifier: session.version.hasProperties ? options.identifier : 0,
                furtherIdentifiers: furtherIdentifiers ?? []
            )
            let bucket = gathers ? self.fanout.bucket(link, shape, message, now: self.now) : nil
            let layout = bucket.map { self.fanout.buckets[$0].layout } ?? PublishLayout(message, shape, now: self.now)
            if layout.packetBytes <= Limits.packetPartBytes {
                guard layout.packetBytes <= session.maximumPacketBytes else {
                    self.counters.droppedTooLarge += 1
                    return
                }
                var identifier: UInt16 = 0
                if qos != .atMostOnce {
                    let item = self.makeItem(message, &kept, options, furtherIdentifiers, qos, retain, group)
                    guard let free = session.inflight.add(item) else { return self.enqueue(item, session) }
                    identifier = free
                    session.sendQuota -= 1
                }
                self.debit(layout.packetBytes, session, link)
                if let bucket {
                    self.fanout.add(Fanout.Target(handle: session.handle, packetIdentifier: identifier), to: bucket)
                } else {
                    link.writePublish(message, shape, layout, handle: session.handle, packetIdentifier: identifier)
                }
                return
            }
        }
        if qos == .atMostOnce, !session.isConnected {
            self.counters.droppedOffline += 1
            return
        }
        self.enqueue(self.makeItem(message, &kept, options, furtherIdentifiers, qos, retain, group), session)
    }

    private func makeItem(
        _ message: MessageView,
        _ kept: inout Message?,
        _ options: Subscriber.Options,
        _ furtherIdentifiers: [UInt32]?,
        _ qos: QoS,
        _ retain: Bool,
        _ group: UInt32
    ) -> QueuedMessage {
        let shared = kept ?? Message.make(copying: message)
        kept = shared
        return QueuedMessage(
            message: shared,
            furtherIdentifiers: furtherIdentifiers,
            identifier: options.identifier,
            group: group,
            groupStamp: group == QueuedMessage.noGroup ? 0 : self.trie.groups[Int(group)].stamp,
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
    mutating func enqueue(_ item: QueuedMessage, _ session: Session) {
        let limits = self.settings.session
        let bytes = item.message.countedBytes
        if self.queuedBytes + bytes > self.settings.maxQueuedBytesTotal {
            if item.qos == .atMostOnce { self.counters.droppedQoS0 += 1 } else { self.counters.droppedTotalFull += 1 }
            return
        }
        while session.queue.count >= limits.maxQueuedMessages || session.queue.bytes + bytes > limits.maxQueuedBytes {
            // QoS 0 never pushes anything out.
            guard item.qos != .atMostOnce, limits.queueFull == .dropOldest, let oldest = session.queue.removeFirst()
            else {
                if item.qos == .atMostOnce {
                    self.counters.droppedQoS0 += 1
                } else {
                    self.counters.droppedQueueFull += 1
                }
                return
            }
            self.queuedBytes -= oldest.message.countedBytes
            if oldest.qos == .atMostOnce { self.counters.droppedQoS0 += 1 } else { self.counters.droppedQueueFull += 1 }
        }
        let hadBacklog = session.hasBacklog
        session.queue.append(item)
        self.queuedBytes += bytes
        // With a backlog, what it waits for sets it going.
        if session.isConnected, !hadBacklog { self.markForPump(session) }
    }

    func isExpired(_ message: Message) -> Bool { message.header.expiry <= self.now }
}
