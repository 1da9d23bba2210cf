import AuthCache
import AuthWorker
import Common
import TestSupport
import Testing

/// A Redis that lost its data, and devices that were really revoked.
@Suite struct DenialGuardTests {
    /// A fleet that has connected.
    private func fleet(_ count: Int, denials: DenialAccount = DenialAccount()) throws -> AuthenticatorHarness {
        var harness = try AuthenticatorHarness(denials: denials)
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

    /// The worker that was told of the flush is gone: all were thrown out by the next one.
    @Test func `a suspension outlives the workers, and a confirmation ends it for all`() throws {
        let folder = try TemporaryDirectory("martlet-denials")
        func account(_ worker: Int) throws -> DenialAccount {
            DenialAccount(page: SharedPage(path: folder.file("denials")), worker: worker, boot: 1)
        }
        var first = try self.fleet(15, denials: account(1))
        let disk = first.disk
        first.rows = [:]
        first.authenticator.flushed(now: first.time)
        var second = try AuthenticatorHarness(denials: account(2))
        second.disk = disk
        second.now = first.now
        second.wallMilliseconds = first.wallMilliseconds
        #expect((0..<15).allSatisfy { second.ask("d\($0)", "p")?.source == .staleCache })

        second.authenticator.confirmMassRevoke(now: second.time)
        #expect(first.ask("d0", "p")?.reason == .noSuchDevice)
        // Those who start after it too.
        var third = try AuthenticatorHarness(denials: account(2))
        third.disk = disk
        third.now = first.now
        third.wallMilliseconds = first.wallMilliseconds + 1
        #expect((0..<15).allSatisfy { third.ask("d\($0)", "p")?.reason == .noSuchDevice })
    }

    @Test func `a suspension outlives the host's restart, counts of its monotonic clock do not`() throws {
        let folder = try TemporaryDirectory("martlet-denials")
        func account(boot: UInt64) throws -> DenialAccount {
            DenialAccount(page: SharedPage(path: folder.file("denials")), worker: 1, boot: boot)
        }
        var harness = try self.fleet(30, denials: account(boot: 1))
        harness.rows = [:]
        #expect((0..<20).allSatisfy { harness.ask("d\($0)", "p")?.outcome == .deny })
        harness = try self.fleet(30, denials: account(boot: 2))
        harness.rows = [:]
        #expect(harness.ask("d0", "p")?.outcome == .deny)
        harness.authenticator.flushed(now: harness.time)
        harness = try self.fleet(30, denials: account(boot: 3))
        harness.rows = [:]
        #expect(harness.ask("d0", "p")?.outcome == .allow)
    }

    @Test func `a flush suspends though the worker that hears of it knows the rows from the file only`() throws {
        var harness = try self.fleet(60)
        harness.rows = [:]
        try harness.restart()
        harness.authenticator.flushed(hasRowsOnDisk: true, now: harness.time)
        #expect((0..<60).allSatisfy { harness.ask("d\($0)", "p")?.outcome == .allow })
    }

    @Test func `a Redis that never had rows may be flushed`() throws {
        var harness = try AuthenticatorHarness()
        harness.authenticator.flushed(now: harness.time)
        #expect(!harness.authenticator.denialGuard.isSuspended)
    }

    /// With four workers 60 removals of 60 were believed: each of them saw 15.
    @Test func `what vanishes counts together for all workers of the host`() throws {
        let page = SharedPage()
        var workers = try (1...4).map { try self.fleet(15, denials: DenialAccount(page: page, worker: $0)) }
        var denied = 0
        for device in 0..<15 {
            for worker in workers.indices {
                workers[worker].rows["d\(device)"] = nil
                if workers[worker].ask("d\(device)", "p")?.outcome == .deny { denied += 1 }
            }
        }
        #expect(denied == 20)
        #expect(workers.allSatisfy { $0.authenticator.denialGuard.isSuspended })
    }

    @Test func `one in a hundred of what all workers know may vanish`() throws {
        let page = SharedPage()
        var workers = try (1...3).map { try self.fleet(1000, denials: DenialAccount(page: page, worker: $0)) }
        for worker in workers.indices {
            workers[worker].rows["d0"] = nil
            #expect(workers[worker].ask("d0", "p")?.outcome == .deny)
        }
        workers[0].rows = [:]
        let denied = (1..<60).filter { workers[0].ask("d\($0)", "p")?.outcome == .deny }
        // Those that are gone are known no more: of 2971 some 29 may vanish, and three have.
        #expect(denied.count == 26)
    }

    @Test func `while half of the rows are missing, or more come back from look to look, all are held`() throws {
        var harness = try self.fleet(60)
        harness.authenticator.flushed(now: harness.time)
        for absent in [60, 30, 30, 18, 12] {
            harness.authenticator.sampled(60, absent: absent, now: harness.time)
            #expect(harness.authenticator.denialGuard.isSuspended)
        }
        // Twelve are not coming.
        harness.authenticator.sampled(60, absent: 12, now: harness.time)
        #expect(!harness.authenticator.denialGuard.isSuspended)
    }

    @Test func `rows that came back come last in a sample of those that vanished`() throws {
        var harness = try self.fleet(3)
        harness.authenticator.flushed(now: harness.time)
        harness.rows = ["d0": "p"]
        harness.advance(seconds: 1)
        #expect(harness.ask("d0", "p")?.source == .redis)
        let sample = harness.authenticator.sampleOfKnownKeys(10, now: harness.time)
        #expect(Set(sample.prefix(2)) == Set([harness.key("d1").redisKey, harness.key("d2").redisKey]))
        #expect(sample.dropFirst(2) == [harness.key("d0").redisKey])
    }

    @Test func `the loss of one node's rows is one, though others have theirs`() throws {
        var harness = try self.fleet(60)
        func check(_ lost: RowSample) {
            harness.authenticator.serverMayHaveChanged()
            harness.authenticator.sampled(
                60,
                absent: lost.absent,
                nodes: [RowSample(count: 60 - lost.count), lost],
                now: harness.time
            )
        }
        for few in [RowSample(count: 6, absent: 4), RowSample(count: 20, absent: 10)] {
            check(few)
            #expect(!harness.authenticator.denialGuard.isSuspended)
        }
        check(RowSample(count: 9, absent: 9))
        #expect(harness.authenticator.denialGuard.isSuspended)
        // It ends when that node has them, or most of them, again.
        for _ in 0..<3 { check(RowSample(count: 9, absent: 6)) }
        #expect(harness.authenticator.denialGuard.isSuspended)
        for _ in 0..<2 { check(RowSample(count: 9, absent: 2)) }
        #expect(!harness.authenticator.denialGuard.isSuspended)
    }

    /// The first worker that had moved to a server with rows let another one deny by what an empty server said.
    @Test func `regression: each worker looks itself before it denies again`() throws {
        let page = SharedPage()
        var workers = try (1...2).map { try self.fleet(15, denials: DenialAccount(page: page, worker: $0)) }
        workers[0].authenticator.flushed(now: workers[0].time)
        workers[1].rows = [:]
        workers[0].authenticator.sampled(15, absent: 0, now: workers[0].time)
        #expect(workers[0].authenticator.denialGuard.state == .watching)
        #expect(workers[1].authenticator.denialGuard.state == .checking)
        #expect(workers[1].ask("d0", "p")?.source == .staleCache)
        // It is on its way to the other server: no loss of its own.
        workers[1].authenticator.sampled(15, absent: 15, now: workers[1].time)
        #expect(workers[1].authenticator.denialGuard.state == .checking)
        workers[1].rows = ["d1": "p"]
        workers[1].authenticator.sampled(15, absent: 1, now: workers[1].time)
        #expect(workers[1].authenticator.denialGuard.state == .watching)
        #expect(workers[1].ask("d0", "p")?.reason == .noSuchDevice)
    }

    @Test func `a worker that stays where the rows are not suspends for all`() throws {
        let page = SharedPage()
        var workers = try (1...2).map { try self.fleet(15, denials: DenialAccount(page: page, worker: $0)) }
        workers[0].authenticator.flushed(now: workers[0].time)
        workers[0].authenticator.sampled(15, absent: 0, now: workers[0].time)
        workers[1].advance(seconds: 11)
        workers[1].authenticator.sampled(15, absent: 15, now: workers[1].time)
        #expect(workers.allSatisfy { $0.authenticator.denialGuard.isSuspended })
    }

    @Test func `the same process that misses a few rows is believed, one that misses most is not`() throws {
        var harness = try self.fleet(100)
        harness.authenticator.serverMayHaveChanged()
        harness.authenticator.sampled(100, absent: 40, isSameServer: true, now: harness.time)
        #expect(!harness.authenticator.denialGuard.isSuspended)
        harness.authenticator.serverMayHaveChanged()
        harness.authenticator.sampled(100, absent: 60, isSameServer: true, now: harness.time)
        #expect(harness.authenticator.denialGuard.isSuspended)
    }
}
