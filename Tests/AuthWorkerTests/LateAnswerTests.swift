import AuthWorker
import Common
import TestSupport
import Testing

/// Redis takes its time: devices with a cached row do not wait for it, and its answer counts when it comes.
@Suite struct LateAnswerTests {
    /// A device whose row was confirmed ten minutes ago, and a Redis that keeps its answers.
    private func harness() throws -> AuthenticatorHarness {
        var harness = try AuthenticatorHarness { $0.staleAfterNanoseconds = 30_000_000 }
        harness.rows["a"] = "p"
        #expect(harness.ask("a", "p")?.outcome == .allow)
        harness.advance(seconds: 600)
        harness.holdsAnswers = true
        return harness
    }

    @Test func `a row that is not fresh counts after stale_after, not before`() throws {
        var harness = try self.harness()
        let first = harness.send("a", "p")
        harness.advance(seconds: 0.029)
        #expect(harness.verdicts[first] == nil)
        harness.advance(seconds: 0.002)
        #expect(harness.verdicts[first]?.outcome == .allow)
        #expect(harness.verdicts[first]?.source == .staleCache)
        let joining = harness.send("a", "p")
        #expect(harness.verdicts[joining]?.source == .staleCache)
        harness.land(0)
        #expect(harness.announced == [])
        #expect(harness.ask("a", "p")?.source == .memoryCache)
        #expect(harness.authenticator.queriesWaiting == 0)
    }

    @Test(arguments: [nil, "q"])
    func `if the answer is another one, the sessions are looked at again`(password: String?) throws {
        var harness = try self.harness()
        harness.rows["a"] = password
        let early = harness.send("a", "p")
        harness.advance(seconds: 0.05)
        let verdict = try #require(harness.verdicts[early])
        #expect(verdict.outcome == .allow)
        harness.land(0)
        #expect(harness.announced.map(\.hash) == [verdict.keyHash])
        harness.holdsAnswers = false
        let live = harness.revalidate("a", tag: verdict.credentialTag)
        #expect(harness.verdicts[live]?.outcome == (password == nil ? .deny : .allow))
        #expect(harness.verdicts[live]?.credentialTag != verdict.credentialTag)
    }

    @Test func `a row that was named as changed does not count, nor does a password that does not fit`() throws {
        var harness = try self.harness()
        let guess = harness.send("a", "guess")
        harness.advance(seconds: 0.1)
        #expect(harness.verdicts[guess] == nil)
        harness.land(0)
        #expect(harness.verdicts[guess]?.outcome == .deny)

        harness.advance(seconds: 600)
        harness.change("a")
        let changed = harness.send("a", "p")
        harness.advance(seconds: 0.1)
        #expect(harness.verdicts[changed] == nil)
        harness.land(0)
        #expect(harness.verdicts[changed]?.source == .redis)
    }

    @Test func `who is not known, or not for too long, waits for Redis`() throws {
        var harness = try self.harness()
        let unknown = harness.send("b", "p")
        harness.advance(seconds: 100_000)
        let old = harness.send("a", "p")
        harness.advance(seconds: 0.1)
        #expect(harness.verdicts[unknown] == nil)
        #expect(harness.verdicts[old] == nil)
        harness.fail(1, .queryTimedOut)
        #expect(harness.verdicts[old]?.outcome == .unknown)
    }
}
