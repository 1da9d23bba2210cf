import Common

/// Connections: opened and held, or closed and opened again all the time.
final class ConnectScenario: Scenario {
    override func run() throws {
        let clients = self.makeClients(self.options.clients)
        let before = BrokerUsage.now(self.options.processes)
        let began = Clock.monotonic()
        try self.connect(clients, atLeast: 1)
        let connected = self.opened
        let seconds = Double(Clock.monotonic() - began) / 1e9
        self.report.add("scenario", "connect")
        self.report.add("clients", clients.count)
        self.report.add("connected", connected)
        if self.options.isChurning {
            try self.churn(clients)
        } else {
            let after = BrokerUsage.now(self.options.processes)
            self.report.add("connections_per_s", Double(connected) / seconds)
            self.report.add("connect", self.connectTimes)
            self.addUsage("connection", from: before, to: after, count: connected, seconds: seconds)
            try self.hold(connected, from: before)
        }
        self.report.add("resumed", self.resumed)
        self.report.add("failed", self.refusedCount)
        self.complainAboutLosses()
        for client in clients { client.close() }
    }

    private func hold(_ connections: Int, from before: BrokerUsage) throws {
        let began = BrokerUsage.now(self.options.processes)
        let start = Clock.monotonic()
        try self.fleet.run(seconds: max(0.5, self.options.holdSeconds)) { false }
        let seconds = max(Double(Clock.monotonic() - start) / 1e9, 1e-3)
        let after = BrokerUsage.now(self.options.processes)
        guard self.isUsageKnown(after) else { return }
        self.report.add("broker_bytes_per_connection", Double(after.bytes - before.bytes) / Double(connections))
        self.report.add("broker_cores_idle", (after.cpuSeconds - began.cpuSeconds) / seconds)
    }

    /// All have been there once, so that those who resume have something to resume.
    private func churn(_ clients: [BenchClient]) throws {
        // Tickets come after the handshake.
        try self.fleet.run(seconds: 0.3) { false }
        for client in clients { client.close() }
        self.connectTimes = Histogram()
        let (opened, before) = (self.opened, BrokerUsage.now(self.options.processes))
        let began = Clock.monotonic()
        let end = began + UInt64(self.options.seconds * 1e9)
        var next = 0
        while Clock.monotonic() < end, !self.fleet.isInterrupted {
            let part = (0..<min(clients.count, self.options.connectsAtATime)).map {
                clients[(next + $0) % clients.count]
            }
            next += part.count
            try self.connect(part, atLeast: 0)
            // Also a ticket that comes with the first bytes after CONNACK is to be had.
            if self.options.resumes { try self.fleet.run(seconds: 0.002) { false } }
            for client in part { client.close() }
        }
        let seconds = Double(Clock.monotonic() - began) / 1e9
        let after = BrokerUsage.now(self.options.processes)
        self.report.add("connections_per_s", Double(self.opened - opened) / seconds)
        self.report.add("connect", self.connectTimes)
        self.addUsage("connection", from: before, to: after, count: self.opened - opened, seconds: seconds)
    }
}
