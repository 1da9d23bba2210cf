import Common

// From the CONNECT of an authenticated client to its session (MQTT 5.0, sections 3.1 and 3.2).
extension RouterCore {
    mutating func receivedOpen(_ frame: Frame, _ link: RouterLink) -> StaticString? {
        guard let open = SessionOpen.decode(frame.body) else { return "broken sessionOpen frame" }
        guard let number = self.takeSlot(frame.handle, link) else { return "handle beyond the limit" }
        self.countReceived(open.connect.count)
        let canBeMadeAnew = frame.flags & FrameFlags.canBeMadeAnew != 0
        self.connect(open, frame.handle, number, link, canBeMadeAnew: canBeMadeAnew)
        return nil
    }

    /// The place of a handle that the listener uses from here on; nil: there is none.
    mutating func takeSlot(_ handle: UInt64, _ link: RouterLink) -> Int? {
        let number = Int(truncatingIfNeeded: handle & 0xFFFF_FFFF)
        guard number < RouterLimits.slotsPerLinkMax, handle != RouterLink.noHandle else { return nil }
        while link.slots.count <= number { link.slots.append(RouterLink.Slot(generation: 0)) }
        if let forgotten = link.slots[number].session == RouterLink.Slot.noSession ? nil : link.slots[number].session {
            // The place was given to another connection without telling us that the former is gone.
            if let session = self.sessions[Int(forgotten)] { self.connectionEnded(session, publishesWill: true) }
        }
        link.slots[number] = RouterLink.Slot(generation: UInt32(truncatingIfNeeded: handle >> 32))
        return number
    }

    /// - Parameter canBeMadeAnew: the listener can have another router make the session anew.
    private mutating func connect(
        _ open: SessionOpen,
        _ handle: UInt64,
        _ slot: Int,
        _ link: RouterLink,
        canBeMadeAnew: Bool
    ) {
        let connect: ConnectPacket
        switch open.connect.withUnsafeBytes({ bytes in Self.decodeResult(bytes) }) {
        case .success(let packet):
            connect = packet
        case .failure(let error):
            return self.refuse(error.reasonCode, handle, link, Self.version(of: open.connect))
        }
        let policy = self.policies[self.policies.number(of: open.listenerName)]
        let commonName = open.identity?.commonName
        guard var clientIdentifier = policy.clientID.clientIdentifier(connect.clientIdentifier, commonName: commonName)
        else {
            return self.refuse(.clientIdentifierNotValid, handle, link, connect.version)
        }
        if let refusal = self.refusal(of: connect, clientIdentifier, policy.offer) {
            return self.refuse(refusal, handle, link, connect.version)
        }
        if clientIdentifier.isEmpty {
            repeat { clientIdentifier = self.random.next() } while self.sessionsByClient[clientIdentifier] != nil
        }
        var known = self.sessionsByClient[clientIdentifier].flatMap { self.sessions[Int($0)] }
        let isFirst = known == nil
        if let session = known, session.isConnected {
            guard Self.isNewer(open.connectStamp, link, than: session) else {
                return self.refuse(.serverBusy, handle, link, connect.version)
            }
            self.takeOver(session, by: open.connectStamp)
            known = self.sessionsByClient[clientIdentifier].flatMap { self.sessions[Int($0)] }
        }
        // The very CONNECT that the router before this one took, and whose CONNACK it could not send.
        let isRepeated = known.map { $0.connectStamp == open.connectStamp } ?? false
        if let session = known, !isRepeated { self.connectionReplaced(session, by: open.connectStamp) }
        let arrival = self.arrival(of: open)
        if let session = known, !isRepeated, !session.isConnected, session.isOverdue(at: arrival) {
            self.deadlineReached(session, at: arrival)
            if self.sessionsByClient[clientIdentifier] == nil { known = nil }
        }
        if let session = known, !isRepeated, connect.cleanStart || session.expirySeconds == 0 {
            // [MQTT-3.1.2-4]; a pending will is published: its session ends [MQTT-3.1.3-9]. One that should have ended with
            // its connection is there only when the router was restarted meanwhile.
            self.endSession(session)
            known = nil
        }
        let isResumed = known.map { !isRepeated || $0.isResumed } ?? false
        guard let session = known ?? self.makeSession(clientIdentifier) else {
            return self.refuse(.quotaExceeded, handle, link, connect.version)
        }
        self.attach(session, connect, open, handle, slot, link)
        self.begin(session, connect)
        session.setShownName(commonName ?? open.userName)
        session.isResumed = isResumed
        session.isResending = !session.inflight.isEmpty
        // Should an earlier one come back from the store, because its end was not stored yet, this one must be there too.
        if isFirst, canBeMadeAnew { self.leaveOutsideStore(session) }
        self.recordSession(session)
        guard self.accept(session, connect, isResumed: isResumed, link) else {
            // [MQTT-3.1.2-24]: not even a CONNACK could be sent.
            self.connectionEnded(session, publishesWill: false)
            return self.refuse(.packetTooLarge, handle, link, connect.version, sendsConnack: false)
        }
        if known != nil { self.resume(session) }
    }

    /// When the listener had the CONNECT, which may have waited there for a router. What no listener can mean counts as now.
    private func arrival(of open: SessionOpen) -> Instant {
        let arrival = open.connectStamp &- self.bootOffset
        guard arrival <= self.now, self.now - arrival <= RouterLimits.connectWaitNanoseconds else { return self.now }
        return arrival
    }

    static func decodeResult(_ packet: UnsafeRawBufferPointer) -> Result<ConnectPacket, DecodeError> {
        do {
            return .success(try Self.decodeConnect(packet))
        } catch {
            return .failure(error)
        }
    }

    private static func decodeConnect(_ packet: UnsafeRawBufferPointer) throws(DecodeError) -> ConnectPacket {
        switch FixedHeader.decode(packet) {
        case .needMore: throw .malformed("CONNECT ends early")
        case .malformed(let error): throw error
        case .header(let header):
            guard header.type == .connect, header.packetBytes == packet.count else {
                throw .malformed("CONNECT of another length than it says")
            }
            return try ConnectPacket.decode(packet, header: header)
        }
    }

    /// The version of a CONNECT that is broken elsewhere, to refuse it in its own words.
    static func version(of connect: [UInt8]) -> ProtocolVersion {
        connect.withUnsafeBytes { packet in
            guard case .header(let header) = FixedHeader.decode(packet) else { return .v5_0 }
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: packet[header.headerBytes...]))
            guard let count = reader.readBigEndian(UInt16.self), reader.readBytes(Int(count)) != nil,
                let level = reader.readUInt8()
            else { return .v5_0 }
            return ProtocolVersion(rawValue: level & 0x7F) ?? .v5_0
        }
    }

    private func refusal(
        of connect: ConnectPacket,
        _ clientIdentifier: [UInt8],
        _ offer: Configuration.Offer
    ) -> ReasonCode? {
        if !offer.protocolVersions.contains(connect.version) { return .unsupportedProtocolVersion }
        // [MQTT-4.12.0-1]: there is no method that we offer.
        if connect.properties.authenticationMethod != nil { return .badAuthenticationMethod }
        let maxLengthBytes = self.settings.maxClientIDLengthBytes
        if offer.refusal(ofClientIdentifier: clientIdentifier, maxLengthBytes: maxLengthBytes) != nil {
            return .clientIdentifierNotValid
        }
        if let will = connect.will {
            // Its listener has looked at that, and may be configured otherwise until it is started anew.
            if will.byteCount > self.settings.maxWillSizeBytes { return .packetTooLarge }
            // [MQTT-3.2.2-12], [MQTT-3.2.2-13]
            if will.qos > offer.maxQoS { return .qosNotSupported }
            if will.retain, !offer.retainAvailable, connect.version.hasProperties { return .retainNotSupported }
            let levels = will.topic.withUnsafeBytes { TopicName.levelCount($0) }
            if levels > self.settings.maxTopicLevels { return .topicNameInvalid }
        }
        return nil
    }

    /// Who keeps the session: the newest connection; of two with one stamp that of the listener with the higher boot id.
    static func isNewer(_ stamp: UInt64, _ link: RouterLink, than session: Session) -> Bool {
        if stamp != session.connectStamp || session.link === link { return stamp >= session.connectStamp }
        guard let other = session.link else { return true }
        return other.peer.bootID.lexicographicallyPrecedes(link.peer.bootID)
    }

    /// [MQTT-3.1.4-3]
    /// - Parameter stamp: of the connection that takes it over.
    mutating func takeOver(_ session: Session, by stamp: UInt64) {
        self.counters.sessionsTakenOver += 1
        if stamp < self.startStamp { self.forgetReceivedOnThisConnection(session) }
        self.writeClose(session, .sessionTakenOver)
        self.connectionEnded(session, publishesWill: true)
    }

    mutating func makeSession(_ clientIdentifier: [UInt8]) -> Session? {
        guard self.sessionsByClient.count < self.settings.maxSessions else { return nil }
        let index = self.freeSessions.popLast() ?? UInt32(truncatingIfNeeded: self.sessions.count)
        let session = Session(index: index, clientIdentifier: clientIdentifier)
        if Int(index) == self.sessions.count {
            self.sessions.append(session)
        } else {
            self.sessions[Int(index)] = session
        }
        self.sessionsByClient[clientIdentifier] = index
        return session
    }

    /// Makes the session one of this connection.
    mutating func attach(
        _ session: Session,
        _ connect: ConnectPacket,
        _ open: SessionOpen,
        _ handle: UInt64,
        _ slot: Int,
        _ link: RouterLink
    ) {
        link.slots[slot].session = session.index
        link.sessionCount += 1
        self.connectedCount += 1
        self.connectedMax = max(self.connectedMax, self.connectedCount)
        session.link = link
        session.handle = handle
        session.connectStamp = open.connectStamp
        session.source = ConnectionSource(peerAddress: open.peerAddress)
        session.policy = self.policies.number(of: open.listenerName)
        session.credit = Int(link.peer.sessionCreditBytes)
        session.version = connect.version
        session.isBridge = connect.isBridge
        self.apply(open.access, to: session)
        session.willDue = nil
        session.expiryDue = nil
        session.dueNotBefore = 0
        session.mayBeAttached = false
        self.deadlines.set(session.index, deadline: nil)
        let properties = connect.properties
        session.sendQuotaMax = Int(min(properties.receiveMaximum ?? UInt16.max, self.settings.session.maxInflight))
        session.sendQuota = session.sendQuotaMax
        session.maximumPacketBytes = properties.maximumPacketSize.map { Int($0) } ?? Session.noLimit
        let aliases = min(Int(properties.topicAliasMaximum ?? 0), Int(self.settings.topicAliasesToClients))
        session.outboundAliases = aliases > 0 ? OutboundAliases(maximum: aliases) : nil
        session.wantsReasonStrings = properties.requestProblemInformation ?? false
    }

    /// What a CONNECT says of the session.
    mutating func begin(_ session: Session, _ connect: ConnectPacket) {
        // A new connection before the delay is over takes a pending will away [MQTT-3.1.3-9]; and this one may bring another.
        session.will = connect.will.map { self.makeWill($0, retainAvailable: self.offer(to: session).retainAvailable) }
        switch connect.version {
        case .v5_0:
            let wanted = connect.properties.sessionExpiryInterval ?? 0
            session.expirySeconds = min(wanted, self.settings.session.maxExpirySeconds)
        case .v3_1, .v3_1_1:
            session.expirySeconds = connect.cleanStart ? 0 : self.settings.session.version3ExpirySeconds
        }
        session.isStored = self.changes.isOn
        session.isDurable = session.isStored && session.expirySeconds > 0
    }

    private func makeWill(_ will: ConnectPacket.Will, retainAvailable: Bool) -> Session.Will {
        var properties = will.properties
        let delay = properties.willDelayInterval ?? 0
        let expiry = properties.messageExpiryInterval
        properties.willDelayInterval = nil
        properties.messageExpiryInterval = nil
        var buffer = ByteBuffer()
        properties.encode(into: &buffer)
        // Forwarded properties are kept without their length, which takes 1 to 4 bytes.
        var prefix = 0
        while prefix < buffer.readableBytes, buffer.readable[prefix] >= 0x80 { prefix += 1 }
        buffer.consume(min(prefix + 1, buffer.readableBytes))
        let message = will.topic.withUnsafeBytes { topic in
            will.payload.withUnsafeBytes { payload in
                Message.make(
                    copying: MessageView(
                        topic: topic,
                        properties: buffer.readable,
                        payload: payload,
                        expiry: Instant.max,
                        qos: will.qos,
                        retain: will.retain && retainAvailable
                    )
                )
            }
        }
        return Session.Will(message: message, delaySeconds: delay, expirySeconds: expiry)
    }

    // MARK: CONNACK

    /// - Returns: false when the client takes no packet as large as the CONNACK; nothing was sent then.
    private mutating func accept(
        _ session: Session,
        _ connect: ConnectPacket,
        isResumed: Bool,
        _ link: RouterLink
    ) -> Bool {
        var keepAlive = connect.keepAliveSeconds
        var connack = ConnackPacket(sessionPresent: isResumed, returnCode: 0)
        // [MQTT-3.2.2-2] is about 5.0 and 3.1.1; 3.1 has no such flag.
        if session.version == .v3_1 { connack.sessionPresent = false }
        if session.version.hasProperties {
            let longest = self.offer(to: session).maxKeepAliveSeconds
            if longest < UInt16.max, keepAlive == 0 || keepAlive > longest {
                keepAlive = longest
                connack.properties.serverKeepAlive = longest
            }
            self.describe(session, connect, &connack.properties)
        }
        self.scratch.clear()
        connack.encode(into: &self.scratch, version: session.version)
        guard self.scratch.readableBytes <= session.maximumPacketBytes else { return false }
        self.counters.connectsAccepted += 1
        session.keepsExchanges = session.isStored && !session.isDurable && link.takesExchanges
        self.countSent(packets: 1, bytes: self.scratch.readableBytes)
        session.clientIdentifier.withUnsafeBytes { identifier in
            let accepted = SessionAccepted(
                sessionNumber: session.storeNumber,
                keepAliveSeconds: keepAlive,
                clientIdentifier: identifier,
                connack: self.scratch.readable,
                keepsExchanges: session.keepsExchanges,
                canBeMadeAnew: session.isOutsideStore
            )
            var frame = ByteBuffer()
            let released = session.inflight.identifiersInOrder().filter { session.inflight.stage(of: $0) == .released }
            if !released.isEmpty {
                SessionResumed(awaitingPubrel: released).encode(into: &frame, handle: session.handle)
            }
            accepted.encode(into: &frame, handle: session.handle)
            guard session.isStored, !session.isOutsideStore, !self.changes.isInTrouble else {
                return link.output.write(frame.readable)
            }
            // Until it leaves nothing else does; when nothing can be stored, it leaves all the same, and what comes behind it.
            session.credit = 0
            self.hold(.accepted(frame.array), self.changes.group, session, link)
        }
        return true
    }

    /// What differs from what the client assumes or asked for (section 3.2.2.3).
    private func describe(_ session: Session, _ connect: ConnectPacket, _ properties: inout Properties) {
        let offer = self.offer(to: session)
        if session.expirySeconds != connect.properties.sessionExpiryInterval ?? 0 {
            properties.sessionExpiryInterval = session.expirySeconds
        }
        if offer.receiveMaximum != UInt16.max { properties.receiveMaximum = offer.receiveMaximum }
        if offer.maxQoS != .exactlyOnce { properties.maximumQoS = offer.maxQoS }
        if !offer.retainAvailable { properties.retainAvailable = false }
        properties.maximumPacketSize = UInt32(clamping: self.settings.maxPacketSizeBytes)
        if connect.clientIdentifier.isEmpty { properties.assignedClientIdentifier = session.clientIdentifier }
        if offer.topicAliasMaximum > 0 { properties.topicAliasMaximum = offer.topicAliasMaximum }
        if !offer.wildcardSubscriptions { properties.wildcardSubscriptionAvailable = false }
        if !offer.subscriptionIdentifiers { properties.subscriptionIdentifiersAvailable = false }
        if !offer.sharedSubscriptions { properties.sharedSubscriptionAvailable = false }
    }

    mutating func refuse(
        _ reason: ReasonCode,
        _ handle: UInt64,
        _ link: RouterLink,
        _ version: ProtocolVersion,
        sendsConnack: Bool = true
    ) {
        self.counters.connectsRefused += 1
        self.scratch.clear()
        if sendsConnack, let code = reason.connackReturnCode(for: version) {
            ConnackPacket(sessionPresent: false, returnCode: code).encode(into: &self.scratch, version: version)
        }
        if !self.scratch.isEmpty { self.countSent(packets: 1, bytes: self.scratch.readableBytes) }
        SessionEnd.encode(
            .sessionRefused,
            into: &link.output,
            handle: handle,
            reason: reason,
            packet: self.scratch.readable
        )
    }

    /// Has what was under way sent again, and then what waited.
    private mutating func resume(_ session: Session) {
        if !session.inflight.isEmpty {
            session.resendGroup = session.touchedGroup
            // What is released stays with the client until its PUBCOMP, and counts [MQTT-3.3.4-9].
            session.sendQuota -= session.sendAgain(session.inflight.identifiersInOrder())
        }
        if session.hasBacklog { self.markForPump(session) }
    }
}
