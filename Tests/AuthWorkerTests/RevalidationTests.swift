import AuthWorker
import Common
import TestSupport
import Testing

/// Questions about live sessions, and announced changes.
@Suite struct RevalidationTests {
    private func harness(_ names: String...) throws -> (AuthenticatorHarness, tag: [UInt8]) {
        var harness = try AuthenticatorHarness()
        for name in names { harness.rows[name] = "p" }
        let answer = harness.ask(names[0], "p")
        return (harness, try #require(answer).credentialTag)
    }

    /// Refetches and clients had one queue, and the clients' time-out.
    @Test func `only look-ups that a client waits for are urgent`() throws {
        var (harness, tag) = try self.harness("a", "b")
        #expect(harness.urgencies == [.client])
        harness.change("a")
        var query = AuthQuery.device("a", password: nil)
        query.revalidatedTag = tag
        harness.holdsAnswers = true
        let asked = harness.send(query)
        #expect(harness.urgencies.last == .background)
        // It is asked again for the client that came later, whose password does not fit what was asked before.
        let client = harness.send("a", "other")
        harness.rows["a"] = "other"
        harness.land(0)
        #expect(harness.urgencies == [.client, .background, .client])
        harness.land(0)
        #expect(harness.verdicts[asked]?.outcome == .allow && harness.verdicts[client]?.outcome == .allow)
    }

    @Test func `a row that is fetched before it expires is fetched in the background`() throws {
        var (harness, _) = try self.harness("a")
        harness.advance(seconds: 299)
        #expect(harness.ask("a", "p")?.source == .memoryCache)
        #expect(harness.urgencies == [.client, .background])
    }

    /// All in one turn, in which nobody was answered.
    @Test func `rows that had changed are looked at again some at a time`() throws {
        let names = (0..<200).map { "d\($0)" }
        var (harness, tag) = try self.harness("d0")
        for name in names {
            harness.rows[name] = "p"
            _ = harness.ask(name, "p")
            harness.change(name)
            var query = AuthQuery.device(name, password: nil)
            query.revalidatedTag = tag
            _ = harness.send(query)
        }
        harness.cacheReads = 0
        harness.advance(seconds: 2)
        #expect(harness.cacheReads == AuthLimits.backgroundPerTurn)
        while let due = harness.authenticator.nextLookAgain, due <= harness.now { harness.advance(seconds: 0) }
        #expect(harness.cacheReads == names.count)
    }

    @Test func `a row that is read from the file before its change was written there is fetched again`() throws {
        var (harness, _) = try self.harness("a")
        try harness.restart()
        harness.rows["a"] = "q"
        // The thread that writes is not there yet.
        harness.holdsWrites = true
        harness.change("a")
        #expect(harness.ask("a", "p")?.outcome == .deny)
        #expect(harness.ask("a", "q")?.outcome == .allow)
    }

    @Test func `a change of a superuser's mark is one of the rows that were made with it`() throws {
        var harness = try AuthenticatorHarness(superCommand: "GET s:%C")
        for name in ["a", "b"] { harness.rows[name] = "p" }
        let answer = harness.ask("a", "p")
        let verdict = try #require(answer)
        #expect(verdict.keyHash == LookupKey.hash(of: Array("d:a".utf8)))
        #expect(verdict.relatedKeyHashes == [LookupKey.hash(of: Array("s:a".utf8))])
        #expect(harness.ask("b", "p")?.outcome == .allow)
        harness.changeKeys("s:a", "s:other")
        harness.redis = .isDown
        #expect(harness.ask("a", "p")?.outcome == .unknown)
        #expect(harness.ask("b", "p")?.source == .memoryCache)
        harness.redis = .works
        #expect(harness.ask("a", "p")?.source == .redis)
        #expect(harness.ask("a", "p")?.source == .memoryCache)
        // It knows no device, and is on its way when the mark changes.
        harness.holdsAnswers = true
        let asked = harness.send("nobody", "p")
        harness.changeKeys("s:nobody")
        harness.rows["nobody"] = "p"
        harness.land(0)
        harness.land(0)
        #expect(harness.verdicts[asked]?.outcome == .allow)
    }

    @Test func `a row that memory has let go and taken again is still found by a change`() throws {
        var harness = try AuthenticatorHarness(superCommand: "GET s:%C") {
            $0.memoryEntries = 3
            $0.negativeEntries = 3
        }
        let names = (0..<50).map { "d\($0)" }
        for name in names { harness.rows[name] = "p" }
        for round in 0..<3 {
            for name in names + names.map({ "unknown\($0)" }) { _ = harness.ask(name, "p") }
            let last = names[names.count - 1 - round]
            #expect(harness.ask(last, "p")?.outcome == .allow)
            harness.changeKeys("s:\(last)")
            harness.redis = .isDown
            #expect(harness.ask(last, "p")?.outcome == .unknown)
            harness.redis = .works
        }
    }

    @Test func `a live session is judged by the row as it is now`() throws {
        var (harness, tag) = try self.harness("a")
        let same = harness.revalidate("a", tag: tag)
        #expect(harness.verdicts[same]?.outcome == .allow)
        #expect(harness.verdicts[same]?.credentialTag == tag)
        #expect(harness.verdicts[same]?.source == .redis)
        #expect(harness.verdicts[same]?.access.rules.isEmpty == false)

        harness.rows["a"] = "q"
        let rotated = harness.revalidate("a", tag: tag)
        #expect(harness.verdicts[rotated]?.outcome == .allow)
        #expect(harness.verdicts[rotated]?.credentialTag != tag)

        harness.rows["a"] = nil
        let gone = harness.revalidate("a", tag: tag)
        #expect(harness.verdicts[gone]?.outcome == .deny)
        #expect(harness.verdicts[gone]?.reason == .noSuchDevice)
    }

    @Test(arguments: [AuthenticatorHarness.Redis.isDown, .answersErrors])
    func `nobody can say: unknown, whatever is cached`(_ redis: AuthenticatorHarness.Redis) throws {
        var (harness, tag) = try self.harness("a")
        harness.redis = redis
        for seconds in [0.0, 600, 100_000] {
            harness.advance(seconds: seconds)
            let request = harness.revalidate("a", tag: tag)
            #expect(harness.verdicts[request]?.outcome == .unknown)
        }
    }

    @Test func `an answer that is older than the question decides nothing about a live session`() throws {
        var (harness, tag) = try self.harness("a")
        harness.advance(seconds: 600)
        harness.holdsAnswers = true
        harness.rows["a"] = nil
        let connecting = harness.send("a", "p")
        harness.rows["a"] = "p"
        let live = harness.revalidate("a", tag: tag)
        harness.land(0)
        #expect(harness.verdicts[connecting]?.outcome == .deny)
        #expect(harness.verdicts[live] == nil)
        harness.land(0)
        #expect(harness.verdicts[live]?.outcome == .allow)

        // The other way round: the row was there when Redis was asked, and is gone.
        harness.advance(seconds: 600)
        let before = harness.send("a", "p")
        harness.rows["a"] = nil
        let after = harness.revalidate("a", tag: tag)
        harness.land(0)
        #expect(harness.verdicts[before]?.outcome == .allow)
        #expect(harness.verdicts[after] == nil)
        harness.land(0)
        #expect(harness.verdicts[after]?.outcome == .deny)
    }

    @Test func `a row named as changed is fetched before it is served, and not served while Redis is away`() throws {
        var (harness, _) = try self.harness("a")
        harness.change("a")
        harness.redis = .isDown
        #expect(harness.ask("a", "p")?.outcome == .unknown)
        try harness.restart()
        #expect(harness.ask("a", "p")?.outcome == .unknown)
        harness.redis = .works
        harness.rows["a"] = "q"
        #expect(harness.ask("a", "p")?.reason == .wrongPassword)
        #expect(harness.ask("a", "q")?.outcome == .allow)
        harness.redis = .isDown
        #expect(harness.ask("a", "q")?.outcome == .allow)
    }

    /// Its own connection was lost before that: it went by its memory, in which the row was as good as before.
    @Test func `regression: a row that another worker has marked does not count while changes are not told`() throws {
        var (harness, _) = try self.harness("a")
        harness.authenticator.changesLost()
        harness.anotherWorkerMarks("a")
        harness.redis = .isDown
        #expect(harness.ask("a", "p")?.outcome == .unknown)
        // The same where it has stored that the device is gone.
        var (second, _) = try self.harness("a")
        second.authenticator.changesLost()
        second.advance(seconds: 1)
        second.disk[second.key("a")]?.absentSinceMilliseconds = second.wallMilliseconds
        second.redis = .isDown
        #expect(second.ask("a", "p")?.reason == .noSuchDevice)
    }

    /// The file is written later, and for a time not at all.
    @Test func `a row in memory that is newer than the file's counts while changes are not told`() throws {
        var (harness, _) = try self.harness("a")
        harness.rows["a"] = "q"
        harness.change("a")
        harness.advance(seconds: 1)
        harness.holdsWrites = true
        #expect(harness.ask("a", "q")?.outcome == .allow)
        harness.authenticator.changesLost()
        harness.redis = .isDown
        #expect(harness.ask("a", "q")?.outcome == .allow)
        #expect(harness.ask("a", "p")?.outcome == .unknown)
    }

    /// The file had no row yet when this worker, whose mark had not been written either, found the device gone; then came the row that
    /// another worker had fetched before. Nobody told the file, and after a loss of all rows the device was not known to be out.
    @Test(arguments: [false, true])
    func `regression: a device is known to be gone though its row comes into the file later`(_ isRead: Bool) throws {
        var (harness, _) = try self.harness("a")
        let key = harness.key("a")
        let row = harness.disk[key]
        if !isRead { harness.disk = [:] }
        try harness.restart()
        harness.rows = [:]
        harness.holdsWrites = true
        harness.change("a")
        #expect(harness.ask("a", "p")?.reason == .noSuchDevice)
        harness.disk[key] = row
        harness.performWrites()
        harness.advance(seconds: 12)
        #expect(harness.disk[key]?.absentSinceMilliseconds != nil)
        harness.authenticator.flushed(hasRowsOnDisk: true, now: harness.time)
        try harness.restart()
        #expect(harness.ask("a", "p")?.outcome == .deny)
    }

    /// Each of two workers raises the row's generation: the row was refused, and not there when Redis went away.
    @Test(arguments: [false, true])
    func `a changed row is good for a time without Redis, though two workers were told`(_ isLate: Bool) throws {
        var (harness, _) = try self.harness("a")
        harness.rows["a"] = "q"
        harness.change("a")
        if !isLate { harness.anotherWorkerMarks("a") }
        harness.holdsAnswers = true
        let request = harness.send("a", "q")
        if isLate { harness.anotherWorkerMarks("a") }
        while !harness.flights.isEmpty { harness.land(0) }
        #expect(harness.verdicts[request]?.outcome == .allow)
        #expect(harness.lookups == (isLate ? 3 : 2))
        harness.redis = .isDown
        #expect(harness.ask("a", "q")?.outcome == .allow)
        try harness.restart()
        #expect(harness.ask("a", "q")?.outcome == .allow)
        #expect(harness.ask("a", "p")?.outcome == .unknown)
    }

    /// The file was read before its mark was there, and refused what was fetched with the generation that it had: one look-up too many.
    @Test func `a row fetched before its own mark is written is stored`() throws {
        var (harness, _) = try self.harness("a")
        harness.holdsWrites = true
        harness.change("a")
        #expect(harness.ask("a", "p")?.source == .redis)
        harness.performWrites()
        #expect(harness.ask("a", "p")?.source == .memoryCache)
        #expect(harness.lookups == 2)
        #expect(harness.disk[harness.key("a")]?.mustFetch == false)
    }

    /// What a refused row is fetched once more for may be fresh already.
    @Test func `a refused row is taken from the file where another worker has fetched it`() throws {
        var (harness, _) = try self.harness("a")
        harness.change("a")
        harness.holdsAnswers = true
        let request = harness.send("a", "p")
        harness.anotherWorkerMarks("a")
        harness.holdsWrites = true
        harness.land(0)
        #expect(harness.verdicts[request]?.outcome == .allow)
        harness.disk[harness.key("a")]?.mustFetch = false
        harness.disk[harness.key("a")]?.knownCurrentMilliseconds = harness.wallMilliseconds
        harness.performWrites()
        #expect(harness.flights.isEmpty && harness.lookups == 2)
        harness.redis = .isDown
        #expect(harness.ask("a", "p")?.outcome == .allow)
    }

    /// Another worker was told later than this one had fetched the row, and marked it; Redis is gone before anybody looks.
    @Test(arguments: [false, true]) func `a row that is marked late is fetched once more`(_ isDown: Bool) throws {
        var (harness, _) = try self.harness("a")
        harness.change("a")
        #expect(harness.ask("a", "p")?.outcome == .allow)
        harness.anotherWorkerMarks("a")
        if isDown { harness.redis = .isDown }
        harness.advance(seconds: 2)
        #expect(harness.lookups == 3)
        #expect(harness.disk[harness.key("a")]?.mustFetch == isDown)
        harness.redis = .isDown
        #expect(harness.ask("a", "p")?.outcome == .allow)
        try harness.restart()
        #expect(harness.ask("a", "p")?.outcome == (isDown ? .unknown : .allow))
        // Nothing is left to be looked at.
        harness.advance(seconds: 10)
        #expect(harness.authenticator.nextLookAgain == nil)
    }

    /// The device came back over another worker than the one that had fetched its row.
    @Test func `a row that another worker has fetched after a change is used`() throws {
        var (harness, _) = try self.harness("a")
        harness.rows["a"] = "q"
        harness.change("a")
        harness.redis = .isDown
        #expect(harness.ask("a", "q")?.outcome == .unknown)
        var other = try AuthenticatorHarness()
        other.rows = harness.rows
        other.disk = harness.disk
        #expect(other.ask("a", "q")?.outcome == .allow)
        harness.disk = other.disk
        #expect(harness.ask("a", "q")?.outcome == .allow)
        #expect(harness.ask("a", "p")?.outcome == .unknown)
    }

    /// The file's thread may be slow: until it has marked a row, what is read is older than the change.
    @Test(arguments: [false, true])
    func `a row of the file is not used before it is marked`(_ all: Bool) throws {
        var (harness, _) = try self.harness("a")
        harness.holdsWrites = true
        if all {
            harness.authenticator.allNamed(now: harness.time)
            harness.performActions()
        } else {
            harness.change("a")
        }
        harness.redis = .isDown
        #expect(harness.ask("a", "p")?.outcome == .unknown)
        harness.performWrites()
        #expect(harness.disk[harness.key("a")]?.mustFetch == true)
        #expect(harness.disk[harness.key("a")]?.generation == 1)
        #expect(harness.ask("a", "p")?.outcome == .unknown)
        harness.redis = .works
        #expect(harness.ask("a", "p")?.outcome == .allow)
        harness.redis = .isDown
        #expect(harness.ask("a", "p")?.outcome == .allow)
        try harness.restart()
        #expect(harness.ask("a", "p")?.outcome == .allow)
    }

    @Test func `an absent key named as changed is looked up again at once`() throws {
        var harness = try AuthenticatorHarness()
        #expect(harness.ask("a", "p")?.reason == .noSuchDevice)
        harness.rows["a"] = "p"
        #expect(harness.ask("a", "p")?.reason == .noSuchDevice)
        harness.change("a")
        #expect(harness.ask("a", "p")?.outcome == .allow)
    }

    @Test func `what was asked for before a change is neither served nor stored`() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "old"
        harness.holdsAnswers = true
        let request = harness.send("a", "old")
        harness.rows["a"] = "new"
        harness.change("a")
        harness.land(0)
        #expect(harness.verdicts[request] == nil)
        harness.land(0)
        #expect(harness.verdicts[request]?.reason == .wrongPassword)
        #expect(harness.disk[harness.key("a")]?.mustFetch == false)
        harness.redis = .isDown
        try harness.restart()
        #expect(harness.ask("a", "old")?.outcome == .unknown)
        #expect(harness.ask("a", "new")?.outcome == .allow)
    }

    @Test func `what another worker asked for before a change is not stored by it`() throws {
        var first = try AuthenticatorHarness()
        first.rows["a"] = "old"
        first.holdsAnswers = true
        let slow = first.send("a", "old")
        // The other worker hears of the change; this one is told later, or never.
        var second = try AuthenticatorHarness()
        second.change("a")
        first.disk = second.disk
        first.land(0)
        #expect(first.verdicts[slow]?.outcome == .allow)
        #expect(first.disk[first.key("a")]?.mustFetch == true)
        first.redis = .isDown
        #expect(first.ask("a", "old")?.outcome == .unknown)
    }

    @Test func `a key that changes all the time keeps no device out`() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["a"] = "p"
        harness.holdsAnswers = true
        let request = harness.send("a", "p")
        for _ in 0..<10 where harness.verdicts[request] == nil {
            harness.change("a")
            harness.land(0)
        }
        #expect(harness.verdicts[request]?.outcome == .allow)
        harness.holdsAnswers = false
        harness.redis = .isDown
        #expect(harness.ask("a", "p")?.outcome == .unknown)
        // Nor does the file have it for others.
        try harness.restart()
        #expect(harness.ask("a", "p")?.outcome == .unknown)
    }

    @Test func `when everything is in doubt, rows are fetched again, and served as before without Redis`() throws {
        var (harness, _) = try self.harness("a", "b")
        #expect(harness.ask("b", "p")?.outcome == .allow)
        harness.advance(seconds: 1)
        harness.authenticator.allChanged(now: harness.time)
        harness.rows["a"] = nil
        #expect(harness.ask("a", "p")?.reason == .noSuchDevice)
        harness.redis = .isDown
        #expect(harness.ask("b", "p")?.source == .staleCache)
    }
}
