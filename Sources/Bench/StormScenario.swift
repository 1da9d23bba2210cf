import Common

/// All connections are cut at once, and all clients come back as fast as they can, each as often as it takes.
final class StormScenario: Scenario {
    private var isStorm = false
    /// When each client came back, seconds from the cut; nil: it is not there.
    private var back: [Double?] = []
    private var backCount = 0
    private var failed = 0
    private var lostAgain = 0
    private var began: Instant = 0
    /// Longest pause of a client before it tries again; half of it on average.
    private static let retryNanoseconds = 500 * Nanoseconds.perMillisecond
    /// All are back when none of them is gone again after so long.
    private static let settleNanoseconds = 300 * Nanoseconds.perMillisecond

    override func run() throws {
        let clients = self.makeClients(self.options.clients)
        self.back = .init(repeating: nil, count: clients.count)
        try self.connect(clients, atLeast: 1)
        self.complainAboutRefusedConnections()
        try self.fleet.run(seconds: 0.5) { false }
        for client in clients { client.close(isReset: true) }
        try self.fleet.run(seconds: 0.5) { false }
        (self.isStorm, self.expectsLosses) = (true, true)
        let before = BrokerUsage.now(self.options.processes)
        self.began = Clock.monotonic()
        for client in clients { self.attempt(client) }
        var (ended, after) = (self.began, before)
        var allBackSince: Instant?
        try self.fleet.run(
            seconds: max(30, self.options.seconds),
            progress: { "\(self.backCount) of \(clients.count) are back" }
        ) {
            guard self.backCount == clients.count else {
                allBackSince = nil
                return false
            }
            if let allBackSince { return Clock.monotonic() - allBackSince >= Self.settleNanoseconds }
            (ended, after) = (Clock.monotonic(), BrokerUsage.now(self.options.processes))
            allBackSince = ended
            return false
        }
        self.isStorm = false
        if self.backCount < clients.count {
            (ended, after) = (Clock.monotonic(), BrokerUsage.now(self.options.processes))
        }
        self.tell(clients, from: before, to: after, seconds: Double(ended - self.began) / 1e9)
        for client in clients { client.close() }
    }

    private func tell(_ clients: [BenchClient], from before: BrokerUsage, to after: BrokerUsage, seconds: Double) {
        let times = self.back.compactMap { $0 }.sorted()
        self.report.add("scenario", "storm")
        self.report.add("clients", clients.count)
        self.report.add("back", times.count)
        self.report.add("failed_attempts", self.failed)
        self.report.add("lost_again", self.lostAgain)
        for (name, share) in [("back_50pct_s", 0.5), ("back_99pct_s", 0.99), ("back_100pct_s", 1)] {
            let wanted = Int((Double(clients.count) * share).rounded(.up))
            if times.count >= wanted, wanted > 0 { self.report.add(name, times[wanted - 1]) }
        }
        self.report.add("resumed", self.resumed)
        self.addUsage("connection", from: before, to: after, count: times.count, seconds: seconds)
        if times.count < clients.count {
            self.report.complain("\(clients.count - times.count) clients are not back")
        }
        if self.lostAgain > 0 {
            self.report.complain("\(self.lostAgain) connections ended again after their clients had come back")
        }
    }

    private func attempt(_ client: BenchClient) {
        guard self.isStorm else { return }
        do {
            try client.start(self.fleet.connectPacket(client))
        } catch {
            self.lost(client, "\(error)")
        }
    }

    override func opened(_ client: BenchClient, _ connack: ConnackPacket) {
        super.opened(client, connack)
        guard self.isStorm else { return }
        self.back[client.number] = Double(Clock.monotonic() - self.began) / 1e9
        self.backCount += 1
    }

    override func lost(_ client: BenchClient, _ reason: String) {
        guard self.isStorm else { return super.lost(client, reason) }
        if client.wasOpen {
            self.back[client.number] = nil
            self.backCount -= 1
            self.lostAgain += 1
        } else {
            self.failed += 1
        }
        let pause = UInt64.random(in: 0...Self.retryNanoseconds)
        self.fleet.loop.schedule(afterNanoseconds: pause) { [weak self] in self?.attempt(client) }
    }
}
