import AuthWorker
import Common
import Glibc
import Listener
import Router
import SimulatedKernel
import TestSupport

/// A router, two listeners, two auth workers, a Redis and clients, for one seed: the roles' own code in one thread, on a clock and a
/// network of the simulation's, which also chooses what goes wrong.
final class Simulation {
    let seed: UInt64
    let clock = SimulatedClock()
    let ledger: Ledger
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    private(set) var listeners: [SimulatedProcess] = []
    private let router: SimulatedProcess
    private var workers: [SimulatedProcess] = []
    private var processes: [SimulatedProcess] { [self.router] + self.listeners + self.workers }
    private var redis: SimulatedRedis
    private var clients: [SimulatedClient] = []
    private var random: SeededRandom
    private let directory: String
    private let keepsDisk: Bool
    private let faults: [Fault]
    /// Rounds.
    private let faultsEvery: Int
    /// Clients go away in one of so many chances.
    let vanishesOneIn: Int

    var isRouterAway: Bool { !self.router.isRunning }
    /// A link of the router is jammed until it is killed.
    private var routerDiesAt: Instant?
    var isLinkJammed: Bool { self.routerDiesAt != nil }
    /// Nothing goes wrong any more.
    private(set) var isCalm = false
    private var calmSince: Instant = 0
    private(set) var disksWereFull = false
    private var linksBroke = false
    private var isDiskFull = false
    /// The router cannot store, or could not and has not caught up: a session that it accepts meanwhile is not safe yet.
    private(set) var isDoubtful = false
    private var lastDeathInDoubt: Instant?
    /// When a listener's start ended, or was told to.
    private var ends: [String: Instant] = [:]
    private var goodbyes: [(will: String, connection: ClientConnection, at: Instant, router: Int)] = []
    private(set) var kills = 0

    init(seed: UInt64, directory: String) throws {
        self.seed = seed
        self.directory = directory
        self.random = SeededRandom(seed: seed)
        self.ledger = Ledger(clock: self.clock)
        simulated_seed(self.random.next())
        simulated_set_network(directory)
        self.keepsDisk = self.random.oneIn(3)
        let wallClockJumps = self.random.oneIn(6)
        let fillsDisk = self.random.oneIn(4)
        self.faults = Fault.mixture(&self.random, fillsDisk: fillsDisk, wallClockJumps: wallClockJumps)
        self.faultsEvery = 10 << Int.random(in: 0...3, using: &self.random)
        self.vanishesOneIn = 60 << Int.random(in: 0...4, using: &self.random)
        // How far commits lag behind.
        let threadShare = UInt64(2) << UInt64.random(in: 0...4, using: &self.random)
        let configuration = Self.makeConfiguration(directory, durability: self.keepsDisk ? .disk : .process)
        simulated_track_writes(self.keepsDisk)
        self.redis = try SimulatedRedis(path: "\(directory)/redis.sock", clock: self.clock, seed: self.random.next())
        let clock = self.clock
        // Clients' input waits for its turn in some.
        let workPerTurn = seed % 2 == 0 ? RouterLimits.workPerTurn : 10
        self.router = SimulatedProcess(1, "router", configuration: configuration, clock: clock) {
            RouterService($0, packetPartBytes: 400, workPerTurn: workPerTurn)
        }
        self.listeners = (1...2).map { instance in
            var own = configuration
            own.listeners[0].addresses = [.loopback(port: UInt16(1882 + instance))]
            return SimulatedProcess(
                1 + instance,
                "listener-\(instance)",
                configuration: own,
                instance: instance,
                clock: clock
            ) { ListenerService($0) }
        }
        self.workers = (1...2).map { instance in
            SimulatedProcess(
                3 + instance,
                "authworker-\(instance)",
                configuration: configuration,
                instance: instance,
                clock: clock
            ) { try AuthWorkerService($0) }
        }
        for process in self.processes { process.threadShare = threadShare }
        self.router.onEnd = { [unowned self] in self.routerEnds() }
        for listener in self.listeners { listener.onEnd = { [unowned self] in self.listenerEnds(listener) } }
        let plans = Self.plans(&self.random, fillsDisk: fillsDisk)
        for plan in plans {
            let slowness = 1 << Int.random(in: 0...5, using: &self.random)
            self.clients.append(SimulatedClient(plan, self, slowness: slowness))
        }
        for plan in plans where plan.credentials != .comesLater {
            self.redis.set("device:\(plan.name)", "secret of \(plan.name)")
        }
    }

    deinit {
        self.buffer.deallocate()
    }

    private static func plans(_ random: inout SeededRandom, fillsDisk: Bool) -> [ClientPlan] {
        // In MQTT 3.1 a client is not told that its session is gone, which a full disk may cause.
        let versions: [ProtocolVersion] = [.v5_0, .v5_0, .v3_1_1, fillsDisk ? .v3_1_1 : .v3_1]
        func version() -> ProtocolVersion { versions.randomElement(using: &random) ?? .v5_0 }
        let all: [(String, QoS)] = [("t/#", .exactlyOnce)]
        return [
            ClientPlan(name: "p1", version: version(), lasts: true, publishes: true),
            ClientPlan(name: "p2", version: version(), publishes: true),
            ClientPlan(
                name: "s1",
                version: .v5_0,
                lasts: true,
                subscriptions: all + [("w/#", .exactlyOnce)],
                furtherFilters: 140,
                receiveMaximum: 5,
                takesAliases: true
            ),
            ClientPlan(
                name: "s2",
                version: version(),
                lasts: true,
                subscriptions: [("t/#", .atLeastOnce), ("r/#", .exactlyOnce)]
            ),
            // What is for these two alone is not stored.
            ClientPlan(
                name: "s3",
                version: version(),
                subscriptions: all + [("u/#", .exactlyOnce)],
                furtherFilters: 70,
                takesAliases: true
            ),
            ClientPlan(name: "s4", version: version(), subscriptions: [("u/#", .atLeastOnce)]),
            ClientPlan(name: "g1", version: version(), lasts: true, group: "g"),
            ClientPlan(name: "g2", version: version(), lasts: true, group: "g"),
            ClientPlan(name: "w1", version: .v5_0, lasts: true, hasWill: true),
            ClientPlan(name: "late", version: version(), subscriptions: [("r/#", .atLeastOnce)], comesLate: true),
            ClientPlan(name: "wrong", version: version(), credentials: .wrong),
            ClientPlan(name: "gone", version: version(), credentials: .takenAway),
            ClientPlan(name: "new", version: version(), credentials: .comesLater),
        ]
    }

    private static func makeConfiguration(_ directory: String, durability: Configuration.Durability) -> Configuration {
        var configuration = Configuration()
        configuration.runtimeDirectory = directory
        configuration.stateDirectory = "\(directory)/state"
        configuration.bansFile = "\(directory)/bans"
        configuration.durability = durability
        configuration.processes.listeners = 2
        configuration.processes.authWorkers = 2
        var listener = Configuration.Listener(name: "devices")
        listener.transport = .tcp
        listener.clientCertificate = .none
        configuration.listeners = [listener]
        configuration.authentication.command = "HMGET device:%c password"
        configuration.authentication.cache.directory = "\(directory)/state/auth-cache"
        configuration.authentication.redis.url = .unixSocket("\(directory)/redis.sock")
        configuration.authorization.ruleSets = [
            .init(name: "default", rules: [.init(permission: .allow, actions: .all, topics: [.init("#")])])
        ]
        return configuration
    }

    // MARK: For clients

    func path(of listener: SimulatedProcess) -> String { "\(self.directory)/port-\(1881 + listener.number)" }

    /// It has been calm for so long that everything should have recovered.
    var hasBeenCalm: Bool { self.isCalm && self.clock.now > self.calmSince + 3 * Nanoseconds.perSecond }

    /// What the broker can have seen of a connection's end.
    func end(of will: String, _ end: Ledger.Will.End, _ connection: ClientConnection) -> Ledger.Will.End {
        if case .unknown = self.ledger.wills[will]?.end { return .unknown }
        guard connection.isOpen else { return .unknown }
        let lost = self.ends["\(connection.listener.name) \(connection.generation)"]
        switch end {
        case .withDisconnect:
            self.goodbyes.append((will, connection, self.clock.now, self.router.generation))
            return lost == nil ? end : .unknown
        case .abrupt(let instant): return .abrupt(min(instant, lost ?? instant))
        case .open, .unknown: return end
        }
    }

    /// Its next connection was accepted. A router that has started since the goodbye may hear of this one first, through another listener.
    func isBack(_ will: String, _ connection: ClientConnection) {
        for goodbye in self.goodbyes
        where goodbye.will == will && goodbye.router != self.router.generation
            && goodbye.connection.listener !== connection.listener
        {
            self.ledger.wills[will]?.end = .unknown
        }
    }

    /// Its end is certain from here on, where it is a listener.
    private func listenerEnds(_ process: SimulatedProcess) {
        guard self.listeners.contains(where: { $0 === process }) else { return }
        let key = "\(process.name) \(process.generation)"
        if self.ends[key] == nil { self.ends[key] = self.clock.now }
        // What it was told last may never have got further.
        for goodbye in self.goodbyes
        where goodbye.connection.listener === process && self.clock.now < goodbye.at + 5 * Nanoseconds.perSecond {
            self.ledger.wills[goodbye.will]?.end = .unknown
        }
    }

    // MARK: Running

    /// Returns what must not have been.
    func run() throws -> [String] {
        let turns = 600
        for turn in 0..<turns {
            if turn == turns / 3 { self.redis.set("device:gone", nil) }
            if turn == turns / 2 { self.redis.set("device:new", "secret of new") }
            try self.round()
            if self.random.oneIn(self.faultsEvery) { try self.goWrong() }
        }
        try self.calmDown()
        try self.settle()
        self.check()
        self.finish()
        return self.ledger.faults
    }

    /// All act, some of them not; then time goes on: a little, or to where something is due.
    private func round() throws {
        var didSomething = false
        let isThorough = self.isCalm || self.random.oneIn(4)
        for process in self.processes.shuffled(using: &self.random) where isThorough || !self.random.oneIn(4) {
            didSomething = try process.act(choice: self.random.next()) || didSomething
        }
        for client in self.clients.shuffled(using: &self.random) where isThorough || self.random.oneIn(2) {
            didSomething = client.act(&self.random) || didSomething
        }
        didSomething = self.redis.act() || didSomething
        self.updateDoubt()
        if let instant = self.routerDiesAt, instant <= self.clock.now { self.kill(self.router) }
        if didSomething || !isThorough {
            self.clock.advance(
                by: UInt64.random(in: 0..<1 << UInt64.random(in: 10...21, using: &self.random), using: &self.random)
            )
        } else {
            let deadlines = self.processes.map(\.deadline) + self.clients.map(\.deadline) + [self.redis.deadline]
            let next = deadlines.filter { $0 > self.clock.now }.min() ?? .max
            self.clock.advance(by: min(next &- self.clock.now, Nanoseconds.perSecond))
        }
    }

    // MARK: Faults

    private func goWrong() throws {
        let process = self.processes.randomElement(using: &self.random) ?? self.router
        switch self.faults.randomElement(using: &self.random) ?? .killRouter {
        case .killOne: self.kill(process)
        case .killRouter: self.kill(self.router)
        case .killSome: for process in self.processes where self.random.oneIn(2) { self.kill(process) }
        case .killAll:
            if self.keepsDisk { self.losePower() } else { for process in self.processes { self.kill(process) } }
        case .stopOne: self.stop(process)
        case .stopRouter: self.stop(self.router)
        case .breakLink:
            self.linksBroke = true
            let bytes = UInt32.random(in: 0...300, using: &self.random)
            self.ledger.note("a link of \(process.name) breaks after \(bytes) bytes")
            simulated_cut_connection(process.number, self.random.next(), bytes)
        case .jamLink:
            guard self.routerDiesAt == nil, simulated_jam_connection(self.router.number, self.random.next()) else {
                return
            }
            self.ledger.note("a listener does not hear the router")
            self.routerDiesAt = self.clock.now + UInt64.random(in: 0...200_000_000, using: &self.random)
        case .redisChanges:
            try self.redis.change(to: SimulatedRedis.Mode.allCases.randomElement(using: &self.random) ?? .up)
            self.ledger.note("Redis is \(self.redis.mode)")
        case .diskChanges:
            self.isDoubtful = true
            self.isDiskFull.toggle()
            self.disksWereFull = true
            self.ledger.note(self.isDiskFull ? "the disk is full" : "the disk has room")
            for process in self.processes { simulated_set_disk_full(process.number, self.isDiskFull) }
        case .wallClockJumps:
            let seconds = Int.random(in: -100...100, using: &self.random)
            self.ledger.note("the wall clock jumps by \(seconds) s")
            self.clock.jump(seconds: seconds)
        case .stallOne:
            self.ledger.note("\(process.name) stands still")
            process.stalledUntil = self.clock.now + self.someTime()
        case .slowTransfers:
            for process in self.processes {
                let partial = UInt32.random(in: 0...128, using: &self.random)
                simulated_set_transfers(process.number, partial, UInt32.random(in: 0...64, using: &self.random))
            }
        }
    }

    /// From a microsecond to half a second, each order of magnitude as often as the others.
    private func someTime() -> UInt64 {
        UInt64.random(in: 0..<1 << UInt64.random(in: 10...29, using: &self.random), using: &self.random)
    }

    private func stop(_ process: SimulatedProcess) {
        self.listenerEnds(process)
        self.ledger.note("\(process.name) is told to stop")
        process.stop()
    }

    private func kill(_ process: SimulatedProcess) {
        guard process.isRunning else { return }
        self.ledger.note("\(process.name) is killed")
        self.kills += 1
        let pause = self.someTime()
        process.kill(afterCalls: Int.random(in: 0...8, using: &self.random), restartsAt: self.clock.now + pause)
        self.listenerEnds(process)
    }

    private func routerEnds() {
        self.routerDiesAt = nil
        guard self.isDoubtful else { return }
        self.lastDeathInDoubt = self.clock.now
        for client in self.clients { client.routerDiedInDoubt() }
    }

    /// What was accepted at its end may still reach a client.
    var routerDiedInDoubt: Bool {
        self.lastDeathInDoubt.map { self.clock.now < $0 + 2 * Nanoseconds.perSecond } ?? false
    }

    private func updateDoubt() {
        guard self.isDoubtful, !self.isDiskFull, self.router.status("alarm_store") == "0",
            self.router.status("store_waiting_bytes") == "0"
        else { return }
        self.isDoubtful = false
        for client in self.clients { client.isInDoubt = false }
    }

    /// Everything ends at once, and what is not on the disk is lost in part.
    private func losePower() {
        self.ledger.note("power is lost")
        for process in self.processes where process.isRunning {
            self.kills += 1
            process.kill(afterCalls: 0, restartsAt: self.clock.now + Nanoseconds.perSecond)
        }
        simulated_lose_power()
        for client in self.clients { client.noticesPowerLoss() }
    }

    // MARK: The end

    private func calmDown() throws {
        self.isCalm = true
        self.isDiskFull = false
        self.ledger.note("calm")
        self.calmSince = self.clock.now
        self.routerDiesAt = nil
        try self.redis.change(to: .up)
        simulated_spare_connections()
        for process in self.processes {
            process.stalledUntil = 0
            process.threadShare = 3
            simulated_set_transfers(process.number, 0, 0)
            simulated_set_disk_full(process.number, false)
        }
    }

    private func settle() throws {
        var end = self.calmSince + 9 * Nanoseconds.perSecond
        var leavesAt = self.calmSince + 3 * Nanoseconds.perSecond
        var rounds = 0
        while self.clock.now < end || !self.isAtRest {
            try self.round()
            rounds += 1
            // Wills that nobody had subscribed to would not be missed.
            if self.clock.now >= leavesAt, self.clients.contains(where: { $0.receiver.subscribedAt["w/"] != nil }) {
                leavesAt = .max
                end = self.clock.now + 6 * Nanoseconds.perSecond
                for client in self.clients where client.plan.hasWill { client.breakOff(&self.random) }
                for client in self.clients where client.plan.comesLate { client.comes() }
            }
            guard rounds < 30_000 else {
                let busy = self.clients.filter { !$0.isAtRest || !$0.isConnected && !$0.mayBeRefused }.map(\.plan.name)
                return self.ledger.fault(
                    "it does not come to rest: \(busy), \(self.router.status("queued_messages") ?? "-")"
                )
            }
        }
    }

    private var isAtRest: Bool {
        self.clients.allSatisfy { $0.isAtRest && ($0.isConnected || $0.mayBeRefused) }
            && self.router.status("queued_messages") == "0"
    }

    private func check() {
        for client in self.clients where client.oldConnections > 0 {
            self.ledger.fault("\(client.plan.name) has \(client.oldConnections) more connections that the broker keeps")
        }
        for client in self.clients {
            let isConnected = client.plan.credentials == .right || client.plan.credentials == .comesLater
            if client.isConnected != isConnected {
                self.ledger.fault("\(client.plan.name) is \(client.isConnected ? "still" : "not") connected")
            }
        }
        let connected = self.clients.count(where: \.isConnected)
        // All that are not connected have sessions that end with their connections.
        for (name, value) in [
            ("sessions", connected), ("sessions_connected", connected), ("links", 2), ("queued_bytes", 0),
        ] {
            let found = self.router.status(name)
            if found != "\(value)" { self.ledger.fault("\(name) is \(found ?? "-") instead of \(value)") }
        }
        for client in self.clients where client.plan.group == nil {
            self.ledger.check(client.receiver, linksBroke: self.linksBroke)
        }
        let members = self.clients.filter { $0.plan.group != nil }.map(\.receiver)
        // A session that the full disk kept from being stored takes what it had with it.
        if !self.disksWereFull { self.ledger.checkGroup(members) }
        for client in self.clients where client.plan.comesLate { self.ledger.checkRetained(client.retained) }
        self.ledger.checkWills(calmSince: self.calmSince)
    }

    private func finish() {
        for process in self.processes { process.finish() }
        for client in self.clients { client.close() }
        self.redis.close()
    }
}
