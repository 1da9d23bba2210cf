import Common

/// What all scenarios have in common: clients that are connected so many at a time, and subscriptions. Subclasses say what is done then.
class Scenario: BenchClientDelegate {
    let fleet: BenchFleet
    var options: BenchOptions { self.fleet.options }
    var report = BenchReport()
    /// From the first packet of TCP to CONNACK.
    var connectTimes = Histogram()
    private(set) var opened = 0
    private(set) var resumed = 0
    private(set) var subscribed = 0
    private(set) var failures: [String: Int] = [:]
    /// Connections that may break without being a problem: they were cut on purpose.
    var expectsLosses = false
    /// QoS 1 and 2 messages that the broker takes at a time from one client.
    private(set) var receiveMaximum = Int(UInt16.max)
    private var waiting: ArraySlice<BenchClient> = []
    private var opening = 0
    private var makesConnect: (BenchClient) -> ConnectPacket = { _ in
        ConnectPacket(version: .v5_0, clientIdentifier: [])
    }

    /// Topics of this run begin with it, so that runs do not meet.
    let prefix: String

    init(_ fleet: BenchFleet) {
        self.fleet = fleet
        self.prefix = "martlet-bench/\(String(UInt32.random(in: UInt32.min...UInt32.max), radix: 16))"
    }

    func makeClients(_ count: Int, from first: Int = 0) -> [BenchClient] {
        (first..<first + count).map { number in
            let client = BenchClient(fleet: self.fleet, number: number)
            client.delegate = self
            return client
        }
    }

    // MARK: Connecting

    /// Connects all, `connectsAtATime` of them at once, and waits until each is open or has failed.
    func connect(_ clients: [BenchClient], cleanStart: Bool = true, keepsSession: Bool = false) throws {
        self.makesConnect = { [fleet] client in
            fleet.connectPacket(client, cleanStart: cleanStart, keepsSession: keepsSession)
        }
        let (openedBefore, failedBefore) = (self.opened, self.failedCount)
        self.waiting = clients[...]
        try self.startWaiting()
        func connected() -> Int { self.opened - openedBefore }
        func failed() -> Int { self.failedCount - failedBefore }
        // A broker under load may be slow, but one that does nothing for so long is gone.
        let seconds = 60 + Double(clients.count) / 20
        func progress() -> String { Self.progress(connected: connected(), failed: failed(), of: clients.count) }
        let isDone = try self.fleet.run(seconds: seconds, progress: progress) {
            connected() + failed() >= clients.count
        }
        if !isDone { throw BenchFailure("only \(progress()) in \(Int(seconds)) s") }
        if let failure = self.failures.max(by: { $0.value < $1.value }), !self.expectsLosses {
            throw BenchFailure("\(failure.value) clients could not connect: \(failure.key)")
        }
    }

    private var failedCount: Int { self.failures.values.reduce(0, +) }

    /// What failed is no connection.
    static func progress(connected: Int, failed: Int, of count: Int) -> String {
        "\(connected) of \(count) connected" + (failed == 0 ? "" : ", \(failed) failed")
    }

    /// Begins the next connections, as many as may be under way.
    private func startWaiting() throws {
        while self.opening < self.options.connectsAtATime, let client = self.waiting.popFirst() {
            self.opening += 1
            try client.start(self.makesConnect(client))
        }
    }

    /// One connection less is being opened.
    private func openingEnded() {
        self.opening = max(0, self.opening - 1)
        do {
            try self.startWaiting()
        } catch {
            self.failures["\(error)", default: 0] += 1
        }
    }

    func opened(_ client: BenchClient, _ connack: ConnackPacket) {
        self.opened += 1
        if client.wasResumed { self.resumed += 1 }
        self.receiveMaximum = min(self.receiveMaximum, Int(connack.properties.receiveMaximum ?? UInt16.max))
        self.connectTimes.record(Clock.monotonic() - client.startedAt)
        self.openingEnded()
    }

    func lost(_ client: BenchClient, _ reason: String) {
        self.failures[reason, default: 0] += 1
        self.openingEnded()
    }

    func complainAboutLosses() {
        guard !self.expectsLosses else { return }
        for (reason, count) in self.failures.sorted(by: { $0.key < $1.key }) {
            self.report.complain("\(count) connections ended: \(reason)")
        }
    }

    // MARK: Subscribing

    /// Waits for all SUBACK.
    func subscribe(_ clients: [BenchClient], qos: QoS, to filter: (Int) -> String) throws {
        let before = self.subscribed
        for (index, client) in clients.enumerated() {
            let subscription = SubscribePacket.Subscription(filter: Array(filter(index).utf8), qos: qos)
            SubscribePacket(packetIdentifier: 1, subscriptions: [subscription]).encode(
                into: &client.output,
                version: client.version
            )
            client.markDirty()
        }
        let isDone = try self.fleet.run(seconds: 60) { self.subscribed - before >= clients.count }
        if !isDone {
            throw BenchFailure("only \(self.subscribed - before) of \(clients.count) SUBACK came in a minute")
        }
    }

    func subscribed(_ client: BenchClient, _ suback: SubackPacket) {
        self.subscribed += 1
        for code in suback.returnCodes where code >= 0x80 {
            self.report.complain("SUBACK 0x\(String(code, radix: 16)): the broker's rules must allow martlet-bench/#")
        }
    }

    // MARK: For subclasses

    func received(_ client: BenchClient, _ publish: PublishView, in packet: UnsafeRawBufferPointer) {}
    func acknowledged(_ client: BenchClient, _ type: PacketType, identifier: UInt16, reason: UInt8) {}

    func run() throws { preconditionFailure("a scenario runs something") }

    /// What the run cost the broker, per something that happened `count` times.
    func addUsage(_ name: String, from before: BrokerUsage, to after: BrokerUsage, count: Int, seconds: Double) {
        guard !self.options.processes.isEmpty, count > 0 else { return }
        let cpu = after.cpuSeconds - before.cpuSeconds
        self.report.add("broker_cpu_us_per_\(name)", cpu / Double(count) * 1e6)
        self.report.add("broker_cores", cpu / max(seconds, 1e-9))
    }
}
