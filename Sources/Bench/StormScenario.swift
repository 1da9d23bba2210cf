import Common

/// All connections are cut at once, and all clients come back as fast as they can, each as often as it takes.
final class StormScenario: Scenario {
    private var isStorm = false
    private var back: [Double] = []
    private var failed = 0
    private var began: Instant = 0
    /// Longest pause of a client before it tries again; half of it on average.
    private static let retryNanoseconds = 500 * Nanoseconds.perMillisecond

    override func run() throws {
        let clients = self.makeClients(self.options.clients)
        try self.connect(clients)
        try self.fleet.run(seconds: 0.5) { false }
        for client in clients { client.close(isReset: true) }
        try self.fleet.run(seconds: 0.5) { false }
        (self.isStorm, self.expectsLosses) = (true, true)
        let before = BrokerUsage.now(self.options.processes)
        self.began = Clock.monotonic()
        for client in clients { self.attempt(client) }
        try self.fleet.run(
            seconds: max(30, self.options.seconds),
            progress: { "\(self.back.count) of \(clients.count) are back" }
        ) { self.back.count == clients.count }
        let seconds = Double(Clock.monotonic() - self.began) / 1e9
        let after = BrokerUsage.now(self.options.processes)
        self.report.add("scenario", "storm")
        self.report.add("clients", clients.count)
        self.report.add("back", self.back.count)
        self.report.add("failed_attempts", self.failed)
        for (name, share) in [("back_50pct_s", 0.5), ("back_99pct_s", 0.99), ("back_100pct_s", 1)] {
            let wanted = Int((Double(clients.count) * share).rounded(.up))
            if self.back.count >= wanted, wanted > 0 { self.report.add(name, self.back[wanted - 1]) }
        }
        self.report.add("resumed", self.resumed)
        self.addUsage("connection", from: before, to: after, count: self.back.count, seconds: seconds)
        if self.back.count < clients.count {
            self.report.complain("\(clients.count - self.back.count) clients are not back")
        }
        self.isStorm = false
        for client in clients { client.close() }
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
        if self.isStorm { self.back.append(Double(Clock.monotonic() - self.began) / 1e9) }
    }

    override func lost(_ client: BenchClient, _ reason: String) {
        guard self.isStorm else { return super.lost(client, reason) }
        self.failed += 1
        let pause = UInt64.random(in: 0...Self.retryNanoseconds)
        self.fleet.loop.schedule(afterNanoseconds: pause) { [weak self] in self?.attempt(client) }
    }
}
