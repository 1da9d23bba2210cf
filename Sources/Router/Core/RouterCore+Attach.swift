import Common

// Sessions whose connections outlive a router: their listeners say which there are, and how far each is (`SessionAttach`).
extension RouterCore {
    mutating func receivedAttach(_ frame: Frame, _ link: RouterLink) -> StaticString? {
        guard let attach = SessionAttach.decode(frame.body, flags: frame.flags) else {
            return "broken sessionAttach frame"
        }
        guard let slot = self.takeSlot(frame.handle, link) else { return "handle beyond the limit" }
        guard case .success(let connect) = attach.open.connect.withUnsafeBytes({ Self.decodeResult($0) }),
            let session = self.session(of: attach, link)
        else {
            // It ended meanwhile, or was never here: a store of another router, perhaps.
            self.refuseAttach(frame.handle, .serverShuttingDown, Self.version(of: attach.open.connect), link)
            return nil
        }
        if session.isConnected {
            if let former = session.link, former !== link, former.peer.bootID == link.peer.bootID {
                // The same connection, on a link of which we have not noticed that it is broken.
                let grace = RouterLimits.relinkGraceNanoseconds
                self.connectionEnded(session, publishesWill: true, attachGraceNanoseconds: grace)
            } else if Self.isNewer(attach.open.connectStamp, link, than: session) {
                self.takeOver(session, by: attach.open.connectStamp)
            }
        }
        guard !session.isConnected, session.isStored, attach.open.connectStamp >= session.connectStamp else {
            self.refuseAttach(frame.handle, .sessionTakenOver, Self.version(of: attach.open.connect), link)
            return nil
        }
        let rest = self.rest(of: attach, session)
        if case .unknown = rest {
            self.refuseAttach(frame.handle, .serverShuttingDown, Self.version(of: attach.open.connect), link)
            return nil
        }
        self.counters.sessionsAttached += 1
        // Accepted while nothing could be stored: the store knows the connection before this one.
        let isUnknown = attach.open.connectStamp > session.connectStamp
        self.attach(session, connect, attach.open, frame.handle, slot, link)
        if isUnknown { self.begin(session, connect) }
        // What it holds makes it one that is stored from its beginning.
        if session.isDurable || session.will != nil { self.bringIntoStore(session) }
        session.credit -= Int(attach.outstandingBytes) + Int(attach.unreportedBytes)
        link.credit -= Int(attach.outstandingBytes)
        self.attach(attach.exchanges, session)
        self.restoreAliases(attach.aliases, session)
        self.recordSession(session)
        if case .packet(var output) = rest {
            if output.isStored, let identifier = attach.partial?.packetIdentifier,
                let item = session.inflight.item(of: identifier)
            {
                self.recordPartial(&output, item, identifier, session)
            }
            session.makePending().partialOutput = output
        }
        if session.pending?.partialOutput?.isKept == true {
            self.unfinished.goOn(session.storeNumber)
        } else {
            self.unfinished.drop(session.storeNumber)
        }
        self.reconcile(attach.outbound, session)
        self.flushControl(session)
        self.tellStored(session)
        // Its listener may not have heard it on the link that broke.
        if self.unstored[session.index] != nil {
            SessionUnstored.encode(true, into: &link.output, handle: session.handle)
        }
        if session.hasBacklog { self.markForPump(session) }
        return nil
    }

    /// The session that is meant; nil: there is none, or another one of the same client.
    private mutating func session(of attach: SessionAttach, _ link: RouterLink) -> Session? {
        let known = self.sessionsByClient[attach.clientIdentifier].flatMap { self.sessions[Int($0)] }
        if let known, known.isStored, known.storeNumber == attach.sessionNumber { return known }
        // Nothing may be on its way to the client, which was never subscribed.
        guard attach.canBeMadeAnew, self.changes.isOn, attach.partial == nil, attach.outbound.isEmpty else {
            return nil
        }
        if let known {
            guard Self.isNewer(attach.open.connectStamp, link, than: known) else { return nil }
            // It was made anew too, or stored when this one could not be.
            if known.isConnected { self.takeOver(known, by: attach.open.connectStamp) }
            if self.sessionsByClient[attach.clientIdentifier] != nil { self.endSession(known) }
        }
        guard self.sessionNumbers.take(attach.sessionNumber) else { return nil }
        guard let session = self.makeSession(attach.clientIdentifier) else {
            self.sessionNumbers.giveBack(attach.sessionNumber)
            return nil
        }
        session.storeNumber = attach.sessionNumber
        session.isStored = true
        session.isOutsideStore = true
        return session
    }

    /// The property, and what it adds to the lengths of properties and packet.
    private static var aliasBytesMax: Int { 5 }

    private enum Rest {
        case nothing
        case packet(Session.PartialOutput)
        case unknown
    }

    /// The packet of which the client has the beginning.
    ///
    /// Its message was stored or kept before its first byte left, and its payload comes last, so that the rest is the same whatever its
    /// head was.
    private func rest(of attach: SessionAttach, _ session: Session) -> Rest {
        guard let partial = attach.partial else { return .nothing }
        let (packetBytes, passed) = (Int(partial.packetBytes), Int(partial.passedBytes))
        let stored = self.storedMessage(of: partial, attach, session)
        guard let message = stored ?? self.unfinished.message(of: session.storeNumber) else { return .unknown }
        let output = Session.PartialOutput(
            message: message,
            head: [],
            packetBytes: packetBytes,
            sentBytes: passed,
            isStored: stored != nil,
            isKept: stored == nil
        )
        return output.headBytes > 0 && output.headBytes <= passed ? .packet(output) : .unknown
    }

    private func storedMessage(
        of partial: SessionAttach.Partial,
        _ attach: SessionAttach,
        _ session: Session
    ) -> Message? {
        guard let entry = session.inflight.entry(of: partial.packetIdentifier), entry.stage == .published,
            let item = entry.item
        else { return nil }
        let stage: OutboundStage = item.qos == .exactlyOnce ? .exactlyOnce : .atLeastOnce
        let reported = SessionAttach.Outbound(packetIdentifier: partial.packetIdentifier, stage: stage)
        let further = item.furtherIdentifiers
        let shape = item.shape(hasProperties: session.hasProperties)
        let layout = PublishLayout(item.message.view, shape, furtherIdentifiers: further, now: self.now)
        // It may have had an alias, instead of the topic or with it.
        let packetBytesMax = layout.packetBytes + Self.aliasBytesMax
        return attach.outbound.contains(reported) && partial.packetBytes <= packetBytesMax ? item.message : nil
    }

    private mutating func refuseAttach(
        _ handle: UInt64,
        _ reason: ReasonCode,
        _ version: ProtocolVersion,
        _ link: RouterLink
    ) {
        self.counters.attachesRefused += 1
        var packet = ByteBuffer()
        if version == .v5_0 { DisconnectPacket(reasonCode: reason).encode(into: &packet, version: version) }
        SessionEnd.encode(.sessionClose, into: &link.output, handle: handle, reason: reason, packet: packet.readable)
    }

    private mutating func restoreAliases(_ aliases: [SessionAttach.Alias], _ session: Session) {
        let maximum = self.offer(to: session).topicAliasMaximum
        for entry in aliases where entry.alias > 0 && entry.alias <= maximum {
            session.setTopicAlias(Int(entry.alias), entry.topic)
        }
    }

    /// Compares what we know to be on its way to the client with what its listener saw pass. On a connection that lives nothing is
    /// sent again [MQTT-4.4.0-1] but what never came that far, or whose acknowledgement was lost with the router: to the client, which is done
    /// with it, that is a new message, and no repetition. A connection that found its session may still get those of the one before.
    private mutating func reconcile(_ outbound: [SessionAttach.Outbound], _ session: Session) {
        var reported: [UInt16: OutboundStage] = [:]
        for entry in outbound { reported[entry.packetIdentifier] = entry.stage }
        var toSend: [UInt16] = []
        var neverSent: [UInt16] = []
        var unknown: [(identifier: UInt16, isReleased: Bool)] = []
        for identifier in session.inflight.identifiersInOrder() {
            let stage = reported.removeValue(forKey: identifier) ?? .free
            if stage == .atLeastOnce, session.inflight.isExactlyOnce(identifier) {
                // The exchange was over, which we had not stored, and its identifier went to a QoS 1 message, which is not stored.
                self.finishDelivery(identifier, session)
                unknown.append((identifier, false))
                continue
            }
            switch (session.inflight.stage(of: identifier), stage) {
            case (.published, .free):
                toSend.append(identifier)
                neverSent.append(identifier)
            case (.published, .atLeastOnce), (.published, .exactlyOnce), (.released, .released), (.free, _):
                break
            case (.published, .received), (.published, .released):
                self.receivedPubrec(identifier, .success, session)
            case (.released, .free):
                // PUBREL was with the client, so this is its PUBCOMP that we did not see.
                self.finishDelivery(identifier, session)
            case (.released, .atLeastOnce), (.released, .exactlyOnce), (.released, .received):
                toSend.append(identifier)
            }
        }
        for (identifier, stage) in reported.sorted(by: { $0.key < $1.key }) {
            unknown.append((identifier, stage == .received || stage == .released))
            if stage == .received { toSend.append(identifier) }
        }
        session.inflight.addUnknown(unknown)
        session.sendQuota = max(0, session.sendQuotaMax - session.inflight.count + neverSent.count)
        guard !toSend.isEmpty else { return self.finishResending(session) }
        // Where the link broke and the router lives, it may have taken a PUBREC that is not stored yet.
        session.resendGroup = session.touchedGroup
        session.sendAgain(toSend)
        if !session.isResending { session.pending?.unsent.formUnion(neverSent) }
    }

    // MARK: Before the end

    /// Tells listeners that this router is about to end: they send what they have, and then nothing more.
    package mutating func announceStop() {
        for index in self.links.indices { self.announceStop(to: index) }
    }

    /// Tells one that came when the others had been told.
    package mutating func announceStop(to index: Int) {
        self.links[index]?.output.writeFrameHeader(.linkClosing, handle: 0, bodyBytes: 0)
    }

    /// Every listener has sent everything, all of it is handled, and no client is in the middle of a packet.
    package var isReadyToStop: Bool {
        self.links.allSatisfy { $0?.isDrained ?? true } && self.waitingInput.isEmpty
            && !self.sessions.contains { $0?.pending?.partialOutput != nil }
    }

    /// Stores what is only worth it when the end is near: the packet identifiers of QoS 1 messages, so that those that are with
    /// clients are not sent again. From then on nothing is taken from queues. What is sent all the same, wills for example, is stored when this is
    /// called again.
    package mutating func recordForRestart() {
        for session in self.sessions {
            guard let session, session.isStored else { continue }
            self.storeQueue(session)
            self.recordUnacknowledged(session)
            self.recordIdentifiers(session, all: !self.isEnding)
        }
        self.isEnding = true
    }
}
