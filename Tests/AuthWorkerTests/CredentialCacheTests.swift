import AuthCache
import AuthWorker
import Common
import Glibc
import SQLite
import TestSupport
import Testing

@Suite struct CredentialCacheTests {
    /// A clock that was set right by more than a year made all rows too old for an outage.
    @Test func rowsAgeByTheHostsOwnClock() throws {
        let folder = try TemporaryDirectory("martlet-cache")
        let directory = CacheDirectory(path: folder.path)
        let first = CacheClock(directory, boot: 7, wall: 1_700_000_000_000, bootTime: 5000)
        #expect(first.offsetMilliseconds == 1_699_999_995_000)
        // Workers that start later in the same boot go on by it, whatever the wall says.
        #expect(CacheClock(directory, boot: 7, wall: 1_800_000_000_000, bootTime: 9000) == first)
        #expect(CacheClock(directory, boot: 7, wall: 1000, bootTime: 9000) == first)
        let next = CacheClock(directory, boot: 8, wall: 1_700_000_100_000, bootTime: 1000)
        #expect(next.offsetMilliseconds == 1_700_000_099_000)
        #expect(CacheClock(directory, boot: 8, wall: 0, bootTime: 2000) == next)
    }

    @Test func theLatestMomentOfAFileIsThatOfARowOrOfWhatWasTold() throws {
        let folder = try TemporaryDirectory("martlet-cache")
        let opened = try Opened(folder.path)
        #expect(opened.cache.latestMilliseconds == nil)
        let row = CredentialRow(secret: .none)
        for (name, time) in [("a", 200), ("b", 300), ("c", 100)] as [(String, Int64)] {
            let key = LookupKey(redisKey: Array(name.utf8))
            opened.cache.write(.store(key, row, knownCurrentMilliseconds: time, generation: 0))
        }
        try opened.settle()
        #expect(opened.cache.latestMilliseconds == 300)
        opened.cache.write(.told(beganMilliseconds: 100, untilMilliseconds: 900))
        try opened.settle()
        #expect(opened.cache.latestMilliseconds == 900)
    }

    @Test func whenChangesWereToldIsCommonToAllWorkersOfASource() throws {
        let folder = try TemporaryDirectory("martlet-cache")
        let opened = try (0..<3).map { try Opened(folder.path, source: $0 < 2 ? [1] : [2]) }
        #expect(opened[0].cache.toldSpans() == ToldSpans())
        opened[0].cache.write(.told(beganMilliseconds: 100, untilMilliseconds: 150))
        opened[0].cache.write(.told(beganMilliseconds: 100, untilMilliseconds: 300))
        opened[1].cache.write(.told(beganMilliseconds: 250, untilMilliseconds: 900))
        opened[1].cache.write(.told(beganMilliseconds: 1000, untilMilliseconds: 1001))
        for one in opened { try one.settle() }
        let spans = ToldSpans([.init(began: 100, until: 900), .init(began: 1000, until: 1001)])
        #expect(opened[0].cache.toldSpans() == spans)
        #expect(opened[1].cache.toldSpans() == spans)
        #expect(opened[2].cache.toldSpans() == ToldSpans())
        for index in 0..<600 {
            let began = Int64(2000 + index * 10)
            opened[0].cache.write(.told(beganMilliseconds: began, untilMilliseconds: began + 1))
        }
        try opened[0].settle()
        #expect(opened[0].cache.toldSpans()?.spans.count == 256)
        #expect(opened[0].cache.toldSpans()?.spans.last == .init(began: 7990, until: 7991))
    }

    /// A cache with the waker it needs, and a loop that nobody runs.
    private final class Opened {
        let loop: EventLoop
        let waker: Waker
        let cache: CredentialCache
        var events: [CredentialCache.Event] = []
        private var isStopped = false

        init(
            _ directory: String,
            source: [UInt8] = [1],
            diskEntries: Int = 1000,
            negativeEntries: Int = 100,
            lockedMaxNanoseconds: UInt64 = AuthLimits.cacheLockedMaxNanoseconds,
            clock: CacheClock = CacheClock()
        ) throws {
            self.loop = try EventLoop()
            self.waker = try Waker(loop: self.loop) {}
            self.cache = CredentialCache(
                directory: directory,
                source: source,
                diskEntries: diskEntries,
                negativeEntries: negativeEntries,
                lockedMaxNanoseconds: lockedMaxNanoseconds,
                clock: clock,
                waker: self.waker.handle
            )
            self.cache.start()
        }

        func stop() {
            guard !self.isStopped else { return }
            self.isStopped = true
            self.cache.stop()
            self.waker.invalidate()
        }

        deinit {
            self.stop()
        }

        func wait(_ what: String, _ condition: () throws -> Bool) throws {
            let deadline = Clock.monotonic() + 15 * Nanoseconds.perSecond
            while try !condition() {
                guard Clock.monotonic() < deadline else { throw ProcessError(description: "no \(what) in 15 s") }
                self.events += self.cache.takeEvents()
                self.cache.reopenIfNeeded()
                usleep(5000)
            }
            self.events += self.cache.takeEvents()
        }

        func status(_ name: String) -> String {
            var report = StatusReport()
            self.cache.report(into: &report)
            return report.lines.first { $0.name == name }?.value ?? ""
        }

        /// Until the rows given so far are in the file.
        func settle() throws {
            try self.wait("write") { self.status("cache_writes_waiting") == "0" }
        }

        func store(_ name: String, _ hash: String = "h", at time: Int64 = 1000, generation: Int64 = 0) {
            let row = CredentialRow(secret: .hash(Array(hash.utf8)), salt: [1, 2], isSuperuser: true)
            self.cache.write(.store(Self.key(name), row, knownCurrentMilliseconds: time, generation: generation))
        }

        func hash(_ name: String) -> String? {
            guard case .found(let row) = self.cache.read(Self.key(name)), case .hash(let hash) = row.row.secret else {
                return nil
            }
            return String(decoding: hash, as: UTF8.self)
        }

        static func key(_ name: String) -> LookupKey { LookupKey(redisKey: Array(name.utf8)) }
    }

    let directory: TemporaryDirectory
    var path: String { self.directory.file("a/b/cache") }

    init() throws {
        self.directory = try TemporaryDirectory("martlet-credentials")
    }

    private func currentFile() throws -> String {
        let name = try runProcess("cat", arguments: ["\(self.path)/current"]).output
        return "\(self.path)/\(name.filter { !$0.isNewline })"
    }

    @Test func rowsOutliveTheProcess() throws {
        let rows: [CredentialRow] = [
            CredentialRow(secret: .none, salt: [], isSuperuser: false),
            CredentialRow(secret: .hash([]), salt: [0, 255], isSuperuser: true),
            CredentialRow(secret: .passwordCode([UInt8](repeating: 9, count: 32))),
        ]
        do {
            let opened = try Opened(self.path)
            for (index, row) in rows.enumerated() {
                let key = LookupKey(redisKey: [0, UInt8(index)], variant: [UInt8(index)])
                opened.cache.write(.store(key, row, knownCurrentMilliseconds: 5 + Int64(index), generation: 0))
            }
            opened.stop()
        }
        let opened = try Opened(self.path)
        for (index, row) in rows.enumerated() {
            let key = LookupKey(redisKey: [0, UInt8(index)], variant: [UInt8(index)])
            let expected = CachedRow(row: row, knownCurrentMilliseconds: 5 + Int64(index))
            #expect(opened.cache.read(key) == .found(expected))
        }
        #expect(opened.cache.read(LookupKey(redisKey: [0, 0], variant: [1])) == .notFound)
        // Another command's rows are others.
        let other = try Opened(self.path, source: [2])
        #expect(other.cache.read(LookupKey(redisKey: [0, 0], variant: [0])) == .notFound)
        #expect(opened.events.isEmpty)
    }

    @Test func theFolderIsNobodyElsesBusiness() throws {
        let opened = try Opened(self.path)
        opened.store("a")
        opened.stop()
        let (_, modes) = try runProcess("stat", arguments: ["-c", "%a", self.path])
        #expect(modes.hasPrefix("700"))
        let (_, files) = try runProcess("sh", arguments: ["-c", "stat -c %a '\(self.path)'/*"])
        #expect(files.split(whereSeparator: \.isNewline).allSatisfy { $0 == "600" }, "\(files)")
    }

    @Test func severalWorkersShareTheFile() throws {
        let first = try Opened(self.path)
        let second = try Opened(self.path)
        first.store("a", "one")
        try first.settle()
        #expect(second.hash("a") == "one")
        second.store("a", "two", at: 2000)
        try second.settle()
        #expect(first.hash("a") == "two")
        // What was fetched earlier does not replace what was fetched later, and its worker is told.
        first.store("a", "old", at: 1500)
        try first.settle()
        #expect(second.hash("a") == "two")
        try first.wait("refusal") { first.events.contains(.refused(Opened.key("a"))) }
    }

    @Test func manyWritersLoseNothing() throws {
        let workers = try (0..<3).map { _ in try Opened(self.path, diskEntries: 10_000) }
        for index in 0..<1500 { workers[index % 3].store("k\(index)", "h\(index)") }
        for worker in workers { try worker.settle() }
        for index in 0..<1500 where workers[(index + 1) % 3].hash("k\(index)") != "h\(index)" {
            Issue.record("k\(index) is missing")
        }
        #expect(workers.allSatisfy { $0.events.isEmpty })
    }

    @Test func rowsThatComeOneAfterTheOtherAreWrittenTogether() throws {
        let opened = try Opened(self.path)
        let start = Clock.monotonic()
        for number in 0..<100 {
            opened.store("device-\(number)")
            let next = Clock.monotonic() + Nanoseconds.perMillisecond
            while Clock.monotonic() < next { sched_yield() }
        }
        try opened.settle()
        let most = (Clock.monotonic() - start) / AuthLimits.cacheGatheringNanoseconds + 2
        let transactions = try #require(UInt64(opened.status("cache_transactions")))
        #expect(transactions <= most)
        #expect(opened.status("cache_rows_written") == "100")
    }

    @Test func absenceIsAMarkThatKeepsTheRow() throws {
        let opened = try Opened(self.path)
        opened.store("a", at: 1000)
        opened.cache.write(.markAbsent(Opened.key("a"), atMilliseconds: 2000, generation: 0))
        opened.cache.write(.markAbsent(Opened.key("never seen"), atMilliseconds: 2000, generation: 0))
        try opened.settle()
        guard case .found(let row) = opened.cache.read(Opened.key("a")) else {
            Issue.record("the row is gone")
            return
        }
        #expect((row.absentSinceMilliseconds, row.knownCurrentMilliseconds) == (2000, 1000))
        #expect(row.row.secret == .hash(Array("h".utf8)))
        #expect(opened.cache.read(Opened.key("never seen")) == .notFound)
        opened.store("a", at: 3000)
        try opened.settle()
        guard case .found(let back) = opened.cache.read(Opened.key("a")) else { return }
        #expect(back.absentSinceMilliseconds == nil)
    }

    @Test(arguments: [true, false])
    func `what a worker fetched before another one heard of a change is not stored`(_ isKnown: Bool) throws {
        let directory = try TemporaryDirectory("martlet-cache")
        let slow = try Opened(directory.path)
        let other = try Opened(directory.path)
        let now = CacheClock().milliseconds
        if isKnown { slow.store("a", "old", at: now) }
        try slow.settle()
        let mark = CacheWrite.markChanged(redisKey: Array("a".utf8), atMilliseconds: now + 1000)
        other.cache.write(mark)
        try other.settle()
        #expect(other.events.contains(.marked([mark])))
        slow.store("a", "old", at: now + 2000, generation: 0)
        try slow.wait("refusal") { slow.events.contains(.refused(Opened.key("a"))) }
        guard case .found(let row) = slow.cache.read(Opened.key("a")) else {
            Issue.record("the row is gone")
            return
        }
        #expect(row.mustFetch && row.generation == 1)
        slow.store("a", "new", at: now + 3000, generation: 1)
        try slow.wait("new row") { slow.hash("a") == "new" }
    }

    @Test(
        "marks of keys that nobody has a row of go after a while, and what was fetched before them is still not stored"
    )
    func rowlessMarksGo() throws {
        let first = try Opened(self.path, negativeEntries: 10_000)
        let now = CacheClock().milliseconds
        let old = now - AuthLimits.rowlessMarkMilliseconds - 60_000
        first.store("known", at: old)
        first.store("absent", at: old)
        for name in ["known", "absent"] + (0..<1500).map({ "made up \($0)" }) + ["again", "new"] {
            first.cache.write(.markChanged(redisKey: Array(name.utf8), atMilliseconds: name == "new" ? now : old))
        }
        first.cache.write(.markAbsent(Opened.key("absent"), atMilliseconds: old, generation: 1))
        first.cache.write(.markChanged(redisKey: Array("again".utf8), atMilliseconds: now))
        try first.settle()
        // A worker does it when it has opened the file, and every ten minutes from then on.
        let second = try Opened(self.path, negativeEntries: 10_000)
        try second.wait("removal") { second.cache.read(Opened.key("made up 0")) == .notFound }
        let rows = try Database(path: self.currentFile(), access: .readOnly, busyTimeoutMilliseconds: 5000)
            .prepare("SELECT CAST(redis_key AS TEXT) FROM rows ORDER BY 1")
        var left: [String] = []
        try second.wait("the last marks' removal") {
            left = []
            while try rows.step() { left.append(String(decoding: rows.bytes(0) ?? [], as: UTF8.self)) }
            return left.count <= 4
        }
        #expect(left == ["absent", "again", "known", "new"])
        // A worker that had asked before the change comes with its answer now.
        first.store("made up 1", at: old - 1000)
        first.store("new", at: old)
        for name in ["made up 1", "new"] {
            try first.wait("refusal") { first.events.contains(.refused(Opened.key(name))) }
        }
        #expect(first.cache.read(Opened.key("made up 1")) == .notFound)
        first.store("made up 1", "later", at: now)
        first.store("known", "later", at: old + 1000, generation: 1)
        try first.settle()
        #expect(first.hash("made up 1") == "later")
        #expect(first.hash("known") == "later")
    }

    @Test("marks that went by a clock that was ahead keep no row out")
    func marksRemovedInTheFuture() throws {
        let opened = try Opened(self.path)
        try opened.settle()
        let file = try Database(path: self.currentFile(), access: .readWrite, busyTimeoutMilliseconds: 5000)
        try file.execute("INSERT INTO marks_removed VALUES (x'01', 9000000000000000)")
        opened.store("a", "row", at: CacheClock().milliseconds)
        try opened.settle()
        #expect(opened.hash("a") == "row")
    }

    @Test(
        "a change of a key marks the rows that were made from it, also those that an earlier release wrote",
        arguments: [true, false]
    )
    func relatedKeys(_ isListed: Bool) throws {
        let opened = try Opened(self.path)
        func key(_ name: String, _ related: String) -> LookupKey {
            var variant: [UInt8] = []
            LookupKey.append(Array(related.utf8), to: &variant)
            LookupKey.append([], to: &variant)
            return LookupKey(redisKey: Array(name.utf8), variant: variant, relatedKeys: [Array(related.utf8)])
        }
        let keys = [key("a", "acl:a"), key("b", "acl:b"), key("c", "acl:a"), key("acl:a", "x")]
        for key in keys {
            opened.cache.write(.store(key, CredentialRow(secret: .none), knownCurrentMilliseconds: 1000, generation: 0))
        }
        try opened.settle()
        let file = try Database(path: self.currentFile(), access: .readWrite, busyTimeoutMilliseconds: 5000)
        if !isListed { try file.execute("UPDATE rows SET related_listed = NULL; DELETE FROM related_keys") }
        opened.cache.write(.markRelated(redisKey: Array("acl:a".utf8), atMilliseconds: 2000))
        opened.cache.write(.markRelated(redisKey: Array("acl:".utf8), atMilliseconds: 2000))
        try opened.settle()
        let rows = keys.map { key -> CachedRow? in
            if case .found(let row) = opened.cache.read(key) { row } else { nil }
        }
        #expect(rows.map { $0?.mustFetch } == [true, false, true, false])
        #expect(rows.map { $0?.generation } == [1, 0, 1, 0])
        #expect(rows.map { $0?.changedSinceMilliseconds } == [2000, nil, 2000, nil])
        // Rows that go take their entries with them.
        try file.execute("DELETE FROM rows WHERE redis_key <> CAST('b' AS BLOB)")
        let count = try file.prepare("SELECT count(*), min(redis_key) FROM related_keys WHERE related_key <> x''")
        #expect(try count.step() && count.int64(0) == 1 && count.bytes(1) == Array("b".utf8))
    }

    @Test func anotherGenerationIsNotOverwritten() throws {
        let opened = try Opened(self.path)
        opened.store("a", "old")
        try opened.settle()
        let database = try Database(path: self.currentFile(), access: .readWrite, busyTimeoutMilliseconds: 5000)
        try database.execute("UPDATE rows SET generation = 3, must_fetch = 1")
        opened.store("a", "late", at: 9000, generation: 0)
        opened.cache.write(.markAbsent(Opened.key("a"), atMilliseconds: 9000, generation: 2))
        try opened.wait("refusal") { opened.events.contains(.refused(Opened.key("a"))) }
        guard case .found(let row) = opened.cache.read(Opened.key("a")) else { return }
        #expect(row.mustFetch && row.generation == 3 && row.absentSinceMilliseconds == nil)
        #expect(opened.hash("a") == "old")
        opened.store("a", "new", at: 9500, generation: 3)
        try opened.settle()
        guard case .found(let fetched) = opened.cache.read(Opened.key("a")) else { return }
        #expect(!fetched.mustFetch && fetched.generation == 3)
        #expect(opened.hash("a") == "new")
    }

    @Test func `regression: an absence that is older than a mark is refused, not forgotten`() throws {
        let opened = try Opened(self.path)
        func row() throws -> CachedRow {
            try opened.settle()
            guard case .found(let row) = opened.cache.read(Opened.key("a")) else {
                throw ProcessError(description: "no row")
            }
            return row
        }
        func markChanged(at time: Int64) {
            opened.cache.write(.markChanged(redisKey: Array("a".utf8), atMilliseconds: time))
        }
        func markAbsent(at time: Int64, generation: Int64) {
            opened.cache.write(.markAbsent(Opened.key("a"), atMilliseconds: time, generation: generation))
        }
        opened.store("a", "row", at: 1000)
        // Two workers are told.
        markChanged(at: 2000)
        markChanged(at: 3000)
        #expect(try row().changedSinceMilliseconds == 2000)
        markAbsent(at: 4000, generation: 1)
        try opened.wait("refusal") { opened.events.contains(.refused(Opened.key("a"))) }
        #expect(try row().absentSinceMilliseconds == nil)
        opened.events = []
        markAbsent(at: 4000, generation: 2)
        markAbsent(at: 4000, generation: 1)
        #expect(try row().absentSinceMilliseconds == 4000)
        #expect(!opened.events.contains(.refused(Opened.key("a"))))
        opened.store("a", "row", at: 5000, generation: 2)
        #expect(try !row().mustFetch)
        markChanged(at: 6000)
        #expect(try row().changedSinceMilliseconds == 6000)
    }

    /// Of 100 rows 60 were removed: the sample had the other 40 only, and said that nothing was missing.
    @Test func `regression: rows that were named as changed while rows vanished belong to the sample`() throws {
        let opened = try Opened(self.path)
        for name in ["a", "b", "c", "d"] { opened.store(name, "row", at: name == "d" ? 9000 : 1000) }
        for (name, time) in [("b", 2000), ("c", 5000), ("c", 7000), ("d", 9500)] as [(String, Int64)] {
            opened.cache.write(.markChanged(redisKey: Array(name.utf8), atMilliseconds: time))
        }
        try opened.settle()
        func sample(changedSince: Int64 = .max) -> Set<String>? {
            let keys = opened.cache.sampleOfKnownKeys(10, in: 0..<8000, changedSince: changedSince)
            return keys.map { Set($0.map { String(decoding: $0, as: UTF8.self) }) }
        }
        #expect(sample() == ["a"])
        #expect(sample(changedSince: 4000) == ["a", "c"])
        #expect(sample(changedSince: 6000) == ["a"])
    }

    @Test func aRowFromTheFutureCanBeReplaced() throws {
        let opened = try Opened(self.path)
        opened.store("a", "future", at: Int64.max)
        opened.store("a", "now", at: 5000)
        try opened.settle()
        #expect(opened.hash("a") == "now")
        opened.store("b", "future", at: Int64.max)
        opened.cache.write(.correctTime(Opened.key("b"), knownCurrentMilliseconds: 77))
        try opened.settle()
        guard case .found(let row) = opened.cache.read(Opened.key("b")) else { return }
        #expect(row.knownCurrentMilliseconds == 77)
    }

    @Test func theOldestRowsMakeRoom() throws {
        let opened = try Opened(self.path, diskEntries: 300, negativeEntries: 50)
        for index in 0..<1000 { opened.store("k\(index)", at: Int64(index)) }
        for index in 0..<150 {
            opened.store("absent\(index)", at: 1)
            let key = Opened.key("absent\(index)")
            opened.cache.write(.markAbsent(key, atMilliseconds: 10 + Int64(index), generation: 0))
        }
        try opened.settle()
        opened.stop()
        let database = try Database(path: self.currentFile(), access: .readWrite, busyTimeoutMilliseconds: 5000)
        func number(_ sql: String) throws -> Int64 {
            let statement = try database.prepare(sql)
            return try statement.step() ? statement.int64(0) : -1
        }
        #expect(try number("SELECT count(*) FROM rows WHERE absent_since IS NULL") <= 400)
        #expect(try number("SELECT count(*) FROM rows WHERE absent_since IS NULL") >= 200)
        #expect(try number("SELECT min(known_current) FROM rows WHERE absent_since IS NULL") >= 600)
        #expect(try number("SELECT count(*) FROM rows WHERE absent_since IS NOT NULL") <= 150)
    }

    /// The rows of all other sources were taken for those of commands that are not configured any more.
    @Test func aWallClockThatIsAheadAbandonsNoSource() throws {
        let folder = try TemporaryDirectory()
        let clock = CacheClock(
            CacheDirectory(path: folder.path),
            boot: 1,
            wall: CacheClock.wallMilliseconds - 400 * 86_400_000
        )
        let other = try Opened(self.path, source: [1], clock: clock)
        for index in 0..<50 { other.store("k\(index)", at: clock.milliseconds) }
        try other.settle()
        let busy = try Opened(self.path, source: [2], diskEntries: 100, clock: clock)
        for index in 0..<400 { busy.store("k\(index)", at: clock.milliseconds) }
        try busy.settle()
        busy.stop()
        #expect((0..<50).allSatisfy { other.hash("k\($0)") != nil })
    }

    @Test func sourcesDoNotPushOutEachOthersRows() throws {
        let now = Int64(Clock.wall() / Nanoseconds.perMillisecond)
        let large = try Opened(self.path, source: [1], diskEntries: 10_000, negativeEntries: 10_000)
        for index in 0..<400 { large.store("k\(index)", at: now - 5000 + Int64(index)) }
        for index in 0..<200 {
            large.store("absent\(index)", at: now - 5000)
            large.cache.write(.markAbsent(Opened.key("absent\(index)"), atMilliseconds: now - 4000, generation: 0))
        }
        // Of a command that was in the configuration last year.
        let abandoned = try Opened(self.path, source: [0])
        for index in 0..<300 { abandoned.store("old\(index)", at: now - 400 * 86_400_000) }
        try large.settle()
        try abandoned.settle()
        abandoned.stop()
        let small = try Opened(self.path, source: [2], diskEntries: 100, negativeEntries: 10)
        for index in 0..<400 { small.store("k\(index)", at: now + Int64(index)) }
        for index in 0..<200 {
            small.store("absent\(index)", at: now)
            small.cache.write(.markAbsent(Opened.key("absent\(index)"), atMilliseconds: now, generation: 0))
        }
        try small.settle()
        small.stop()
        #expect((0..<400).allSatisfy { large.hash("k\($0)") != nil })
        #expect((0..<200).allSatisfy { large.hash("absent\($0)") != nil })
        let database = try Database(path: self.currentFile(), access: .readWrite, busyTimeoutMilliseconds: 5000)
        func count(_ condition: String) throws -> Int64 {
            let statement = try database.prepare("SELECT count(*) FROM rows WHERE \(condition)")
            return try statement.step() ? statement.int64(0) : -1
        }
        #expect(try count("source = x'02' AND absent_since IS NULL") <= 200)
        #expect(try count("source = x'02' AND absent_since IS NOT NULL") <= 110)
        #expect(try count("source = x'02' AND absent_since IS NULL AND redis_key = CAST('k399' AS BLOB)") == 1)
        #expect(try count("source = x'00'") == 0)
    }

    // MARK: Trouble

    @Test func aDamagedFileIsReplacedAtTheStart() throws {
        do {
            let opened = try Opened(self.path)
            opened.store("a")
        }
        let broken = try self.currentFile()
        _ = try runProcess("sh", arguments: ["-c", "rm -f '\(broken)-wal'; yes garbage | head -c 40000 > '\(broken)'"])
        let opened = try Opened(self.path)
        opened.events += opened.cache.takeEvents()
        #expect(opened.events.count == 1)
        guard case .replaced(let reason) = opened.events.first else {
            Issue.record("\(opened.events)")
            return
        }
        #expect(reason.contains(broken))
        #expect(try self.currentFile() != broken)
        #expect(opened.cache.read(Opened.key("a")) == .notFound)
        opened.store("a", "again")
        try opened.settle()
        #expect(opened.hash("a") == "again")
    }

    /// As after `kill -9`. SQLite drops what comes after the damage, and without tables the file was taken for a new one.
    @Test func `regression: a cache file whose log was damaged is made anew, and that is told`() throws {
        let opened = try Opened(self.path)
        opened.store("a")
        try opened.settle()
        let copy = self.directory.file("copy")
        _ = try runProcess("cp", arguments: ["-r", self.path, copy])
        let name = try #require(self.currentFile().split(separator: "/").last)
        _ = try runProcess(
            "sh",
            arguments: ["-c", "rm '\(copy)/\(name)-shm'; yes garbage | head -c 40000 > '\(copy)/\(name)-wal'"]
        )
        let next = try Opened(copy)
        next.events += next.cache.takeEvents()
        guard next.events.count == 1, case .replaced(let reason) = next.events[0] else {
            Issue.record("\(next.events)")
            return
        }
        #expect(reason.contains(name))
        #expect(next.status("cache_replacements") == "1")
        next.store("a", "again")
        try next.settle()
        #expect(next.hash("a") == "again")
    }

    @Test func aFileDamagedInUseIsReplacedForAllWorkers() throws {
        let first = try Opened(self.path, diskEntries: 5000)
        let second = try Opened(self.path, diskEntries: 5000)
        for index in 0..<2000 { first.store("k\(index)", String(repeating: "x", count: 200)) }
        try first.settle()
        #expect(second.hash("k1") != nil)
        let broken = try self.currentFile()
        let database = try Database(path: broken, access: .readWrite, busyTimeoutMilliseconds: 5000)
        // As long as pages are in the log, the file itself is not read.
        try database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _ = try runProcess(
            "sh",
            arguments: ["-c", "yes garbage | dd of='\(broken)' bs=4096 seek=1 count=60 conv=notrunc"]
        )
        var index = 0
        try first.wait("replacement") {
            for _ in 0..<50 {
                _ = first.cache.read(Opened.key("k\(index % 2000)"))
                first.store("n\(index)")
                index += 1
            }
            return try self.currentFile() != broken
        }
        #expect(first.events.contains { if case .replaced = $0 { true } else { false } })
        first.store("new", "after")
        try first.settle()
        try second.wait("the new file") { second.hash("new") == "after" }
    }

    @Test func aLockedFileIsReadAndWrittenLater() throws {
        let opened = try Opened(self.path)
        opened.store("a", "one")
        try opened.settle()
        let file = try self.currentFile()
        let holder = try Database(path: file, access: .readWrite, busyTimeoutMilliseconds: 5000)
        try holder.execute("BEGIN IMMEDIATE")
        opened.store("a", "two", at: 2000)
        let start = Clock.monotonic()
        #expect(opened.hash("a") == "one")
        #expect(Clock.monotonic() - start < 500 * Nanoseconds.perMillisecond)
        try holder.execute("COMMIT")
        try opened.settle()
        #expect(opened.hash("a") == "two")
        // Locked is not corrupt, nor trouble.
        #expect(opened.events.isEmpty)
        #expect(try self.currentFile() == file)
    }

    @Test func aFileThatStaysLockedIsAnAlarmUntilItIsNot() throws {
        let opened = try Opened(self.path, lockedMaxNanoseconds: 0)
        let holder = try Database(path: self.currentFile(), access: .readWrite, busyTimeoutMilliseconds: 5000)
        try holder.execute("BEGIN EXCLUSIVE")
        opened.store("a", "one")
        func isTrouble(_ event: CredentialCache.Event) -> Bool { if case .trouble = event { true } else { false } }
        try opened.wait("word of the lock") { opened.events.contains(where: isTrouble) }
        #expect(opened.status("alarm").contains("locked by another program"))
        try holder.execute("COMMIT")
        try opened.wait("the end of the trouble") { opened.events.contains(.works) }
        #expect(opened.status("alarm") == "")
        #expect(opened.hash("a") == "one")
        #expect(opened.events.filter(isTrouble).count == 1)
    }

    @Test func whoeverStopsDoesNotWaitForALock() throws {
        let opened = try Opened(self.path)
        let holder = try Database(path: self.currentFile(), access: .readWrite, busyTimeoutMilliseconds: 5000)
        try holder.execute("BEGIN IMMEDIATE")
        opened.store("a", "one")
        let start = Clock.monotonic()
        opened.stop()
        #expect(Clock.monotonic() - start < 4 * Nanoseconds.perSecond)
        try holder.execute("COMMIT")
    }

    @Test func anUnusablePlaceIsToldOnceAndTriedAgain() throws {
        _ = try runProcess("sh", arguments: ["-c", "touch '\(self.directory.file("a"))'"])
        let opened = try Opened(self.path)
        opened.store("a", "one")
        #expect(opened.cache.read(Opened.key("a")) == .notReadable)
        try opened.wait("trouble") { !opened.events.isEmpty }
        _ = try runProcess("rm", arguments: [self.directory.file("a")])
        try opened.wait("recovery") { opened.events.contains(.works) }
        #expect(opened.events.count == 2)
        #expect(opened.hash("a") == "one")
    }

    @Test func aNewerReleasesFileIsUsedAsFarAsItFits() throws {
        do {
            let opened = try Opened(self.path)
            opened.store("a", "one")
        }
        let database = try Database(path: self.currentFile(), access: .readWrite, busyTimeoutMilliseconds: 5000)
        try database.execute("ALTER TABLE rows ADD COLUMN later INTEGER; PRAGMA user_version = 99")
        let opened = try Opened(self.path)
        #expect(opened.hash("a") == "one")
        opened.store("a", "two", at: 2000)
        try opened.settle()
        #expect(opened.hash("a") == "two")
        #expect(try database.userVersion() == 99)
    }
}
