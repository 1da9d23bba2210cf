import Common
import Logging

/// The session link: opens sessions, and takes what the router sends to the connections it is for. Keeps the link's credit.
final class RouterUplink: LinkDelegate {
    unowned let service: ListenerService
    private var connector: LinkConnector?
    /// Nil while there is no router.
    private(set) var link: Link?
    /// PUBLISH bytes that all sessions together may still send up.
    var linkCredit = 0
    private var sessionCredit = 0
    private var waitingForLinkCredit: [UInt64] = []
    private var waitingForRoom: [UInt64] = []
    /// Those that have just been read: the others come first, or one that floods would be the first each time.
    private var waitingAfterTurn: [UInt64] = []
    private var linkCreditToReturn = 0
    private var sessionCreditToReturn: [(handle: UInt64, bytes: UInt32)] = []
    var pressure: DeliveryPressure
    /// While clients may have to go that do not read.
    var slowClientsTimer: EventLoop.Timer?
    private var patience = LinkPatience()
    private var patienceTimer: (deadline: Instant, timer: EventLoop.Timer)?
    /// The link to a router that is about to end: it sends what it has, and gets nothing more.
    private var closingLink: Link?
    /// Of sessions that ended, what the next router has to be told, until this one has stored it.
    private var farewells: [UInt64: Farewell] = [:]
    private var farewellBytes = 0
    /// How often routers have said that QoS 2 messages are settled: `DeliveredExchanges`.
    private(set) var settledMarks: UInt64 = 0
    /// Of the session whose `sessionAccepted` comes next.
    private var resumed: (handle: UInt64, session: SessionResumed)?
    private var absenceTimer: EventLoop.Timer?
    /// Something came since the last `takeSignOfLife`.
    private var hasHeard = false

    init(service: ListenerService) {
        self.service = service
        self.pressure = DeliveryPressure(credit: service.configuration.flowControl.linkCreditBytes)
    }

    func start(hello: LinkHello) {
        let connector = LinkConnector(
            loop: self.service.loop,
            path: self.service.configuration.routerSocketPath,
            hello: hello,
            peerRole: .router,
            // Clients wait meanwhile.
            retryNanosecondsMax: 100 * Nanoseconds.perMillisecond,
            delegate: self
        )
        self.connector = connector
        connector.start()
    }

    func stop() {
        self.connector?.stop()
        self.link = nil
        self.closingLink = nil
    }

    // MARK: A router that hangs

    /// Why there is no link, as far as that is known.
    var lastFailure: String? { self.connector?.lastFailure }

    /// Whether the router has sent something since the last call, or has read what was written for it: one that hangs is there for the
    /// kernel. Where nothing is under way it gets something to read, credit of no bytes, so that the next call can tell.
    func takeSignOfLife() -> Bool {
        guard let link = self.link else { return false }
        defer { self.hasHeard = false }
        let hasRead = link.unreadBytes == 0
        if hasRead, !self.hasHeard {
            CreditFrame.encode(.deliveryCredit, into: &link.output, linkBytes: 0, sessions: [])
        }
        return hasRead || self.hasHeard
    }

    // MARK: Up

    func open(_ connection: ClientConnection) {
        // Without a router the connection waits in its phase until `linkUp`.
        guard let link = self.link, let open = connection.sessionOpen() else { return }
        open.encode(into: &link.output, handle: connection.handle, canBeMadeAnew: true)
    }

    func closed(_ connection: ClientConnection, cause: SessionCloseCause, endsSession: Bool = false) {
        if let farewell = connection.farewell(cause, endsSession: endsSession, isParked: self.link == nil) {
            if self.farewellBytes + farewell.byteCount <= Limits.farewellBytesMax {
                self.farewells[connection.handle] = farewell
                self.farewellBytes += farewell.byteCount
            } else {
                self.service.counters.farewellsDropped += 1
            }
        }
        guard let link = self.link else { return }
        cause.encode(into: &link.output, handle: connection.handle, endsSession: endsSession)
    }

    private func forgetFarewell(_ handle: UInt64) {
        guard let farewell = self.farewells.removeValue(forKey: handle) else { return }
        self.farewellBytes -= farewell.byteCount
    }

    func rulesChanged(_ handle: UInt64, _ access: AccessRules) {
        guard let link = self.link else { return }
        SessionRules.encode(access, into: &link.output, handle: handle)
    }

    func returnLinkCredit(_ bytes: Int) {
        self.linkCreditToReturn += bytes
    }

    func returnCredit(_ handle: UInt64, link: Int, session: Int) {
        self.linkCreditToReturn += link
        self.pressure.released(link)
        if session > 0 { self.sessionCreditToReturn.append((handle, UInt32(clamping: session))) }
    }

    func waitForLinkCredit(_ handle: UInt64) {
        self.waitingForLinkCredit.append(handle)
    }

    /// More waits for the router than it should: clients are not read. Links are always read, so it passes. Credit bounds most
    /// of it; acknowledgements need none.
    var isCongested: Bool { (self.link?.output.readableBytes ?? 0) > Limits.linkOutputBytesHigh }

    /// Has the connection's input resumed when `isCongested` is over. May be told of one several times.
    func waitForRoom(_ handle: UInt64, hasHadTurn: Bool) {
        if hasHadTurn {
            self.waitingAfterTurn.append(handle)
        } else {
            self.waitingForRoom.append(handle)
        }
    }

    /// To be called in every turn.
    func resumeWaitingForRoom() {
        guard !self.isCongested, !self.waitingForRoom.isEmpty || !self.waitingAfterTurn.isEmpty else { return }
        let waiting = self.waitingForRoom + self.waitingAfterTurn
        self.waitingForRoom.removeAll()
        self.waitingAfterTurn.removeAll()
        for handle in waiting { self.service.connection(handle)?.resumeAfterCongestion() }
    }

    /// The one write of the turn.
    func flush() {
        self.tendPressure()
        guard let link = self.link ?? self.closingLink else {
            self.linkCreditToReturn = 0
            self.sessionCreditToReturn.removeAll()
            return
        }
        if self.mayWait(link) { return }
        self.patience.end()
        self.writeCredit(link)
        link.flush()
    }

    /// Whether all that there is for the router is nothing that it waits for: waking it costs more than telling it.
    private func mayWait(_ link: Link) -> Bool {
        let now = self.service.loop.now
        if self.linkCreditToReturn > 0 { self.patience.hasCredit(now: now) }
        guard self.link != nil, self.sessionCreditToReturn.isEmpty,
            self.linkCreditToReturn * 8 < self.service.configuration.flowControl.linkCreditBytes,
            self.patience.covers(link.output.readableBytes, now: now)
        else { return false }
        guard let deadline = self.patience.deadline, deadline < self.patienceTimer?.deadline ?? .max else {
            return true
        }
        if let timer = self.patienceTimer { self.service.loop.cancel(timer.timer) }
        // The end of the turn that it causes flushes.
        let timer = self.service.loop.schedule(at: deadline) { [unowned self] in self.patienceTimer = nil }
        self.patienceTimer = (deadline, timer)
        return true
    }

    /// What a client sent was written for the router.
    func passed(_ bytes: Int, _ progress: SessionUplink.Progress, canSpare: (_ acknowledgements: Int) -> Bool) {
        guard progress.acknowledgements > 0, !progress.isUrgent else { return }
        guard canSpare(self.patience.acknowledgements + progress.acknowledgements) else { return }
        self.patience.add(bytes, acknowledgements: progress.acknowledgements, now: self.service.loop.now)
    }

    private func writeCredit(_ link: Link) {
        var rest = self.sessionCreditToReturn[...]
        while self.linkCreditToReturn > 0 || !rest.isEmpty {
            let batch = rest.prefix(CreditFrame.entriesMax)
            rest = rest.dropFirst(batch.count)
            let linkBytes = UInt32(clamping: self.linkCreditToReturn)
            CreditFrame.encode(.deliveryCredit, into: &link.output, linkBytes: linkBytes, sessions: batch)
            self.linkCreditToReturn -= Int(linkBytes)
        }
        self.sessionCreditToReturn.removeAll(keepingCapacity: true)
    }

    // MARK: Down

    func linkUp(_ link: Link, peer: LinkHello) {
        self.link = link
        self.linkCredit = Int(peer.linkCreditBytes)
        self.pressure.credit = min(self.service.configuration.flowControl.linkCreditBytes, Int(peer.linkCreditBytes))
        self.sessionCredit = Int(peer.sessionCreditBytes)
        self.service.logger.info("router connected")
        if let timer = self.absenceTimer { self.service.loop.cancel(timer) }
        self.absenceTimer = nil
        // Before the sessions that are open: a client whose session ended may be back.
        let bootTime = Clock.bootTime()
        for handle in self.farewells.keys.sorted() {
            guard let content = self.farewells[handle]?.tell(peer, bootTime: bootTime) else { continue }
            link.output.write(content.frames)
            self.linkCredit -= content.creditBytes
        }
        let connections = self.service.connections
        for connection in connections {
            connection.reattach(link, credit: self.sessionCredit, linkCredit: &self.linkCredit)
        }
        // What they sent meanwhile comes after all are known: it may be for one of them.
        for connection in connections {
            if connection.phase == .open { connection.resumeAfterCongestion() }
            if connection.phase == .opening { self.open(connection) }
        }
    }

    func link(_ link: Link, received frame: Frame) {
        switch frame.kind {
        case .sessionMulticast:
            self.multicast(frame)
        case .publishCredit:
            self.credit(frame)
        case .sessionGone:
            self.forgetFarewell(frame.handle)
        case .exchangesSettled:
            self.settledMarks += 1
        case .linkClosing:
            self.closing(link)
        case .sessionUnstored:
            guard let isUnstored = SessionUnstored.decode(frame.body) else { return self.countInvalid() }
            let attach = self.service.connection(frame.handle)?.uplink?.attach
            if isUnstored { attach?.isUnstored(by: link.peer?.bootID ?? []) } else { attach?.isStored() }
        case .sessionResumed:
            guard let resumed = SessionResumed.decode(frame.body) else { return self.countInvalid() }
            self.resumed = (frame.handle, resumed)
        case .sessionAccepted, .sessionRefused, .sessionDeliver, .sessionClose:
            guard let connection = self.service.connection(frame.handle) else {
                self.service.counters.framesWithoutConnection += 1
                // Bytes for a connection that is gone are as good as sent.
                let debits = frame.kind == .sessionDeliver && frame.flags & FrameFlags.debitsCredit != 0
                if debits { self.linkCreditToReturn += Self.packetBytes(frame) }
                return
            }
            self.deliver(frame, to: connection)
        default:
            break
        }
    }

    private static func packetBytes(_ frame: Frame) -> Int {
        frame.flags & FrameFlags.hasExchanges != 0 ? ExchangeFrame(frame.body).packetBytes : frame.body.count
    }

    private func deliver(_ frame: Frame, to connection: ClientConnection) {
        switch frame.kind {
        case .sessionDeliver where frame.flags & FrameFlags.hasExchanges != 0:
            connection.deliver(exchanges: frame.body)
        case .sessionDeliver:
            connection.deliver(
                frame.body,
                debitsCredit: frame.flags & FrameFlags.debitsCredit != 0,
                continues: frame.flags & FrameFlags.packetContinues != 0,
                isStored: frame.flags & FrameFlags.packetIsStored != 0
            )
        case .sessionAccepted:
            guard let accepted = SessionAccepted.decode(frame.body, flags: frame.flags) else {
                return self.countInvalid()
            }
            connection.sessionAccepted(accepted, credit: self.sessionCredit, resumed: self.takeResumed(frame.handle))
        default:
            guard let end = SessionEnd.decode(frame.body) else { return self.countInvalid() }
            connection.sessionEnded(end.reason, packet: end.packet)
        }
    }

    private func takeResumed(_ handle: UInt64) -> SessionResumed? {
        defer { self.resumed = nil }
        return self.resumed?.handle == handle ? self.resumed?.session : nil
    }

    private func multicast(_ frame: Frame) {
        guard let multicast = MulticastFrame(frame.body) else { return self.countInvalid() }
        for index in 0..<multicast.count {
            guard let connection = self.service.connection(multicast.handle(at: index)) else {
                self.service.counters.framesWithoutConnection += 1
                self.linkCreditToReturn += multicast.packet.count
                continue
            }
            connection.deliver(
                multicast.packet,
                packetIdentifier: multicast.packetIdentifier(at: index),
                at: multicast.packetIdentifierOffset
            )
        }
    }

    private func credit(_ frame: Frame) {
        guard let credit = CreditFrame(frame.body) else { return self.countInvalid() }
        self.linkCredit += Int(credit.linkBytes)
        for index in 0..<credit.count {
            self.service.connection(credit.handle(at: index))?.grantCredit(credit.bytes(at: index))
        }
    }

    private func countInvalid() {
        self.service.counters.invalidFrames += 1
    }

    func linkFinishedReading(_ link: Link) {
        self.hasHeard = true
        guard self.linkCredit > 0, !self.waitingForLinkCredit.isEmpty else { return }
        let waiting = self.waitingForLinkCredit
        self.waitingForLinkCredit.removeAll()
        for handle in waiting { self.service.connection(handle)?.resumeAfterCredit() }
    }

    /// The router is about to end: it gets what is on its way, and then nothing more.
    private func closing(_ link: Link) {
        guard self.link === link else { return }
        link.output.writeFrameHeader(.linkDrained, handle: 0, bodyBytes: 0)
        self.link = nil
        self.closingLink = link
        self.service.logger.info("router stops")
        for connection in self.service.connections { connection.routerStops() }
    }

    func linkDown(_ link: Link, reason: String) {
        self.patience.end()
        self.link = nil
        self.closingLink = nil
        self.linkCredit = 0
        self.linkCreditToReturn = 0
        self.sessionCreditToReturn.removeAll()
        self.waitingForLinkCredit.removeAll()
        let wait = self.service.configuration.processes.routerAbsenceMaxNanoseconds
        self.service.logger.error("router lost", metadata: ["reason": "\(reason)"])
        for connection in self.service.connections { connection.routerLost(isFinal: wait == 0) }
        guard wait > 0, self.absenceTimer == nil else { return }
        self.absenceTimer = self.service.loop.schedule(afterNanoseconds: wait) { [unowned self] in
            self.absenceTimer = nil
            self.service.logger.error("no router for too long: clients are let go")
            for connection in self.service.connections { connection.routerLost(isFinal: true) }
        }
    }
}
