import Common

// Clients whose packets cost more than a turn has for each of them: the rest waits, and others' packets go first. See docs/adr/0020.
//
// Everything of that client waits in order: its packets, the end of its connection, and the CONNECT by which it comes back. What the
// listener says of trust goes ahead of it: other rules, and the end of a device that has no right any more.
extension RouterCore {
    /// Has a frame of a session wait whose turn is over, or nothing yet, behind a packet that is under way.
    mutating func wait(_ body: UnsafeRawBufferPointer, flags: UInt8, _ session: Session, _ link: RouterLink) {
        let input: WaitingInput
        if let waiting = session.waiting {
            input = waiting
        } else {
            input = WaitingInput(session, link, work: session.work)
            input.waitsForStore = self.stopsForStore
            session.waiting = input
            // So that what comes next is not handled first.
            session.work = UInt64.max
            self.waitingInput.append(input)
            self.counters.inputsWaited += 1
        }
        if body.count > 0 { input.append(body, flags: flags) }
        if input.byteCount > self.publishCreditPerSession + RouterLimits.waitingInputBytesMax {
            self.condemned.append((session.index, .quotaExceeded))
        }
    }

    /// Has the end of a connection wait behind what came through it. Its place is free for another one.
    /// - Returns: false: nothing waits that this is about.
    mutating func waits(closed frame: Frame, _ link: RouterLink) -> Bool {
        guard !self.waitingInput.isEmpty, let end = ConnectionEnd(frame) else { return false }
        if let slot = link.slot(of: frame.handle), link.slots[slot].session != RouterLink.Slot.noSession {
            guard !end.isUrgent, let session = self.sessions[Int(link.slots[slot].session)],
                let input = session.waiting
            else { return false }
            input.end = end
            link.slots[slot].session = RouterLink.Slot.noSession
            link.slots[slot].bytesToDiscard = 0
            link.sessionCount -= 1
            return true
        }
        // A client that did not wait until it could come back.
        for input in self.waitingInput where input.isFollowed(by: frame.handle, on: link) { _ = input.takeSuccessor() }
        return false
    }

    /// Has a CONNECT wait until what its client sent before is handled.
    /// - Returns: false: it need not.
    mutating func waits(opened frame: Frame, _ link: RouterLink) -> Bool {
        guard !self.waitingInput.isEmpty, let open = SessionOpen.decode(frame.body),
            case .success(let connect) = open.connect.withUnsafeBytes({ Self.decodeResult($0) })
        else { return false }
        let policy = self.policies[self.policies.number(of: open.listenerName)]
        let commonName = open.identity?.commonName
        guard let client = policy.clientID.clientIdentifier(connect.clientIdentifier, commonName: commonName),
            let session = self.sessionsByClient[client].flatMap({ self.sessions[Int($0)] }),
            let input = session.waiting, Self.isNewer(open.connectStamp, link, than: session)
        else { return false }
        let successor = WaitingInput.Successor(
            link: link,
            header: frame.header,
            body: [UInt8](frame.body),
            stamp: open.connectStamp,
            version: connect.version
        )
        if let older = input.follow(with: successor) {
            self.refuse(.serverBusy, older.header.handle, older.link, older.version)
        }
        return true
    }

    // MARK: Turns

    /// Lets each session go on whose input waits, for as long as one turn is.
    mutating func handleWaitingInput() {
        let inputs = self.waitingInput
        self.waitingInput = []
        for input in inputs {
            if input.session.waiting === input, !self.isHeldByStore(input) { self.handle(input) }
            if input.session.waiting === input {
                self.waitingInput.append(input)
            } else {
                self.finish(input)
            }
        }
    }

    /// What comes next of it has to be stored, and the store is behind.
    func isHeldByStore(_ input: WaitingInput) -> Bool { input.waitsForStore && self.isStoreBehind }

    private mutating func handle(_ input: WaitingInput) {
        let session = input.session
        input.waitsForStore = false
        self.stopsForStore = false
        self.work = max(input.work, self.workBase)
        if session.unfinishedFilters != nil, self.work < self.workEnd {
            self.beginFrame()
            self.continueFilters(session)
            self.settle()
            guard session.waiting === input else { return }
        }
        while session.unfinishedFilters == nil, !input.isExhausted, self.work < self.workEnd {
            self.beginFrame()
            input.isUnderWay = true
            input.takeNext { body, flags in
                var packets = body
                let repeated = flags & FrameFlags.hasExchanges == 0 ? nil : self.takeRepeated(&packets, flags: flags)
                let taken = self.takePackets(packets, repeated, flags, session, input.link)
                // A packet that has to go on waiting keeps what is in front of it.
                return taken == 0 && self.stopsForStore ? 0 : body.count - packets.count + taken
            }
            input.isUnderWay = false
            input.waitsForStore = self.stopsForStore
            if session.waiting !== input { self.discard(input) }
            self.settle()
            guard session.waiting === input else { return }
        }
        input.work = self.work
        guard input.isExhausted, session.unfinishedFilters == nil else { return }
        if let end = input.end {
            self.beginFrame()
            self.connectionClosed(session, end)
            self.settle()
        } else if let successor = input.takeSuccessor() {
            self.open(successor)
        } else {
            session.waiting = nil
            session.work = input.work
        }
    }

    private mutating func open(_ successor: WaitingInput.Successor) {
        guard self.links[successor.link.index] === successor.link else { return }
        self.beginFrame()
        successor.body.withUnsafeBytes { body in
            _ = self.receivedOpen(Frame(header: successor.header, body: body), successor.link)
        }
        self.settle()
    }

    /// The connection is no more: what comes behind it.
    private mutating func finish(_ input: WaitingInput) {
        if input.end != nil, self.links[input.link.index] === input.link { self.confirmGone(input.handle, input.link) }
        if let successor = input.takeSuccessor() { self.open(successor) }
    }

    // MARK: The end of a connection

    /// The connection ends while its input waits: that comes to nothing, as with what is still on its way.
    mutating func dropWaitingInput(_ session: Session) {
        guard let input = session.waiting else { return }
        session.waiting = nil
        session.work = 0
        input.partial = session.partialInput
        if !input.isUnderWay { self.discard(input) }
    }

    private func discard(_ input: WaitingInput) {
        // Once the end has come, the place may be another connection's.
        let place = input.end == nil ? input.link.slot(of: input.handle) : nil
        var slot = RouterLink.Slot(generation: 0)
        if let partial = input.partial { slot.discard(restOf: partial) }
        input.takeAll { body, flags in
            var packets = body
            if flags & FrameFlags.hasExchanges != 0 { _ = self.takeRepeated(&packets, flags: flags) }
            self.discard(packets, &slot, input.link)
        }
        guard let place else { return }
        input.link.slots[place].bytesToDiscard = slot.bytesToDiscard
        input.link.slots[place].discardReturnsCredit = slot.discardReturnsCredit
    }

    /// The link is gone, and with it what came through it and waits: its listener, if it lives, sends again what has no answer.
    mutating func dropWaitingInput(of link: RouterLink) {
        for input in self.waitingInput {
            if input.successor?.link === link { _ = input.takeSuccessor() }
            guard input.link === link, input.session.waiting === input, let end = input.end else { continue }
            self.connectionClosed(input.session, end)
        }
    }
}
