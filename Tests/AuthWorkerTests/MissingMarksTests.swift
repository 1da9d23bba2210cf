import AuthCache
import AuthWorker
import Common
import Glibc
import SQLite
import TestSupport
import Testing

/// Changes that are told while the cache file cannot be written.
@Suite struct MissingMarksTests {
    private func key(_ name: String, related: [String] = []) -> LookupKey {
        LookupKey(redisKey: Array(name.utf8), relatedKeys: related.map { Array($0.utf8) })
    }

    private func mark(_ name: String, _ time: Int64) -> CacheWrite {
        .markChanged(redisKey: Array(name.utf8), atMilliseconds: time)
    }

    @Test func `a row that was fetched before the change is meant, by any of its keys`() throws {
        let folder = try TemporaryDirectory("martlet-marks")
        func open() throws -> MissingMarks { MissingMarks(page: SharedPage(path: folder.file("marks"))) }
        let marks = try open()
        marks.note(self.mark("a", 1000))
        marks.note(.markAbsent(self.key("gone"), atMilliseconds: 900, generation: 0))
        let later = try open()
        for key in [self.key("a"), self.key("b", related: ["a"]), self.key("gone")] {
            #expect(later.concern(key, knownCurrentMilliseconds: 1000))
            #expect(!later.concern(key, knownCurrentMilliseconds: 1001))
        }
        #expect(!later.concern(self.key("c"), knownCurrentMilliseconds: 0))
        later.forget(Array("a".utf8))
        #expect(!marks.concern(self.key("a"), knownCurrentMilliseconds: 0))
        #expect(marks.concern(self.key("gone"), knownCurrentMilliseconds: 0))
    }

    @Test func `more than there is room for mean all rows that were known before`() {
        let marks = MissingMarks()
        for number in 0..<1000 { marks.note(self.mark("\(number)", 1000 + Int64(number))) }
        #expect(marks.concern(self.key("other"), knownCurrentMilliseconds: 1100))
        #expect(marks.concern(self.key("999"), knownCurrentMilliseconds: 1999))
        #expect(!marks.concern(self.key("other"), knownCurrentMilliseconds: 1999))
        let all = MissingMarks()
        all.note(.markAllChanged(atMilliseconds: 5))
        #expect(all.concern(self.key("other"), knownCurrentMilliseconds: 5))
        #expect(!all.concern(self.key("other"), knownCurrentMilliseconds: 6))
    }

    @Test func `a row that lacks a change is fetched before it counts, and then counts again`() throws {
        var harness = try AuthenticatorHarness()
        for name in ["a", "b"] { harness.rows[name] = "p" }
        for name in ["a", "b"] { #expect(harness.ask(name, "p")?.outcome == .allow) }
        harness.advance(seconds: 1)
        harness.missingMarks.note(
            .markChanged(redisKey: harness.key("a").redisKey, atMilliseconds: harness.wallMilliseconds)
        )
        harness.advance(seconds: 1)
        harness.redis = .isDown
        try harness.restart()
        #expect(harness.ask("a", "p")?.outcome == .unknown)
        #expect(harness.ask("b", "p")?.outcome == .allow)
        harness.redis = .works
        #expect(harness.ask("a", "p")?.source == .redis)
        harness.redis = .isDown
        try harness.restart()
        #expect(harness.ask("a", "p")?.outcome == .allow)
        // The mark is written after all.
        harness.missingMarks.note(
            .markChanged(redisKey: harness.key("b").redisKey, atMilliseconds: harness.wallMilliseconds)
        )
        harness.redis = .works
        harness.change("b")
        #expect(!harness.missingMarks.concern(harness.key("b"), knownCurrentMilliseconds: 0))
    }

    /// Nothing can be written, as on a full disk; the workers end, and Redis is away.
    @Test(arguments: [false, true])
    func `regression: who was removed while the cache file could not be written stays out`(_ isKilled: Bool) throws {
        let cache = try TemporaryDirectory("martlet-cache")
        let redis = try RedisServer()
        let configuration = Configuration.test(redis: .unixSocket(redis.socketPath), cache: cache.file("auth"))
        for device in ["gone", "stays"] { try redis.cli(["hset", "tls_domain:\(device)", "password", "p"]) }
        let worker = try WorkerHarness(configuration)
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        for device in ["gone", "stays"] { #expect(try worker.ask(device, password: "p").outcome == .allow) }
        try worker.waitForStatus("cache_rows_written") { Int($0) ?? 0 >= 2 }
        let file = worker.status("cache_file")
        let other = try Database(path: file, access: .readWrite, busyTimeoutMilliseconds: 1000)
        try other.execute("BEGIN IMMEDIATE")
        try redis.cli(["del", "tls_domain:gone"])
        try worker.turn { try worker.ask("gone", password: "p").reason == .noSuchDevice }
        if isKilled {
            // Nobody turns it any more.
            try worker.waitForStatus("alarm") { $0.hasPrefix("the authentication cache is not usable") }
        } else {
            worker.stop()
        }
        redis.kill()
        let next = try WorkerHarness(configuration)
        #expect(try next.ask("gone", password: "p").outcome == .unknown)
        #expect(try next.ask("stays", password: "p").outcome == .allow)
        try other.execute("ROLLBACK")
        // Not for ever: it is let in again when Redis has it.
        try redis.start()
        try redis.cli(["hset", "tls_domain:gone", "password", "p"])
        try next.turn { try next.ask("gone", password: "p").outcome == .allow }
    }
}
