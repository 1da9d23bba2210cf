import Common
import Logging

/// Asks the auth workers. A client's worker is chosen by a hash of what its look-up is made of (`WorkerPlacement`), so that each worker's memory cache holds
/// its share of the fleet; another one is asked when that one is gone or silent.
final class AuthDispatcher: LinkDelegate {
    private unowned let service: ListenerService
    private var connectors: [LinkConnector] = []
    /// Links in use by worker; nil: none.
    private var links: [Link?]
    /// What a worker has said about the verdict that it sends next: the sources that it had asked before.
    private var consulted: [(request: UInt64, keyHashes: [UInt64])?]
    /// Nil: not linked.
    private var pulses: [AuthWorkerPulse?]
    private let placement: WorkerPlacement

    init(service: ListenerService, workers: Int) {
        self.service = service
        self.links = Array(repeating: nil, count: workers)
        self.consulted = Array(repeating: nil, count: workers)
        self.pulses = Array(repeating: nil, count: workers)
        self.placement = WorkerPlacement(service.configuration.authentication.sources)
    }

    func start(hello: LinkHello) {
        for worker in self.links.indices {
            let connector = LinkConnector(
                loop: self.service.loop,
                path: self.service.configuration.authWorkerSocketPath(worker + 1),
                hello: hello,
                peerRole: .authWorker,
                delegate: self
            )
            self.connectors.append(connector)
            connector.start()
        }
        self.schedulePings()
    }

    func stop() {
        for connector in self.connectors { connector.stop() }
        self.links = Array(repeating: nil, count: self.links.count)
        self.pulses = Array(repeating: nil, count: self.links.count)
    }

    /// Linked, and not silent.
    var workersUp: Int { self.pulses.count { $0?.isSilent == false } }

    /// Why the first worker that is not linked is not; nil: all are.
    var lastFailure: String? {
        self.links.indices.first { self.links[$0] == nil }.flatMap { self.connectors[$0].lastFailure }
    }

    /// How long a worker may say nothing at all.
    private var timeout: UInt64 { self.service.configuration.authentication.workerTimeoutNanoseconds }

    // MARK: Queries

    func submit(_ connection: ClientConnection) {
        connection.question.begin(now: self.service.loop.now)
        self.ask(connection)
    }

    /// The connection's deadline is over.
    func timedOut(_ connection: ClientConnection, now: Instant) {
        switch connection.question.step(now: now, timeout: self.timeout, pulses: self.pulses) {
        case .wait(let until): connection.setDeadline(until)
        case .askElsewhere: self.ask(connection)
        case .end(.undecided):
            let detail = "the auth worker answers, and has not decided within ten seconds"
            connection.refuse(.auth(.overloaded), code: .serverBusy, detail: detail)
        case .end(.unanswered):
            let detail = "no auth worker has answered"
            connection.refuse(.authWorkerUnavailable, code: .serverUnavailable, detail: detail)
        }
    }

    private func ask(_ connection: ClientConnection) {
        guard let query = connection.authQuery() else { return }
        let now = self.service.loop.now
        let worker = connection.question.ask(self.order(query), now: now, pulses: self.pulses)
        let end = connection.question.end
        // Without any worker it waits in its phase for one to come up.
        connection.setDeadline(connection.question.worker == nil ? end : min(now &+ self.timeout, end))
        guard let worker, let link = self.links[worker] else { return }
        query.encode(into: &link.output, request: connection.handle)
        if self.pulses[worker]?.asked(now: now, timeout: self.timeout) == .ping { Self.ping(link) }
    }

    /// Asks about a live session. Without a worker it is asked about again later: who is in stays until somebody can say.
    func revalidate(_ connection: ClientConnection) {
        guard let query = connection.revalidationQuery() else { return }
        guard let worker = AuthQuestion.choose(self.order(query), self.pulses), let link = self.links[worker] else {
            return connection.revalidationLost()
        }
        connection.question.worker = worker
        let keyHash = connection.credentials.keyHash
        if keyHash != 0, self.service.configuration.authentication.sources.count > 1 {
            AuthAdmitted(keyHash: keyHash).encode(into: &link.output, request: connection.handle)
        }
        query.encode(into: &link.output, request: connection.handle)
    }

    /// The worker that a query belongs to, then the others.
    private func order(_ query: AuthQuery) -> [Int] {
        let preferred = self.placement.worker(for: query, of: self.links.count)
        return self.links.indices.map { (preferred + $0) % self.links.count }
    }

    func flush() {
        for link in self.links { link?.flush() }
    }

    // MARK: Silent workers

    /// A worker that hangs keeps its link, and hears of no change of a row.
    private func schedulePings() {
        self.service.loop.schedule(afterNanoseconds: AuthWorkerPulse.periodNanoseconds) { [weak self] in
            guard let self, !self.service.isStopping else { return }
            for worker in self.links.indices { self.ping(worker) }
            self.schedulePings()
        }
    }

    private func ping(_ worker: Int) {
        guard let link = self.links[worker] else { return }
        switch self.pulses[worker]?.tick(now: self.service.loop.now, timeout: self.timeout) {
        case .wait, nil: break
        case .ping:
            Self.ping(link)
            link.flush()
        case .fellSilent: self.fellSilent(worker)
        }
    }

    private static func ping(_ link: Link) {
        link.output.writeFrameHeader(.authPing, handle: 0, bodyBytes: 0)
    }

    private func fellSilent(_ worker: Int) {
        self.service.logger.warning("auth worker does not answer", metadata: ["worker": "\(worker + 1)"])
        guard self.workersUp > 0 else { return }
        for connection in self.service.connections where connection.question.worker == worker {
            self.askElsewhere(connection)
            // Changes of their rows were for that worker to hear. Whoever is asked now hears of later ones.
            if connection.phase == .open { self.service.revalidateInTurn(connection.handle) }
        }
    }

    /// Nobody is refused because a worker does not answer: what it was asked is asked of others, about live sessions in their time.
    private func askElsewhere(_ connection: ClientConnection) {
        switch connection.phase {
        case .authenticating: self.ask(connection)
        case .open: connection.revalidationLost()
        case .handshaking, .awaitingConnect, .opening, .closing, .lingering, .closed: break
        }
    }

    private func heard(_ worker: Int, isPong: Bool) {
        guard self.pulses[worker]?.heard(isPong: isPong, now: self.service.loop.now) == true else { return }
        self.service.logger.notice("auth worker answers again", metadata: ["worker": "\(worker + 1)"])
    }

    // MARK: Links

    private func worker(of link: Link) -> Int? {
        self.connectors.firstIndex { $0.link === link }
    }

    func linkUp(_ link: Link, peer: LinkHello) {
        guard let worker = self.worker(of: link) else { return }
        self.links[worker] = link
        link.index = worker
        self.pulses[worker] = AuthWorkerPulse()
        self.ping(worker)
        self.service.logger.info("auth worker connected", metadata: ["worker": "\(worker + 1)"])
        for connection in self.service.connections where connection.phase == .authenticating {
            if connection.question.worker == nil { self.ask(connection) }
        }
    }

    func link(_ link: Link, received frame: Frame) {
        self.heard(link.index, isPong: frame.kind == .authPong)
        switch frame.kind {
        case .authVerdict: self.receivedVerdict(frame, link.index)
        case .authConsulted: self.receivedConsulted(frame, link.index)
        case .authChanged: self.receivedChange(frame)
        default: break
        }
    }

    private func receivedChange(_ frame: Frame) {
        guard let changed = AuthChanged.decode(frame.body) else {
            self.service.counters.invalidFrames += 1
            return
        }
        self.service.rowsChanged(changed)
    }

    private func receivedConsulted(_ frame: Frame, _ worker: Int) {
        guard let consulted = AuthConsulted.decode(frame.body) else {
            self.service.counters.invalidFrames += 1
            return
        }
        self.consulted[worker] = (frame.handle, consulted.keyHashes)
    }

    private func receivedVerdict(_ frame: Frame, _ worker: Int) {
        let consulted = self.consulted[worker].take()
        guard let verdict = AuthVerdict.decode(frame.body) else {
            self.service.counters.invalidFrames += 1
            return
        }
        guard let connection = self.service.connection(frame.handle) else {
            self.service.counters.framesWithoutConnection += 1
            return
        }
        guard connection.question.takes(verdict.outcome, from: worker) else { return }
        connection.question.decided(by: worker)
        connection.received(verdict, consulted?.request == frame.handle ? consulted?.keyHashes ?? [] : [])
    }

    func linkFinishedReading(_ link: Link) {}

    func linkDown(_ link: Link, reason: String) {
        let worker = link.index
        self.links[worker] = nil
        self.pulses[worker] = nil
        self.consulted[worker] = nil
        self.service.logger.warning(
            "auth worker lost",
            metadata: ["worker": "\(worker + 1)", "reason": "\(reason)"]
        )
        for connection in self.service.connections {
            let wasAsked = connection.question.worker == worker
            if connection.phase == .authenticating { connection.question.lost(worker) }
            if wasAsked { self.askElsewhere(connection) }
        }
    }
}
