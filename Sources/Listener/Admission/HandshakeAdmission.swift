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
    private var underWayFrom: [ConnectionSource: Int] = [:]
    /// The address with as many as one may have.
    private var fullSource: ConnectionSource?
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

    /// No more should be accepted. Before that those have to go whose turn would come last, and who would most likely be refused; and those
    /// of an address of which nothing is known, and from which came more than half of all that wait.
    func isFull() -> Bool {
        while self.waitingCount >= Limits.waitingHandshakesMax {
            if let connection = self.queue.removeRefused().flatMap({ self.waiting.removeValue(forKey: $0) }) {
                let detail = "\(Limits.waitingHandshakesMax) connections wait, and others from its address were refused"
                self.giveUp(connection, .noPlace, detail)
            } else if let connection = self.removeOfMany() {
                let detail = "\(Limits.waitingHandshakesMax) connections wait, and most of them are from its address"
                self.giveUp(connection, .noPlace, detail)
            } else {
                return true
            }
        }
        return false
    }

    private func removeOfMany() -> WaitingConnection? {
        guard let largest = self.queue.largestNew, largest.count > Limits.waitingHandshakesMax / 2,
            self.history.rank(of: largest.source) != .known
        else { return nil }
        return self.queue.removeLastNew(from: largest.source).flatMap { self.waiting.removeValue(forKey: $0) }
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
            policy.silent.insert(fileDescriptor, from: connection.source)
            self.startSweeping()
            if policy.silent.count > Limits.silentConnectionsMax { self.giveUpSilent(of: policy) }
        case .spoke(let hasTicket):
            let rank = self.rank(of: connection, hasTicket: hasTicket)
            if self.mayBeginAtOnce(rank, connection.source) { return false }
            self.enqueue(connection, rank)
        case .ended:
            self.service.drop(fileDescriptor, policy)
        }
        return true
    }

    private func rank(of connection: WaitingConnection, hasTicket: Bool) -> HandshakeQueue.Rank {
        hasTicket ? .ticket : self.history.rank(of: connection.source)
    }

    private func mayBeginAtOnce(_ rank: HandshakeQueue.Rank, _ source: ConnectionSource) -> Bool {
        guard self.waitingCount == 0, rank == .ticket || source != self.fullSource else { return false }
        return self.underWay < (rank == .refused ? self.maximumOfSome : self.maximum)
    }

    /// A quarter of the places is never for those from addresses from which came only what was refused, nor for those from one address but
    /// with tickets: who begins handshakes and does not go on cannot hold all of them.
    private var maximumOfSome: Int { self.maximum - self.maximum / 4 }

    private func isSilentNoMore(_ connection: WaitingConnection) {
        self.forgetSilent(connection)
        switch connection.state {
        case .spoke(let hasTicket):
            let rank = self.rank(of: connection, hasTicket: hasTicket)
            if self.mayBeginAtOnce(rank, connection.source) {
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
        self.queue.append(connection.fileDescriptor, rank, from: connection.source)
        self.startSweeping()
    }

    private func forget(_ connection: WaitingConnection) {
        if connection.state == .silent { return self.forgetSilent(connection) }
        guard self.waiting.removeValue(forKey: connection.fileDescriptor) != nil else { return }
        self.queue.remove(connection.fileDescriptor, from: connection.source)
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
        self.forget(connection)
        connection.cancel()
        let (address, policy) = (connection.address, connection.policy)
        self.service.refusedAtOnce(reason, address, policy, accepted: connection.accepted, detail: detail)
        self.reset(connection)
    }

    // MARK: What became of them

    /// A client was let in, or refused.
    /// - Parameter reason: nil: it was let in.
    func ended(at address: SocketAddress, _ reason: RefusalReason?) {
        guard self.maximum < Int.max, let source = ConnectionSource(address) else { return }
        if let reason {
            if reason.speaksAgainstSource { self.refused(source) }
        } else {
            self.history.letIn(source)
        }
    }

    private func refused(_ source: ConnectionSource) {
        self.history.refused(source)
        if self.history.rank(of: source) == .refused { self.queue.isRefused(source) }
    }

    // MARK: Handshakes

    func began(_ handle: UInt64, from address: SocketAddress) {
        self.underWay += 1
        guard self.maximum < Int.max else { return }
        self.countUnderWay(1, from: address)
        self.started.append((handle, self.service.loop.now))
        self.startSweeping()
    }

    func ended(from address: SocketAddress) {
        self.underWay -= 1
        if self.maximum < Int.max { self.countUnderWay(-1, from: address) }
    }

    private func countUnderWay(_ change: Int, from address: SocketAddress) {
        guard let source = ConnectionSource(address) else { return }
        let count = (self.underWayFrom[source] ?? 0) + change
        self.underWayFrom[source] = count > 0 ? count : nil
        if count >= self.maximumOfSome {
            self.fullSource = source
        } else if source == self.fullSource {
            self.fullSource = nil
        }
    }

    /// To be called in every turn: the next ones begin.
    func admit() {
        while self.underWay < self.maximum, self.waitingCount > 0,
            let descriptor = self.queue.next(
                withRefused: self.underWay < self.maximumOfSome,
                except: self.fullSource
            )
        {
            guard let connection = self.waiting.removeValue(forKey: descriptor) else { continue }
            self.service.begin(descriptor, connection.address, connection.policy)
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
            if let source = ConnectionSource(connection.address) { self.refused(source) }
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
        self.forget(connection)
        connection.cancel()
        self.reset(connection)
    }
}
