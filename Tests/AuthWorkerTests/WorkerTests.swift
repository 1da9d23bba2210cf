import AuthCache
import AuthWorker
import Common
import Glibc
import TestSupport
import Testing

/// The whole worker with a real Redis.
@Suite struct WorkerTests {
    let cache: TemporaryDirectory
    let redis: RedisServer

    init() throws {
        self.cache = try TemporaryDirectory("martlet-cache")
        self.redis = try RedisServer()
        try self.redis.cli(["hset", "tls_domain:alpha", "password", "public"])
        try self.redis.cli(["hset", "tls_domain:beta", "password", "other"])
    }

    func configuration() -> Configuration {
        .test(redis: .unixSocket(self.redis.socketPath), cache: self.cache.file("auth"))
    }

    @Test func verdictsOfAHealthyRedis() throws {
        let worker = try WorkerHarness(self.configuration())
        // What was fetched before changes were told does not count as fresh.
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        let allowed = try worker.ask("alpha", password: "public")
        #expect(allowed.outcome == .allow)
        #expect(allowed.source == .redis)
        #expect(allowed.access.rules.map(\.filter) == [Array("devices/alpha/#".utf8)])
        #expect(!allowed.access.isSuperuser)
        #expect(allowed.credentialTag.count == 16)
        #expect(try worker.ask("alpha", password: "public").source == .memoryCache)

        let wrong = try worker.ask("alpha", password: "wrong")
        #expect((wrong.outcome, wrong.reason) == (.deny, .wrongPassword))
        let absent = try worker.ask("nobody", password: "public")
        #expect((absent.outcome, absent.reason) == (.deny, .noSuchDevice))
        let silent = try worker.ask("alpha", password: nil)
        #expect((silent.outcome, silent.reason) == (.deny, .passwordMissing))
        let bare = try worker.ask([.device(nil, password: "public")])[0]
        #expect((bare.outcome, bare.reason) == (.deny, .fieldMissing))
        #expect(String(decoding: bare.detail, as: UTF8.self) == "the look-up needs a certificate with a common name")
        let hostile = try worker.ask([.device("al\npha", password: "public")])[0]
        #expect((hostile.outcome, hostile.reason) == (.deny, .fieldNotAllowed))
    }

    /// A worker that knew Redis again before its listeners knew it told them nothing, and sessions of devices that had been removed
    /// meanwhile stayed.
    @Test func aLinkThatComesUpIsToldThatAnythingMayHaveChanged() throws {
        let worker = try WorkerHarness(self.configuration())
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        worker.answers.changes = []
        worker.answers.isUp = false
        try worker.connectAgain()
        try worker.turn { !worker.answers.changes.isEmpty }
        #expect(worker.answers.changes == [AuthChanged(all: true)])
    }

    /// Word of the change came before the verdict that did not know it: the listener had nobody to ask about yet, and a device that had
    /// lost its row stayed.
    @Test func aVerdictIsNotOvertakenByWordOfAChangeThatItDoesNotKnow() throws {
        let worker = try WorkerHarness(self.configuration())
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        for round in 0..<20 {
            _ = try worker.ask("alpha", password: "public")
            #expect(try worker.ask("alpha", password: "public").source == .memoryCache)
            worker.answers.kinds = []
            // Both are there when the worker turns next.
            let request = worker.send([.device("alpha", password: "public")]).lowerBound
            try self.redis.cli(["hset", "tls_domain:alpha", "other", "\(round)"])
            try worker.turn { worker.answers.kinds.count >= 2 }
            if worker.answers.verdicts[request]?.source == .memoryCache {
                #expect(worker.answers.kinds == [.authVerdict, .authChanged])
            }
        }
    }

    /// What a worker that was stalled finds in its sockets, all at once: the row was good for the query, which was read first, and there was
    /// no Redis any more that could have said otherwise.
    @Test func `regression: a row does not count for a query that comes with word of its change`() throws {
        let worker = try WorkerHarness(self.configuration())
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        _ = try worker.ask("alpha", password: "public")
        #expect(try worker.ask("alpha", password: "public").source == .memoryCache)
        let request = worker.send([.device("alpha", password: "public")]).lowerBound
        try self.redis.cli(["del", "tls_domain:alpha"])
        self.redis.kill()
        try worker.turn { worker.answers.verdicts[request] != nil }
        #expect(worker.answers.verdicts[request]?.outcome == .unknown)
        #expect(try worker.ask("alpha", password: "public").outcome == .unknown)
    }

    /// It was stopped in the middle of a turn, when the loop had looked at its descriptors and the query had been read.
    @Test func `regression: what Redis told while a turn took long is read before its queries are decided`() throws {
        let worker = try WorkerHarness(self.configuration())
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        _ = try worker.ask("alpha", password: "public")
        #expect(try worker.ask("alpha", password: "public").source == .memoryCache)
        let request = worker.send([.device("alpha", password: "public")]).lowerBound
        worker.loop.schedule(at: 0) { [redis] in
            let until = Clock.monotonic() + AuthLimits.lateTurnNanoseconds
            #expect(throws: Never.self) { try redis.cli(["del", "tls_domain:alpha"]) }
            while Clock.monotonic() < until {}
        }
        try worker.turn { worker.answers.verdicts[request] != nil }
        #expect(worker.answers.verdicts[request]?.reason == .noSuchDevice)
    }

    /// The time of a turn that took long was charged to Redis: devices that it was asked about were told that it was away, and so was
    /// the alarm.
    @Test("a worker that is late does not take Redis for lost")
    func lateWorker() throws {
        var configuration = self.configuration()
        let timeout = 300 * Nanoseconds.perMillisecond
        configuration.authentication.redis.queryTimeoutNanoseconds = timeout
        let log = RecordedMessages()
        let worker = try WorkerHarness(configuration, logHandler: log)
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        for device in 0..<5 {
            try self.redis.cli(["hset", "tls_domain:d\(device)", "password", "p"])
            let request = worker.send([.device("d\(device)", password: "p")]).lowerBound
            worker.loop.schedule(at: 0) {
                let until = Clock.monotonic() + 2 * timeout
                while Clock.monotonic() < until {}
            }
            try worker.turn { worker.answers.verdicts[request] != nil }
            #expect(worker.answers.verdicts[request]?.source == .redis)
        }
        #expect(worker.status("redis_timeouts") == "0")
        #expect(!log.messages.contains { $0.hasPrefix("Redis lost") })
    }

    /// Who looks for what is slow was led to a Redis that had answered at once.
    @Test("what a turn of the worker takes is no latency of Redis")
    func latency() throws {
        var configuration = self.configuration()
        configuration.authentication.redis.queryTimeoutNanoseconds = 10 * Nanoseconds.perSecond
        let worker = try WorkerHarness(configuration)
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        try worker.turn { worker.status("redis_in_flight") == "0" && worker.status("redis_queued") == "0" }
        let before = UInt64(worker.status("redis_latency_max_us")) ?? 0
        let request = worker.send([.device("alpha", password: "public")]).lowerBound
        var free: Instant = 0
        worker.loop.schedule(at: 0) {
            let until = Clock.monotonic() + 200 * Nanoseconds.perMillisecond
            while Clock.monotonic() < until {}
            free = Clock.monotonic()
        }
        try worker.turn { worker.answers.verdicts[request] != nil }
        #expect(worker.answers.verdicts[request]?.source == .redis)
        let latency = try #require(UInt64(worker.status("redis_latency_max_us")))
        #expect(latency <= max(before, (Clock.monotonic() - free) / 1000))
    }

    /// It waited until thousands of rows had been fetched again.
    @Test("a new device is let in while the rows of thousands are fetched again")
    func newDeviceWhileRowsChange() throws {
        let worker = try WorkerHarness(self.configuration())
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        let live = (0..<5000).map { number in
            var query = AuthQuery.device("live-\(number)", password: nil)
            query.revalidatedTag = [1]
            return query
        }
        let requests = worker.send(live)
        let new = worker.send([.device("alpha", password: "public")]).lowerBound
        try worker.turn { worker.answers.verdicts[new] != nil }
        #expect(worker.answers.verdicts[new]?.outcome == .allow)
        #expect(worker.answers.verdicts.count < 2000, "those who were asked about before it do not come first")
        try worker.turn { requests.allSatisfy { worker.answers.verdicts[$0] != nil } }
        #expect(worker.status("queries_waiting") == "0")
    }

    @Test func aThousandQueriesOfOneKeyAreOneCommand() throws {
        let worker = try WorkerHarness(self.configuration())
        let before = try self.redis.calls(of: "hmget")
        let verdicts = try worker.ask((0..<1000).map { .device("alpha", password: "public", clientID: "c\($0)") })
        #expect(verdicts.allSatisfy { $0.outcome == .allow })
        #expect(try self.redis.calls(of: "hmget") - before == 1)
    }

    /// The worker that heard of the flush ended with what it knew of it, and the next one threw the fleet out.
    @Test func aFlushIsKnownToWorkersThatStartAfterIt() throws {
        let devices = (0..<15).map { "d\($0)" }
        for device in devices { try self.redis.cli(["hset", "tls_domain:\(device)", "password", "p"]) }
        let queries = devices.map { AuthQuery.device($0, password: "p") }
        do {
            let worker = try WorkerHarness(self.configuration())
            try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
            #expect(try worker.ask(queries).allSatisfy { $0.outcome == .allow })
            try worker.waitForStatus("cache_rows_written") { Int($0) ?? 0 >= devices.count }
            try self.redis.cli(["flushall"])
            try worker.waitForStatus("alarm") { $0.hasPrefix("Redis has lost rows") }
        }
        let next = try WorkerHarness(self.configuration())
        try next.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(try next.ask(queries).allSatisfy { $0.outcome == .allow })
        #expect(next.status("alarm").hasPrefix("Redis has lost rows"))
        let other = try WorkerHarness(self.configuration())
        #expect(other.service.perform(ControlCommand(["auth", "confirm-mass-revoke"]))?.isDone == true)
        // For all of them.
        #expect(try next.ask(queries).allSatisfy { $0.reason == .noSuchDevice })
    }

    /// Redis does not say which database was emptied: rows of another one were called lost, as an emergency.
    @Test func aFlushOfAnotherDatabaseIsNoLoss() throws {
        let log = RecordedMessages()
        let devices = (0..<40).map { "d\($0)" }
        for device in devices { try self.redis.cli(["-n", "1", "hset", "tls_domain:\(device)", "password", "p"]) }
        let queries = devices.map { AuthQuery.device($0, password: "p") }
        var configuration = self.configuration()
        configuration.authentication.redis.url = .unixSocket(self.redis.socketPath, database: 1)
        // However slow the machine is, Redis decides.
        configuration.authentication.cache.staleAfterNanoseconds = 60 * Nanoseconds.perSecond
        configuration.authentication.redis.queryTimeoutNanoseconds = 30 * Nanoseconds.perSecond
        let worker = try WorkerHarness(configuration, logHandler: log)
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(try worker.ask(queries).allSatisfy { $0.outcome == .allow })
        try worker.waitForStatus("cache_rows_written") { Int($0) ?? 0 >= devices.count }
        try self.redis.cli(["-n", "0", "flushdb"])
        try worker.turn { log.messages.contains { $0.hasPrefix("Redis was emptied") } }
        // Answered after what was asked because of it.
        #expect(try worker.ask(queries).allSatisfy { $0.outcome == .allow && $0.source == .redis })
        #expect(worker.status("alarm") == "0")
        #expect(!log.messages.contains { $0.hasPrefix("Redis has lost rows") })
        try self.redis.cli(["-n", "1", "flushdb"])
        try worker.waitForStatus("alarm") { $0.hasPrefix("Redis has lost rows") }
        #expect(try worker.ask(queries).allSatisfy { $0.outcome == .allow })
    }

    /// Devices that have not come since the worker started are in the file only.
    @Test func aFlushSuspendsThoughNobodyHasComeSinceTheWorkerStarted() throws {
        let devices = (0..<40).map { "d\($0)" }
        for device in devices { try self.redis.cli(["hset", "tls_domain:\(device)", "password", "p"]) }
        let queries = devices.map { AuthQuery.device($0, password: "p") }
        do {
            let worker = try WorkerHarness(self.configuration())
            #expect(try worker.ask(queries).allSatisfy { $0.outcome == .allow })
            try worker.waitForStatus("cache_rows_written") { Int($0) ?? 0 >= devices.count }
        }
        let next = try WorkerHarness(self.configuration())
        try next.waitForStatus("changes_learned_by") { $0 == "tracking" }
        try self.redis.cli(["flushall"])
        try next.waitForStatus("alarm") { $0.hasPrefix("Redis has lost rows") }
        #expect(try next.ask(queries).allSatisfy { $0.outcome == .allow })
    }

    /// It had been told of the change, and asked about the session, while Redis did not answer.
    @Test func aSessionThatCouldNotBeJudgedIsAskedAboutAsSoonAsRedisIsBack() throws {
        var configuration = self.configuration()
        configuration.authentication.redis.invalidation = .off
        let worker = try WorkerHarness(configuration)
        let tag = try worker.ask("alpha", password: "public").credentialTag
        self.redis.kill()
        try worker.waitForStatus("redis") { $0.hasPrefix("unavailable") }
        var query = AuthQuery.device("alpha", password: nil)
        query.revalidatedTag = tag
        #expect(try worker.ask([query])[0].outcome == .unknown)
        worker.answers.changes = []
        try self.redis.start()
        try worker.waitForStatus("redis") { $0 == "in use" }
        try worker.turn { !worker.answers.changes.isEmpty }
        #expect(worker.answers.changes == [AuthChanged(all: true)])
    }

    /// It had connected once, longer ago than `stale_max`; Redis had told its changes all the time.
    @Test func aRowStaysGoodWhileChangesAreToldAndFromThenOn() throws {
        var configuration = self.configuration()
        configuration.authentication.cache.staleMaxNanoseconds = 4 * Nanoseconds.perSecond
        configuration.authentication.cache.positiveTTLNanoseconds = 1
        do {
            let worker = try WorkerHarness(configuration)
            try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
            #expect(try worker.ask("alpha", password: "public").source == .redis)
            let asked = Clock.monotonic()
            try worker.turn { Clock.monotonic() - asked > 5 * Nanoseconds.perSecond }
            self.redis.kill()
            try worker.waitForStatus("redis") { $0.hasPrefix("unavailable") }
            #expect(try worker.ask("alpha", password: "public").source == .staleCache)
        }
        let next = try WorkerHarness(configuration)
        let seen = try next.ask("alpha", password: "public")
        #expect((seen.outcome, seen.source) == (.allow, .staleCache))
        // It is not told of anything any more.
        try next.turn { try next.ask("alpha", password: "public").outcome == .unknown }
    }

    /// What changed in a time in which nothing was told may have been this row.
    @Test func afterAGapInWhatIsToldARowCountsFromItsBeginning() throws {
        var configuration = self.configuration()
        configuration.authentication.cache.staleMaxNanoseconds = 3 * Nanoseconds.perSecond
        let worker = try WorkerHarness(configuration)
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(try worker.ask("alpha", password: "public").source == .redis)
        self.redis.kill()
        try worker.waitForStatus("redis") { $0.hasPrefix("unavailable") }
        let gap = Clock.monotonic()
        try self.redis.start()
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        // Told again, and for longer than a row is good for.
        try worker.turn { Clock.monotonic() - gap > 4 * Nanoseconds.perSecond }
        self.redis.kill()
        try worker.waitForStatus("redis") { $0.hasPrefix("unavailable") }
        #expect(try worker.ask("alpha", password: "public").outcome == .unknown)
    }

    @Test func aTurnsLookupsAreOnePipeline() throws {
        for index in 0..<200 { try self.redis.cli(["hset", "tls_domain:d\(index)", "password", "p\(index)"]) }
        let worker = try WorkerHarness(self.configuration())
        try worker.waitForStatus("redis") { $0 == "in use" }
        let verdicts = try worker.ask((0..<200).map { .device("d\($0)", password: "p\($0)") })
        #expect(verdicts.allSatisfy { $0.outcome == .allow })
        let pipelines = Int(worker.status("redis_pipelines")) ?? 0
        // The queries come in one write, which the worker reads in one turn or, when it is split, a few.
        #expect(pipelines >= 1 && pipelines <= 5)
    }

    @Test func whatIsKnownOutlivesRedisAndARestart() throws {
        do {
            let worker = try WorkerHarness(self.configuration())
            #expect(try worker.ask("alpha", password: "public").outcome == .allow)
            self.redis.kill()
            try worker.waitForStatus("redis") { $0.hasPrefix("unavailable") }
            #expect(try worker.ask("alpha", password: "public").outcome == .allow)
            let unseen = try worker.ask("beta", password: "other")
            #expect((unseen.outcome, unseen.reason) == (.unknown, .redisUnavailable))
            let wrong = try worker.ask("alpha", password: "wrong")
            #expect((wrong.outcome, wrong.reason) == (.unknown, .redisUnavailable))
            let again = try worker.ask("alpha", password: "wrong")
            #expect((again.outcome, again.reason) == (.unknown, .redisUnavailable))
        }
        do {
            let worker = try WorkerHarness(self.configuration())
            let seen = try worker.ask("alpha", password: "public")
            #expect((seen.outcome, seen.source) == (.allow, .diskCache))
            #expect(try worker.ask("alpha", password: "public").source == .memoryCache)
            #expect(try worker.ask("beta", password: "other").outcome == .unknown)
        }
        try self.redis.start()
        try self.redis.cli(["hset", "tls_domain:beta", "password", "other"])
        let worker = try WorkerHarness(self.configuration())
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(try worker.ask("beta", password: "other").outcome == .allow)
    }

    @Test func anExpiredRowServesWhileRedisIsGone() throws {
        var configuration = self.configuration()
        configuration.authentication.cache.positiveTTLNanoseconds = 1
        let worker = try WorkerHarness(configuration)
        #expect(try worker.ask("alpha", password: "public").source == .redis)
        #expect(try worker.ask("alpha", password: "public").source == .redis)
        self.redis.kill()
        try worker.waitForStatus("redis") { $0.hasPrefix("unavailable") }
        let stale = try worker.ask("alpha", password: "public")
        #expect((stale.outcome, stale.source) == (.allow, .staleCache))
        #expect(try worker.ask("alpha", password: "wrong").outcome == .unknown)
    }

    @Test func aHangingRedisHoldsNobodyUpForLong() throws {
        var configuration = self.configuration()
        configuration.authentication.redis.queryTimeoutNanoseconds = 200 * Nanoseconds.perMillisecond
        let worker = try WorkerHarness(configuration)
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(try worker.ask("alpha", password: "public").outcome == .allow)
        self.redis.signal(SIGSTOP)
        // The row is cached, so that nothing has to be asked.
        let start = Clock.monotonic()
        #expect(try worker.ask("alpha", password: "public").outcome == .allow)
        #expect(Clock.monotonic() - start < 150 * Nanoseconds.perMillisecond)
        let unseen = try worker.ask("beta", password: "other")
        #expect((unseen.outcome, unseen.reason) == (.unknown, .redisUnavailable))
        try worker.waitForStatus("redis") { $0.hasPrefix("unavailable") }
        self.redis.signal(SIGCONT)
        try worker.waitForStatus("redis") { $0 == "in use" }
        #expect(try worker.ask("beta", password: "other").outcome == .allow)
    }

    @Test func aRotatedPasswordIsNoticedAtOnce() throws {
        let worker = try WorkerHarness(self.configuration())
        let first = try worker.ask("alpha", password: "public")
        try self.redis.cli(["hset", "tls_domain:alpha", "password", "rotated"])
        let second = try worker.ask("alpha", password: "rotated")
        #expect((second.outcome, second.source) == (.allow, .redis))
        #expect(first.credentialTag != second.credentialTag)
        #expect(first.keyHash == second.keyHash && first.keyHash != 0)
        // Guessing costs Redis one look-up a second.
        let before = try self.redis.calls(of: "hmget")
        let guesses = try (0..<50).map { try worker.ask("alpha", password: "guess \($0)") }
        #expect(guesses.allSatisfy { $0.outcome == .deny && $0.reason == .wrongPassword })
        #expect(try self.redis.calls(of: "hmget") - before <= 3)
    }

    @Test func `regression: nobody gets in by a text that is not there`() throws {
        try self.redis.cli(["set", "on:alpha", "yes"])
        for hash in [PasswordHash.none, .plain] {
            var configuration = self.configuration()
            configuration.authentication.command = "GETRANGE on:%C 0 -1"
            configuration.authentication.sources[0].passwordHash = hash
            let worker = try WorkerHarness(configuration)
            #expect(try worker.ask("alpha", password: "yes").outcome == .allow)
            let stranger = try worker.ask("nobody", password: "")
            #expect((stranger.outcome, stranger.reason) == (.deny, .noSuchDevice), "\(hash)")
        }
    }

    @Test func anErrorOfRedisIsNoDenial() throws {
        try self.redis.cli(["set", "tls_domain:gamma", "a string"])
        let worker = try WorkerHarness(self.configuration())
        let verdict = try worker.ask("gamma", password: "public")
        #expect((verdict.outcome, verdict.reason) == (.unknown, .redisError))
        #expect(String(decoding: verdict.detail, as: UTF8.self).hasPrefix("WRONGTYPE"))
        // The connection goes on.
        #expect(try worker.ask("alpha", password: "public").outcome == .allow)
    }

    /// The reason was redis-error, and the account said that Redis had no such row any more.
    @Test func `regression: a row that is too long is not Redis' fault, and not absent`() throws {
        let worker = try WorkerHarness(self.configuration())
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        func account() -> Report.Block? {
            worker.service.perform(ControlCommand(["why", "long"])).flatMap { Report(text: $0.text).blocks.first }
        }
        try self.redis.cli(["hset", "tls_domain:long", "password", String(repeating: "x", count: 4097)])
        let verdict = try worker.ask("long", password: "x")
        #expect((verdict.outcome, verdict.reason) == (.unknown, .rowTooLong))
        #expect(
            String(decoding: verdict.detail, as: UTF8.self) == "the row's value has 4097 bytes, at most 4096 are taken"
        )
        let mark = "no row; named as changed, to be fetched, generation 1"
        try worker.turn { account()?.value("on_disk") == mark }
        #expect(account()?.value("row_password") == nil)
        try self.redis.cli(["hset", "tls_domain:long", "password", "short"])
        #expect(try worker.ask("long", password: "short").outcome == .allow)
    }

    @Test func aRemovedRowIsNotServedAfterARestart() throws {
        var configuration = self.configuration()
        configuration.authentication.cache.positiveTTLNanoseconds = 1
        configuration.authentication.cache.negativeTTLNanoseconds = 1
        do {
            let worker = try WorkerHarness(configuration)
            #expect(try worker.ask("alpha", password: "public").outcome == .allow)
            try self.redis.cli(["del", "tls_domain:alpha"])
            #expect(try worker.ask("alpha", password: "public").reason == .noSuchDevice)
            self.redis.kill()
            try worker.waitForStatus("redis") { $0.hasPrefix("unavailable") }
            #expect(try worker.ask("alpha", password: "public").outcome == .unknown)
        }
        let worker = try WorkerHarness(configuration)
        #expect(try worker.ask("alpha", password: "public").outcome == .unknown)
    }

    @Test func withoutACacheARedisThatIsGoneLetsNobodyIn() throws {
        let worker = try WorkerHarness(.test(redis: .unixSocket(self.redis.socketPath), cache: nil))
        #expect(try worker.ask("alpha", password: "public").source == .redis)
        #expect(try worker.ask("alpha", password: "public").source == .redis)
        self.redis.kill()
        try worker.waitForStatus("redis") { $0.hasPrefix("unavailable") }
        #expect(try worker.ask("alpha", password: "public").outcome == .unknown)
    }

    @Test func noPasswordIsOnDisk() throws {
        let worker = try WorkerHarness(self.configuration())
        let secret = "a-password-nobody-has-4711"
        try self.redis.cli(["hset", "tls_domain:alpha", "password", secret])
        #expect(try worker.ask("alpha", password: secret).outcome == .allow)
        try worker.waitForStatus("cache_rows_written") { $0 != "0" }
        worker.stop()
        let (status, _) = try runProcess("grep", arguments: ["-rqF", secret, self.cache.path])
        #expect(status == 1)
        let (found, _) = try runProcess("grep", arguments: ["-rqF", "tls_domain:alpha", self.cache.path])
        #expect(found == 0)
    }

    @Test func aCacheDirectoryThatCannotBeMadeStopsNothing() throws {
        var configuration = self.configuration()
        configuration.authentication.cache.directory = self.redis.socketPath + "/cache"
        let worker = try WorkerHarness(configuration)
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(try worker.ask("alpha", password: "public").source == .redis)
        #expect(try worker.ask("alpha", password: "public").source == .memoryCache)
    }

    /// One line in the log was all, and nothing was on disk until somebody started the worker anew.
    @Test func aCacheThatCannotBeUsedAtStartIsAnAlarmUntilItCan() throws {
        let configuration = self.configuration()
        let key = self.cache.file("auth/host.key")
        try CacheDirectory(path: self.cache.file("auth")).create()
        try writeFile(key, Array("short".utf8))
        let worker = try WorkerHarness(configuration)
        #expect(
            worker.status("alarm").hasPrefix("the authentication cache is not usable at the moment: \(key) has not")
        )
        #expect(worker.status("cache_file") == "none")
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(try worker.ask("alpha", password: "public").source == .redis)
        unlink(key)
        try worker.waitForStatus("cache_file") { $0.hasSuffix(".db") }
        #expect(worker.status("alarm") == "0")
        // Those who were let in before are not thrown out.
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(try worker.ask("alpha", password: "public").outcome == .allow)
        try worker.waitForStatus("cache_rows_written") { $0 != "0" }
    }

    /// A device that might do nothing, and only a counter that knew of it.
    @Test func anAccessRowThatIsNotUnderstoodIsNamed() throws {
        var configuration = self.configuration()
        configuration.authentication.accessCommand = "HGETALL mqtt_acl:%C"
        configuration.authorization.accessRows = .only
        try self.redis.cli(["hset", "mqtt_acl:alpha", "up/#", "publish", "down/#", #"{"action":"publsh"}"#])
        let log = RecordedMessages()
        let worker = try WorkerHarness(configuration, logHandler: log)
        for device in ["alpha", "beta"] {
            let verdict = try worker.ask(device, password: device == "alpha" ? "public" : "other")
            #expect(verdict.outcome == .allow && verdict.access.rules.isEmpty == (device == "alpha"))
        }
        let mistake =
            "down/# has {\"action\":\"publsh\"}: its access lacks an \"action\" that is publish, subscribe or all"
        let why = worker.service.perform(ControlCommand(["why", "alpha"]))?.text ?? ""
        #expect(Report(text: why).blocks[0].first { $0.name == "row_access_mistake" }?.value.hasPrefix(mistake) == true)
        #expect(!(worker.service.perform(ControlCommand(["why", "beta"]))?.text.contains("mistake") ?? true))
        #expect(log.messages.filter { $0.hasPrefix("access row not understood") }.count == 1)
    }

    /// A rule that denies has the word before a row that allows.
    @Test func rulesAreAskedBeforeRows() throws {
        var configuration = self.configuration()
        configuration.authentication.accessCommand = "HGETALL mqtt_acl:%C"
        configuration.authorization.accessRows = .last
        configuration.authorization.noMatch = .allow
        configuration.authorization.ruleSets[0].rules = [
            .init(permission: .allow, actions: .publish, topics: [.init("up/%C")]),
            .init(permission: .deny, actions: .all, topics: [.init("up/#"), .init("secret/%C")]),
        ]
        try self.redis.cli(["hset", "tls_domain:+", "password", "public"])
        try self.redis.cli(["hset", "mqtt_acl:alpha", "up/#", "all", "#", #"{"action":"all","permission":"deny"}"#])
        try self.redis.cli(["hset", "mqtt_acl:beta", "up/#", #"{"action":"publsh"}"#])
        try self.redis.cli(["hset", "mqtt_acl:+", "#", "all"])
        let worker = try WorkerHarness(configuration)
        func rules(_ device: String) throws -> [String] {
            let access = try worker.ask(device, password: device == "beta" ? "other" : "public").access
            return access.rules.map { "\($0.permission) \(String(decoding: $0.filter, as: UTF8.self))" } + [
                "\(access.noMatch)"
            ]
        }
        #expect(
            try rules("alpha") == ["allow up/alpha", "deny up/#", "deny secret/alpha", "deny #", "allow up/#", "allow"]
        )
        // Rows that may be meant to deny allow nothing, and leave what rules allow.
        #expect(try rules("beta") == ["allow up/beta", "deny up/#", "deny secret/beta", "deny"])
        // Nor do rows allow what a rule that cannot be filled in denies.
        #expect(try rules("+") == ["deny up/#", "deny"])
    }

    @Test func mistakesStopTheStart() {
        var configuration = self.configuration()
        configuration.authentication.command = "HMGET tls_domain:%C password salt"
        #expect(throws: ConfigurationMistake.self) { _ = try WorkerHarness(configuration) }
        configuration.authentication.command = "KEYS %C"
        #expect(throws: ConfigurationMistake.self) { _ = try WorkerHarness(configuration) }
        configuration = self.configuration()
        configuration.authorization.ruleSets[0].rules[0].topics = [.init("devices/%x/#")]
        #expect(throws: TemplateError.self) { _ = try WorkerHarness(configuration) }
    }
}

/// Over TCP, with a password, a user and a database.
@Suite struct WorkerOverTCPTests {
    @Test func authenticatesAndSelects() throws {
        let (redis, port) = try Self.serverOnAFreePort()
        try redis.cli(["--pass", "sesame", "-n", "3", "hset", "tls_domain:alpha", "password", "public"])
        let users = ["acl", "setuser", "worker", "on", ">opensesame", "~*", "+hmget", "+select", "+ping"]
        try redis.cli(["--pass", "sesame"] + users)
        let cache = try TemporaryDirectory()
        let password = cache.file("redis.password")
        _ = try runProcess("sh", arguments: ["-c", "echo sesame > '\(password)'"])
        var url = RedisURL.tcp(host: "localhost", port: port, database: 3)
        var configuration = Configuration.test(redis: url, cache: cache.file("auth"))
        configuration.authentication.redis.passwordFile = password
        do {
            let worker = try WorkerHarness(configuration)
            #expect(try worker.ask("alpha", password: "public").outcome == .allow)
            #expect(try redis.cli(["--pass", "sesame", "client", "list"]).output.contains("name=martlet-authworker-1"))
        }
        _ = try runProcess("sh", arguments: ["-c", "echo opensesame > '\(password)'"])
        url.user = "worker"
        configuration.authentication.redis.url = url
        configuration.authentication.cache.enabled = false
        do {
            let worker = try WorkerHarness(configuration)
            #expect(try worker.ask("alpha", password: "public").outcome == .allow)
        }
        _ = try runProcess("sh", arguments: ["-c", "echo wrong > '\(password)'"])
        let worker = try WorkerHarness(configuration)
        #expect(try worker.ask("alpha", password: "public").outcome == .unknown)
        #expect(worker.status("redis").contains("WRONGPASS"))
    }

    private static func serverOnAFreePort() throws -> (RedisServer, UInt16) {
        for _ in 0..<5 {
            let port = try RedisServer.freePort()
            if let server = try? RedisServer(.tcp(port: port), options: ["--requirepass", "sesame"]) {
                return (server, port)
            }
        }
        throw ProcessError(description: "no free port")
    }
}
