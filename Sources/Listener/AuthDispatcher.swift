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
    private var pulses: [AuthWorkerPulse]
    private let placement: WorkerPlacement

    init(service: ListenerService, workers: Int) {
        self.service = service
        self.links = Array(repeating: nil, count: workers)
        self.consulted = Array(repeating: nil, count: workers)
        self.pulses = Array(repeating: AuthWorkerPulse(), count: workers)
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
    }

    /// Linked, and not silent.
    var workersUp: Int { self.links.indices.count { self.isUp($0) } }

    /// Why the first worker that is not linked is not; nil: all are.
    var lastFailure: String? {
        self.links.indices.first { self.links[$0] == nil }.flatMap { self.connectors[$0].lastFailure }
    }

    private func isUp(_ worker: Int) -> Bool { self.links[worker] != nil && !self.pulses[worker].isSilent }

    // MARK: Queries

    func submit(_ connection: ClientConnection) {
        connection.authStarted = self.service.loop.now
        self.ask(connection, excluding: nil)
    }

    /// The worker that was asked is silent.
    func timedOut(_ connection: ClientConnection, now: Instant) {
        if now - connection.authStarted >= Limits.brokerWaitNanoseconds {
            return connection.refuse(
                .authWorkerUnavailable,
                code: .serverUnavailable,
                detail: "no auth worker has answered"
            )
        }
        let silent = connection.authWorker
        if self.links.indices.contains(where: { $0 != silent && self.isUp($0) }) {
            self.ask(connection, excluding: silent)
        } else {
            // The only one there is: asking it twice would not make it faster.
            connection.setDeadline(connection.authStarted + Limits.brokerWaitNanoseconds)
        }
    }

    private func ask(_ connection: ClientConnection, excluding silent: Int?) {
        guard let query = connection.authQuery() else { return }
        let start = connection.authStarted
        guard let worker = self.choose(query, excluding: silent), let link = self.links[worker] else {
            // It waits in its phase for a worker to come up.
            connection.authWorker = nil
            connection.setDeadline(start + Limits.brokerWaitNanoseconds)
            return
        }
        connection.authWorker = worker
        let timeout = self.service.loop.now + self.service.configuration.authentication.workerTimeoutNanoseconds
        connection.setDeadline(min(timeout, start + Limits.brokerWaitNanoseconds))
        query.encode(into: &link.output, request: connection.handle)
    }

    /// Asks about a live session. Without a worker it is asked about again later: who is in stays until somebody can say.
    func revalidate(_ connection: ClientConnection) {
        guard let query = connection.revalidationQuery() else { return }
        guard let worker = self.choose(query, excluding: nil), let link = self.links[worker] else {
            return connection.revalidationLost()
        }
        connection.authWorker = worker
        let keyHash = connection.credentials.keyHash
        if keyHash != 0, self.service.configuration.authentication.sources.count > 1 {
            AuthAdmitted(keyHash: keyHash).encode(into: &link.output, request: connection.handle)
        }
        query.encode(into: &link.output, request: connection.handle)
    }

    /// The worker for a query: the one that it belongs to, or the next that is up; of silent ones only if there is no other.
    private func choose(_ query: AuthQuery, excluding silent: Int?) -> Int? {
        let preferred = self.placement.worker(for: query, of: self.links.count)
        let order = self.links.indices.map { (preferred + $0) % self.links.count }
        return order.first { $0 != silent && self.isUp($0) }
            ?? order.first { $0 != silent && self.links[$0] != nil }
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
        let timeout = self.service.configuration.authentication.workerTimeoutNanoseconds
        switch self.pulses[worker].tick(now: self.service.loop.now, timeout: timeout) {
        case .wait: break
        case .ping:
            link.output.writeFrameHeader(.authPing, handle: 0, bodyBytes: 0)
            link.flush()
        case .fellSilent: self.fellSilent(worker)
        }
    }

    private func fellSilent(_ worker: Int) {
        self.service.logger.warning("auth worker does not answer", metadata: ["worker": "\(worker + 1)"])
        guard self.workersUp > 0 else { return }
        self.askElsewhere(than: worker) { connection in
            // Changes of their rows were for that worker to hear. Whoever is asked now hears of later ones.
            self.service.revalidateInTurn(connection.handle)
        }
    }

    /// Nobody is refused because a worker does not answer: what it was asked is asked of others, about live sessions in their time.
    private func askElsewhere(than worker: Int, _ live: (ClientConnection) -> Void = { _ in }) {
        for connection in self.service.connections where connection.authWorker == worker {
            switch connection.phase {
            case .authenticating: self.ask(connection, excluding: worker)
            case .open:
                connection.revalidationLost()
                live(connection)
            case .handshaking, .awaitingConnect, .opening, .closing, .lingering, .closed: break
            }
        }
    }

    private func heard(_ worker: Int, isPong: Bool) {
        guard self.pulses[worker].heard(isPong: isPong) else { return }
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
            if connection.authWorker == nil { self.ask(connection, excluding: nil) }
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
        // One that was silent may say what it knew before.
        guard connection.authWorker == worker else { return }
        connection.received(verdict, consulted?.request == frame.handle ? consulted?.keyHashes ?? [] : [])
    }

    func linkFinishedReading(_ link: Link) {}

    func linkDown(_ link: Link, reason: String) {
        let worker = link.index
        self.links[worker] = nil
        self.consulted[worker] = nil
        self.service.logger.warning(
            "auth worker lost",
            metadata: ["worker": "\(worker + 1)", "reason": "\(reason)"]
        )
        self.askElsewhere(than: worker)
    }
}
