import AuthWorker
import Common
import TestSupport
import Testing

@Suite struct SlowPasswordTests {
    private static let stored = "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"

    private func harness(_ change: (inout Authenticator.Settings) -> Void = { _ in }) throws -> AuthenticatorHarness {
        var harness = try AuthenticatorHarness(scheme: PasswordHash(text: "bcrypt"), change)
        harness.rows["a"] = Self.stored
        return harness
    }

    @Test func theSecondCheckOfAPasswordThatFittedIsNotSlow() throws {
        var harness = try self.harness()
        #expect(harness.ask("a", "secret")?.outcome == .allow)
        #expect(harness.slowChecks == 1)
        for _ in 0..<5 { #expect(harness.ask("a", "secret")?.outcome == .allow) }
        #expect(harness.slowChecks == 1)
        // Also after the row was fetched again, as long as it is the same.
        harness.advance(seconds: 400)
        #expect(harness.ask("a", "secret")?.source == .redis)
        #expect(harness.slowChecks == 1)
    }

    @Test func aWrongPasswordIsDeniedAndForcesOneLookup() throws {
        var harness = try self.harness()
        #expect(harness.ask("a", "secret")?.outcome == .allow)
        #expect(harness.ask("a", "wrong")?.reason == .wrongPassword)
        #expect(harness.lookups == 2)
        #expect(harness.ask("a", "secret")?.outcome == .allow)
    }

    @Test func anotherHashMakesTheOldPasswordWorthless() throws {
        var harness = try self.harness()
        #expect(harness.ask("a", "secret")?.outcome == .allow)
        harness.rows["a"] = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
        harness.advance(seconds: 400)
        #expect(harness.ask("a", "secret")?.outcome == .deny)
        #expect(harness.ask("a", "U*U")?.outcome == .allow)
    }

    @Test func whileRedisIsAwayStaleRowsAreComparedToo() throws {
        var harness = try self.harness()
        #expect(harness.ask("a", "secret")?.outcome == .allow)
        try harness.restart()
        harness.redis = .isDown
        harness.advance(seconds: 3600)
        #expect(harness.ask("a", "secret")?.source == .staleCache)
        #expect(harness.ask("a", "wrong")?.outcome == .unknown)
    }

    /// Everything live had been asked about by then: a session of a device that was removed meanwhile went on for hours.
    @Test func `regression: a comparison that is done when Redis is back counts for nothing by itself`() throws {
        var harness = try self.harness()
        #expect(harness.ask("a", "secret")?.outcome == .allow)
        try harness.restart()
        harness.advance(seconds: 3600)
        harness.redis = .isDown
        harness.holdsChecks = true
        let removed = harness.send("a", "secret")
        harness.redis = .works
        harness.rows["a"] = nil
        #expect(harness.verdicts[removed] == nil)
        harness.performChecks()
        #expect(harness.verdicts[removed]?.reason == .noSuchDevice)
    }

    @Test func `regression: a comparison that is done when rows decide again counts for nothing by itself`() throws {
        var harness = try self.harness()
        #expect(harness.ask("a", "secret")?.outcome == .allow)
        try harness.restart()
        harness.advance(seconds: 3600)
        harness.rows["a"] = nil
        harness.authenticator.flushed(hasRowsOnDisk: true, now: harness.time)
        harness.holdsChecks = true
        let held = harness.send("a", "secret")
        harness.performChecks()
        #expect(harness.verdicts[held]?.source == .staleCache)
        try harness.restart()
        harness.holdsChecks = true
        let late = harness.send("a", "secret")
        harness.advance(seconds: 1)
        harness.authenticator.confirmMassRevoke(now: harness.time)
        harness.performChecks()
        #expect(harness.verdicts[late]?.reason == .noSuchDevice)
    }

    @Test func `regression: a row that no password fits is said to be wrong, not the password`() throws {
        var harness = try self.harness()
        harness.rows["a"] = "a clear text"
        // The second one could be new in Redis.
        for source in [AuthVerdict.Source.redis, .redis, .memoryCache] {
            let verdict = harness.ask("a", "a clear text")
            #expect((verdict?.outcome, verdict?.reason, verdict?.source) == (.deny, .rowUnusable, source))
            #expect(verdict.map { String(decoding: $0.detail, as: UTF8.self) } == "the row's value is no bcrypt hash")
        }
        harness.rows["a"] = Self.stored
        harness.advance(seconds: 2)
        #expect(harness.ask("a", "secret")?.outcome == .allow)
    }

    @Test func whatWaitedForTooLongIsAnsweredAndCounted() throws {
        var harness = try self.harness()
        harness.holdsChecks = true
        let late = harness.send("a", "secret")
        harness.dropChecks()
        #expect(harness.verdicts[late]?.outcome == .unknown && harness.verdicts[late]?.reason == .overloaded)
        #expect(harness.authenticator.statistics.slowChecksDropped == 1 && harness.authenticator.checksPending == 0)
        #expect(harness.ask("a", "secret")?.outcome == .allow)
    }

    @Test func withoutACacheToo() throws {
        var harness = try self.harness {
            $0.memoryEntries = 0
            $0.negativeEntries = 0
            $0.positiveTTLNanoseconds = 0
            $0.readsCache = false
        }
        #expect(harness.ask("a", "secret")?.outcome == .allow)
        #expect(harness.ask("a", "wrong")?.outcome == .deny)
        #expect(harness.ask("b", "secret")?.reason == .noSuchDevice)
    }
}
