import Common

// PUBLISH from a client (MQTT 5.0, section 3.3).
extension RouterCore {
    mutating func receivedPublish(_ packet: UnsafeRawBufferPointer, _ header: FixedHeader, _ session: Session) {
        self.counters.publishesReceived += 1
        let publish: PublishView
        let isRecent: Bool
        do {
            publish = try PublishView.decode(packet, header: header, version: session.version, checksTopic: false)
            let topic = UnsafeRawBufferPointer(rebasing: packet[publish.topic])
            isRecent = session.recentTopic.matches(topic)
            if !isRecent { try PublishView.checkTopic(topic, hasAlias: publish.topicAlias != 0) }
        } catch {
            return self.close(session, error)
        }
        guard self.checkCapabilities(publish, session) else { return }
        if publish.topicAlias == 0 {
            let topic = UnsafeRawBufferPointer(rebasing: packet[publish.topic])
            self.acceptPublish(publish, packet, topic: topic, isRecent: isRecent, session)
        } else {
            self.resolveAlias(publish, packet, session)
        }
    }

    /// Section 3.3.2.3.4: an alias stands for the topic it last came with on this connection.
    private mutating func resolveAlias(
        _ publish: PublishView,
        _ packet: UnsafeRawBufferPointer,
        _ session: Session
    ) {
        let alias = Int(publish.topicAlias)
        // [MQTT-3.3.2-9]
        guard alias <= Int(self.offer(to: session).topicAliasMaximum) else {
            return self.close(session, .topicAliasInvalid)
        }
        if publish.topic.isEmpty {
            guard alias <= session.topicAliases.count, !session.topicAliases[alias - 1].isEmpty else {
                return self.close(session, .protocolError, "topic alias that was not set on this connection")
            }
            let topic = session.topicAliases[alias - 1]
            topic.withUnsafeBytes {
                let isRecent = session.recentTopic.matches($0)
                self.acceptPublish(publish, packet, topic: $0, isRecent: isRecent, session)
            }
            return
        }
        session.setTopicAlias(alias, [UInt8](packet[publish.topic]))
        let topic = UnsafeRawBufferPointer(rebasing: packet[publish.topic])
        self.acceptPublish(publish, packet, topic: topic, isRecent: false, session)
    }

    private mutating func checkCapabilities(_ publish: PublishView, _ session: Session) -> Bool {
        let offer = self.offer(to: session)
        if publish.qos.level > offer.maxQoS.level {
            // [MQTT-3.2.2-11]
            self.close(session, .qosNotSupported)
            return false
        }
        if publish.retain, !offer.retainAvailable, session.hasProperties {
            // [MQTT-3.2.2-14]
            self.close(session, .retainNotSupported)
            return false
        }
        return true
    }

    /// - Parameter isRecent: whether the topic is `recentTopic`.
    private mutating func acceptPublish(
        _ publish: PublishView,
        _ packet: UnsafeRawBufferPointer,
        topic: UnsafeRawBufferPointer,
        isRecent: Bool,
        _ session: Session
    ) {
        var exchange = Exchange()
        if case .exactlyOnce = publish.qos {
            exchange = self.nextExchange(session)
            if self.isKnown(publish, packet, topic: topic, exchange, session) { return }
        }
        guard exchange.isRepeated || self.hasReceiveRoom(publish.qos, session) else {
            return self.close(session, .receiveMaximumExceeded)
        }
        var message = MessageView(
            topic: topic,
            properties: UnsafeRawBufferPointer(rebasing: packet[publish.properties]),
            payload: UnsafeRawBufferPointer(rebasing: packet[publish.payload]),
            expiry: Instant.max,
            qos: publish.qos,
            retain: publish.retain && self.offer(to: session).retainAvailable
        )
        guard publish.topicAlias == 0, publish.messageExpiryInterval == nil else {
            if let seconds = publish.messageExpiryInterval {
                message.expiry = self.now &+ UInt64(seconds) * Nanoseconds.perSecond
            }
            let properties = publish.forwardedProperties(of: packet)
            return properties.withUnsafeBytes {
                message.properties = $0
                self.completePublish(publish, message, isRecent: isRecent, exchange, session)
            }
        }
        self.completePublish(publish, message, isRecent: isRecent, exchange, session)
    }

    /// Whether a message of the session was refused, for nothing can be stored, and its listener may not know yet: if we were killed
    /// now, it would be sent again, and come after this one.
    private func isBehindRefusal(_ session: Session) -> Bool {
        if session.heldRefusals > 0 || self.refusesInFrame { return true }
        guard session.refusalTurn != 0, let link = session.link else { return false }
        return link.handedTurn < session.refusalTurn
    }

    private func hasReceiveRoom(_ qos: QoS, _ session: Session) -> Bool {
        guard qos.isAcknowledged, session.hasProperties else { return true }
        let underWay = session.received.count + session.unacknowledgedInFrame
        return underWay < Int(self.offer(to: session).receiveMaximum)
    }

    /// Routes the message, or keeps it until its PUBREL, and acknowledges it, in this order.
    private mutating func completePublish(
        _ publish: PublishView,
        _ message: MessageView,
        isRecent: Bool,
        _ exchange: Exchange,
        _ session: Session
    ) {
        var reason = self.refusal(of: message, isRecent: isRecent, session)
        guard session.isConnected else { return }
        if message.qos.isAcknowledged, reason == nil, !exchange.hasPubrec {
            if !self.takesPromises || self.isBehindRefusal(session) {
                self.counters.publishesNotStored += 1
                // Before 5.0 there is no refusal: without an acknowledgement the client keeps the message.
                guard session.hasProperties else { return self.leaveUnanswered(session) }
                reason = .quotaExceeded
                self.refusesInFrame = true
            } else if session.isUnanswered {
                // What it sent before comes first.
                return self.closeUnanswered(session)
            }
        }
        switch publish.qos {
        case .atMostOnce:
            if reason == nil { _ = self.publishRecent(message, session) }
        case .atLeastOnce:
            if reason == nil { reason = self.publishRecent(message, session) }
            session.unacknowledgedInFrame += 1
            self.acknowledge(.puback, publish.packetIdentifier, reason ?? .success, session)
        case .exactlyOnce:
            // PUBCOMP could not say it any more.
            if reason == nil, !self.trie.isMatchBounded(message.topic),
                !self.match(message.topic, publisher: session.index)
            {
                reason = .quotaExceeded
            }
            self.hold(message, publish.packetIdentifier, reason, exchange, session)
        }
    }

    /// Why a message is not taken; nil: it is, and its topic is `recentTopic`. May close the session.
    @inline(__always)
    private mutating func refusal(of message: MessageView, isRecent: Bool, _ session: Session) -> ReasonCode? {
        if !isRecent || !session.recentTopic.isAllowed(message.qos, retain: message.retain) {
            if let reason = self.refusalOfTopic(of: message, session) { return reason }
            session.recentTopic.allow(message.topic, message.qos, retain: message.retain)
        }
        return message.retain ? self.refusalToRetain(message, session) : nil
    }

    private mutating func refusalOfTopic(of message: MessageView, _ session: Session) -> ReasonCode? {
        if !session.mayPublish(topic: message.topic, qos: message.qos, retain: message.retain)
            || Self.isReserved(message.topic)
        {
            self.counters.publishesDenied += 1
            self.denials.note(session, .publish, message.topic, message.qos, retain: message.retain, now: self.now)
            if self.denyAction == .disconnect { self.close(session, .notAuthorized) }
            return .notAuthorized
        }
        return TopicName.levelCount(message.topic) > self.settings.maxTopicLevels ? .topicNameInvalid : nil
    }

    private mutating func refusalToRetain(_ message: MessageView, _ session: Session) -> ReasonCode? {
        // A publisher that can be told is told; for others the message is delivered, and only not kept.
        guard message.payload.count > 0, message.qos.isAcknowledged, session.hasProperties else { return nil }
        let bytes = Message.countedBytes(of: message)
        if self.retained.hasRoom(topic: message.topic, bytes: bytes) { return nil }
        if self.dropExpiredRetained(atMost: RouterLimits.expiredPerMessage) > 0,
            self.retained.hasRoom(topic: message.topic, bytes: bytes)
        {
            return nil
        }
        self.counters.retainedRefused += 1
        return .quotaExceeded
    }

    /// `$SYS` is the broker's own, `$share` is no topic.
    static func isReserved(_ topic: UnsafeRawBufferPointer) -> Bool {
        guard topic.count > 0, topic[0] == UInt8(ascii: "$") else { return false }
        if TopicName.hasFirstLevel(topic, "$share") { return true }
        return TopicName.isSystem(topic) && !Self.isBridgeState(topic)
    }

    /// `$SYS/broker/connection/NAME/state`: where bridges of other brokers tell whether they are connected.
    private static func isBridgeState(_ topic: UnsafeRawBufferPointer) -> Bool {
        let filter: StaticString = "$SYS/broker/connection/+/state"
        return TopicFilter.matches(
            filter: UnsafeRawBufferPointer(start: filter.utf8Start, count: filter.utf8CodeUnitCount),
            topic: topic
        )
    }

    // MARK: Acknowledgements

    /// Appends an acknowledgement to those of the frame being handled: it leaves with them, after all effects of the frame.
    mutating func acknowledge(_ type: PacketType, _ identifier: UInt16, _ reason: ReasonCode, _ session: Session) {
        self.control.writeAcknowledgement(
            type: type,
            packetIdentifier: identifier,
            reasonCode: reason,
            version: session.version
        )
        self.countSent(packets: 1, bytes: 0)
    }

    /// Sends the acknowledgements of the frame that was handled.
    /// - Parameter unstoredGroup: where they should leave even though nothing can be stored (`HeldAnswer.leavesUnstored`): the group that
    ///   they wait for while it can.
    mutating func flushControl(_ session: Session, unstoredGroup: UInt64? = nil) {
        session.unacknowledgedInFrame = 0
        defer {
            self.refusesInFrame = false
            self.completedInFrame = 0
        }
        guard !self.control.isEmpty else { return }
        let leavesUnstored = unstoredGroup != nil
        if !leavesUnstored, self.changes.records != self.recordsBefore { session.touchedGroup = self.changes.group }
        let group = max(session.touchedGroup, unstoredGroup ?? 0)
        if session.isConnected {
            // Its packets were counted one by one.
            self.countSent(packets: 0, bytes: self.control.readableBytes)
            let waits = group > self.changes.committed && !(leavesUnstored && self.changes.isInTrouble)
            if let link = session.link,
                session.heldCount > 0 || waits || self.mustBeHandedOver(link) || !self.awaited.isEmpty
            {
                self.hold(.packets(self.control.array), group, session, link, leavesUnstored: leavesUnstored)
                self.awaited.removeAll()
            } else {
                if let unstoredGroup, unstoredGroup > self.changes.committed, let link = session.link {
                    self.noteUnstoredAnswer(unstoredGroup, session, link)
                }
                if self.refusesInFrame { session.refusalTurn = self.turn + 1 }
                if self.completedInFrame > 0 {
                    session.exchanges?.left(self.completedInFrame, turn: self.turn + 1)
                }
                self.sendControl(self.control.readable, session)
            }
        }
        self.control.clear()
    }

    /// Sends packets that need no credit; behind a large packet that is on its way.
    mutating func sendControl(_ bytes: UnsafeRawBufferPointer, _ session: Session) {
        guard let link = session.link else { return }
        if let pending = session.pending, let partial = pending.partialOutput, partial.sentBytes > 0 {
            pending.partialOutput?.heldControl.append(contentsOf: bytes)
            if session.keepsExchanges { self.settling.controlHeld.insert(session.index) }
            if let held = pending.partialOutput?.heldControl.count, held > RouterLimits.heldControlBytesMax {
                self.condemned.append((session.index, .quotaExceeded))
            }
            return
        }
        var writer = link.beginDeliver(handle: session.handle, flags: 0, bytes: bytes.count)
        writer.write(bytes)
    }
}
