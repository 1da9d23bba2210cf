import Common
import Glibc
import TestSupport
import Testing

@testable import AuthWorker

@Suite struct ClusterSlotsTests {
    /// From the cluster specification, and by `redis-cli CLUSTER KEYSLOT`.
    @Test(arguments: [
        ("123456789", 0x31C3 % 16384), ("foo", 12182), ("{foo}bar", 12182), ("foo{}{bar}", 8363),
        ("foo{{bar}}zap", 4015),
        ("", 0),
    ])
    func slotsOfKeys(_ key: String, _ slot: Int) {
        #expect(ClusterSlots.slot(of: Array(key.utf8)) == slot)
    }

    private let asked = RedisURL.Server.tcp(host: "seed", port: 7000)

    private func range(_ first: Int64, _ last: Int64, _ host: String, _ port: Int64) -> RedisReply {
        .array([.integer(first), .integer(last), .array([.bulk(Array(host.utf8)), .integer(port), .bulk([])])])
    }

    @Test func theMapIsReadAndChanged() throws {
        var slots = try ClusterSlots(
            .array([self.range(0, 8000, "a", 1), self.range(8001, 16383, "", 2)]),
            asked: self.asked
        )
        #expect(slots.master(of: 8000) == .tcp(host: "a", port: 1))
        // A node that does not know its address is reached at the one that was asked.
        #expect(slots.master(of: 8001) == .tcp(host: "seed", port: 2))
        slots.move(5, to: .tcp(host: "c", port: 3))
        #expect(slots.master(of: 5) == .tcp(host: "c", port: 3))
        #expect(slots.masters.count == 3)
    }

    @Test func whatIsNoMapIsRefused() {
        let replies: [RedisReply] = [
            .null, .error(Array("ERR This instance has cluster support disabled".utf8)), .array([.integer(1)]),
            .array([self.range(-1, 3, "a", 1)]), .array([self.range(0, 16384, "a", 1)]),
            .array([self.range(5, 3, "a", 1)]), .array([self.range(0, 1, "a", 99999)]),
        ]
        for reply in replies { #expect(throws: RedisFailure.self) { try ClusterSlots(reply, asked: self.asked) } }
    }
}

@Suite struct ClusterRouterTests {
    private let first = RedisURL.Server.tcp(host: "a", port: 1)
    private let second = RedisURL.Server.tcp(host: "b", port: 2)
    private let command = [Array("GET".utf8), Array("foo".utf8)]

    private func router() throws -> ClusterRouter {
        var router = ClusterRouter(queryTimeoutNanoseconds: 500 * Nanoseconds.perMillisecond)
        let node = RedisReply.array([.bulk(Array("a".utf8)), .integer(1), .bulk([])])
        router.learned(
            try ClusterSlots(.array([.array([.integer(0), .integer(16383), node])]), asked: self.first)
        )
        return router
    }

    private func error(_ text: String) -> RedisReply { .error(Array(text.utf8)) }

    @Test func aMovedSlotIsFollowedAndRemembered() throws {
        var router = try self.router()
        #expect(router.begin(self.command, key: Array("foo".utf8), token: 1, now: 0) == self.first)
        let step = router.answered(1, self.error("MOVED 12182 b:2"), by: self.first, now: 0)
        #expect(step == .send(self.second, arguments: self.command, asking: false))
        #expect(router.answered(1, .null, by: self.second, now: 0) == .deliver(.null))
        #expect(router.begin(self.command, key: Array("foo".utf8), token: 2, now: 0) == self.second)
        #expect(router.wantsRefresh)
        #expect(router.commandsPending == 1)
    }

    @Test func aSlotOnItsWayIsAskedForOnce() throws {
        var router = try self.router()
        _ = router.begin(self.command, key: Array("foo".utf8), token: 1, now: 0)
        let step = router.answered(1, self.error("ASK 12182 :2"), by: self.first, now: 0)
        #expect(step == .send(.tcp(host: "a", port: 2), arguments: self.command, asking: true))
        #expect(router.begin(self.command, key: Array("foo".utf8), token: 2, now: 0) == self.first)
    }

    @Test func `regression: whoever a command is sent on to is a master that is not in the map yet`() throws {
        var router = try self.router()
        #expect(router.takeMastersMayDiffer() && !router.takeMastersMayDiffer())
        func send(on text: String, _ token: UInt64, now: Instant) {
            _ = router.begin(self.command, key: Array("foo".utf8), token: token, now: now)
            _ = router.answered(token, self.error(text), by: self.first, now: now)
        }
        send(on: "ASK 12182 b:2", 1, now: 0)
        #expect(router.takeMastersMayDiffer() && Set(router.masters) == [self.first, self.second])
        // The map names it as soon as it has a slot, and no earlier.
        router.learned(router.slots)
        #expect(Set(router.masters) == [self.first, self.second])
        #expect(!router.dropImporting(now: AuthLimits.clusterImportingLostNanoseconds) { _ in false })
        #expect(router.dropImporting(now: AuthLimits.clusterImportingLostNanoseconds) { $0 == self.second })
        #expect(router.masters == [self.first])
        send(on: "ASK 12182 b:2", 2, now: Nanoseconds.perSecond)
        let due = Nanoseconds.perSecond + AuthLimits.clusterImportingNanoseconds
        #expect(router.nextImportingDue { _ in false } == due)
        #expect(!router.dropImporting(now: due - 1) { _ in false } && router.masters.count == 2)
        #expect(router.dropImporting(now: due) { _ in false } && router.masters == [self.first])
        _ = router.takeMastersMayDiffer()
        send(on: "MOVED 12182 b:2", 3, now: due)
        #expect(router.takeMastersMayDiffer() && Set(router.masters) == [self.first, self.second])
        #expect(router.nextImportingDue { _ in false } == nil)
    }

    /// Their changes would not be told: there are no more connections than that.
    @Test func `regression: a command is sent on to no node beyond those that are asked for their changes`() throws {
        var router = try self.router()
        for (token, kind) in ["ASK", "MOVED"].enumerated() {
            for port in 0..<AuthLimits.clusterNodesMax + 10 {
                _ = router.begin(self.command, key: Array("foo".utf8), token: UInt64(token), now: 0)
                let text = "\(kind) \(kind == "ASK" ? 12_182 : port) c:\(port + 1)"
                let step = router.answered(UInt64(token), self.error(text), by: self.first, now: 0)
                if case .send(let target, _, _) = step {
                    #expect(router.masters.contains(target))
                } else {
                    #expect(router.masters.count >= AuthLimits.clusterNodesMax && router.commandsPending == 0)
                }
            }
        }
    }

    @Test func nodesThatSendACommandRoundAreNotFollowedForEver() throws {
        var router = try self.router()
        _ = router.begin(self.command, key: Array("foo".utf8), token: 1, now: 0)
        var steps: [ClusterRouter.Step] = []
        for _ in 0..<10 { steps.append(router.answered(1, self.error("MOVED 12182 b:2"), by: self.first, now: 0)) }
        #expect(steps.count { if case .send = $0 { true } else { false } } == AuthLimits.clusterRedirectionsMax)
        guard case .fail = steps[AuthLimits.clusterRedirectionsMax] else { return #expect(Bool(false), "\(steps)") }
    }

    @Test func aClusterThatIsNotReadyIsTriedAgainWithinTheTimeOut() throws {
        var router = try self.router()
        _ = router.begin(self.command, key: Array("foo".utf8), token: 1, now: 0)
        var now: Instant = 0
        var retries = 0
        while router.answered(1, self.error("CLUSTERDOWN The cluster is down"), by: self.first, now: now) == .wait {
            retries += 1
            now = try #require(router.nextRetry)
            #expect(router.takeRetries(now: now).map(\.server) == [self.first])
        }
        #expect(retries == 9)
        #expect(router.commandsPending == 0)
    }

    @Test(arguments: ["MOVED", "MOVED x", "MOVED 1 nowhere", "ASK 1 h:99999", "ERR MOVED 1 b:2", "WRONGTYPE no"])
    func otherErrorsAreAnswers(_ text: String) throws {
        var router = try self.router()
        _ = router.begin(self.command, key: Array("foo".utf8), token: 1, now: 0)
        #expect(router.answered(1, self.error(text), by: self.first, now: 0) == .deliver(self.error(text)))
    }
}

/// Three real masters, and a replica of the first.
@Suite struct ClusterTests {
    private final class Cluster {
        private(set) var ports: [UInt16]
        private(set) var servers: [RedisServer]

        /// A node whose ports are free: its bus is at the port and 10,000, which is other programs' for the taking.
        static func startNode() throws -> (port: UInt16, server: RedisServer) {
            let options = [
                "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-config-file", "nodes.conf",
                "--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0",
            ]
            for _ in 0..<100 {
                let port = try RedisServer.freePort()
                do {
                    return (port, try RedisServer(.tcp(port: port), options: options))
                } catch let error as ProcessError where error.description.contains("Address already in use") {
                    continue
                }
            }
            throw ProcessError(description: "no two free ports for a Redis node")
        }

        init() throws {
            let nodes = try (0..<4).map { _ in try Self.startNode() }
            self.ports = nodes.map(\.port)
            self.servers = nodes.map(\.server)
            let ports = self.ports
            let masters = ports.prefix(3).map { "127.0.0.1:\($0)" }
            let (status, output) = try runProcess(
                "redis-cli",
                arguments: ["--cluster", "create"] + masters + ["--cluster-yes"]
            )
            guard status == 0 else { throw ProcessError(description: output) }
            try self.servers[3].cli(["CLUSTER", "MEET", "127.0.0.1", "\(ports[0])"])
            let first = try self.id(0)
            try waitUntil("the fourth node knows the first") {
                try self.servers[3].cli(["CLUSTER", "NODES"]).output.contains(first)
            }
            try waitUntil("the fourth node is the first one's replica") {
                try self.servers[3].cli(["CLUSTER", "REPLICATE", first]).output.hasPrefix("OK")
            }
            try waitUntil("the cluster is ready") {
                try self.servers.allSatisfy { try $0.cli(["CLUSTER", "INFO"]).output.contains("cluster_state:ok") }
            }
        }

        /// One more master, without slots. Its place in `servers`.
        func join() throws -> Int {
            let node = try Self.startNode()
            self.ports.append(node.port)
            self.servers.append(node.server)
            let place = self.servers.count - 1
            try node.server.cli(["CLUSTER", "MEET", "127.0.0.1", "\(self.ports[0])"])
            let id = try self.id(place)
            try waitUntil("all nodes know the new one, and it is ready") {
                try self.servers.allSatisfy {
                    try $0.cli(["CLUSTER", "INFO"]).output.contains("cluster_state:ok")
                        && $0.cli(["CLUSTER", "NODES"]).output.contains(id)
                }
            }
            return place
        }

        /// With ASKING in front, so that a slot on its way there is no matter.
        func remove(_ key: String, on place: Int) throws {
            let script = "printf 'ASKING\\nDEL \(key)\\n' | redis-cli -p \(self.ports[place])"
            let (_, output) = try runProcess("sh", arguments: ["-c", script])
            guard output.contains("1") else { throw ProcessError(description: output) }
        }

        func id(_ index: Int) throws -> String {
            String(try self.servers[index].cli(["CLUSTER", "MYID"]).output.prefix { !$0.isWhitespace })
        }

        func set(_ device: String, _ password: String) throws {
            let arguments = ["-c", "-p", "\(self.ports[0])", "HSET", "tls_domain:\(device)", "password", password]
            let (status, output) = try runProcess("redis-cli", arguments: arguments)
            guard status == 0, !output.contains("ERR") else { throw ProcessError(description: output) }
        }
    }

    private func configuration(_ cluster: Cluster) -> Configuration {
        var configuration = Configuration.test(redis: .tcp(host: "unused", port: 1), cache: nil)
        configuration.authentication.redis.topology = .cluster([
            .tcp(host: "127.0.0.1", port: 1), .tcp(host: "127.0.0.1", port: cluster.ports[1]),
        ])
        return configuration
    }

    @Test("devices on all nodes come in, while a slot moves, and after a master's death by its successor")
    func cluster() throws {
        let cluster = try Cluster()
        let devices = (0..<60).map { "device-\($0)" }
        for device in devices { try cluster.set(device, "secret") }
        let harness = try WorkerHarness(self.configuration(cluster))
        func ask() throws -> [AuthVerdict] {
            try harness.ask(devices.map { AuthQuery.device($0, password: "secret") })
        }
        // Asked before the map is known: they wait for it.
        #expect(try ask().allSatisfy { $0.outcome == .allow })
        #expect(try harness.ask("nobody", password: "secret").reason == .noSuchDevice)
        try harness.waitForStatus("redis") { $0 == "in use, 3 masters" }
        try harness.waitForStatus("changes_learned_by") { $0 == "tracking" }

        func check() throws {
            let verdicts = try ask()
            #expect(verdicts.allSatisfy { $0.outcome == .allow })
        }
        try self.moveSlot(of: devices[7], cluster, during: check)
        #expect(try ask().allSatisfy { $0.outcome == .allow })
        #expect(harness.status("redis_redirections") != "0")

        try waitUntil("the replica is complete") {
            try cluster.servers[3].cli(["INFO", "replication"]).output.contains("master_link_status:up")
        }
        cluster.servers[0].kill()
        var seen: Set<AuthVerdict.Outcome> = []
        try waitUntil("the replica took over", seconds: 60) {
            let verdicts = try ask()
            seen.formUnion(verdicts.map(\.outcome))
            try harness.loop.turn(maximumWaitNanoseconds: 20 * Nanoseconds.perMillisecond)
            return harness.status("redis") == "in use, 3 masters" && verdicts.allSatisfy { $0.outcome == .allow }
        }
        #expect(!seen.contains(.deny))
        #expect(try harness.ask(devices[0], password: "wrong").reason == .wrongPassword)
    }

    /// The questions of a sample had one token: answers were mixed up, and the check never ended or went by the rows that were left.
    @Test("Regression: a master that comes back empty throws nobody out")
    func emptyMaster() throws {
        let cluster = try Cluster()
        let devices = (0..<60).map { "device-\($0)" }
        for device in devices { try cluster.set(device, "secret") }
        let cache = try TemporaryDirectory("martlet-cache")
        var configuration = self.configuration(cluster)
        configuration.authentication.cache.enabled = true
        configuration.authentication.cache.directory = cache.file("auth")
        let workers = try (0..<2).map { _ in try WorkerHarness(configuration) }
        func ask(_ worker: WorkerHarness) throws -> [AuthVerdict.Outcome] {
            try worker.ask(devices.map { AuthQuery.device($0, password: "secret") }).map(\.outcome)
        }
        for worker in workers {
            try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
            #expect(try ask(worker).allSatisfy { $0 == .allow })
        }
        let options = [
            "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "1000",
        ]
        cluster.servers[1].kill()
        try cluster.servers[1].start(options: options)
        for worker in workers {
            try worker.turn {
                let outcomes = try ask(worker)
                try #require(outcomes.allSatisfy { $0 == .allow })
                return worker.status("alarm").hasPrefix("Redis has lost rows")
            }
        }
        for device in devices.dropFirst(3) { try cluster.set(device, "secret") }
        for worker in workers {
            try worker.turn {
                let outcomes = try ask(worker)
                try #require(outcomes.dropFirst(3).allSatisfy { $0 == .allow })
                return worker.status("alarm") == "0"
            }
        }
    }

    @Test("Regression: keyspace events that one master of a cluster does not announce any more are noticed")
    func keyspaceEvents() throws {
        let cluster = try Cluster()
        func setEvents(_ node: Int, _ flags: String) throws {
            try cluster.servers[node].cli(["CONFIG", "SET", "notify-keyspace-events", flags])
        }
        for node in 0..<4 { try setEvents(node, "KA") }
        var configuration = self.configuration(cluster)
        configuration.authentication.redis.invalidation = .keyspace
        let harness = try WorkerHarness(configuration)
        try harness.waitForStatus("redis") { $0 == "in use, 3 masters" }
        try harness.waitForStatus("changes_learned_by") { $0 == "keyspace" }
        harness.answers.changes = []
        try setEvents(1, "")
        try harness.waitForStatus("changes_learned_by") { $0 == "keyspace, poll" }
        #expect(harness.answers.changes.contains { $0.all })
        try setEvents(1, "KA")
        try harness.waitForStatus("changes_learned_by") { $0 == "keyspace" }
    }

    /// It answered, and was asked again and again: no other seed was, and nobody came in.
    @Test("Regression: a seed that was taken out of the cluster is not believed, and the next one is asked")
    func seedOutOfCluster() throws {
        let former = try Cluster.startNode()
        let cluster = try Cluster()
        try cluster.set("device", "secret")
        var configuration = self.configuration(cluster)
        configuration.authentication.redis.topology = .cluster([
            .tcp(host: "127.0.0.1", port: former.port), .tcp(host: "127.0.0.1", port: cluster.ports[1]),
        ])
        let harness = try WorkerHarness(configuration)
        try harness.waitForStatus("redis") { $0 == "in use, 3 masters" }
        #expect(try harness.ask("device", password: "secret").outcome == .allow)
    }

    enum Joining: CaseIterable {
        /// It has the slot before anybody is sent there.
        case moved
        /// The slot is on its way there, and stays so.
        case asked
    }

    /// The worker sent look-ups there and never asked to be told of changes: removed devices stayed, and came in, and no alarm said so.
    @Test(
        "Regression: a master that joins tells its changes, however it is met",
        arguments: Joining.allCases,
        [false, true]
    )
    func joining(_ joining: Joining, _ usesEvents: Bool) throws {
        let cluster = try Cluster()
        let new = try cluster.join()
        let devices = (0..<12).map { "device-\($0)" }
        for device in devices { try cluster.set(device, "secret") }
        for server in cluster.servers where usesEvents {
            try server.cli(["CONFIG", "SET", "notify-keyspace-events", "KA"])
        }
        var configuration = self.configuration(cluster)
        if usesEvents { configuration.authentication.redis.invalidation = .keyspace }
        let harness = try WorkerHarness(configuration)
        let method = usesEvents ? "keyspace" : "tracking"
        func check() throws {
            let verdicts = try harness.ask(devices.map { AuthQuery.device($0, password: "secret") })
            #expect(verdicts.allSatisfy { $0.outcome == .allow })
        }
        func waitForFeeds(_ masters: Int) throws {
            try waitUntil("all masters tell changes", seconds: 30) {
                try harness.loop.turn(maximumWaitNanoseconds: 10 * Nanoseconds.perMillisecond)
                return harness.status("redis") == "in use, \(masters) masters"
                    && harness.status("changes_learned_by") == method
            }
        }
        try waitForFeeds(3)
        try check()
        let key = "tls_domain:\(devices[7])"
        let slot = "\(ClusterSlots.slot(of: Array(key.utf8)))"
        let owner = try #require((0..<3).first { try cluster.servers[$0].cli(["EXISTS", key]).output.hasPrefix("1") })
        try cluster.servers[new].cli(["CLUSTER", "SETSLOT", slot, "IMPORTING", try cluster.id(owner)])
        try cluster.servers[owner].cli(["CLUSTER", "SETSLOT", slot, "MIGRATING", try cluster.id(new)])
        let moving = ["MIGRATE", "127.0.0.1", "\(cluster.ports[new])", key, "0", "5000"]
        try #require(cluster.servers[owner].cli(moving).output.hasPrefix("OK"))
        if joining == .moved {
            for node in [new, 0, 1, 2, 3] {
                try cluster.servers[node].cli(["CLUSTER", "SETSLOT", slot, "NODE", try cluster.id(new)])
            }
        }
        try check()
        try waitForFeeds(4)
        try check()
        harness.answers.changes = []
        try cluster.remove(key, on: new)
        let hash = LookupKey(redisKey: Array(key.utf8)).hash
        try harness.turn { harness.answers.changes.contains { $0.keyHashes.contains(hash) } }
        #expect(try harness.ask(devices[7], password: "secret").reason == .noSuchDevice)
        guard joining == .asked else { return }
        // The move is given up, and the node goes: everything is asked about.
        for node in [new, owner] { try cluster.servers[node].cli(["CLUSTER", "SETSLOT", slot, "STABLE"]) }
        harness.answers.changes = []
        cluster.servers[new].kill()
        try waitForFeeds(3)
        try harness.turn { harness.answers.changes.contains { $0.all } }
    }

    /// As redis-cli does, with look-ups at every stage.
    private func moveSlot(of device: String, _ cluster: Cluster, during: () throws -> Void) throws {
        let key = "tls_domain:\(device)"
        let slot = "\(ClusterSlots.slot(of: Array(key.utf8)))"
        let keySlot = try cluster.servers[0].cli(["CLUSTER", "KEYSLOT", key]).output
        #expect(keySlot.hasPrefix(slot))
        let place = try (0..<3).first { try cluster.servers[$0].cli(["EXISTS", key]).output.hasPrefix("1") }
        let owner = try #require(place)
        let target = (owner + 1) % 3
        let (ownerID, targetID) = (try cluster.id(owner), try cluster.id(target))
        try cluster.servers[target].cli(["CLUSTER", "SETSLOT", slot, "IMPORTING", ownerID])
        try cluster.servers[owner].cli(["CLUSTER", "SETSLOT", slot, "MIGRATING", targetID])
        try during()
        let port = "\(cluster.ports[target])"
        try cluster.servers[owner].cli(["MIGRATE", "127.0.0.1", port, key, "0", "5000"])
        try during()
        for node in [target, owner] { try cluster.servers[node].cli(["CLUSTER", "SETSLOT", slot, "NODE", targetID]) }
        try during()
    }
}
