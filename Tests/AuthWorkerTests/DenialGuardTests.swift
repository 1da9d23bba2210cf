import AuthWorker
import Common
import TestSupport
import Testing

/// A Redis that lost its data, and devices that were really revoked.
@Suite struct DenialGuardTests {
    /// A fleet that has connected.
    private func fleet(_ count: Int) throws -> AuthenticatorHarness {
        var harness = try AuthenticatorHarness()
        for index in 0..<count {
            harness.rows["d\(index)"] = "p"
            #expect(harness.ask("d\(index)", "p")?.outcome == .allow)
        }
        harness.advance(seconds: 400)
        return harness
    }

    @Test func `single removals are believed`() throws {
        var harness = try self.fleet(30)
        for index in 0..<20 {
            harness.rows["d\(index)"] = nil
            #expect(harness.ask("d\(index)", "p")?.reason == .noSuchDevice)
        }
        harness.advance(seconds: 11)
        harness.rows["d20"] = nil
        #expect(harness.ask("d20", "p")?.reason == .noSuchDevice)
    }

    @Test func `too many at once are not, until somebody confirms`() throws {
        var harness = try self.fleet(100)
        harness.rows = [:]
        let outcomes = (0..<100).map { harness.ask("d\($0)", "p")?.outcome }
        #expect(outcomes.prefix(20).allSatisfy { $0 == .deny })
        #expect(outcomes.dropFirst(20).allSatisfy { $0 == .allow })
        #expect(harness.authenticator.denialGuard.isSuspended)
        #expect(harness.ask("d50", "wrong")?.outcome == .unknown)
        #expect(harness.ask("stranger", "p")?.reason == .noSuchDevice)
        let live = harness.revalidate("d60", tag: [])
        #expect(harness.verdicts[live]?.outcome == .allow)

        harness.advance(seconds: 1)
        harness.authenticator.confirmMassRevoke(now: harness.time)
        #expect((20..<100).allSatisfy { harness.ask("d\($0)", "p")?.reason == .noSuchDevice })
        #expect(!harness.authenticator.denialGuard.isSuspended)
    }

    /// A worker that was restarted knows its rows from the file only, and the file is locked just then.
    @Test func `a row that cannot be read is not denied while rows are held`() throws {
        var harness = try self.fleet(3)
        harness.rows = [:]
        try harness.restart()
        harness.authenticator.flushed(now: harness.time)
        harness.authenticator.serverMayHaveChanged()
        harness.diskIsReadable = false
        #expect(harness.ask("d0", "p")?.outcome == .unknown)
        harness.diskIsReadable = true
        #expect(harness.ask("d0", "p")?.source == .staleCache)
    }

    @Test func `a flush suspends at once, and the rows' return ends it`() throws {
        var harness = try self.fleet(3)
        let rows = harness.rows
        harness.rows = [:]
        harness.authenticator.flushed(now: harness.time)
        harness.authenticator.allChanged(now: harness.time)
        #expect((0..<3).allSatisfy { harness.ask("d\($0)", "p")?.source == .staleCache })
        harness.authenticator.sampled(3, absent: 3, now: harness.time)
        #expect(harness.authenticator.denialGuard.isSuspended)
        harness.rows = rows
        harness.authenticator.sampled(3, absent: 0, now: harness.time)
        #expect(!harness.authenticator.denialGuard.isSuspended)
        harness.rows["d0"] = nil
        #expect(harness.ask("d0", "p")?.reason == .noSuchDevice)
        #expect(harness.ask("d1", "p")?.source == .redis)
    }

    @Test func `nobody is denied while it is not clear whether another server has the rows`() throws {
        var harness = try self.fleet(4)
        harness.rows["d0"] = nil
        harness.authenticator.serverMayHaveChanged()
        #expect(harness.ask("d0", "p")?.outcome == .allow)
        harness.authenticator.sampled(4, absent: 1, now: harness.time)
        #expect(harness.ask("d0", "p")?.reason == .noSuchDevice)

        harness.authenticator.serverMayHaveChanged()
        harness.rows = [:]
        harness.authenticator.sampled(3, absent: 3, now: harness.time)
        #expect(harness.ask("d1", "p")?.outcome == .allow)
    }
}
