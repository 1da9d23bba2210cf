import AuthCache
import AuthWorker
import Common
import Glibc
import SQLite
import TestSupport
import Testing

/// Changes that were told and that the cache file lacks.
@Suite struct MissingMarksTests {
    /// Of a time no more is kept than that: a mark counts until the end of it.
    private static let unit: Int64 = 64

    private func key(_ name: String, related: [String] = []) -> LookupKey {
        LookupKey(redisKey: Array(name.utf8), relatedKeys: related.map { Array($0.utf8) })
    }

    private func mark(_ name: String, _ time: Int64) -> CacheWrite {
        .markChanged(redisKey: Array(name.utf8), atMilliseconds: time)
    }

    private func note(_ write: CacheWrite, _ marks: MissingMarks) {
        marks.awaits(marks.note(write))
    }

    @Test func `a row that was fetched before the change is meant, by any of its keys`() throws {
        let folder = try TemporaryDirectory("martlet-marks")
        func open() throws -> MissingMarks { MissingMarks(page: SharedPage(path: folder.file("marks"))) }
        let marks = try open()
        self.note(self.mark("a", 1000), marks)
        self.note(.markAbsent(self.key("gone"), atMilliseconds: 900, generation: 0), marks)
        let later = try open()
        for key in [self.key("a"), self.key("b", related: ["a"]), self.key("gone")] {
            #expect(later.concern(key, knownCurrentMilliseconds: 900))
            #expect(!later.concern(key, knownCurrentMilliseconds: 1000 + Self.unit))
        }
        #expect(!later.concern(self.key("gone"), knownCurrentMilliseconds: 900 + Self.unit))
        #expect(!later.concern(self.key("c"), knownCurrentMilliseconds: 0))
        marks.forgetNext()
        #expect(!later.concern(self.key("a"), knownCurrentMilliseconds: 0))
        #expect(later.concern(self.key("gone"), knownCurrentMilliseconds: 0))
    }

    @Test func `a mark stays until all of its key are written, by each worker that noted one`() {
        let page = SharedPage()
        let (one, other) = (MissingMarks(page: page), MissingMarks(page: page))
        func counts(_ time: Int64) -> Bool {
            MissingMarks(page: page).concern(self.key("a"), knownCurrentMilliseconds: time)
        }
        self.note(self.mark("a", 1000), one)
        self.note(self.mark("a", 1000), other)
        self.note(self.mark("a", 2000), one)
        one.forgetNext()
        #expect(counts(2000))
        one.forgetNext()
        #expect(counts(1000))
        self.note(self.mark("a", 2000), other)
        other.forgetNext()
        #expect(counts(2000))
        other.forgetNext()
        #expect(!counts(0))
    }

    @Test func `more than there is room for mean all rows that were known before, until they are written`() {
        let page = SharedPage()
        let (marks, other) = (MissingMarks(page: page), MissingMarks(page: page))
        self.note(self.mark("of the other", 500), other)
        for number in 0..<1000 { self.note(self.mark("\(number)", 1000 + Int64(number)), marks) }
        // One that was started after the first was killed.
        func isMeant(_ name: String, _ time: Int64) -> Bool {
            MissingMarks(page: page).concern(self.key(name), knownCurrentMilliseconds: time)
        }
        #expect(isMeant("any", 1999) && other.concern(self.key("any"), knownCurrentMilliseconds: 1999))
        #expect(!isMeant("any", 2000 + Self.unit))
        // This one knows which, without the page.
        #expect(!marks.concern(self.key("any"), knownCurrentMilliseconds: 1000))
        for _ in 0..<999 { marks.forgetNext() }
        #expect(isMeant("any", 1999))
        marks.forgetNext()
        #expect(!isMeant("any", 0) && !isMeant("999", 0))
        #expect(isMeant("of the other", 0))
        other.forgetNext()
        #expect((1..<SharedPage.wordCount).allSatisfy { $0 == 1 || page[$0] == 0 })
    }

    @Test func `what is not going to be written stays`() {
        let page = SharedPage()
        let marks = MissingMarks(page: page)
        self.note(self.mark("a", 1000), marks)
        marks.keep(marks.note(self.mark("a", 1000)))
        self.note(.markAllChanged(atMilliseconds: 5), marks)
        marks.keep(marks.note(.markAllChanged(atMilliseconds: 6)))
        for _ in 0..<2 { marks.forgetNext() }
        #expect(marks.concern(self.key("a"), knownCurrentMilliseconds: 1000))
        #expect(marks.concern(self.key("other"), knownCurrentMilliseconds: 6))
        #expect(!marks.concern(self.key("other"), knownCurrentMilliseconds: 7))
    }

    @Test func `what killed workers left makes room, and means any row then`() {
        let page = SharedPage()
        let killed = MissingMarks(page: page)
        for number in 0..<1000 { self.note(self.mark("\(number)", 1000), killed) }
        let marks = MissingMarks(page: page)
        let now: Int64 = 100_000
        self.note(self.mark("new", now), marks)
        let later = MissingMarks(page: page)
        #expect(later.concern(self.key("new"), knownCurrentMilliseconds: now))
        #expect(later.concern(self.key("any"), knownCurrentMilliseconds: 1000))
        #expect(!later.concern(self.key("any"), knownCurrentMilliseconds: 1000 + Self.unit))
        marks.forgetNext()
        #expect(!later.concern(self.key("new"), knownCurrentMilliseconds: 1000 + Self.unit))
    }

    @Test func `the marks of a release before mean any row`() {
        let page = SharedPage()
        page[0] = 1
        page[1] = 1000
        page[20] = 0xABCD
        let marks = MissingMarks(page: page)
        #expect(marks.concern(self.key("any"), knownCurrentMilliseconds: 1000))
        #expect(!marks.concern(self.key("any"), knownCurrentMilliseconds: 1001))
    }

    @Test func `a row that lacks a change is fetched before it counts, and then counts again`() throws {
        var harness = try AuthenticatorHarness()
        for name in ["a", "b"] { harness.rows[name] = "p" }
        for name in ["a", "b"] { #expect(harness.ask(name, "p")?.outcome == .allow) }
        harness.advance(seconds: 1)
        let mark = CacheWrite.markChanged(
            redisKey: harness.key("a").redisKey,
            atMilliseconds: harness.wallMilliseconds
        )
        harness.missingMarks.keep(harness.missingMarks.note(mark))
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
        // Killed before the mark is written, and after.
        harness.holdsWrites = true
        harness.change("b")
        try harness.restart()
        #expect(harness.ask("b", "p")?.outcome == .unknown)
        harness.performWrites()
        harness.redis = .works
        harness.advance(seconds: 1)
        harness.change("a")
        #expect(harness.ask("a", "p")?.source == .redis)
        harness.redis = .isDown
        try harness.restart()
        #expect(harness.ask("a", "p")?.outcome == .allow)
    }

    @Test func `a worker knows which rows it was told of, though there is no room in the page`() throws {
        var harness = try AuthenticatorHarness()
        let names = (0..<600).map { "d\($0)" }
        for name in names + ["stays"] {
            harness.rows[name] = "p"
            #expect(harness.ask(name, "p")?.outcome == .allow)
        }
        try harness.restart()
        harness.holdsWrites = true
        harness.authenticator.changed(names.map { harness.key($0).redisKey }, now: harness.time)
        harness.performActions()
        harness.redis = .isDown
        #expect(names.allSatisfy { harness.ask($0, "p")?.outcome == .unknown })
        #expect(harness.ask("stays", "p")?.outcome == .allow)
        harness.performWrites()
        #expect(names.allSatisfy { harness.ask($0, "p")?.outcome == .unknown })
        try harness.restart()
        #expect(harness.ask("stays", "p")?.outcome == .allow)
    }

    /// Nothing can be written: the file is locked, as by a disk that hangs. The worker ends, or is killed before it has noticed, and Redis
    /// is away.
    @Test(arguments: [false, true])
    func `regression: who was removed while the cache file could not be written stays out`(_ isKilled: Bool) throws {
        let cache = try TemporaryDirectory("martlet-cache")
        let redis = try RedisServer()
        let configuration = Configuration.test(redis: .unixSocket(redis.socketPath), cache: cache.file("auth"))
        let devices = ["gone", "renewed", "stays"]
        for device in devices { try redis.cli(["hset", "tls_domain:\(device)", "password", "p"]) }
        let worker = try WorkerHarness(configuration)
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        for device in devices { #expect(try worker.ask(device, password: "p").outcome == .allow) }
        try worker.waitForStatus("cache_rows_written") { Int($0) ?? 0 >= devices.count }
        let file = worker.status("cache_file")
        let other = try Database(path: file, access: .readWrite, busyTimeoutMilliseconds: 1000)
        try other.execute("BEGIN IMMEDIATE")
        try redis.cli(["hset", "tls_domain:renewed", "password", "new"])
        try redis.cli(["del", "tls_domain:gone"])
        try worker.turn { try worker.ask("gone", password: "p").reason == .noSuchDevice }
        // One that is killed: nobody turns it any more, and its thread can write nothing.
        #expect(worker.status("alarm") == "0")
        if !isKilled { worker.stop() }
        redis.kill()
        let next = try WorkerHarness(configuration)
        for device in ["gone", "renewed"] { #expect(try next.ask(device, password: "p").outcome == .unknown) }
        #expect(try next.ask("stays", password: "p").outcome == .allow)
        try other.execute("ROLLBACK")
        // Not for ever: it is let in again when Redis has it.
        try redis.start()
        try redis.cli(["hset", "tls_domain:gone", "password", "p"])
        try next.turn { try next.ask("gone", password: "p").outcome == .allow }
        withExtendedLifetime(worker) {}
    }
}
