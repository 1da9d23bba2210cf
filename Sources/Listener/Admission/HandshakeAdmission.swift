import Common
import Glibc

/// Bounds the TLS handshakes under way: a fleet that comes at once would otherwise make each of them so slow that none ends in time.
/// The others wait, with nothing spent on them; and so does every client until its first message is there, so that connections that say
/// nothing take no turn of those that do.
final class HandshakeAdmission {
    /// A handshake that waits for its client for so long does not hold others up.
    private static let stallNanoseconds = 3 * Nanoseconds.perSecond
    private static let sweepNanoseconds = 250 * Nanoseconds.perMillisecond

    private unowned let service: ListenerService
    private let maximum: Int
    private(set) var underWay = 0
    /// By descriptor; those that have said nothing are in their listener's `silent` too, the others in `queue`.
    private var waiting: [Int32: WaitingConnection] = [:]
    private(set) var silentCount = 0
    private var queue = HandshakeQueue()
    private var history = SourceHistory()
    /// Handshakes under way by their start; some have ended.
    private var started: [(handle: UInt64, since: Instant)] = []
    private var sweep: EventLoop.Timer?

    /// - Parameter maximum: 0: no limit.
    init(service: ListenerService, maximum: Int) {
        self.service = service
        self.maximum = maximum == 0 ? Int.max : maximum
    }

    /// Those whose turn has not come.
    var waitingCount: Int { self.waiting.count - self.silentCount }

    /// No more should be accepted. Before that those have to go whose turn would come last, and who would most likely be refused.
    func isFull() -> Bool {
        if self.waitingCount >= Limits.waitingHandshakesMax { self.rankAgain() }
        while self.waitingCount >= Limits.waitingHandshakesMax {
            guard let descriptor = self.queue.removeRefused() else { return true }
            guard let connection = self.waiting[descriptor], connection.state != .silent else { continue }
            self.giveUp(
                connection,
                .noPlace,
                "\(Limits.waitingHandshakesMax) connections wait, and others from its address were refused"
            )
        }
        return false
    }

    // MARK: New connections

    /// - Returns: false when the connection may begin its handshake at once; true: it is kept here until it may.
    func mustWait(_ fileDescriptor: Int32, _ address: SocketAddress, _ policy: ListenerPolicy) -> Bool {
        guard self.maximum < Int.max else { return false }
        let connection = WaitingConnection(
            loop: self.service.loop,
            fileDescriptor: fileDescriptor,
            address: address,
            policy: policy
        )
        switch connection.state {
        case .silent:
            do throws(SystemError) {
                try connection.watch { [unowned self] in self.isSilentNoMore($0) }
            } catch {
                return false
            }
            self.waiting[fileDescriptor] = connection
            self.silentCount += 1
            policy.silent.insert(fileDescriptor, from: ConnectionSource(address))
            self.startSweeping()
            if policy.silent.count > Limits.silentConnectionsMax { self.giveUpSilent(of: policy) }
        case .spoke(let hasTicket):
            let rank = self.rank(of: connection, hasTicket: hasTicket)
            if self.mayBeginAtOnce(rank) { return false }
            self.enqueue(connection, rank)
        case .ended:
            self.service.drop(fileDescriptor, policy)
        }
        return true
    }

    private func rank(of connection: WaitingConnection, hasTicket: Bool) -> HandshakeQueue.Rank {
        hasTicket ? .ticket : self.history.rank(of: connection.address)
    }

    private func mayBeginAtOnce(_ rank: HandshakeQueue.Rank) -> Bool {
        self.underWay < (rank == .refused ? self.maximumOfRefused : self.maximum) && self.waitingCount == 0
    }

    /// A quarter of the places is never for those from addresses from which came only what was refused: who begins handshakes and does
    /// not go on cannot hold all of them.
    private var maximumOfRefused: Int { self.maximum - self.maximum / 4 }

    private func isSilentNoMore(_ connection: WaitingConnection) {
        self.forgetSilent(connection)
        switch connection.state {
        case .spoke(let hasTicket):
            let rank = self.rank(of: connection, hasTicket: hasTicket)
            if self.mayBeginAtOnce(rank) {
                return self.service.begin(connection.fileDescriptor, connection.address, connection.policy)
            }
            self.enqueue(connection, rank)
        case .ended, .silent:
            self.service.drop(connection.fileDescriptor, connection.policy)
        }
    }

    private func enqueue(_ connection: WaitingConnection, _ rank: HandshakeQueue.Rank) {
        self.waiting[connection.fileDescriptor] = connection
        self.service.counters.handshakesWaited += 1
        switch rank {
        case .ticket: self.service.counters.handshakesWaitedWithTicket += 1
        case .known: self.service.counters.handshakesWaitedFromKnown += 1
        case .refused: self.service.counters.handshakesWaitedFromRefused += 1
        case .new: break
        }
        self.queue.append(connection.fileDescriptor, rank)
        self.startSweeping()
    }

    private func forgetSilent(_ connection: WaitingConnection) {
        self.waiting[connection.fileDescriptor] = nil
        self.silentCount -= 1
        connection.policy.silent.remove(connection.fileDescriptor)
    }

    /// Makes a place for another connection, by closing one that has said nothing.
    /// - Returns: whether there was one.
    @discardableResult
    func giveUpSilent(of policy: ListenerPolicy) -> Bool {
        guard let descriptor = policy.silent.removeOfMany(), let connection = self.waiting[descriptor] else {
            return false
        }
        self.giveUp(connection, .noPlace, "it has said nothing, and others wait for its place")
        return true
    }

    private func giveUp(_ connection: WaitingConnection, _ reason: RefusalReason, _ detail: String) {
        if connection.state == .silent { self.forgetSilent(connection) }
        self.waiting[connection.fileDescriptor] = nil
        connection.cancel()
        self.service.logRefusal(
            reason,
            address: connection.address.description,
            device: "-",
            listener: connection.policy,
            detail: detail
        )
        self.reset(connection)
    }

    // MARK: What became of them

    /// A client was let in, or refused.
    /// - Parameter reason: nil: it was let in.
    func ended(at address: SocketAddress, _ reason: RefusalReason?) {
        guard self.maximum < Int.max else { return }
        if let reason {
            if reason.speaksAgainstSource { self.history.refused(address) }
        } else {
            self.history.letIn(address)
        }
    }

    // MARK: Handshakes

    func began(_ handle: UInt64) {
        self.underWay += 1
        guard self.maximum < Int.max else { return }
        self.started.append((handle, self.service.loop.now))
        self.startSweeping()
    }

    func ended() {
        self.underWay -= 1
    }

    /// To be called in every turn: the next ones begin.
    func admit() {
        guard self.waitingCount > 0 else { return }
        self.rankAgain()
        while self.underWay < self.maximum,
            let descriptor = self.queue.next(withRefused: self.underWay < self.maximumOfRefused)
        {
            // Its place may have been given up, and even its descriptor be another's, which has not said anything.
            guard let connection = self.waiting[descriptor], connection.state != .silent else { continue }
            self.waiting[descriptor] = nil
            self.service.begin(descriptor, connection.address, connection.policy)
        }
    }

    /// Those whose address turned out bad while they waited do not go before others as new ones.
    private func rankAgain() {
        while let descriptor = self.queue.firstNew,
            self.waiting[descriptor].map({ self.history.rank(of: $0.address) == .refused }) ?? true
        {
            self.queue.moveFirstNewToRefused()
        }
    }

    // MARK: Time

    private func startSweeping() {
        guard self.sweep == nil else { return }
        self.sweep = self.service.loop.schedule(afterNanoseconds: Self.sweepNanoseconds) { [unowned self] in
            self.sweep = nil
            self.sweepAll(now: self.service.loop.now)
            if !self.waiting.isEmpty || !self.started.isEmpty { self.startSweeping() }
        }
    }

    private func sweepAll(now: Instant) {
        let stalled = self.started.prefix { $0.since &+ Self.stallNanoseconds <= now }
        self.started.removeFirst(stalled.count)
        for entry in stalled {
            guard let connection = self.service.connection(entry.handle), connection.holdsHandshakeSlot else {
                continue
            }
            connection.givesUpHandshakeSlot()
            // Until a device from there is let in, the next ones are likely to do the same.
            self.history.refused(connection.address)
        }
        if self.started.count > 2 * max(self.underWay, 64) {
            self.started.removeAll { self.service.connection($0.handle)?.holdsHandshakeSlot != true }
        }
        for connection in self.waiting.values where connection.deadline <= now { self.timedOut(connection) }
    }

    private func timedOut(_ connection: WaitingConnection) {
        let isSilent = connection.state == .silent
        let detail =
            isSilent
            ? "no TLS handshake began in time"
            : "its turn did not come in time: more clients connect than processes.max_handshakes lets through"
        // That its turn did not come says nothing of its address.
        if isSilent { self.ended(at: connection.address, .handshakeTimeout) }
        self.service.attempts.append(connection.attemptRecord(.handshakeTimeout, detail: detail))
        self.giveUp(connection, .handshakeTimeout, detail)
    }

    /// The client learns at once that it has to come again.
    private func reset(_ connection: WaitingConnection) {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(connection.fileDescriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        self.service.drop(connection.fileDescriptor, connection.policy)
    }

    /// The process accepts no more: those that wait for their turn try another one. What has just connected is still let in.
    func closeQueue() {
        self.admit()
        for connection in self.waiting.values where connection.state != .silent { self.close(connection) }
    }

    /// The process stops.
    func close() {
        if let sweep = self.sweep { self.service.loop.cancel(sweep) }
        self.sweep = nil
        for connection in self.waiting.values { self.close(connection) }
    }

    private func close(_ connection: WaitingConnection) {
        if connection.state == .silent { self.forgetSilent(connection) }
        self.waiting[connection.fileDescriptor] = nil
        connection.cancel()
        self.reset(connection)
    }
}
