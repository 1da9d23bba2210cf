import Common
import TestSupport
import Testing

@testable import AuthWorker

/// Changes that are told by keyspace events, with a real Redis.
@Suite struct KeyspaceEventsTests {
    private let redis: RedisServer
    private let cache: TemporaryDirectory

    init() throws {
        self.cache = try TemporaryDirectory("martlet-cache")
        self.redis = try RedisServer()
        try self.redis.cli(["hset", "tls_domain:alpha", "password", "public"])
        try self.setEvents("KA")
    }

    private func setEvents(_ flags: String) throws {
        try self.redis.cli(["config", "set", "notify-keyspace-events", flags])
    }

    private func configuration(user: String? = nil) -> Configuration {
        var url = RedisURL.unixSocket(self.redis.socketPath)
        url.user = user
        var configuration = Configuration.test(redis: url, cache: self.cache.file("auth"))
        configuration.authentication.redis.invalidation = .keyspace
        configuration.authentication.redis.pollIntervalNanoseconds = 3600 * Nanoseconds.perSecond
        // However slow the machine is, Redis decides.
        configuration.authentication.cache.staleAfterNanoseconds = 60 * Nanoseconds.perSecond
        configuration.authentication.redis.queryTimeoutNanoseconds = 30 * Nanoseconds.perSecond
        return configuration
    }

    /// CONNECT went on by the cached row, live sessions of removed devices stayed for good, and nothing said so.
    @Test func `Regression: keyspace events that are turned off are noticed, and so is their return`() throws {
        let log = RecordedMessages()
        let worker = try WorkerHarness(self.configuration(), logHandler: log)
        try worker.waitForStatus("changes_learned_by") { $0 == "keyspace" }
        #expect(try worker.ask("alpha", password: "public").outcome == .allow)
        #expect(try worker.ask("alpha", password: "public").source == .memoryCache)
        worker.answers.changes = []
        try self.setEvents("")
        try self.redis.cli(["del", "tls_domain:alpha"])
        try worker.turn { worker.answers.changes.contains { $0.all } }
        #expect(try worker.ask("alpha", password: "public").reason == .noSuchDevice)
        try worker.waitForStatus("changes_learned_by") { $0 == "poll" }
        try worker.waitForStatus("alarm") { $0.hasPrefix("Redis answers, but tells no changes") }
        // What changes now is noticed all the same.
        try self.redis.cli(["hset", "tls_domain:alpha", "password", "public"])
        try worker.turn { try worker.ask("alpha", password: "public").outcome == .allow }
        try self.redis.cli(["del", "tls_domain:alpha"])
        #expect(try worker.ask("alpha", password: "public").reason == .noSuchDevice)

        // While Redis says nothing at all it is no alarm.
        self.redis.kill()
        try worker.waitForStatus("redis") { $0.hasPrefix("unavailable") }
        #expect(worker.status("alarm") == "0")
        try self.redis.start()
        try worker.waitForStatus("redis") { $0 == "in use" }

        worker.answers.changes = []
        try self.setEvents("KA")
        try worker.waitForStatus("changes_learned_by") { $0 == "keyspace" }
        try worker.turn { worker.answers.changes.contains { $0.all } }
        #expect(worker.status("alarm") == "0")
        #expect(log.messages.contains { $0.hasPrefix("changes of rows are told again") })
    }

    /// Nothing is known then, which is no reason to take the events for lost.
    @Test func `a right to ask that is taken away is told once`() throws {
        let words =
            "ACL SETUSER few on >first ~tls_domain:* &* -@all +hmget +exists +ping +select +info +subscribe +psubscribe"
        try self.redis.cli(words.split(separator: " ").map(String.init) + ["+client|setname", "+config|get"])
        let log = RecordedMessages()
        var configuration = self.configuration(user: "few")
        configuration.authentication.redis.passwordFile = self.cache.file("password")
        try writeFile(self.cache.file("password"), Array("first\n".utf8))
        let worker = try WorkerHarness(configuration, logHandler: log)
        try worker.waitForStatus("changes_learned_by") { $0 == "keyspace" }
        try self.redis.cli(["ACL", "SETUSER", "few", "-config|get"])
        func lines() -> Int { log.messages.count { $0.hasPrefix("Redis does not say any more whether it announces") } }
        try worker.turn { lines() == 1 }
        let commands = Int(worker.status("redis_commands")) ?? 0
        try worker.turn { Int(worker.status("redis_commands")) ?? 0 >= commands + 2 }
        #expect(lines() == 1 && worker.status("changes_learned_by") == "keyspace")
        worker.answers.changes = []
        try self.redis.cli(["hset", "tls_domain:alpha", "password", "other"])
        try worker.turn { !worker.answers.changes.isEmpty }
    }
}
