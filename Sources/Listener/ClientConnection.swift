import Common
import Glibc
import Logging
import TLS

/// One device's connection: TLS handshake, CONNECT, authentication, session, end.
///
/// ```
///  handshaking → awaitingConnect → authenticating → opening → open ─┐
///       └───────────────┴────────────────┴────────────┴─────────────┴→ closing → lingering → closed
/// ```
///
/// It does the input and output; what the bytes mean is decided in `ConnectReader`, `SessionUplink` and `DeliveryAccount`.
final class ClientConnection: EventHandler {
    enum Phase {
        case handshaking
        case awaitingConnect
        /// An auth worker is asked.
        case authenticating
        /// The router is asked.
        case opening
        case open
        /// What is in `output` is the last that the client gets.
        case closing
        /// Everything is sent; waits for the client to close, so that unread input does not reset what is under way.
        case lingering
        case closed
    }

    /// Bytes waiting for a client at which its reading stops: acknowledgements need no credit, so a client that sends without
    /// reading must be held back here.
    private static let outputBytesHigh = 1 << 20
    /// A client that lets this much pile up is closed.
    private static let outputBytesMax = 64 << 20
    private static let lingerNanoseconds = 2 * Nanoseconds.perSecond
    private static let closingNanoseconds = 5 * Nanoseconds.perSecond

    let handle: UInt64
    let policy: ListenerPolicy
    let address: SocketAddress
    let peerAddress: String
    private(set) var phase: Phase {
        didSet { if oldValue == .handshaking { self.givesUpHandshakeSlot() } }
    }
    private(set) var holdsHandshakeSlot = false
    private(set) var identity: CertificateIdentity?
    /// From CONNECT until the client is authenticated.
    var connect: ConnectPacket?
    /// From then on until the session is open; where it can be attached to another router, until its end.
    var passedConnect: PassedConnect?
    /// Nanoseconds of CLOCK_BOOTTIME when the client had been authenticated.
    private(set) var connectStamp: UInt64 = 0
    private(set) var userName: [UInt8]?
    var access: AccessRules?
    /// What auth workers are asked about it.
    var question = AuthQuestion()

    /// It has the connection in its table until that is closed; a checked reference costs on each access.
    unowned(unsafe) let service: ListenerService
    let router: RouterUplink
    let socket: ClientSocket
    private var registration: EventLoop.Registration?
    private(set) var interest: IOEvents = .readable
    var input = ByteBuffer()
    var output = ByteBuffer()
    /// What of `input` is in the service's `connectBytes`.
    private var countedConnectBytes = 0
    private var isDirty = false
    private(set) var (readWantsWrite, writeWantsWrite) = (false, false)
    private(set) var writeWantsRead = false

    var version = ProtocolVersion.v3_1_1
    private(set) var clientName = ""
    private var times: ConnectTimes
    /// What let the session in, to be asked about again while it lives.
    var credentials = SessionCredentials()
    var uplink: SessionUplink?
    /// What the client sends waits in `input`, because there is no router.
    var isParking = false
    /// Of that: looked through for PINGREQ.
    var parkedBytesSeen = 0
    var delivery: DeliveryAccount
    /// When the client took something last, or something began to wait for it.
    var lastTaken: Instant = 0
    /// Bytes that the client's host had not acknowledged when it was looked at last.
    var unacknowledgedSeen: Int32 = -1
    var isBlockedByCredit = false
    private var isBlockedByRate = false
    var inputEnded = false
    /// The router sent part of a packet: nothing of ours may come in between.
    var isInsideDelivery = false
    var ownPacketsHeldBack = ByteBuffer()

    /// When the client gets a new ticket: at half of its lifetime.
    private var ticketRenewal: Instant = .max
    /// When the client's certificate ends, or is to be looked at again.
    private var certificateDeadline: Instant = .max
    private(set) var keepAliveNanoseconds: UInt64 = 0
    /// For the keep alive: see `isAlive`.
    var lastAlive: Instant
    var bytesSinceAlive = 0
    private var deadline: Instant
    /// When the timer wheel will bring this connection up.
    private(set) var wheelDue: Instant = .max

    init(
        service: ListenerService,
        handle: UInt64,
        fileDescriptor: Int32,
        address: SocketAddress,
        policy: ListenerPolicy,
        tls: TLSConnection?
    ) {
        self.service = service
        self.router = service.router
        self.handle = handle
        self.policy = policy
        self.address = address
        self.peerAddress = address.description
        self.socket = ClientSocket(fileDescriptor: fileDescriptor, tls: tls)
        self.phase = tls == nil ? .awaitingConnect : .handshaking
        self.delivery = DeliveryAccount(sessionCredit: service.configuration.flowControl.sessionCreditBytes)
        let now = service.loop.now
        self.lastAlive = now
        self.times = ConnectTimes(accepted: now)
        let configuration = policy.configuration
        self.deadline =
            now + (tls == nil ? configuration.connectTimeoutNanoseconds : configuration.handshakeTimeoutNanoseconds)
    }

    /// To be called when the connection is in the service's table.
    func start() throws(SystemError) {
        self.registration = try self.service.loop.register(
            self.socket.fileDescriptor,
            for: .readable,
            handler: self
        )
        self.scheduleWheel()
        if self.phase == .handshaking {
            self.holdsHandshakeSlot = true
            self.service.admission.began(self.handle, from: self.address)
        }
    }

    /// Its handshake is over, or waits for the client and does not count any more.
    func givesUpHandshakeSlot() {
        guard self.holdsHandshakeSlot else { return }
        self.holdsHandshakeSlot = false
        self.service.admission.ended(from: self.address)
    }

    deinit {
        precondition(self.phase == .closed, "a connection was dropped without being closed")
    }

    /// How the log calls it: the common name, else the client id.
    var device: String {
        if let commonName = self.identity?.commonName { return String(decoding: commonName, as: UTF8.self) }
        return self.clientName.isEmpty ? "-" : self.clientName
    }

    func attemptRecord(_ refusal: RefusalReason?, detail: String) -> AttemptRecord {
        var times = self.times
        times.end = self.service.loop.now
        return AttemptRecord(
            wallNanoseconds: Clock.wall(),
            address: self.peerAddress,
            listener: self.policy.configuration.name,
            identity: self.identity,
            clientIdentifier: self.credentials.clientIdentifier,
            userName: self.userName,
            version: times.connect == 0 ? nil : self.version,
            security: times.handshake == 0 ? nil : self.socket.tls.map(\.summary),
            times: times,
            refusal: refusal,
            detail: detail
        )
    }

    // MARK: Events of the socket

    func handle(_ events: IOEvents) {
        switch self.phase {
        case .handshaking:
            self.continueHandshake()
        case .lingering:
            if !self.socket.discardInput(self.service.receiveBuffer) { self.finish() }
        case .closed:
            break
        case .awaitingConnect, .authenticating, .opening, .open, .closing:
            if events.contains(.writable) {
                if self.readWantsWrite { self.receiveAgain() }
                self.markDirty()
            }
            guard !events.isDisjoint(with: [.readable, .error, .hangUp]) else { return }
            if self.writeWantsRead { self.markDirty() }
            if self.wantsInput {
                self.receive()
            } else if !events.isDisjoint(with: [.error, .hangUp]) {
                self.lost("connection reset by the client")
            } else {
                self.updateInterest()
                self.waitForRouterIfCongested(hasRead: false)
            }
        }
    }

    private func continueHandshake() {
        guard let tls = self.socket.tls else { return }
        switch tls.handshake() {
        case .wantsRead:
            self.setInterest(.readable)
        case .wantsWrite:
            self.setInterest([.readable, .writable])
        case .failed(let failure):
            let certificate = failure.certificate
            self.service.refused(self, .tls(failure.kind), detail: failure.detail, certificate: certificate)
            self.linger()
        case .done:
            self.setInterest(.readable)
            self.handshakeDone(tls)
        }
    }

    private func handshakeDone(_ tls: TLSConnection) {
        self.service.counters.handshakeDone(tls)
        self.times.handshake = self.service.loop.now
        do throws(PeerIdentityError) {
            self.identity = try tls.peerCertificateIdentity()
        } catch {
            self.identity = try? tls.peerCertificateIdentity(takesAlternativeNames: false)
            self.service.refused(self, .certificateField, detail: "\(error)")
            return self.endAfterOutput()
        }
        self.phase = .awaitingConnect
        self.certificateDeadline = self.certificateDeadline(tls)
        self.scheduleTicketRenewal()
        self.setDeadline(self.service.loop.now + self.policy.configuration.connectTimeoutNanoseconds)
        // The client's first record may have come with its last handshake message.
        self.receive()
    }

    // MARK: Reading

    var wantsInput: Bool {
        switch self.phase {
        case .awaitingConnect: true
        case .open:
            !self.isBlockedByCredit && !self.isBlockedByRate && !self.inputEnded
                && self.waitingBytes < Self.outputBytesHigh && !self.router.isCongested && !self.isParkFull
        case .handshaking, .authenticating, .opening, .closing, .lingering, .closed: false
        }
    }

    /// What the client has not read yet, and what waits behind a partial delivery.
    private var waitingBytes: Int { self.output.readableBytes + self.ownPacketsHeldBack.readableBytes }

    func receive() {
        var hasRead = false
        defer { self.waitForRouterIfCongested(hasRead: hasRead) }
        var budget = 4
        self.readWantsWrite = false
        while self.wantsInput {
            guard budget > 0 else {
                // Bytes that OpenSSL has taken from the socket already are invisible to epoll.
                if self.socket.hasPending { self.service.receiveNextTurn(self.handle) }
                return
            }
            budget -= 1
            let space = self.service.receiveBuffer
            switch self.socket.read(into: space) {
            case .bytes(let count):
                hasRead = true
                self.heard(count)
                self.service.counters.bytesReceived += UInt64(count)
                self.take(UnsafeRawBufferPointer(rebasing: space[..<count]))
                if count < space.count, !self.socket.hasPending { return }
            case .wantsRead:
                return
            case .wantsWrite:
                self.readWantsWrite = true
                return self.updateInterest()
            case .ended(let detail):
                return self.lost(detail)
            }
        }
    }

    /// The router takes less than clients send: reading goes on when it has caught up.
    private func waitForRouterIfCongested(hasRead: Bool) {
        guard self.phase == .open, self.router.isCongested else { return }
        self.router.waitForRoom(self.handle, hasHadTurn: hasRead)
        self.updateInterest()
    }

    private func take(_ bytes: UnsafeRawBufferPointer) {
        if self.input.isEmpty {
            let consumed = self.interpret(bytes)
            if consumed < bytes.count, self.keepsInput {
                self.input.write(UnsafeRawBufferPointer(rebasing: bytes[consumed...]))
            }
        } else {
            self.input.write(bytes)
            self.takeKeptInput()
        }
        if self.phase == .awaitingConnect || self.countedConnectBytes > 0 { self.countConnectBytes() }
        if self.isParking { self.answerParkedPings() }
    }

    /// Clients that nobody has authenticated share a limit for what they send of their CONNECT.
    private func countConnectBytes() {
        let bytes = self.phase == .awaitingConnect ? self.input.readableBytes : 0
        self.service.connectBytes += bytes - self.countedConnectBytes
        self.countedConnectBytes = bytes
        guard bytes > Limits.connectBytesFree, self.service.connectBytes > Limits.connectBytesInAllMax else { return }
        let detail = "unfinished CONNECT packets of all clients are over \(Limits.connectBytesInAllMax) bytes"
        self.refuse(.tooManyConnectBytes, code: .serverBusy, version: nil, detail: detail)
        self.input.releaseIfEmpty()
        self.countConnectBytes()
    }

    private func takeKeptInput() {
        let consumed = self.interpret(self.input.readable)
        guard self.keepsInput else { return self.input.clear() }
        self.input.consume(consumed)
        if self.input.isEmpty, self.input.capacity > 4096 { self.input.releaseIfEmpty() }
    }

    private var keepsInput: Bool {
        switch self.phase {
        case .awaitingConnect, .authenticating, .opening: true
        case .open: !self.inputEnded
        case .handshaking, .closing, .lingering, .closed: false
        }
    }

    /// Returns how many of the bytes are done with.
    private func interpret(_ bytes: UnsafeRawBufferPointer) -> Int {
        switch self.phase {
        case .awaitingConnect:
            return self.interpretConnect(bytes)
        case .open:
            return self.interpretPackets(bytes)
        case .handshaking, .authenticating, .opening, .closing, .lingering, .closed:
            return 0
        }
    }

    private func interpretConnect(_ bytes: UnsafeRawBufferPointer) -> Int {
        switch ConnectReader.read(bytes) {
        case .needMore:
            return 0
        case .refuse(let reason, let code, let version, let detail):
            self.refuse(reason, code: code, version: version, detail: detail)
            return bytes.count
        case .connect(var packet, let count):
            // Nobody reads them.
            packet.properties.userProperties = []
            self.times.connect = self.service.loop.now
            self.version = packet.version
            self.clientName = String(decoding: packet.clientIdentifier, as: UTF8.self)
            self.connect = packet
            self.credentials.clientIdentifier = packet.clientIdentifier
            self.userName = self.policy.userName(of: packet, identity: self.identity)
            switch self.policy.admission(of: packet, identity: self.identity) {
            case .refused(let reason, let code, let detail): self.refuse(reason, code: code, detail: detail)
            case .admitted(let clientIdentifier):
                self.credentials.clientIdentifier = clientIdentifier
                if !self.refusesBanned() { self.authenticate(packet) }
            }
            return count
        }
    }

    private func interpretPackets(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard let link = self.router.link else { return 0 }
        let (before, linkBefore) = (self.output.readableBytes, link.output.readableBytes)
        let forwarded = self.uplink?.forward(
            bytes,
            handle: self.handle,
            linkCredit: &self.router.linkCredit,
            link: &link.output,
            replies: &self.ownPacketsHeldBack,
            now: self.service.loop.now
        )
        guard let progress = forwarded else { return 0 }
        if progress.endsPacket { self.isAlive() }
        let written = link.output.readableBytes - linkBefore
        self.router.passed(written, progress) { self.uplink?.canSpareAcknowledgements($0) ?? false }
        self.sendOwnPackets()
        if self.output.readableBytes != before { self.markDirty() }
        if progress.isBlocked, !self.isBlockedByCredit {
            self.isBlockedByCredit = true
            self.service.counters.creditStops += 1
            let waitsForLink = self.uplink.map { $0.credit > 0 && !$0.isWaitingForAnswers } ?? false
            if waitsForLink { self.router.waitForLinkCredit(self.handle) }
        }
        if let until = progress.blockedUntil { self.waitForRate(until) }
        switch progress.end {
        case nil: break
        case .rateExceeded:
            self.service.counters.rateDisconnects += 1
            self.close(.protocolError, code: .messageRateTooHigh, "publishes faster than publish_rate allows")
        case .malformed(let error): self.fail(error.closesSilently ? nil : error.reasonCode, "\(error)")
        case .tooLarge: self.fail(.packetTooLarge, "a packet is larger than mqtt.max_packet_size")
        case .clientDisconnected: self.inputEnded = true
        }
        return progress.consumed
    }

    // MARK: CONNECT

    private func authenticate(_ packet: ConnectPacket) {
        guard packet.properties.authenticationMethod == nil else {
            return self.refuse(
                .enhancedAuthentication,
                code: .badAuthenticationMethod,
                detail: "no enhanced authentication method is configured"
            )
        }
        let userNameFrom = self.policy.configuration.userNameFrom
        if let detail = userNameFrom.refusal(of: self.userName, hasCertificate: self.identity != nil) {
            return self.refuse(.auth(.fieldMissing), code: .notAuthorized, detail: detail)
        }
        let attributes = ClientAttributes(
            clientIdentifier: self.credentials.clientIdentifier,
            userName: self.userName,
            peerAddress: Array(self.peerAddress.utf8),
            identity: self.identity
        )
        if let access = self.policy.anonymousAccess(for: attributes) { return self.openSession(access) }
        guard self.service.configuration.authentication.usesWorkers else {
            let detail = "authentication.source is none, and the listener is not anonymous"
            return self.refuse(.noAuthenticationConfigured, code: .notAuthorized, detail: detail)
        }
        self.phase = .authenticating
        self.service.auth.submit(self)
    }

    /// - Parameter consulted: the keys of sources that were asked before the one that decided.
    func received(_ verdict: AuthVerdict, _ consulted: [UInt64]) {
        if self.phase == .open, self.credentials.isAsked { return self.revalidated(verdict, consulted) }
        guard self.phase == .authenticating else { return }
        self.times.verdict = self.service.loop.now
        guard verdict.outcome == .allow else {
            let code = RefusalReason.reasonCode(for: verdict)
            return self.refuse(
                .auth(verdict.reason),
                code: code,
                detail: String(decoding: verdict.detail, as: UTF8.self)
            )
        }
        self.credentials = SessionCredentials(
            clientIdentifier: self.credentials.clientIdentifier,
            tag: verdict.credentialTag,
            access: verdict.access
        )
        self.isKnownBy([verdict.keyHash] + consulted)
        self.openSession(verdict.access)
    }

    private func openSession(_ access: AccessRules) {
        self.phase = .opening
        self.access = access
        self.connectStamp = Clock.bootTime()
        self.passedConnect = self.connect.map { PassedConnect($0) }
        self.connect = nil
        self.setDeadline(self.service.loop.now + Limits.brokerWaitNanoseconds)
        self.router.open(self)
    }

    // MARK: Frames of the router

    func sessionAccepted(_ accepted: SessionAccepted, credit: Int, resumed: SessionResumed?) {
        guard self.phase == .opening else { return }
        self.phase = .open
        self.service.counters.sessionsOpened += 1
        self.service.record(self, nil, detail: "")
        self.uplink = SessionUplink(
            version: self.version,
            credit: credit,
            maximumPacketBytes: self.service.configuration.mqtt.maxPacketSizeBytes,
            rate: PublishRateGate(self.policy.configuration.offer.publishRate),
            attach: self.makeAttachState(accepted, resumed),
            sendQuota: self.sendQuota
        )
        self.scheduleRevalidation()
        self.keepAliveNanoseconds = UInt64(accepted.keepAliveSeconds) * Nanoseconds.perSecond / 2 * 3
        self.lastAlive = self.service.loop.now
        self.output.write(accepted.connack)
        self.markDirty()
        self.setDeadline(self.keepAliveDeadline)
        if self.credentials.mustAskAgain { self.service.auth.revalidate(self) }
        self.service.logger.debug(
            "client connected",
            metadata: ["address": "\(self.peerAddress)", "device": "\(self.device)", "client_id": "\(self.clientName)"]
        )
        self.resumeInput()
    }

    /// `sessionRefused` or `sessionClose`: the packet is the last that the client gets.
    func sessionEnded(_ reason: ReasonCode, packet: UnsafeRawBufferPointer) {
        switch self.phase {
        case .opening:
            self.service.refused(self, .router(reason), detail: "\(reason)")
        case .open:
            self.service.logDisconnect(self, "closed by the router: \(reason)")
        case .handshaking, .awaitingConnect, .authenticating, .closing, .lingering, .closed:
            return
        }
        self.uplink = nil
        // Nothing goes into a packet under way in parts, and DISCONNECT not before CONNACK [MQTT-3.14.0-1].
        if !self.isInsideDelivery, self.phase == .open || packet.first == 0x20 { self.output.write(packet) }
        self.endAfterOutput()
    }

    func grantCredit(_ bytes: UInt32) {
        self.uplink?.grant(bytes)
        self.resumeAfterCredit()
    }

    /// Goes on with a PUBLISH that waited for the session's or the link's credit.
    func resumeAfterCredit() {
        guard self.isBlockedByCredit else { return }
        self.isBlockedByCredit = false
        // Time in which the broker did not read does not count against the client.
        self.lastAlive = self.service.loop.now
        self.resumeInput()
    }

    /// The router has caught up.
    func resumeAfterCongestion() {
        guard self.phase == .open else { return }
        self.lastAlive = self.service.loop.now
        self.resumeInput()
    }

    /// The client has used up its rate: it is read again when a PUBLISH may pass.
    private func waitForRate(_ until: Instant) {
        guard !self.isBlockedByRate else { return }
        self.isBlockedByRate = true
        self.service.counters.rateStops += 1
        let handle = self.handle
        self.service.loop.schedule(at: until) { [unowned service = self.service] in
            service.connection(handle)?.resumeAfterRate()
        }
    }

    private func resumeAfterRate() {
        self.isBlockedByRate = false
        self.lastAlive = self.service.loop.now
        self.resumeInput()
    }

    func resumeInput() {
        if !self.input.isEmpty { self.takeKeptInput() }
        // What was kept may have been so much that the router has to catch up once more.
        guard self.wantsInput else { return self.waitForRouterIfCongested(hasRead: true) }
        self.updateInterest()
        if self.socket.hasPending { self.service.receiveNextTurn(self.handle) }
    }

    // MARK: Writing

    func sendOwnPackets() {
        guard !self.isInsideDelivery, !self.ownPacketsHeldBack.isEmpty else { return }
        self.output.write(self.ownPacketsHeldBack.readable)
        self.ownPacketsHeldBack.clear()
        self.ownPacketsHeldBack.releaseIfEmpty()
    }

    func markDirty() {
        guard !self.isDirty, self.phase != .closed else { return }
        self.isDirty = true
        self.service.flushAtEndOfTurn(self)
    }

    /// Writes as much as the client takes.
    func flush() {
        self.isDirty = false
        guard self.phase != .closed, self.phase != .lingering, self.phase != .handshaking else { return }
        let wantedInput = self.wantsInput
        self.writeWantsWrite = false
        self.writeWantsRead = false
        writing: while !self.output.isEmpty {
            switch self.socket.write(self.output.readable) {
            case .bytes(let count):
                self.output.consume(count)
                self.lastTaken = self.service.loop.now
                self.service.counters.bytesSent += UInt64(count)
            case .wantsWrite:
                self.writeWantsWrite = true
                break writing
            case .wantsRead:
                self.writeWantsRead = true
                break writing
            case .ended(let detail):
                return self.lost(detail)
            }
        }
        let pending = self.output.readableBytes
        let returned = self.delivery.written(pendingOutput: pending, reportsAll: self.router.pressure.isHigh)
        self.router.returnCredit(self.handle, link: returned.link, session: returned.session)
        if self.output.isEmpty {
            if self.output.capacity > 16 << 10 { self.output.releaseIfEmpty() }
            if self.phase == .closing { return self.linger() }
        } else if self.output.readableBytes > Self.outputBytesMax {
            self.service.counters.slowClientsClosed += 1
            return self.lost("the client does not read")
        }
        self.hasWritten()
        if self.wantsInput != wantedInput { self.resumeInput() }
    }

    func setInterest(_ interest: IOEvents) {
        guard interest != self.interest, let registration = self.registration else { return }
        self.interest = interest
        self.service.loop.modify(registration, for: interest)
    }

    // MARK: Time

    func setDeadline(_ deadline: Instant) {
        self.deadline = deadline
        if deadline < self.wheelDue { self.scheduleWheel() }
    }

    private func scheduleTicketRenewal() {
        guard let tls = self.policy.configuration.tls, tls.sessionTickets else { return }
        self.ticketRenewal = self.service.loop.now &+ tls.ticketLifetimeNanoseconds / 2
    }

    func scheduleWheel() {
        let renewal = self.phase == .open ? self.ticketRenewal : .max
        let deadline = min(self.deadline, self.certificateDeadline, self.revalidationDeadline, renewal)
        self.wheelDue = self.service.scheduleWheel(self.handle, deadline: deadline)
    }

    /// The timer wheel brought this connection up; `tick` is the end of the slot it was in.
    func wheelCameUp(now: Instant) {
        guard self.wheelDue <= now else { return }
        if now >= self.certificateDeadline, let tls = self.socket.tls {
            self.certificateDeadline = self.certificateDeadline(tls)
            self.certificateMayHaveEnded(tls)
        }
        if self.phase == .open {
            self.deadline = self.keepAliveDeadline
            if now >= self.ticketRenewal {
                self.scheduleTicketRenewal()
                self.socket.tls?.renewTicket()
            }
            if now >= self.credentials.revalidation {
                self.scheduleRevalidation()
                self.service.revalidateInTurn(self.handle)
            }
        }
        self.wheelDue = .max
        if now >= self.deadline { self.deadlinePassed(now) }
        if self.phase != .closed {
            self.input.releaseIfEmpty()
            self.output.releaseIfEmpty()
            self.scheduleWheel()
        }
    }

    private func deadlinePassed(_ now: Instant) {
        switch self.phase {
        case .handshaking:
            self.service.refused(self, .handshakeTimeout, detail: "no complete TLS handshake in time")
            self.finish()
        case .awaitingConnect:
            self.service.refused(self, .connectTimeout, detail: "no complete CONNECT packet in time")
            self.finish()
        case .authenticating:
            self.service.auth.timedOut(self, now: now)
        case .opening:
            self.refuse(.routerUnavailable, code: .serverUnavailable, detail: "the router does not answer")
        case .open:
            if self.isBlockedByCredit || self.isBlockedByRate || self.inputEnded || self.isParkFull {
                return self.setDeadline(now + self.keepAliveNanoseconds)
            }
            self.service.counters.keepAliveTimeouts += 1
            self.close(.keepAliveTimeout, code: .keepAliveTimeout, "keep alive timeout")
        case .closing:
            self.finish()
        case .lingering:
            self.finish()
        case .closed:
            break
        }
    }

    // MARK: The end

    /// Refuses a client that has no session: CONNACK with the code, then the end.
    func refuse(_ reason: RefusalReason, code: ReasonCode, detail: String) {
        self.refuse(reason, code: code, version: self.version, detail: detail)
    }

    /// - Parameter version: nil: without CONNACK.
    func refuse(_ reason: RefusalReason, code: ReasonCode, version: ProtocolVersion?, detail: String) {
        self.service.refused(self, reason, detail: detail)
        if self.phase == .opening { self.router.closed(self, cause: .connectionLost) }
        if let version, let returnCode = code.connackReturnCode(for: version) {
            let connack = ConnackPacket(sessionPresent: false, returnCode: returnCode)
            connack.encode(into: &self.output, version: version)
        }
        self.endAfterOutput()
    }

    /// The client broke the protocol: DISCONNECT says how, unless there is nothing to say ([MQTT-4.13.1-1]).
    private func fail(_ code: ReasonCode?, _ detail: String) {
        self.service.counters.protocolErrors += 1
        self.close(.protocolError, code: code, detail)
    }

    /// Ends an open session from this side.
    /// - Parameters:
    ///   - endsSession: as `FrameFlags.endsSession`.
    ///   - code: what DISCONNECT says; nil: there is none.
    func close(_ cause: SessionCloseCause, endsSession: Bool = false, code: ReasonCode?, _ detail: String) {
        guard self.phase == .open else { return self.finish() }
        self.service.logDisconnect(self, detail)
        self.router.closed(self, cause: cause, endsSession: endsSession)
        self.uplink = nil
        if let code, self.version == .v5_0, !self.isInsideDelivery {
            DisconnectPacket(reasonCode: code).encode(into: &self.output, version: .v5_0)
        }
        self.endAfterOutput()
    }

    func lost(_ detail: String) {
        switch self.phase {
        case .open:
            self.service.logDisconnect(self, detail)
            self.router.closed(self, cause: .connectionLost)
        case .opening:
            self.router.closed(self, cause: .connectionLost)
        case .handshaking, .awaitingConnect, .authenticating, .closing, .lingering, .closed:
            break
        }
        self.finish()
    }

    private func endAfterOutput() {
        self.phase = .closing
        self.input.clear()
        self.setDeadline(self.service.loop.now + Self.closingNanoseconds)
        self.updateInterest()
        self.markDirty()
    }

    private func linger() {
        self.phase = .lingering
        self.socket.finishWriting()
        self.setInterest(.readable)
        self.setDeadline(self.service.loop.now + Self.lingerNanoseconds)
        if !self.socket.discardInput(self.service.receiveBuffer) { self.finish() }
    }

    private func finish() {
        guard self.phase != .closed else { return }
        self.phase = .closed
        self.countConnectBytes()
        self.isKnownBy([])
        self.router.returnLinkCredit(self.closeDelivery())
        if let registration = self.registration { self.service.loop.deregister(registration) }
        self.registration = nil
        self.socket.tls?.shutdown()
        Glibc.close(self.socket.fileDescriptor)
        self.service.removed(self)
    }

    /// The process ends: no lingering.
    func abandon() {
        self.finish()
    }
}
