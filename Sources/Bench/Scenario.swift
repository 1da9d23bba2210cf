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
    private var askedQoS = QoS.atMostOnce
    /// Subscriptions with a lower QoS than they asked for, by what they got.
    private var lowered: [UInt8: Int] = [:]
    /// Subscriptions that were refused, by the code in SUBACK.
    private var refusedSubscriptions: [UInt8: Int] = [:]
    /// Connections that ended, by what ended them.
    private(set) var failures: [String: Int] = [:]
    /// Connections that were refused, or broke before CONNACK.
    private var refusedConnections: [String: Int] = [:]
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
    ///
    /// - Parameter required: how many must be open then; the others are counted. Nil: all.
    func connect(
        _ clients: [BenchClient],
        cleanStart: Bool = true,
        keepsSession: Bool = false,
        atLeast required: Int? = nil
    ) throws {
        self.makesConnect = { [fleet] client in
            fleet.connectPacket(client, cleanStart: cleanStart, keepsSession: keepsSession)
        }
        let (openedBefore, failedBefore, before) = (self.opened, self.refusedCount, self.refusedConnections)
        self.waiting = clients[...]
        self.startWaiting()
        func connected() -> Int { self.opened - openedBefore }
        func failed() -> Int { self.refusedCount - failedBefore }
        // A broker under load may be slow, but one that does nothing for so long is gone.
        let seconds = 60 + Double(clients.count) / 20
        func progress() -> String { Self.progress(connected: connected(), failed: failed(), of: clients.count) }
        let isDone = try self.fleet.run(seconds: seconds, progress: progress) {
            connected() + failed() >= clients.count
        }
        if !isDone {
            let reason = self.fleet.isInterrupted ? "the run was interrupted" : "no CONNACK in \(Int(seconds)) s"
            guard let required, connected() >= required else { throw BenchFailure("only \(progress()): \(reason)") }
            let late = clients.count - connected() - failed()
            self.refusedConnections[reason, default: 0] += late
            (self.waiting, self.opening) = ([], 0)
            for client in clients where client.state != .open { client.close() }
        }
        guard !self.expectsLosses, connected() < required ?? clients.count else { return }
        let failures = self.refusedConnections.map { ($0.key, $0.value - before[$0.key, default: 0]) }
        if let (reason, count) = failures.max(by: { $0.1 < $1.1 }), count > 0 {
            throw BenchFailure("\(count) clients could not connect: \(reason)")
        }
    }

    /// Connections that could not be made.
    var refusedCount: Int { self.refusedConnections.values.reduce(0, +) }

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
        guard !client.wasOpen else { return self.failures[reason, default: 0] += 1 }
        self.refusedConnections[reason, default: 0] += 1
        self.openingEnded()
    }

    func complainAboutLosses() {
        guard !self.expectsLosses else { return }
        for ending in self.endings + self.refusals { self.report.complain(ending) }
    }

    func complainAboutRefusedConnections() {
        for refusal in self.refusals { self.report.complain(refusal) }
    }

    private var refusals: [String] {
        self.refusedConnections.sorted(by: { $0.key < $1.key }).map {
            "\($0.value) clients could not connect: \($0.key)"
        }
    }

    /// Connections that the broker, or the network, has ended.
    private var endings: [String] {
        self.failures.sorted(by: { $0.key < $1.key }).map { "\($0.value) connections ended: \($0.key)" }
    }

    private func areAllGone(_ clients: [BenchClient]) -> Bool {
        clients.allSatisfy { $0.state != .open }
    }

    /// Ends a run that needs a client whose connection is gone.
    ///
    /// - Parameter consequence: what there is not because of it.
    func requireConnection(_ client: BenchClient, _ consequence: @autoclosure () -> String) throws {
        if client.state != .open {
            throw BenchFailure("\((self.endings + self.refusals).joined(separator: "; ")); \(consequence())")
        }
    }

    // MARK: Subscribing

    /// Waits for all SUBACK.
    func subscribe(_ clients: [BenchClient], qos: QoS, to filter: (Int) -> String) throws {
        let before = self.subscribed
        self.askedQoS = qos
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
        let reasons = isDone ? [] : [self.fleet.isInterrupted ? "the run was interrupted" : "no more in a minute"]
        throw BenchFailure(
            "only \(came) of \(clients.count) SUBACK came: \((self.endings + reasons).joined(separator: "; "))"
        )
    }

    func subscribed(_ client: BenchClient, _ suback: SubackPacket) {
        self.subscribed += 1
        for code in suback.returnCodes {
            if code >= 0x80 {
                self.refusedSubscriptions[code, default: 0] += 1
            } else if code < self.askedQoS.rawValue {
                self.lowered[code, default: 0] += 1
            }
        }
    }

    /// What `subscribe` was refused, or got less of than it asked for.
    func complainAboutSubscriptions() {
        for (qos, count) in self.lowered.sorted(by: { $0.key < $1.key }) {
            self.report.complain("\(count) subscriptions were granted QoS \(qos), not \(self.askedQoS.rawValue)")
        }
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

    /// Whether it is the last one of a message: a PUBREC that does not refuse is followed by PUBREL and PUBCOMP.
    func isLast(_ type: PacketType, reason: UInt8) -> Bool { type != .pubrec || reason >= 0x80 }

    func countRefusal(_ reason: UInt8) {
        if reason >= 0x80 { self.refused += 1 }
        if reason == ReasonCode.notAuthorized.rawValue { self.isNotAuthorized = true }
    }

    /// How many messages may be under way that are only stored, not measured one by one: more than of those that are. MQTT 3.1.1 has no
    /// receive maximum to say what a broker takes of QoS 2, and mosquitto ends the connection of who sends more than 20.
    func storingWindow(_ qos: QoS) -> Int {
        let factor = qos == .exactlyOnce && self.options.version != .v5_0 ? 1 : 16
        return max(1, min(self.options.window * factor, self.receiveMaximum))
    }

    /// Turns the loop until the condition holds, or a number has not changed for so long: how long all of it takes is for the broker to say.
    ///
    /// - Parameter condition: with the number.
    /// - Returns: when the number changed for the last time; and whether the loop ended before `seconds` were over or somebody ended the run.
    @discardableResult
    func run(
        untilQuietFor nanoseconds: UInt64,
        seconds: Double = .infinity,
        progress: () -> String? = { nil },
        count: () -> Int,
        until condition: (Int) -> Bool
    ) throws -> (lastChange: Instant, isOver: Bool) {
        var (last, since) = (count(), Clock.monotonic())
        let isOver = try self.fleet.run(seconds: seconds, progress: progress) {
            let current = count()
            if current != last { (last, since) = (current, Clock.monotonic()) }
            return condition(current) || Clock.monotonic() - since > nanoseconds
        }
        return (since, isOver)
    }

    /// Acknowledgements are waited for until none has come for so long.
    static let acknowledgementNanoseconds = 60 * Nanoseconds.perSecond

    /// Waits for all of the messages, as long as some come and one of the clients is there to get them.
    ///
    /// - Parameter received: how many are there.
    /// - Returns: when the last one came.
    /// - Throws: when not a single one came; rules that deny a message are silent with MQTT 3.1.1.
    func awaitMessages(_ wanted: Int, _ what: String, _ clients: [BenchClient], received: () -> Int) throws -> Instant {
        let last = try self.run(
            untilQuietFor: self.fleet.quietNanoseconds,
            progress: { "\(received()) of \(wanted) \(what) messages came" },
            count: received
        ) { $0 >= wanted || self.areAllGone(clients) }.lastChange
        guard received() == 0, wanted > 0 else { return last }
        if self.fleet.isInterrupted {
            throw BenchFailure("the run was interrupted; none of \(wanted) \(what) messages had come")
        }
        let reasons = self.endings + self.refusals
        guard reasons.isEmpty else {
            throw BenchFailure("\(reasons.joined(separator: "; ")); none of \(wanted) \(what) messages came")
        }
        throw BenchFailure(
            "none of \(wanted) \(what) messages came within \(self.fleet.quietNanoseconds / Nanoseconds.perSecond) s: \(Self.whatToAllow)"
        )
    }

    /// Tells of messages that did not arrive: as lost, unless nobody waited for them.
    func judgeMissing(_ count: Int) {
        let name = self.fleet.isInterrupted ? "not_arrived" : "lost"
        self.report.add(name, count)
        if count > 0 { self.report.complain("\(name): \(count)") }
    }

    func requireAuthorization() throws {
        guard self.isNotAuthorized else { return }
        throw BenchFailure("a message was refused with 0x87: \(Self.whatToAllow)")
    }

    // MARK: For subclasses

    func received(_ client: BenchClient, _ publish: PublishView, in packet: UnsafeRawBufferPointer) {}
    func acknowledged(_ client: BenchClient, _ type: PacketType, identifier: UInt16, reason: UInt8) {}

    func run() throws { preconditionFailure("a scenario runs something") }

    /// False, once with a problem: one of the processes is gone, and what it used with it.
    func isUsageKnown(_ usage: BrokerUsage) -> Bool {
        guard !self.options.processes.isEmpty else { return false }
        guard !usage.gone.isEmpty else { return true }
        let names = usage.gone.map { "\($0)" }.joined(separator: ", ")
        let problem = "process \(names) of --pid has ended: CPU time and memory are not known"
        if !self.report.problems.contains(problem) { self.report.complain(problem) }
        return false
    }

    /// What the run cost the broker, per something that happened `count` times.
    func addUsage(_ name: String, from before: BrokerUsage, to after: BrokerUsage, count: Int, seconds: Double) {
        guard self.isUsageKnown(after), count > 0 else { return }
        if after.bytes > 0 { self.report.add("broker_bytes", after.bytes) }
        let cpu = after.cpuSeconds - before.cpuSeconds
        // Threads that ended took their account with them.
        guard cpu >= 0 else { return }
        self.report.add("broker_cpu_us_per_\(name)", cpu / Double(count) * 1e6)
        self.report.add("broker_cores", cpu / max(seconds, 1e-9))
    }
}
