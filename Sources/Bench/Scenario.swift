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
    /// Subscriptions that were refused, by the code in SUBACK.
    private var refusedSubscriptions: [UInt8: Int] = [:]
    private(set) var failures: [String: Int] = [:]
    /// Connections that may break without being a problem: they were cut on purpose.
    var expectsLosses = false
    /// QoS 1 and 2 messages that the broker takes at a time from one client.
    private(set) var receiveMaximum = Int(UInt16.max)
    private var waiting: ArraySlice<BenchClient> = []
    private var opening = 0
    private var isStarting = false
    private var makesConnect: (BenchClient) -> ConnectPacket = { _ in
        ConnectPacket(version: .v5_0, clientIdentifier: [])
    }

    /// Topics of this run begin with it, so that runs do not meet.
    let prefix: String
    /// Of this run: in stamps of messages that sessions may have kept from an earlier one.
    let tag = UInt32.random(in: UInt32.min...UInt32.max)

    init(_ fleet: BenchFleet) {
        self.fleet = fleet
        self.prefix = "martlet-bench/\(String(self.tag, radix: 16))"
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
        let (openedBefore, failedBefore, before) = (self.opened, self.failedCount, self.failures)
        self.waiting = clients[...]
        self.startWaiting()
        func connected() -> Int { self.opened - openedBefore }
        func failed() -> Int { self.failedCount - failedBefore }
        // A broker under load may be slow, but one that does nothing for so long is gone.
        let seconds = 60 + Double(clients.count) / 20
        func progress() -> String { Self.progress(connected: connected(), failed: failed(), of: clients.count) }
        let isDone = try self.fleet.run(seconds: seconds, progress: progress) {
            connected() + failed() >= clients.count
        }
        if !isDone { throw BenchFailure("only \(progress()) in \(Int(seconds)) s") }
        // Connections that had been there are told of at the end of the run.
        guard !self.expectsLosses, connected() < clients.count else { return }
        let failures = self.failures.map { ($0.key, $0.value - before[$0.key, default: 0]) }
        if let (reason, count) = failures.max(by: { $0.1 < $1.1 }), count > 0 {
            throw BenchFailure("\(count) clients could not connect: \(reason)")
        }
    }

    private var failedCount: Int { self.failures.values.reduce(0, +) }

    /// What failed is no connection.
    static func progress(connected: Int, failed: Int, of count: Int) -> String {
        "\(connected) of \(count) connected" + (failed == 0 ? "" : ", \(failed) failed")
    }

    /// Begins the next connections, as many as may be under way. One that fails at once comes back to here, and is one turn of the loop.
    private func startWaiting() {
        guard !self.isStarting else { return }
        self.isStarting = true
        defer { self.isStarting = false }
        while self.opening < self.options.connectsAtATime, let client = self.waiting.popFirst() {
            self.opening += 1
            do {
                try client.start(self.makesConnect(client))
            } catch {
                self.lost(client, "\(error)")
            }
        }
    }

    /// One connection less is being opened.
    private func openingEnded() {
        self.opening = max(0, self.opening - 1)
        self.startWaiting()
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
        for ending in self.endings { self.report.complain(ending) }
    }

    /// Connections that the broker, or the network, has ended.
    private var endings: [String] {
        self.failures.sorted(by: { $0.key < $1.key }).map { "\($0.value) connections ended: \($0.key)" }
    }

    private func areAllGone(_ clients: [BenchClient]) -> Bool {
        !self.failures.isEmpty && clients.allSatisfy { $0.state != .open }
    }

    /// Ends a run that needs a client whose connection is gone.
    ///
    /// - Parameter consequence: what there is not because of it.
    func requireConnection(_ client: BenchClient, _ consequence: @autoclosure () -> String) throws {
        if client.state != .open { throw BenchFailure("\(self.endings.joined(separator: "; ")); \(consequence())") }
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
        let isDone = try self.fleet.run(seconds: 60) {
            self.subscribed - before >= clients.count || self.areAllGone(clients)
        }
        let came = self.subscribed - before
        guard !isDone || came < clients.count else { return }
        let reasons = isDone ? [] : ["no more in a minute"]
        throw BenchFailure(
            "only \(came) of \(clients.count) SUBACK came: \((self.endings + reasons).joined(separator: "; "))"
        )
    }

    func subscribed(_ client: BenchClient, _ suback: SubackPacket) {
        self.subscribed += 1
        for code in suback.returnCodes where code >= 0x80 { self.refusedSubscriptions[code, default: 0] += 1 }
    }

    /// What `subscribe` was refused.
    func complainAboutSubscriptions() {
        for (code, count) in self.refusedSubscriptions.sorted(by: { $0.key < $1.key }) {
            self.report.complain(
                "\(count) subscriptions were refused, SUBACK 0x\(String(code, radix: 16)): \(Self.whatToAllow)"
            )
        }
    }

    /// Ends a run in which nothing could be measured.
    ///
    /// - Parameter required: how many may not have been refused; nil: all.
    func requireSubscriptions(atLeast required: Int? = nil) throws {
        let count = self.refusedSubscriptions.values.reduce(0, +)
        guard count > 0, self.subscribed - count < required ?? self.subscribed,
            let code = self.refusedSubscriptions.keys.min()
        else { return }
        throw BenchFailure(
            "\(count) of \(self.subscribed) subscriptions were refused, SUBACK 0x\(String(code, radix: 16)): \(Self.whatToAllow)"
        )
    }

    static let whatToAllow = "the broker's rules must let these clients publish to martlet-bench/# and subscribe to it"

    // MARK: Messages that are kept for somebody

    /// Messages that were refused by their acknowledgements.
    private(set) var refused = 0
    /// One of them by the broker's rules, which will have the same to say of all others.
    var isNotAuthorized = false

    func countRefusal(_ reason: UInt8) {
        if reason >= 0x80 { self.refused += 1 }
        if reason == ReasonCode.notAuthorized.rawValue { self.isNotAuthorized = true }
    }

    /// Waits for all of the messages, as long as some come and one of the clients is there to get them.
    ///
    /// - Parameter received: how many are there.
    /// - Throws: when not a single one came; rules that deny a message are silent with MQTT 3.1.1.
    func awaitMessages(_ wanted: Int, _ what: String, _ clients: [BenchClient], received: () -> Int) throws {
        var (last, since) = (received(), Clock.monotonic())
        try self.fleet.run(seconds: 120, progress: { "\(received()) of \(wanted) \(what) messages came" }) {
            let count = received()
            if count != last { (last, since) = (count, Clock.monotonic()) }
            return count >= wanted || Clock.monotonic() - since > Self.quietNanoseconds
                || self.areAllGone(clients)
        }
        guard received() == 0, wanted > 0 else { return }
        guard self.failures.isEmpty else {
            throw BenchFailure("\(self.endings.joined(separator: "; ")); none of \(wanted) \(what) messages came")
        }
        throw BenchFailure(
            "none of \(wanted) \(what) messages came within \(Self.quietNanoseconds / Nanoseconds.perSecond) s: \(Self.whatToAllow)"
        )
    }

    private static let quietNanoseconds = 10 * Nanoseconds.perSecond

    func requireAuthorization() throws {
        guard self.isNotAuthorized else { return }
        throw BenchFailure("a message was refused with 0x87: \(Self.whatToAllow)")
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
