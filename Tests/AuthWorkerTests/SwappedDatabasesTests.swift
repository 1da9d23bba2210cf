import Common
import TestSupport
import Testing

@testable import AuthWorker

/// Databases of a real Redis that are exchanged.
@Suite struct SwappedDatabasesTests {
    private let redis: RedisServer
    private let cache: TemporaryDirectory

    init() throws {
        self.cache = try TemporaryDirectory("martlet-cache")
        self.redis = try RedisServer(options: ["--notify-keyspace-events", "KA"])
    }

    private func provision(_ devices: [String], database: Int = 0) throws {
        for device in devices {
            try self.redis.cli(["-n", "\(database)", "hset", "tls_domain:\(device)", "password", "public"])
        }
    }

    /// Redis invalidates no key then, and sends no keyspace event: removed devices came in, and stayed, for as long as their rows counted.
    @Test(
        "Regression: rows that come and go with SWAPDB are noticed, and many that go are taken for lost",
        arguments: [Configuration.Authentication.Redis.Invalidation.tracking, .keyspace]
    )
    func swapped(_ invalidation: Configuration.Authentication.Redis.Invalidation) throws {
        let devices = ["alpha", "beta", "gamma"]
        try self.provision(devices)
        try self.provision(["alpha", "beta"], database: 1)
        var configuration = Configuration.test(
            redis: .unixSocket(self.redis.socketPath),
            cache: self.cache.file("auth")
        )
        configuration.authentication.redis.invalidation = invalidation
        configuration.authentication.cache.staleAfterNanoseconds = 60 * Nanoseconds.perSecond
        configuration.authentication.redis.queryTimeoutNanoseconds = 30 * Nanoseconds.perSecond
        let log = RecordedMessages()
        let worker = try WorkerHarness(configuration, logHandler: log)
        try worker.waitForStatus("changes_learned_by") { $0 == invalidation.rawValue }
        for device in devices { #expect(try worker.ask(device, password: "public").outcome == .allow) }
        let source = try #require(worker.service.redisSources.first)
        try worker.turn { source.swapCount == 0 }
        worker.answers.changes = []
        try self.redis.cli(["swapdb", "0", "1"])
        // It asks every ten seconds.
        source.askForSwaps()
        try worker.turn { log.messages.contains { $0.hasPrefix("databases of Redis were exchanged") } }
        try worker.turn { worker.answers.changes.contains { $0.all } }
        try worker.turn { try worker.ask("gamma", password: "public").reason == .noSuchDevice }
        #expect(try worker.ask("alpha", password: "public").outcome == .allow)
        #expect(worker.status("alarm") == "0")
    }

    @Test("The count of a command's calls, in what INFO says")
    func counts() {
        let line = "cmdstat_swapdb:calls=12,usec=\(String(repeating: "9", count: 100)),rejected_calls=0"
        let cases: [(RedisReply, UInt64?)] = [
            (.bulk(Array("# Commandstats\r\n\(line)\r\ncmdstat_swapdbx:calls=7\r\n".utf8)), 12),
            (.bulk(Array("# Commandstats\r\ncmdstat_swapdbx:calls=7\r\n".utf8)), 0),
            (.bulk(Array("cmdstat_swapdb:calls=\r\n".utf8)), nil),
            (.bulk(Array("cmdstat_swapdb:calls=99999999999999999999999\r\n".utf8)), nil),
            (.error(Array("NOPERM".utf8)), nil), (.null, nil),
        ]
        for (reply, count) in cases { #expect(reply.callCount(of: "swapdb") == count) }
    }
}
