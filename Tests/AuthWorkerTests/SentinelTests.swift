import Common
import TestSupport
import Testing

@testable import AuthWorker

@Suite struct SentinelWatcherTests {
    private static let sentinels: [RedisURL.Server] = [.tcp(host: "s1", port: 26379), .tcp(host: "s2", port: 26379)]

    private func watcher(password: String? = nil) -> SentinelWatcher {
        var settings = RedisClient.Settings()
        settings.password = password.map { Array($0.utf8) }
        return SentinelWatcher(
            servers: Self.sentinels,
            name: "mymaster",
            settings: settings,
            random: SeededRandom(seed: 1),
            now: 1000
        )
    }

    private func feed(_ watcher: inout SentinelWatcher, _ text: String, now: Instant) {
        // In pieces of every size that there is.
        for byte in text.utf8 { withUnsafeBytes(of: byte) { watcher.received($0, now: now) } }
    }

    private func take(_ watcher: inout SentinelWatcher) -> [SentinelWatcher.Action] {
        defer { watcher.actions = [] }
        return watcher.actions
    }

    @Test func theMasterIsAskedForAgainAndAgain() {
        var watcher = self.watcher()
        watcher.advance(now: 1000)
        #expect(self.take(&watcher) == [.connect(Self.sentinels[0])])
        watcher.connected(now: 1000)
        self.feed(&watcher, "+OK\r\n*2\r\n$9\r\n10.0.0.17\r\n$4\r\n6380\r\n", now: 1000)
        #expect(self.take(&watcher) == [.master(.tcp(host: "10.0.0.17", port: 6380))])
        watcher.output.clear()
        watcher.advance(now: 1000 + AuthLimits.sentinelPollNanoseconds)
        #expect(String(decoding: watcher.output.readable, as: UTF8.self).contains("GET-MASTER-ADDR-BY-NAME"))
        self.feed(&watcher, "*2\r\n$9\r\n10.0.0.17\r\n$4\r\n6380\r\n", now: 2000)
        #expect(self.take(&watcher) == [])
        watcher.advance(now: 1000 + 2 * AuthLimits.sentinelPollNanoseconds)
        self.feed(&watcher, "*2\r\n$9\r\n10.0.0.18\r\n$4\r\n6380\r\n", now: 3000)
        #expect(self.take(&watcher) == [.master(.tcp(host: "10.0.0.18", port: 6380))])
    }

    @Test func aSentinelWhoseMasterCannotBeUsedIsLeftForTheNext() {
        var watcher = self.watcher()
        let stale = RedisURL.Server.tcp(host: "10.0.0.17", port: 6380)
        watcher.advance(now: 1000)
        watcher.connected(now: 1000)
        watcher.masterFailed(now: 1000)
        #expect(self.take(&watcher) == [.connect(Self.sentinels[0])], "it has not said anything yet")
        self.feed(&watcher, "+OK\r\n*2\r\n$9\r\n10.0.0.17\r\n$4\r\n6380\r\n", now: 1000)
        #expect(self.take(&watcher) == [.master(stale)])
        watcher.masterFailed(now: 2000)
        watcher.advance(now: 2000)
        #expect(self.take(&watcher) == [.close, .connect(Self.sentinels[1])])
        watcher.connected(now: 2000)
        self.feed(&watcher, "+OK\r\n*2\r\n$9\r\n10.0.0.18\r\n$4\r\n6380\r\n", now: 2000)
        #expect(self.take(&watcher) == [.master(.tcp(host: "10.0.0.18", port: 6380))])
        watcher.masterFailed(now: 3000)
        #expect(self.take(&watcher).isEmpty, "they are not asked in turns as fast as a master fails")
        watcher.masterFailed(now: 2000 + AuthLimits.sentinelDoubtNanoseconds)
        #expect(self.take(&watcher) == [.close])
    }

    @Test(arguments: [
        "+OK\r\n*-1\r\n", "+OK\r\n-IDONTKNOW no\r\n", "+OK\r\n:1\r\n", "+OK\r\n*2\r\n$1\r\nh\r\n$5\r\n99999\r\n",
        "garbage\r\n",
        "+OK\r\n*2\r\n$1\r\nh\r\n$4\r\n6379\r\n+TOO MUCH\r\n",
    ])
    func aSentinelThatCannotSayIsLeftForTheNext(_ reply: String) {
        var watcher = self.watcher()
        watcher.advance(now: 1000)
        watcher.connected(now: 1000)
        _ = self.take(&watcher)
        self.feed(&watcher, reply, now: 1000)
        #expect(self.take(&watcher).contains(.close))
        watcher.advance(now: 1000)
        #expect(self.take(&watcher) == [.connect(Self.sentinels[1])])
    }

    @Test func aSilentSentinelIsLeftWithinASecondAndLossIsToldOnce() {
        var watcher = self.watcher()
        var now: Instant = 1000
        var lost = 0
        for _ in 0..<6 {
            watcher.advance(now: now)
            watcher.connected(now: now)
            now += AuthLimits.sentinelSilenceNanoseconds
            watcher.advance(now: now)
            for action in self.take(&watcher) { if case .lost = action { lost += 1 } }
            now = max(now, watcher.nextDeadline ?? now)
        }
        #expect(lost == 1)
    }

    @Test func itsOwnPasswordIsSentFirst() {
        var watcher = self.watcher(password: "pw")
        watcher.advance(now: 1000)
        watcher.connected(now: 1000)
        #expect(String(decoding: watcher.output.readable, as: UTF8.self).hasPrefix("*2\r\n$4\r\nAUTH\r\n$2\r\npw"))
        _ = self.take(&watcher)
        self.feed(&watcher, "-WRONGPASS no\r\n", now: 1000)
        #expect(self.take(&watcher).contains(.close))
    }
}

/// A real master with a replica, and three real Sentinels.
@Suite struct SentinelTests {
    @Test("after the master's death devices come in by its successor, without a restart")
    func failover() throws {
        let ports = try (0..<2).map { _ in try RedisServer.freePort() }
        let master = try RedisServer(.tcp(port: ports[0]))
        let replica = try RedisServer(
            .tcp(port: ports[1]),
            options: ["--replicaof", "127.0.0.1", "\(ports[0])", "--repl-diskless-sync-delay", "0"]
        )
        try master.cli(["HSET", "tls_domain:a", "password", "secret"])
        let sentinels = try (0..<3).map { _ in try SentinelServer(master: ports[0]) }
        try waitUntil("the replica has the row") {
            try replica.cli(["EXISTS", "tls_domain:a"]).output.hasPrefix("1")
        }
        try waitUntil("the Sentinels know the replica and one another") {
            try sentinels.allSatisfy {
                let info = try $0.cli(["info", "sentinel"])
                return info.contains("slaves=1,sentinels=3")
            }
        }

        var configuration = Configuration.test(redis: .tcp(host: "unused", port: 1), cache: nil)
        var sentinel = Configuration.Authentication.Redis.Sentinel()
        // The first one does not exist.
        sentinel.servers = try [.tcp(host: "127.0.0.1", port: RedisServer.freePort())]
        sentinel.servers += sentinels.map { .tcp(host: "127.0.0.1", port: $0.port) }
        sentinel.master = "mymaster"
        configuration.authentication.redis.topology = .sentinel(sentinel)
        let harness = try WorkerHarness(configuration)
        try harness.waitForStatus("redis") { $0 == "in use, master 127.0.0.1:\(ports[0])" }
        #expect(try harness.ask("a", password: "secret").outcome == .allow)
        #expect(try harness.ask("b", password: "secret").outcome == .deny)

        master.kill()
        var outcomes: [AuthVerdict] = []
        try waitUntil("the successor is in use", seconds: 60) {
            outcomes.append(try harness.ask("a", password: "secret"))
            outcomes.append(try harness.ask("a", password: "wrong"))
            try harness.loop.turn(maximumWaitNanoseconds: 20 * Nanoseconds.perMillisecond)
            return harness.status("redis") == "in use, master 127.0.0.1:\(ports[1])"
        }
        // Nobody is denied by a Redis that is away, and nobody gets in with a wrong password.
        let isRight = outcomes.allSatisfy { verdict in
            verdict.outcome == .unknown || verdict.outcome == .allow || verdict.reason == .wrongPassword
        }
        #expect(isRight)
        #expect(try harness.ask("a", password: "secret").outcome == .allow)
        #expect(try harness.ask("a", password: "wrong").reason == .wrongPassword)
        try harness.waitForStatus("changes_learned_by") { $0 == "tracking" }
    }

    /// It said "Redis lost", for which server is the master was not known in the first moment.
    @Test("Regression: a good start loses no Redis")
    func goodStart() throws {
        let port = try RedisServer.freePort()
        let master = try RedisServer(.tcp(port: port))
        try master.cli(["HSET", "tls_domain:a", "password", "secret"])
        let sentinel = try SentinelServer(master: port)
        var configuration = Configuration.test(redis: .tcp(host: "unused", port: 1), cache: nil)
        var settings = Configuration.Authentication.Redis.Sentinel()
        settings.servers = [.tcp(host: "127.0.0.1", port: sentinel.port)]
        settings.master = "mymaster"
        configuration.authentication.redis.topology = .sentinel(settings)
        let log = RecordedMessages()
        let harness = try WorkerHarness(configuration, logHandler: log)
        #expect(try harness.ask("a", password: "secret").outcome == .allow)
        #expect(log.messages.contains("Redis in use") && !log.messages.contains { $0.contains("lost") })
    }

    @Test("Regression: where no Sentinel has named a master yet the log does not speak of the last known one")
    func noneAtStart() throws {
        let port = try RedisServer.freePort()
        let master = try RedisServer(.tcp(port: port))
        var configuration = Configuration.test(redis: .tcp(host: "unused", port: 1), cache: nil)
        var settings = Configuration.Authentication.Redis.Sentinel()
        settings.servers = try [.tcp(host: "127.0.0.1", port: RedisServer.freePort())]
        settings.master = "mymaster"
        configuration.authentication.redis.topology = .sentinel(settings)
        let log = RecordedMessages()
        let lost = { log.messages.filter { $0.hasPrefix("no Sentinel says which server is the master") } }
        let absent = try WorkerHarness(configuration, logHandler: log)
        try absent.turn { !lost().isEmpty }
        #expect(
            lost().allSatisfy {
                $0.hasSuffix("none has since the start: devices seen before are let in from the cache")
            }
        )

        let sentinel = try SentinelServer(master: port)
        settings.servers = [.tcp(host: "127.0.0.1", port: sentinel.port)]
        configuration.authentication.redis.topology = .sentinel(settings)
        let laterLog = RecordedMessages()
        let harness = try WorkerHarness(configuration, logHandler: laterLog)
        try harness.waitForStatus("redis") { $0 == "in use, master 127.0.0.1:\(port)" }
        sentinel.kill()
        try harness.turn {
            laterLog.messages.contains("no Sentinel says which server is the master, the last known one is used")
        }
        withExtendedLifetime(master) {}
    }

    @Test("a server that is a replica is not used, whatever the Sentinel says")
    func aReplicaIsNotUsed() throws {
        let ports = try (0..<2).map { _ in try RedisServer.freePort() }
        let master = try RedisServer(.tcp(port: ports[0]))
        try master.cli(["HSET", "tls_domain:a", "password", "secret"])
        let other = try RedisServer(.tcp(port: ports[1]))
        try other.cli(["HSET", "tls_domain:a", "password", "old"])
        let sentinel = try SentinelServer(master: ports[1])
        var configuration = Configuration.test(redis: .tcp(host: "unused", port: 1), cache: nil)
        var settings = Configuration.Authentication.Redis.Sentinel()
        settings.servers = [.tcp(host: "127.0.0.1", port: sentinel.port)]
        settings.master = "mymaster"
        configuration.authentication.redis.topology = .sentinel(settings)
        let harness = try WorkerHarness(configuration)
        try harness.waitForStatus("redis") { $0 == "in use, master 127.0.0.1:\(ports[1])" }
        try other.cli(["REPLICAOF", "127.0.0.1", "\(ports[0])"])
        try harness.waitForStatus("redis") { $0.contains("the server is no master") }
        #expect(try harness.ask("a", password: "old").outcome == .unknown)
    }
}
