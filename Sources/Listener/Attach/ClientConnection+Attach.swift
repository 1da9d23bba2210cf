import Common

// The time between two routers: the connection stays, and the next router is told of it.
extension ClientConnection {
    /// The session is open.
    /// - Returns: nil: it ends with this router.
    func makeAttachState(_ accepted: SessionAccepted, _ resumed: SessionResumed?) -> AttachState? {
        if self.credentials.access == nil { self.credentials.access = self.access }
        self.access = nil
        self.isParking = self.router.link == nil
        guard accepted.sessionNumber != 0 else {
            self.passedConnect = nil
            return nil
        }
        let state = AttachState(
            sessionNumber: accepted.sessionNumber,
            clientIdentifier: [UInt8](accepted.clientIdentifier),
            version: self.version,
            takesAliases: self.policy.configuration.offer.topicAliasMaximum > 0,
            connectStamp: self.connectStamp,
            keepsExchanges: accepted.keepsExchanges,
            canBeMadeAnew: accepted.canBeMadeAnew,
            routerBootID: self.router.link?.peer?.bootID ?? []
        )
        if let resumed { state.resumed(resumed) }
        return state
    }

    /// QoS 1 and 2 messages in flight that the router keeps to.
    var sendQuota: Int {
        let maximum = self.service.configuration.mqtt.session.maxInflight
        return Int(min(self.passedConnect?.receiveMaximum ?? UInt16.max, maximum))
    }

    // MARK: No router

    /// The router is gone. The session waits for the next one, unless its state cannot be handed on.
    /// - Parameter isFinal: nobody waits any longer.
    func routerLost(isFinal: Bool = false) {
        guard self.phase == .open else {
            // The credit for what is under way was the router's to have: the next one starts with all of it.
            self.closeDelivery()
            return
        }
        guard !isFinal, let attach = self.uplink?.attach, !attach.isBeyondLimits,
            !self.isInsideDelivery || attach.continuesPartial
        else {
            self.closeDelivery()
            // "Server unavailable" is no reason for a DISCONNECT (MQTT 5.0, section 3.14.2.1).
            return self.close(.connectionLost, code: .serverShuttingDown, "the router is gone")
        }
        self.uplink?.routerLost()
        self.isBlockedByCredit = false
        self.routerStops()
    }

    /// The router stops taking packets, and still sends some.
    func routerStops() {
        guard self.phase == .open else { return }
        self.isParking = true
        self.parkedBytesSeen = 0
        self.answerParkedPings()
        self.updateInterest()
    }

    @inline(__always)
    var isParkFull: Bool { self.isParking && self.input.readableBytes >= Limits.parkedBytesMax }

    /// A client that pings wants to know whether the connection is alive, and it is.
    func answerParkedPings() {
        guard let uplink = self.uplink, !self.inputEnded else { return }
        var offset = max(self.parkedBytesSeen, uplink.bytesInsidePacket)
        var answered = false
        scanning: while offset < self.input.readableBytes {
            let rest = UnsafeRawBufferPointer(rebasing: self.input.readable[offset...])
            guard case .header(let header) = FixedHeader.decode(rest, version: self.version),
                header.packetBytes <= rest.count
            else { break scanning }
            if header.type == .pingreq, header.bodyBytes == 0 {
                self.input.remove(offset..<offset + header.packetBytes)
                self.ownPacketsHeldBack.writeBigEndian(UInt16(0xD000))
                answered = true
            } else {
                offset += header.packetBytes
            }
        }
        self.parkedBytesSeen = offset
        guard answered else { return }
        self.sendOwnPackets()
        self.markDirty()
    }

    // MARK: The next router

    private func sessionAttach() -> SessionAttach? {
        guard let attach = self.uplink?.attach, !attach.isBeyondLimits, let connect = self.passedConnect,
            let access = self.credentials.access
        else { return nil }
        return attach.attach(
            self.sessionOpen(connect, access),
            outstandingBytes: self.delivery.outstanding,
            unreportedBytes: self.delivery.unreported,
            marks: self.router.settledMarks
        )
    }

    /// QoS 2 messages, each after what it is called.
    func deliver(exchanges body: UnsafeRawBufferPointer) {
        var frame = ExchangeFrame(body)
        guard self.phase == .open else { return self.router.returnLinkCredit(frame.packetBytes) }
        if let attach = self.uplink?.attach {
            self.queued(attach.passedDown(&frame, marks: self.router.settledMarks, into: &self.output))
        } else {
            while let message = frame.next() {
                self.output.write(message.packet)
                self.queued(message.packet.count)
            }
        }
        if frame.isBroken { self.service.counters.invalidFrames += 1 }
        self.isInsideDelivery = false
        self.sendOwnPackets()
        self.markDirty()
    }

    /// Tells a new router of the session, and sends again what has no answer. What has come meanwhile still waits.
    /// - Parameter credit: PUBLISH bytes that the router grants the session.
    func reattach(_ link: Link, credit: Int, linkCredit: inout Int) {
        guard self.phase == .open else { return }
        let isKnown = self.uplink?.attach?.unstoredBy.map { $0 == link.peer?.bootID } ?? true
        let takesExchanges = link.peer?.takesExchanges ?? false
        guard isKnown, takesExchanges || self.uplink?.attach?.giveUpExchanges() != false,
            var attach = self.sessionAttach()
        else { return self.routerLost(isFinal: true) }
        if !takesExchanges { attach.exchanges = nil }
        attach.encode(into: &link.output, handle: self.handle)
        self.uplink?.routerBack(
            credit: credit,
            handle: self.handle,
            bootID: link.peer?.bootID ?? [],
            linkCredit: &linkCredit,
            link: &link.output
        )
        self.isBlockedByCredit = false
        self.isParking = false
        self.service.counters.sessionsAttached += 1
    }

    /// What the next router has to be told about the end of this session; nil: nothing.
    /// - Parameters:
    ///   - endsSession: as `FrameFlags.endsSession`.
    ///   - isParked: what is in `input` came while there was no router.
    func farewell(_ cause: SessionCloseCause, endsSession: Bool, isParked: Bool) -> Farewell? {
        guard self.phase == .open, var attach = self.sessionAttach(), let state = self.uplink?.attach else {
            return nil
        }
        attach.partial = nil
        func content(_ input: UnsafeRawBufferPointer?) -> Farewell.Content {
            var frames = ByteBuffer()
            var creditBytes = state.writeUnanswered(into: &frames, handle: self.handle)
            if let input { creditBytes += self.forward(input, state, into: &frames) }
            return Farewell.Content(frames: frames.array, creditBytes: creditBytes)
        }
        func completing(onlyMarked: Bool) -> Farewell.Content {
            var frames = ByteBuffer()
            let bytes = state.writeCompleting(into: &frames, handle: self.handle, onlyMarked: onlyMarked)
            return Farewell.Content(frames: frames.array, creditBytes: bytes)
        }
        var head = ByteBuffer()
        if !state.keepsExchanges, attach.exchanges?.delivered.isEmpty ?? true { attach.exchanges = nil }
        attach.encode(into: &head, handle: self.handle)
        let hasInput = isParked && !self.inputEnded && self.uplink?.bytesInsidePacket == 0 && !self.input.isEmpty
        // What of the input has an answer is without one from here on.
        let first = hasInput ? content(self.input.readable) : content(nil)
        return Farewell(
            attach: head.array,
            takesExchanges: attach.exchanges != nil,
            router: state.routerBootID,
            completingForSame: completing(onlyMarked: true),
            completingForOthers: completing(onlyMarked: false),
            first: first,
            further: hasInput ? content(nil) : first,
            cause: cause,
            endsSession: endsSession,
            handle: self.handle,
            endedAt: Clock.bootTime()
        )
    }

    /// Passes on what the client sent while there was no router.
    /// - Returns: bytes of packets that use credit.
    private func forward(_ input: UnsafeRawBufferPointer, _ state: AttachState, into frames: inout ByteBuffer) -> Int {
        var uplink = SessionUplink(
            version: self.version,
            credit: Int.max / 2,
            maximumPacketBytes: self.service.configuration.mqtt.maxPacketSizeBytes,
            attach: state
        )
        var credit = Int.max / 2
        var replies = ByteBuffer()
        _ = uplink.forward(input, handle: self.handle, linkCredit: &credit, link: &frames, replies: &replies)
        return Int.max / 2 - credit
    }
}
