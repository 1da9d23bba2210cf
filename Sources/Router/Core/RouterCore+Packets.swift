import Common

// From frames to packets: whole ones in place, those in parts put together; and credit for their bytes.
extension RouterCore {
    mutating func receivedPackets(_ frame: Frame, _ link: RouterLink) -> StaticString? {
        var body = frame.body
        var repeated: Exchange?
        if frame.flags & FrameFlags.hasExchanges != 0 {
            repeated = self.takeRepeated(&body, flags: frame.flags)
            if repeated == nil { return "a broken frame with a packet that is sent again" }
        }
        guard let slot = link.slot(of: frame.handle), link.slots[slot].session != RouterLink.Slot.noSession,
            let session = self.sessions[Int(link.slots[slot].session)]
        else {
            self.counters.framesDiscarded += 1
            self.discardRest(body, from: 0, frame, link)
            return nil
        }
        self.work = max(session.work, self.workBase)
        let taken = self.takePackets(body, repeated, frame.flags, session, link)
        session.work = self.work
        guard taken < body.count || session.unfinishedFilters != nil else { return nil }
        if session.handle != frame.handle {
            self.discardRest(body, from: taken, frame, link)
        } else if repeated != nil, taken < body.count {
            self.wait(frame.body, flags: frame.flags, session, link)
        } else {
            self.wait(UnsafeRawBufferPointer(rebasing: body[taken...]), flags: frame.flags, session, link)
        }
        return nil
    }

    /// Handles what a frame brought, as long as the session stays connected and its turn lasts.
    /// - Returns: bytes handled.
    @inline(__always)
    mutating func takePackets(
        _ bytes: UnsafeRawBufferPointer,
        _ repeated: Exchange?,
        _ flags: UInt8,
        _ session: Session,
        _ link: RouterLink
    ) -> Int {
        let handle = session.handle
        guard self.work < self.workEnd else { return 0 }
        var body = bytes
        var taken = 0
        if repeated != nil || session.partialInput != nil {
            if let repeated, session.keepsExchanges { self.exchanges(of: session).incoming = repeated }
            taken = self.continuePartial(session, link, body)
            guard session.handle == handle else { return taken }
            body = UnsafeRawBufferPointer(rebasing: body[taken...])
        }
        if self.work < self.workEnd { taken += self.handlePackets(body, session, link) }
        guard session.handle == handle else { return taken }
        if taken < bytes.count, self.work < self.workEnd {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
            self.startPartial(session, link, rest, continues: flags & FrameFlags.packetContinues != 0)
            taken = bytes.count
        }
        self.flushControl(session)
        return taken
    }

    /// Handles the whole packets at the front of `bytes`, as long as the session stays connected and its turn lasts.
    /// - Parameter countsCredit: false where the bytes were counted as they came.
    /// - Returns: bytes handled.
    private mutating func handlePackets(
        _ bytes: UnsafeRawBufferPointer,
        _ session: Session,
        _ link: RouterLink,
        countsCredit: Bool = true
    ) -> Int {
        let handle = session.handle
        var offset = 0
        while offset < bytes.count, session.handle == handle {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            switch FixedHeader.decode(rest, version: session.version) {
            case .needMore:
                return offset
            case .malformed(let error):
                self.close(session, error)
            case .header(let header):
                guard header.packetBytes <= self.settings.maxPacketSizeBytes else {
                    self.close(session, .packetTooLarge)
                    return offset
                }
                guard header.packetBytes <= rest.count else { return offset }
                // One that was put together is not left: nobody has its bytes any more.
                if countsCredit, self.isStoreBehind, Self.changesStore(header) {
                    self.work = self.workEnd
                    self.stopsForStore = true
                    return offset
                }
                let packet = UnsafeRawBufferPointer(rebasing: rest[..<header.packetBytes])
                offset += header.packetBytes
                if countsCredit, header.type.usesCredit { self.consumed(header.packetBytes, session, link) }
                self.work &+= RouterLimits.workPerPacket
                if header.type == .publish {
                    self.receivedPublish(packet, header, session)
                } else {
                    // Topic filters are counted one by one.
                    if !header.type.usesCredit { self.work &+= UInt64(truncatingIfNeeded: header.packetBytes >> 1) }
                    self.countReceived(header.packetBytes)
                    self.receivedOther(packet, header, session)
                }
                guard self.work < self.workEnd else { return offset }
            }
        }
        return offset
    }

    /// Whether a packet is one that makes changes which have to be stored, beside those that end what is stored.
    private static func changesStore(_ header: FixedHeader) -> Bool {
        switch header.type {
        case .publish: header.flags & 0b0111 != 0
        case .pubrel, .subscribe, .unsubscribe: true
        case .connect, .connack, .puback, .pubrec, .pubcomp, .suback, .unsuback, .pingreq, .pingresp, .disconnect,
            .auth:
            false
        }
    }

    // MARK: Packets in parts

    private mutating func startPartial(
        _ session: Session,
        _ link: RouterLink,
        _ bytes: UnsafeRawBufferPointer,
        continues: Bool
    ) {
        guard continues else { return self.close(session, .malformedPacket, "a packet ended early") }
        var partial = Session.PartialInput(now: self.now)
        partial.usesCredit = PacketType(rawValue: bytes[0] >> 4)?.usesCredit ?? false
        partial.place = link.partialInputs.insert(session.index, from: session.source, slowAt: partial.slowAt)
        session.partialInput = partial
        self.appendPartial(session, link, bytes)
    }

    /// Takes what belongs to the packet under way, and handles the packet once it is whole.
    /// - Returns: bytes taken.
    private mutating func continuePartial(
        _ session: Session,
        _ link: RouterLink,
        _ body: UnsafeRawBufferPointer
    ) -> Int {
        var taken = 0
        while let partial = session.partialInput, taken < body.count {
            if partial.packetBytes == 0 {
                // The fixed header itself is in parts.
                let byte = UnsafeRawBufferPointer(rebasing: body[taken..<taken + 1])
                taken += 1
                self.appendPartial(session, link, byte)
                continue
            }
            let count = min(partial.packetBytes - partial.bytes.count, body.count - taken)
            let bytes = UnsafeRawBufferPointer(rebasing: body[taken..<taken + count])
            taken += count
            self.appendPartial(session, link, bytes)
        }
        return taken
    }

    private mutating func appendPartial(_ session: Session, _ link: RouterLink, _ bytes: UnsafeRawBufferPointer) {
        guard let usesCredit = session.partialInput?.usesCredit, let place = session.partialInput?.place else { return }
        session.partialInput?.bytes.append(contentsOf: bytes)
        session.partialInput?.progressed(bytes.count, now: self.now)
        link.partialInputs.add(bytes.count, slowAt: session.partialInput?.slowAt ?? self.now, at: place)
        if usesCredit { self.consumed(bytes.count, session, link) }
        if session.partialInput?.packetBytes == 0 {
            switch session.partialInput?.bytes.withUnsafeBytes({ FixedHeader.decode($0, version: session.version) }) {
            case .header(let header):
                guard header.packetBytes <= self.settings.maxPacketSizeBytes else {
                    return self.close(session, .packetTooLarge)
                }
                session.partialInput?.packetBytes = header.packetBytes
            case .malformed(let error):
                return self.close(session, error)
            case .needMore, nil:
                return
            }
        }
        guard let partial = session.partialInput else { return }
        guard partial.bytes.count == partial.packetBytes else {
            if link.partialInputs.bytes > self.partialInputBytesMax { self.makeRoom(for: session, link) }
            return
        }
        session.partialInput = nil
        link.partialInputs.remove(partial.bytes.count, at: place)
        partial.bytes.withUnsafeBytes { whole in
            _ = self.handlePackets(whole, session, link, countsCredit: false)
        }
    }

    /// More of incomplete packets has come than may be held. Of the source that has most of it those give way whose packets have stood still
    /// for longest, be they of the one that needs the room or of another.
    private mutating func makeRoom(for session: Session, _ link: RouterLink) {
        while link.partialInputs.bytes > self.partialInputBytesMax, let next = link.partialInputs.first,
            let other = self.sessions[Int(next.session)], let partial = other.partialInput, let place = partial.place
        {
            let patience = self.now &+ RouterLimits.partialGraceNanoseconds
            if other.waiting != nil, next.slowAt < patience {
                // The rest may be here.
                other.partialInput?.slowAt = patience
                link.partialInputs.add(0, slowAt: patience, at: place)
                continue
            }
            if next.slowAt <= self.now, !self.wasHeldBack(link) {
                self.counters.closedPartialSlow += 1
            } else {
                self.counters.closedPartialBytes += 1
            }
            guard other !== session else {
                return self.close(session, .quotaExceeded, "too many bytes of incomplete packets")
            }
            link.partialInputs.remove(partial.bytes.count, at: place)
            other.partialInput?.place = nil
            self.condemned.append((next.session, .quotaExceeded))
        }
    }

    /// Who could not go on because of us is not slow.
    private func wasHeldBack(_ link: RouterLink) -> Bool {
        link.heldBackAt.map { self.now < $0 &+ RouterLimits.partialGraceNanoseconds } ?? false
    }

    /// The packet of which a part has come is given up.
    func dropPartial(_ session: Session, _ link: RouterLink) {
        guard let partial = session.partialInput, let place = partial.place else { return }
        link.partialInputs.remove(partial.bytes.count, at: place)
    }

    // MARK: Frames of closed sessions

    /// A frame for a session that is not there any more: its bytes still give credit back to the link.
    private mutating func discardRest(
        _ body: UnsafeRawBufferPointer,
        from start: Int,
        _ frame: Frame,
        _ link: RouterLink
    ) {
        let rest = UnsafeRawBufferPointer(rebasing: body[start...])
        guard let slot = link.slot(of: frame.handle) else {
            var nowhere = RouterLink.Slot(generation: 0)
            return self.discard(rest, &nowhere, link)
        }
        self.discard(rest, &link.slots[slot], link)
    }

    func discard(_ body: UnsafeRawBufferPointer, _ slot: inout RouterLink.Slot, _ link: RouterLink) {
        var offset = 0
        if slot.bytesToDiscard > 0 {
            offset = min(Int(slot.bytesToDiscard), body.count)
            slot.bytesToDiscard -= UInt32(truncatingIfNeeded: offset)
            if slot.discardReturnsCredit { link.consumedBytes += offset }
        }
        while offset < body.count {
            let rest = UnsafeRawBufferPointer(rebasing: body[offset...])
            guard case .header(let header) = FixedHeader.decode(rest, version: .v3_1) else { return }
            let count = min(header.packetBytes, rest.count)
            if header.type.usesCredit { link.consumedBytes += count }
            if count < header.packetBytes {
                slot.bytesToDiscard = UInt32(truncatingIfNeeded: header.packetBytes - count)
                slot.discardReturnsCredit = header.type.usesCredit
            }
            offset += count
        }
    }

    // MARK: Credit

    @inline(__always)
    private mutating func consumed(_ bytes: Int, _ session: Session, _ link: RouterLink) {
        self.counters.publishBytesReceived += UInt64(bytes)
        link.consumedBytes += bytes
        session.consumedBytes += bytes
        // Returned in quarters: the rest lets the client go on meanwhile, and a frame for every few bytes helps nobody.
        if session.consumedBytes * 4 >= self.publishCreditPerSession, !session.isInCreditReturns {
            session.isInCreditReturns = true
            link.creditReturns.append(session.index)
        }
    }

    mutating func returnCredit(_ link: RouterLink) {
        // While too much waits for its commit, clients are read no further.
        guard self.changes.waitingBytes < self.uncommittedBytesMax else {
            link.heldBackAt = self.now
            return
        }
        guard !link.creditReturns.isEmpty || link.consumedBytes * 4 >= self.publishCreditPerLink else { return }
        var returns: [(handle: UInt64, bytes: UInt32)] = []
        returns.reserveCapacity(link.creditReturns.count)
        for index in link.creditReturns {
            guard let session = self.sessions[Int(index)], session.isInCreditReturns, session.link === link else {
                continue
            }
            session.isInCreditReturns = false
            returns.append((session.handle, UInt32(clamping: session.consumedBytes)))
            session.consumedBytes = 0
        }
        link.creditReturns.removeAll(keepingCapacity: true)
        var linkBytes = UInt32(clamping: link.consumedBytes)
        link.consumedBytes = 0
        var start = 0
        repeat {
            let end = min(returns.count, start + CreditFrame.entriesMax)
            CreditFrame.encode(.publishCredit, into: &link.output, linkBytes: linkBytes, sessions: returns[start..<end])
            linkBytes = 0
            start = end
        } while start < returns.count
    }

    mutating func receivedCredit(_ frame: Frame, _ link: RouterLink) -> StaticString? {
        guard let credit = CreditFrame(frame.body) else { return "broken credit frame" }
        self.creditReturned(Int(credit.linkBytes), link)
        for position in 0..<credit.count {
            guard let slot = link.slot(of: credit.handle(at: position)),
                link.slots[slot].session != RouterLink.Slot.noSession,
                let session = self.sessions[Int(link.slots[slot].session)]
            else { continue }
            let bytes = Int(credit.bytes(at: position))
            session.credit = min(session.credit &+ bytes, Int(link.peer.sessionCreditBytes))
            if session.hasBacklog { self.markForPump(session) }
        }
        return nil
    }

    /// Of the link's credit.
    mutating func creditReturned(_ bytes: Int, _ link: RouterLink) {
        guard bytes > 0 else { return }
        let isMore = link.returned(bytes)
        self.serveWaiting(link)
        if isMore { self.serveHeldBack(link) }
    }

    /// What a session and its link were debited with, and what did not leave.
    mutating func notWritten(_ bytes: Int, _ session: Session, _ link: RouterLink) {
        guard bytes > 0 else { return }
        session.credit += bytes
        self.creditReturned(bytes, link)
        if session.hasBacklog { self.markForPump(session) }
    }

    /// Lets sessions send that waited for the link's credit, in turn.
    private mutating func serveWaiting(_ link: RouterLink) {
        var turns = link.waiting.count
        while turns > 0, link.credit > 0, let index = link.waiting.popFirst() {
            turns -= 1
            guard let session = self.sessions[Int(index)], session.isWaitingForLink else { continue }
            session.isWaitingForLink = false
            self.markForPump(session)
        }
    }

    /// Lets sessions send that may have more under way than before.
    private mutating func serveHeldBack(_ link: RouterLink) {
        for _ in 0..<link.heldBack.count {
            guard let index = link.heldBack.popFirst() else { return }
            guard let session = self.sessions[Int(index)], session.isHeldBack, session.link === link else { continue }
            if session.credit > 0, !link.admits(session.credit) {
                link.heldBack.append(index)
            } else {
                session.isHeldBack = false
                self.markForPump(session)
            }
        }
    }
}
