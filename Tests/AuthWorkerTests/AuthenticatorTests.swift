import AuthWorker
import Common
import TestSupport
import Testing

@Suite struct AuthenticatorTests {
    @Test func `without Redis it is told whom it did not know, until that is too old or was named as changed`() throws {
        var harness = try AuthenticatorHarness()
        for name in ["a", "b"] { #expect(harness.ask(name, "p")?.reason == .noSuchDevice) }
        harness.redis = .isDown
        harness.advance(seconds: 60)
        let verdict = harness.ask("a", "p")
        #expect((verdict?.outcome, verdict?.source) == (.unknown, .staleCache))
        harness.change("b")
        #expect(harness.ask("b", "p")?.source == AuthVerdict.Source.none)
        #expect(harness.ask("stranger", "p")?.source == AuthVerdict.Source.none)
        let live = harness.revalidate("a", tag: [])
        #expect(harness.verdicts[live]?.source == AuthVerdict.Source.none)
        harness.advance(seconds: 86_400)
        #expect(harness.ask("a", "p")?.source == AuthVerdict.Source.none)
    }

    /// A removed device got in for a minute, and with its old password, when only the word of changes was missing.
    @Test func `while no changes are told each CONNECT asks Redis, and rows are as good as before when it is away`()
        throws
    {
        var harness = try AuthenticatorHarness()
        harness.rows = ["gone": "p", "rotated": "old", "same": "p"]
        for (name, password) in harness.rows { #expect(harness.ask(name, password)?.outcome == .allow) }
        harness.authenticator.changesLost()
        harness.rows = ["rotated": "new", "same": "p"]
        #expect(harness.ask("gone", "p")?.reason == .noSuchDevice)
        #expect(harness.ask("rotated", "old")?.reason == .wrongPassword)
        #expect(harness.ask("same", "p")?.source == .redis)
        #expect(harness.ask("same", "p")?.source == .redis)
        harness.redis = .isDown
        #expect(harness.ask("same", "p")?.source == .staleCache)
        harness.redis = .works
        harness.authenticator.changesTold()
        #expect(harness.ask("same", "p")?.source == .memoryCache)
    }

    // MARK: The matrix of verdicts

    enum Cached: CaseIterable {
        case nothing
        case fresh
        case stale
        case tooOld
        case freshAbsent
        case oldAbsent
        case named

        var ageSeconds: Double {
            switch self {
            case .nothing, .fresh, .freshAbsent, .named: 5
            case .stale, .oldAbsent: 600
            case .tooOld: 90_000
            }
        }
        var isAbsent: Bool { self == .freshAbsent || self == .oldAbsent }
    }

    enum Redis: CaseIterable {
        case hasGivenPassword
        case hasOtherPassword
        case hasNothing
        case answersErrors
        case isDown
    }

    struct Expected: Equatable {
        var outcome: AuthVerdict.Outcome
        var reason: AuthVerdict.Reason
        var source: AuthVerdict.Source
    }

    /// The table of design as somebody would write it down.
    static func expected(_ cached: Cached, _ redis: Redis, fits: Bool, onDisk: Bool) -> Expected {
        let cacheSource: AuthVerdict.Source = onDisk ? .diskCache : .memoryCache
        if cached == .fresh && fits { return Expected(outcome: .allow, reason: .none, source: cacheSource) }
        if cached == .freshAbsent {
            return Expected(outcome: .deny, reason: .noSuchDevice, source: onDisk ? .diskCache : .redis)
        }
        switch redis {
        case .hasGivenPassword: return Expected(outcome: .allow, reason: .none, source: .redis)
        case .hasOtherPassword: return Expected(outcome: .deny, reason: .wrongPassword, source: .redis)
        case .hasNothing: return Expected(outcome: .deny, reason: .noSuchDevice, source: .redis)
        case .answersErrors, .isDown:
            if cached == .stale && fits { return Expected(outcome: .allow, reason: .none, source: .staleCache) }
            let reason: AuthVerdict.Reason = redis == .isDown ? .redisUnavailable : .redisError
            // For other sources: it did not know the client when it could say.
            return Expected(outcome: .unknown, reason: reason, source: cached == .oldAbsent ? .staleCache : .none)
        }
    }

    @Test(arguments: Cached.allCases, Redis.allCases)
    func verdictMatrix(_ cached: Cached, _ redis: Redis) throws {
        for fits in [true, false] {
            for onDisk in [true, false] where onDisk || cached != .named {
                var harness = try AuthenticatorHarness()
                try Self.prepare(&harness, cached, fits: fits, onDisk: onDisk)
                switch redis {
                case .hasGivenPassword: harness.rows["a"] = "given"
                case .hasOtherPassword: harness.rows["a"] = "something else"
                case .hasNothing: harness.rows["a"] = nil
                case .answersErrors: harness.redis = .answersErrors
                case .isDown: harness.redis = .isDown
                }
                let answer = harness.ask("a", "given")
                let verdict = try #require(answer)
                let found = Expected(outcome: verdict.outcome, reason: verdict.reason, source: verdict.source)
                let expected = Self.expected(cached, redis, fits: fits, onDisk: onDisk)
                #expect(found == expected, "\(cached), \(redis), fits: \(fits), on disk: \(onDisk)")
                #expect((verdict.outcome == .allow) == !verdict.access.rules.isEmpty)
                #expect((verdict.outcome == .allow) == !verdict.credentialTag.isEmpty)
            }
        }
    }

    private static func prepare(
        _ harness: inout AuthenticatorHarness,
        _ cached: Cached,
        fits: Bool,
        onDisk: Bool
    ) throws {
        guard cached != .nothing else { return }
        harness.rows["a"] = fits ? "given" : "before"
        #expect(harness.ask("a", fits ? "given" : "before")?.outcome == .allow)
        if cached.isAbsent {
            harness.advance(seconds: 400)
            harness.rows["a"] = nil
            #expect(harness.ask("a", "given")?.reason == .noSuchDevice)
        }
        if cached == .named { harness.disk[harness.key("a")]?.mustFetch = true }
        harness.advance(seconds: cached.ageSeconds)
        if onDisk { try harness.restart() }
    }

    // MARK: One look-up for each key

    @Test func aThousandQueriesAreOneLookup() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "p"
        harness.holdsAnswers = true
        let good = (0..<1000).map { _ in harness.send("a", "p") }
        #expect((harness.lookups, harness.cacheReads) == (1, 1))
        harness.land(0)
        #expect(good.allSatisfy { harness.verdicts[$0]?.outcome == .allow })
        #expect(harness.authenticator.queriesWaiting == 0)
    }

    @Test func eachQuerysOwnPasswordDecides() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "p"
        harness.holdsAnswers = true
        let good = harness.send("a", "p")
        let bad = harness.send("a", "q")
        harness.land(0)
        #expect(harness.verdicts[good]?.outcome == .allow)
        // It came after Redis was asked: the password may have been changed in between, so that Redis is asked once more.
        #expect(harness.verdicts[bad] == nil)
        harness.land(0)
        #expect(harness.verdicts[bad]?.reason == .wrongPassword)
        #expect(harness.lookups == 2)
    }

    @Test func aPasswordChangedDuringALookupIsFound() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "old"
        harness.holdsAnswers = true
        let before = harness.send("a", "old")
        harness.rows["a"] = "new"
        let after = harness.send("a", "new")
        harness.land(0)
        #expect(harness.verdicts[before]?.outcome == .allow)
        harness.land(0)
        #expect(harness.verdicts[after]?.outcome == .allow)
    }

    @Test func guessesCostOneLookupASecond() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "p"
        #expect(harness.ask("a", "p")?.outcome == .allow)
        let before = harness.lookups
        for guess in 0..<100 {
            #expect(harness.ask("a", "guess \(guess)")?.reason == .wrongPassword)
            harness.advance(seconds: 0.05)
        }
        #expect(harness.lookups - before == 5)
        #expect(harness.ask("a", "p")?.source == .memoryCache)
    }

    @Test func guessesWithoutRedisAreUnknown() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "p"
        #expect(harness.ask("a", "p")?.outcome == .allow)
        harness.redis = .isDown
        for _ in 0..<10 {
            #expect(harness.ask("a", "guess")?.outcome == .unknown)
            harness.advance(seconds: 0.3)
        }
        #expect(harness.ask("a", "p")?.outcome == .allow)
    }

    @Test func aFloodOfUnknownDevicesTakesOneLookupEachAndPushesNobodyOut() throws {
        var harness = try AuthenticatorHarness {
            $0.memoryEntries = 10
            $0.negativeEntries = 50
        }
        for index in 0..<10 {
            harness.rows["d\(index)"] = "p"
            #expect(harness.ask("d\(index)", "p")?.outcome == .allow)
        }
        let before = harness.lookups
        for _ in 0..<3 { for index in 0..<40 { #expect(harness.ask("u\(index)", "p")?.reason == .noSuchDevice) } }
        #expect(harness.lookups - before == 40)
        for index in 40..<1000 { #expect(harness.ask("u\(index)", "p")?.reason == .noSuchDevice) }
        for index in 0..<10 { #expect(harness.ask("d\(index)", "p")?.source == .memoryCache) }
        #expect(harness.authenticator.absentKeysInMemory == 50)
        // Nothing of theirs is written.
        #expect(harness.disk.count == 10)
    }

    @Test func waitingQueriesAreBounded() throws {
        var harness = try AuthenticatorHarness { $0.waitersMax = 10 }
        harness.holdsAnswers = true
        let requests = (0..<15).map { harness.send("d\($0)", "p") }
        let refused = requests.compactMap { harness.verdicts[$0] }
        #expect(refused.count == 5)
        #expect(refused.allSatisfy { $0.outcome == .unknown && $0.reason == .overloaded })
        while !harness.flights.isEmpty { harness.land(0) }
        #expect(requests.allSatisfy { harness.verdicts[$0] != nil })
    }

    // MARK: Time

    @Test func aRowInUseIsFetchedAgainBeforeItExpires() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "p"
        #expect(harness.ask("a", "p")?.source == .redis)
        harness.advance(seconds: 100)
        #expect(harness.ask("a", "p")?.source == .memoryCache)
        #expect(harness.lookups == 1)
        harness.advance(seconds: 190)
        // Answered at once, and asked for in the background.
        harness.holdsAnswers = true
        #expect(harness.ask("a", "p")?.source == .memoryCache)
        #expect(harness.ask("a", "p")?.source == .memoryCache)
        #expect(harness.lookups == 2)
        harness.land(0)
        harness.advance(seconds: 200)
        #expect(harness.ask("a", "p")?.source == .memoryCache)
    }

    @Test func staleMaxCountsFromTheLastMomentKnownCurrent() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "p"
        #expect(harness.ask("a", "p")?.outcome == .allow)
        harness.redis = .isDown
        harness.advance(seconds: 86_399)
        // Serving it does not make it younger.
        #expect(harness.ask("a", "p")?.source == .staleCache)
        harness.advance(seconds: 2)
        #expect(harness.ask("a", "p")?.outcome == .unknown)
        try harness.restart()
        #expect(harness.ask("a", "p")?.outcome == .unknown)
    }

    @Test func aRowFromTheFutureIsNotFreshButServesAnOutage() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "p"
        #expect(harness.ask("a", "p")?.outcome == .allow)
        // The clock was a year ahead when the row was written.
        harness.wallMilliseconds -= 365 * 86_400_000
        try harness.restart()
        let before = harness.lookups
        harness.redis = .isDown
        #expect(harness.ask("a", "p")?.source == .staleCache)
        #expect(harness.lookups == before + 1)
        harness.advance(seconds: 86_500)
        try harness.restart()
        #expect(harness.ask("a", "p")?.outcome == .unknown)
    }

    @Test(arguments: [Int64.min, -1, 0, 1, Int64.max])
    func noTimeOnDiskCanCrash(_ milliseconds: Int64) throws {
        var harness = try AuthenticatorHarness()
        let row = harness.checker.row(from: CredentialReply(secret: Array("p".utf8)), key: harness.key("a"))
        harness.disk[harness.key("a")] = CachedRow(
            row: row,
            knownCurrentMilliseconds: milliseconds,
            generation: milliseconds
        )
        harness.redis = .isDown
        let first = harness.ask("a", "p")
        #expect(first != nil)
        harness.wallMilliseconds = milliseconds
        try harness.restart()
        let second = harness.ask("a", "p")
        #expect(second != nil)
    }

    // MARK: Cache file

    @Test func aLockedCacheIsAskedAgainWhenRedisGivesNothing() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "p"
        #expect(harness.ask("a", "p")?.outcome == .allow)
        try harness.restart()
        harness.diskIsReadable = false
        harness.holdsAnswers = true
        let request = harness.send("a", "p")
        #expect(harness.verdicts[request] == nil)
        harness.diskIsReadable = true
        harness.fail(0, .queryTimedOut)
        #expect(harness.verdicts[request]?.outcome == .allow)
    }

    @Test func aNewerGenerationOnDiskIsNotOverwritten() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "p"
        harness.holdsAnswers = true
        let request = harness.send("a", "p")
        // Another worker is told of a change while the answer is on its way.
        let row = harness.checker.row(from: CredentialReply(secret: Array("q".utf8)), key: harness.key("a"))
        harness.disk[harness.key("a")] = CachedRow(
            row: row,
            mustFetch: true,
            knownCurrentMilliseconds: harness.wallMilliseconds,
            generation: 1
        )
        harness.land(0)
        #expect(harness.verdicts[request]?.outcome == .allow)
        #expect(harness.disk[harness.key("a")]?.row == row)
        // Nor does memory keep what may be older than the change.
        #expect(harness.authenticator.rowsInMemory == 0)
        harness.rows["a"] = "q"
        harness.holdsAnswers = false
        #expect(harness.ask("a", "q")?.source == .redis)
        #expect(harness.disk[harness.key("a")]?.mustFetch == false)
    }

    // MARK: What the client brings

    @Test func refusalsNeedNoLookup() throws {
        var harness = try AuthenticatorHarness()
        #expect(harness.ask(nil, "p")?.reason == .fieldMissing)
        #expect(harness.ask("", "p")?.reason == .fieldMissing)
        #expect(harness.ask("a\u{7}", "p")?.reason == .fieldNotAllowed)
        #expect(harness.ask(String(repeating: "x", count: 20_000), "p")?.reason == .fieldNotAllowed)
        #expect(harness.ask("a", nil)?.reason == .passwordMissing)
        var query = AuthQuery.device("a", password: "p")
        query.rulesName = Array("other".utf8)
        let request = harness.send(query)
        #expect(harness.verdicts[request]?.outcome == .unknown)
        #expect((harness.lookups, harness.cacheReads) == (0, 0))
    }

    @Test func aCommonNameWithWildcardsGetsNoRules() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["+"] = "p"
        let answer = harness.ask("+", "p")
        let verdict = try #require(answer)
        #expect(verdict.outcome == .allow && verdict.access.rules.isEmpty && verdict.access.noMatch == .deny)
        #expect(harness.authenticator.statistics.rulesDropped == 1)
    }
}
