import Common
import Glibc
import Logging
import TLS

/// The listener: terminates TLS, and forwards sessions to the router.
///
/// - Talks to: devices over TCP, the router and the auth workers over Unix sockets.
/// - Holds: the TLS key, the client sockets. No session, no message beyond what is on its way, no password after the verdict.
/// - When killed: its devices lose their connection and reach another listener; their sessions live on in the router.
/// - An attacker who owns it can: impersonate the server and devices that need no password, read what passes through it. Not:
///   reach Redis, the store, or the traffic of other listeners.
package final class ListenerService: Role {
    // Timers refer to it without `weak`: it lives as long as the loop, and counting references to an object that has weak ones
    // takes four times as long, several times for each packet.
    let loop: EventLoop
    let logger: Logger
    let configuration: Configuration
    var counters = ListenerCounters()
    var live = LiveSessions()
    /// All connections read into this one: an idle connection has no buffer.
    let receiveBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 128 << 10, alignment: 16)
    private(set) lazy var auth = AuthDispatcher(
        service: self,
        workers: max(1, self.configuration.processes.authWorkers)
    )
    private(set) lazy var router = RouterUplink(service: self)
    private(set) lazy var bans = BanWatch(service: self, path: self.configuration.bansFile)
    private(set) lazy var admission = HandshakeAdmission(
        service: self,
        maximum: self.configuration.processes.maxHandshakes
    )

    private static let sweepNanoseconds = 20 * Nanoseconds.perMillisecond

    private let context: RoleContext
    var name: String { self.context.name }
    /// The last ones, for `martlet why`.
    var attempts = RecentRing<AttemptRecord>(capacity: ListenerService.attemptsKept)
    /// Some 600 bytes each.
    private static let attemptsKept = 4096
    private(set) var policies: [ListenerPolicy] = []
    private var sockets: [ListeningSocket] = []
    private var table = ConnectionTable()
    private var wheel: TimerWheel
    private var wheelTimer: EventLoop.Timer?
    private var dirty: [ClientConnection] = []
    private var toReceive: [UInt64] = []
    /// Of unfinished CONNECT packets of all clients.
    var connectBytes = 0
    private var refusals: RefusalLimiter
    /// Of connections accepted through all sockets; nil: no limit.
    private var connectionRate: TokenBucket?
    private var revalidationTimer: (deadline: Instant, timer: EventLoop.Timer)?
    private(set) var isStopping = false
    var routerAbsence = PeerAbsence()
    var workerAbsence = PeerAbsence()
    /// Connections whose PROXY header is awaited, by descriptor.
    var proxyReaders: [Int32: ProxyHeaderReader] = [:]
    /// Still to be looked at after a change of lists, authorities or bans.
    var connectionsToCheck: [UInt64] = []

    package init(_ context: RoleContext) {
        self.context = context
        self.loop = context.loop
        self.logger = context.logger
        self.configuration = context.configuration
        self.wheel = TimerWheel(now: context.loop.now)
        self.connectionRate = TokenBucket(
            perSecond: context.configuration.processes.maxConnectionRate,
            burstNanoseconds: Nanoseconds.perSecond
        )
        self.refusals = RefusalLimiter(perSecond: context.configuration.log.refusedPerSecond)
    }

    deinit {
        self.receiveBuffer.deallocate()
    }

    package func start() throws {
        for listener in self.configuration.listeners {
            let policy = try ListenerPolicy(listener, configuration: self.configuration)
            for warning in policy.warnings { self.logger.warning("\(warning)") }
            self.policies.append(policy)
        }
        try self.loadRevocationLists()
        try self.bans.start()
        var inherited = InheritedSockets(environment: self.context.environment)
        for policy in self.policies {
            for address in policy.configuration.addresses {
                let fileDescriptor: Int32
                if let passed = inherited.take(name: policy.configuration.name, address: address) {
                    fileDescriptor = passed
                    try self.check(passed, policy.configuration)
                } else {
                    fileDescriptor = try ListeningSocket.open(address)
                }
                try self.listen(on: fileDescriptor, policy)
            }
        }
        for policy in self.policies {
            while let passed = inherited.takeFurther(name: policy.configuration.name) {
                try self.check(passed, policy.configuration)
                try self.listen(on: passed, policy)
            }
        }
        for unused in inherited.sockets {
            let bound = SocketAddress.local(of: unused.fileDescriptor)?.listenAddress
            self.logger.warning(
                "a passed socket fits no configured listener, and nobody accepts what connects to it",
                metadata: ["name": "\(unused.name)", "bound": "\(bound.map { "\($0)" } ?? "unknown")"]
            )
            close(unused.fileDescriptor)
        }
        let hello = LinkHello(
            role: .listener,
            bootID: RoleProcess.makeBootID(),
            name: Array(self.context.name.utf8),
            sessionCreditBytes: UInt32(clamping: self.configuration.flowControl.sessionCreditBytes),
            linkCreditBytes: UInt32(clamping: self.configuration.flowControl.linkCreditBytes)
        )
        self.router.start(hello: hello)
        if self.configuration.authentication.usesWorkers { self.auth.start(hello: hello) }
        self.watchPeers()
        self.loop.atEndOfTurn { [unowned self] in self.endOfTurn() }
    }

    /// A passed socket may be bound to another address than the configuration says.
    private func check(_ passed: Int32, _ listener: Configuration.Listener) throws(StartError) {
        guard let bound = SocketAddress.local(of: passed)?.listenAddress else { return }
        if !listener.addresses.contains(where: { $0.allows(bound) }) {
            self.logger.warning(
                """
                the passed socket decides where this listener is, and addresses in the configuration says something else; change \
                ListenStream of the socket unit (systemctl edit martlet-listener.socket), or addresses
                """,
                metadata: [
                    "listener": "\(listener.name)", "bound": "\(bound)",
                    "addresses": "\(listener.addresses.map(\.description).joined(separator: ", "))",
                ]
            )
        }
        guard listener.transport == .tcp, !listener.allowInsecureNetwork, !bound.isLoopback else { return }
        throw StartError(
            "listener \(listener.name): the socket that was passed to it is on \(bound), where everything would be readable on the "
                + "network: bind it to loopback, use TLS, or set allow_insecure_network"
        )
    }

    private func listen(on fileDescriptor: Int32, _ policy: ListenerPolicy) throws(SystemError) {
        let socket = try ListeningSocket(
            loop: self.loop,
            fileDescriptor: fileDescriptor,
            policy: policy,
            exhausted: { [unowned self] error in
                self.logger.error("cannot accept connections; trying again", metadata: ["reason": "\(error.reason)"])
            },
            blockedUntil: { [unowned self] policy in self.acceptingBlockedUntil(policy) },
            accepted: { [unowned self] in self.accept($0, $1, $2) }
        )
        self.sockets.append(socket)
    }

    /// Where it listens, in the configuration's order: with the port that the kernel chose where that says 0.
    package var boundAddresses: [ListenAddress] { self.sockets.compactMap(\.boundAddress) }

    /// Stops accepting, and lets clients go at a bounded rate: they connect again elsewhere, and a handshake costs a millisecond.
    /// The sockets that were passed to this process stay open in others: no connect is refused while one of them accepts.
    package func stop() {
        for socket in self.sockets { socket.close() }
        self.sockets.removeAll()
        self.admission.closeQueue()
        guard self.configuration.processes.drainRate > 0 else { return self.stopAtOnce() }
        self.drain(until: nil)
    }

    /// Thousandths of clients that may be let go.
    private var drainAllowance = 0
    private static let drainStepNanoseconds = 50 * Nanoseconds.perMillisecond
    /// For goodbyes on their way, and for clients in the middle of their handshake.
    private static let drainEndNanoseconds = Nanoseconds.perSecond
    /// More than the unit's WatchdogSec=, which ends a loop that does not turn.
    private static let drainSilenceSeconds: UInt64 = 30

    /// - Parameter end: when those that are left are given up; nil while sessions are open.
    private func drain(until end: Instant?) {
        guard !self.isStopping else { return }
        let now = self.loop.now
        self.drainAllowance +=
            self.configuration.processes.drainRate * Int(Self.drainStepNanoseconds / Nanoseconds.perMillisecond)
        var closable = self.drainAllowance / 1000
        self.drainAllowance %= 1000
        for connection in self.table.all where connection.phase == .open && closable > 0 {
            closable -= 1
            connection.close(.listenerShutdown, code: .serverShuttingDown, "the listener is stopping")
        }
        let isOpen = closable == 0
        let end = isOpen ? nil : end ?? now &+ Self.drainEndNanoseconds
        let left = self.table.count + self.admission.silentCount
        if left == 0 || end.map({ $0 <= now }) ?? false { return self.stopAtOnce() }
        ServiceNotifier(environment: self.context.environment)
            .stopGoesOn("draining, \(left) connections left", seconds: Self.drainSilenceSeconds)
        self.loop.schedule(afterNanoseconds: Self.drainStepNanoseconds) { [unowned self] in self.drain(until: end) }
    }

    /// Says goodbye to every client, and ends when the router has been told.
    package func stopAtOnce() {
        guard !self.isStopping else { return }
        self.isStopping = true
        self.closeProxyReaders()
        self.admission.close()
        for connection in self.table.all {
            if connection.phase == .open {
                connection.close(.listenerShutdown, code: .serverShuttingDown, "the listener is stopping")
            }
            // Also where the router was lost in this very turn, and the goodbye has not left.
            connection.flush()
        }
        self.router.flush()
        for connection in self.table.all { connection.abandon() }
        self.router.flush()
        self.finishStopping(attemptsLeft: 100)
    }

    private func finishStopping(attemptsLeft: Int) {
        guard let link = self.router.link, !link.output.isEmpty, attemptsLeft > 0 else {
            self.router.stop()
            self.auth.stop()
            return self.loop.stop()
        }
        self.loop.schedule(afterNanoseconds: 10 * Nanoseconds.perMillisecond) { [unowned self] in
            self.router.flush()
            self.finishStopping(attemptsLeft: attemptsLeft - 1)
        }
    }

    package func status() -> StatusReport {
        var report = StatusReport()
        report.add("connections", self.table.count)
        report.add("handshakes_under_way", self.admission.underWay)
        report.add("handshakes_waiting", self.admission.waitingCount)
        report.add("connections_silent", self.admission.silentCount)
        report.add("sessions", self.table.all.count { $0.phase == .open })
        self.addPeerStatus(to: &report)
        report.add("heap_bytes", HeapUsage.bytes)
        self.counters.report(into: &report)
        self.router.addPressureStatus(to: &report)
        self.addRevocationStatus(to: &report)
        report.add("bans", self.bans.list.countInForce(at: self.bans.now))
        if let problem = self.bans.problem { report.add("alarm", "bans not usable: \(problem)") }
        return report
    }

    // MARK: Connections

    /// How long accepting rests when too many connections wait for their handshake.
    private static let fullNanoseconds = 20 * Nanoseconds.perMillisecond

    /// Nil: another connection may be accepted now. Otherwise when it may.
    private func acceptingBlockedUntil(_ policy: ListenerPolicy) -> Instant? {
        let now = self.loop.now
        if policy.tls != nil, self.admission.isFull() {
            self.counters.acceptPauses += 1
            return now &+ Self.fullNanoseconds
        }
        let process = self.connectionRate?.blockedUntil(now: now)
        let listener = policy.connectionRate?.blockedUntil(now: now)
        if process == nil, listener == nil { return nil }
        self.counters.acceptPauses += 1
        return max(process ?? 0, listener ?? 0)
    }

    private func accept(_ fileDescriptor: Int32, _ address: SocketAddress, _ policy: ListenerPolicy) {
        self.counters.accepted += 1
        self.connectionRate?.take(1, now: self.loop.now)
        policy.connectionRate?.take(1, now: self.loop.now)
        policy.connectionCount += 1
        let isTooMany = policy.connectionCount > policy.configuration.maxConnections
        guard !isTooMany || self.admission.giveUpSilent(of: policy) else {
            self.refusedAtOnce(.tooManyConnections, address, policy, detail: "")
            return self.drop(fileDescriptor, policy)
        }
        if self.awaitsProxyHeader(fileDescriptor, address, policy) { return }
        self.take(fileDescriptor, address, policy)
    }

    /// - Parameter address: where the client is, as far as that is known.
    func take(_ fileDescriptor: Int32, _ address: SocketAddress, _ policy: ListenerPolicy) {
        if !self.bans.list.isEmpty, let source = address.listenAddress,
            let ban = self.bans.list.ban(of: source, now: self.bans.now)
        {
            self.refusedAtOnce(.banned, address, policy, detail: ban.detail)
            return self.drop(fileDescriptor, policy)
        }
        if policy.tls != nil, self.admission.mustWait(fileDescriptor, address, policy) { return }
        self.begin(fileDescriptor, address, policy)
    }

    /// Closes an accepted connection that is not in the table.
    func drop(_ fileDescriptor: Int32, _ policy: ListenerPolicy) {
        policy.connectionCount -= 1
        close(fileDescriptor)
    }

    /// It is the connection's turn.
    func begin(_ fileDescriptor: Int32, _ address: SocketAddress, _ policy: ListenerPolicy) {
        var on: Int32 = 1
        setsockopt(fileDescriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        setsockopt(fileDescriptor, SOL_SOCKET, SO_KEEPALIVE, &on, socklen_t(MemoryLayout<Int32>.size))
        var tls: TLSConnection?
        if let context = policy.tls {
            tls = context.makeConnection(fileDescriptor: fileDescriptor)
            guard tls != nil else {
                self.logger.error("no memory for another TLS connection")
                self.drop(fileDescriptor, policy)
                return
            }
        }
        let connection = ClientConnection(
            service: self,
            handle: self.table.makeHandle(),
            fileDescriptor: fileDescriptor,
            address: address,
            policy: policy,
            tls: tls
        )
        self.table.insert(connection, handle: connection.handle)
        do throws(SystemError) {
            try connection.start()
        } catch {
            self.logger.error("cannot take another connection", metadata: ["reason": "\(error.reason)"])
            connection.abandon()
        }
    }

    func connection(_ handle: UInt64) -> ClientConnection? { self.table[handle] }

    /// A copy, so that connections may end while it is gone through.
    var connections: [ClientConnection] { self.table.all }

    func removed(_ connection: ClientConnection) {
        self.table.remove(connection.handle)
        connection.policy.connectionCount -= 1
    }

    // MARK: The turn

    func flushAtEndOfTurn(_ connection: ClientConnection) {
        self.dirty.append(connection)
    }

    /// For bytes that OpenSSL holds already: epoll does not tell of them.
    func receiveNextTurn(_ handle: UInt64) {
        if self.toReceive.isEmpty {
            self.loop.schedule(at: self.loop.now) { [unowned self] in self.receivePending() }
        }
        self.toReceive.append(handle)
    }

    private func receivePending() {
        let handles = self.toReceive
        self.toReceive.removeAll(keepingCapacity: true)
        for handle in handles { self.table[handle]?.receive() }
    }

    private func endOfTurn() {
        self.admission.admit()
        self.router.resumeWaitingForRoom()
        // Flushing may resume a client's input, which may make it dirty again: that waits for nothing either.
        while !self.dirty.isEmpty {
            let connections = self.dirty
            self.dirty.removeAll(keepingCapacity: true)
            for connection in connections { connection.flush() }
        }
        self.router.flush()
        self.auth.flush()
    }

    // MARK: Live sessions

    func rowsChanged(_ changed: AuthChanged) {
        if changed.all { self.live.allChanged() }
        self.live.changed(changed.keyHashes)
        self.revalidateDue()
    }

    /// It is long ago that the session was asked about.
    func revalidateInTurn(_ handle: UInt64) {
        self.live.ask(handle)
        self.scheduleRevalidation()
    }

    /// Nobody could say anything about the session, for the `count`th time in a row.
    ///
    /// - Returns: when it is due again.
    func revalidateLater(_ handle: UInt64, count: Int) -> Instant {
        defer { self.scheduleRevalidation() }
        return self.live.askLater(handle, count: count, now: self.loop.now)
    }

    private func revalidateDue() {
        for handle in self.live.takeDue(now: self.loop.now) {
            if let connection = self.table[handle] { self.auth.revalidate(connection) }
        }
        self.scheduleRevalidation()
    }

    private func scheduleRevalidation() {
        let sweep = self.live.hasMore ? self.loop.now &+ Self.sweepNanoseconds : nil
        guard let deadline = [sweep, self.live.nextRetry].compactMap({ $0 }).min(), !self.isStopping else { return }
        if let timer = self.revalidationTimer {
            if timer.deadline <= deadline { return }
            self.loop.cancel(timer.timer)
        }
        let timer = self.loop.schedule(at: deadline) { [unowned self] in
            self.revalidationTimer = nil
            self.revalidateDue()
        }
        self.revalidationTimer = (deadline, timer)
    }

    // MARK: Time

    func scheduleWheel(_ handle: UInt64, deadline: Instant) -> Instant {
        self.startWheel()
        return self.wheel.schedule(handle, deadline: deadline)
    }

    private func startWheel() {
        guard self.wheelTimer == nil, !self.isStopping else { return }
        self.wheelTimer = self.loop.schedule(afterNanoseconds: TimerWheel.tickNanoseconds) { [unowned self] in
            self.turnWheel()
        }
    }

    private func turnWheel() {
        self.wheelTimer = nil
        let now = self.loop.now
        for handle in self.wheel.due(now: now) { self.table[handle]?.wheelCameUp(now: now) }
        for (reason, count) in self.refusals.takeOmitted(now: now) {
            self.logger.notice(
                "refused connections not logged",
                metadata: ["reason": "\(reason)", "count": "\(count)"]
            )
        }
        // Without connections nothing ticks.
        if self.wheel.count > 0 { self.startWheel() }
    }

    // MARK: Log

    /// - Parameter certificate: the one that was not believed.
    func refused(
        _ connection: ClientConnection,
        _ reason: RefusalReason,
        detail: String,
        certificate: CertificateNumbers? = nil
    ) {
        self.record(connection, reason, detail: detail, certificate: certificate)
        self.logRefusal(
            reason,
            address: connection.peerAddress,
            device: connection.device,
            listener: connection.policy,
            detail: detail
        )
    }

    /// - Returns: whether there is a line about it: the log does not take any number of them.
    @discardableResult
    func logRefusal(
        _ reason: RefusalReason,
        address: String,
        device: String,
        listener: ListenerPolicy,
        detail: String
    ) -> Bool {
        self.counters.refused[reason, default: 0] += 1
        guard let omitted = self.refusals.admit(reason, now: self.loop.now) else { return false }
        var metadata: Logger.Metadata = [
            "address": "\(address)", "device": "\(device)", "listener": "\(listener.configuration.name)",
            "reason": "\(reason)",
        ]
        if !detail.isEmpty { metadata["detail"] = "\(detail)" }
        if omitted > 0 { metadata["not_logged_before"] = "\(omitted)" }
        self.logger.notice("connection refused", metadata: metadata)
        return true
    }

    func logRevocation(_ connection: ClientConnection, _ detail: String) {
        self.logger.notice(
            "session ended by revocation",
            metadata: ["address": "\(connection.peerAddress)", "device": "\(connection.device)", "detail": "\(detail)"]
        )
    }

    func logDisconnect(_ connection: ClientConnection, _ detail: String) {
        self.logger.debug(
            "client disconnected",
            metadata: ["address": "\(connection.peerAddress)", "device": "\(connection.device)", "detail": "\(detail)"]
        )
    }
}
