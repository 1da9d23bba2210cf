import Common
import Glibc

/// Bounds the TLS handshakes under way: a fleet that comes at once would otherwise make each of them so slow that none ends in time.
/// The others wait, with nothing spent on them.
final class HandshakeAdmission {
    /// A handshake that waits for its client for so long does not hold others up.
    private static let stallNanoseconds = 3 * Nanoseconds.perSecond
    private static let sweepNanoseconds = 250 * Nanoseconds.perMillisecond

    private unowned let service: ListenerService
    private let maximum: Int
    private(set) var underWay = 0
    /// By descriptor.
    private var waiting: [Int32: WaitingConnection] = [:]
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

    var waitingCount: Int { self.waiting.count }
    /// No more should be accepted. Before that those have to go whose turn would come last, and who would most likely be refused.
    func isFull() -> Bool {
        while self.waiting.count >= Limits.waitingHandshakesMax {
            guard let descriptor = self.queue.removeRefused() else { return true }
            guard let connection = self.waiting[descriptor], connection.hasSpoken else { continue }
            self.waiting[descriptor] = nil
            self.service.logRefusal(
                .noPlace,
                address: connection.address.description,
                device: "-",
                listener: connection.policy,
                detail: "\(Limits.waitingHandshakesMax) connections wait, and others from its address were refused"
            )
            Self.reset(descriptor)
        }
        return false
    }

    /// - Returns: false when the connection may begin its handshake at once; true: it waits, and begins when it is its turn.
    func mustWait(_ fileDescriptor: Int32, _ address: SocketAddress, _ policy: ListenerPolicy) -> Bool {
        guard self.underWay >= self.maximum || !self.waiting.isEmpty else { return false }
        do throws(SystemError) {
            self.waiting[fileDescriptor] = try WaitingConnection(
                loop: self.service.loop,
                fileDescriptor: fileDescriptor,
                address: address,
                policy: policy
            ) { [unowned self] in self.spoke($0, $1) }
        } catch {
            return false
        }
        self.service.counters.handshakesWaited += 1
        self.startSweeping()
        return true
    }

    private func spoke(_ connection: WaitingConnection, _ hasTicket: Bool?) {
        guard let hasTicket else {
            self.waiting[connection.fileDescriptor] = nil
            Glibc.close(connection.fileDescriptor)
            return
        }
        let rank = hasTicket ? .ticket : self.history.rank(of: connection.address)
        switch rank {
        case .ticket: self.service.counters.handshakesWaitedWithTicket += 1
        case .known: self.service.counters.handshakesWaitedFromKnown += 1
        case .refused: self.service.counters.handshakesWaitedFromRefused += 1
        case .new: break
        }
        self.queue.append(connection.fileDescriptor, rank)
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
        guard !self.waiting.isEmpty else { return }
        while self.underWay < self.maximum, let descriptor = self.queue.next() {
            // Its place may have been given up, and even its descriptor be another's, which has not said anything.
            guard let connection = self.waiting[descriptor], connection.hasSpoken else { continue }
            self.waiting[descriptor] = nil
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
        for entry in stalled { self.service.connection(entry.handle)?.givesUpHandshakeSlot() }
        if self.started.count > 2 * max(self.underWay, 64) {
            self.started.removeAll { self.service.connection($0.handle)?.holdsHandshakeSlot != true }
        }
        for connection in self.waiting.values where connection.deadline <= now {
            self.waiting[connection.fileDescriptor] = nil
            connection.cancel()
            self.service.logRefusal(
                .handshakeTimeout,
                address: connection.address.description,
                device: "-",
                listener: connection.policy,
                detail: "its turn did not come in time: more clients connect than processes.max_handshakes lets through"
            )
            Self.reset(connection.fileDescriptor)
        }
    }

    /// The client learns at once that it has to come again.
    private static func reset(_ fileDescriptor: Int32) {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(fileDescriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        Glibc.close(fileDescriptor)
    }

    /// The process stops: those that wait try another one.
    func close() {
        if let sweep = self.sweep { self.service.loop.cancel(sweep) }
        self.sweep = nil
        for connection in self.waiting.values {
            connection.cancel()
            Self.reset(connection.fileDescriptor)
        }
        self.waiting = [:]
    }
}
