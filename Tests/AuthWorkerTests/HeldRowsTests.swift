import AuthCache
import Common
import Testing

@testable import AuthWorker

/// While rows are held that Redis has lost nobody comes in who was to stay out before: neither who was known to be gone, nor with a row
/// that had been named as changed.
@Suite struct HeldRowsTests {
    enum Loss: CaseIterable {
        case flush
        /// Redis comes back as another process without the rows.
        case restart
        case removals
    }

    /// Devices d0 to d59 that have connected; the workers share one file.
    private struct Host {
        var workers: [AuthenticatorHarness] = []
        var disk: [LookupKey: CachedRow] = [:]

        init(workers count: Int) throws {
            let page = SharedPage()
            for worker in 1...count {
                self.workers.append(try AuthenticatorHarness(denials: DenialAccount(page: page, worker: worker)))
            }
            for device in 0..<60 {
                self.set("d\(device)", "p")
                for worker in self.workers.indices { #expect(self.ask(worker, device)?.outcome == .allow) }
            }
            self.advance(seconds: 400)
        }

        mutating func set(_ name: String, _ password: String?) {
            for worker in self.workers.indices { self.workers[worker].rows[name] = password }
        }

        mutating func with<Result>(
            _ worker: Int,
            _ body: (inout AuthenticatorHarness) throws -> Result
        ) rethrows -> Result {
            self.workers[worker].disk = self.disk
            defer { self.disk = self.workers[worker].disk }
            return try body(&self.workers[worker])
        }

        mutating func advance(seconds: Double) {
            for worker in self.workers.indices { self.with(worker) { $0.advance(seconds: seconds) } }
        }

        /// All workers are told.
        mutating func change(_ device: Int, _ password: String?) {
            self.set("d\(device)", password)
            for worker in self.workers.indices { self.with(worker) { $0.change("d\(device)") } }
        }

        mutating func ask(_ worker: Int, _ device: Int, _ password: String = "p") -> AuthVerdict? {
            self.with(worker) { $0.ask("d\(device)", password) }
        }

        /// Devices from d20 on lose their rows. The first 20 absences are always believed.
        mutating func lose(_ loss: Loss) {
            switch loss {
            case .flush:
                for worker in self.workers.indices {
                    self.workers[worker].rows = [:]
                    self.with(worker) { $0.authenticator.flushed(now: $0.time) }
                }
            case .restart:
                for worker in self.workers.indices {
                    self.workers[worker].rows = [:]
                    self.with(worker) { harness in
                        harness.authenticator.serverMayHaveChanged()
                        harness.authenticator.sampled(50, absent: 50, now: harness.time)
                    }
                }
            case .removals:
                for device in 20..<60 { self.change(device, nil) }
                for device in 20..<60 { _ = self.ask(0, device) }
                self.set("d9", nil)
            }
            for worker in self.workers.indices {
                #expect(self.workers[worker].authenticator.denialGuard.isSuspended)
            }
        }

        mutating func restart() throws {
            for worker in self.workers.indices { try self.with(worker) { try $0.restart() } }
        }
    }

    /// Named as changed 12 seconds before the loss, and nobody asked: with the old password all came in.
    @Test(arguments: Loss.allCases, [false, true])
    func `regression: a row that was named as changed before the loss does not count`(
        _ loss: Loss,
        _ restarts: Bool
    ) throws {
        var host = try Host(workers: 1)
        host.change(8, nil)
        host.change(9, "new")
        host.advance(seconds: 12)
        host.lose(loss)
        if restarts { try host.restart() }
        for _ in 0..<2 {
            #expect(host.ask(0, 8)?.outcome == .unknown)
            #expect(host.ask(0, 9)?.outcome == .unknown)
            #expect(host.ask(0, 9, "new")?.outcome == .unknown)
            // The others stay.
            #expect(host.ask(0, 50)?.source == .staleCache)
            host.advance(seconds: 20)
        }
        // Nor when Redis goes away then, while what it has lost before counts as long as there is somebody who knows.
        host.workers[0].redis = .isDown
        #expect(host.ask(0, 8)?.outcome == .unknown)
        #expect(host.ask(0, 50)?.outcome == .allow)
    }

    /// The other worker, which learned that the device is gone, was stopped: the one that is asked then had the row in memory.
    @Test(arguments: Loss.allCases, [false, true])
    func `regression: a device that another worker knew to be gone is refused`(_ loss: Loss, _ restarts: Bool) throws {
        var host = try Host(workers: 2)
        host.change(8, nil)
        #expect(host.ask(0, 8)?.reason == .noSuchDevice)
        host.advance(seconds: 12)
        host.lose(loss)
        if restarts { try host.restart() }
        for worker in [1, 0] { #expect(host.ask(worker, 8)?.reason == .noSuchDevice) }
        host.with(1) { $0.change("d8") }
        for worker in [1, 0] { #expect(host.ask(worker, 8)?.reason == .noSuchDevice) }
    }

    /// The other worker's mark came between the look-up and the writing of what it gave: the file went on to know the device.
    @Test func `regression: that a device is gone is written though another worker marks it meanwhile`() throws {
        var host = try Host(workers: 1)
        host.set("d8", nil)
        host.with(0) { harness in
            harness.change("d8")
            harness.holdsWrites = true
            #expect(harness.ask("d8", "p")?.reason == .noSuchDevice)
            harness.anotherWorkerMarks("d8")
            harness.performWrites()
            #expect(harness.disk[harness.key("d8")]?.absentSinceMilliseconds != nil)
            // It is looked at once more, and that is the end of it.
            harness.advance(seconds: 2)
            let lookups = harness.lookups
            for _ in 0..<5 { harness.advance(seconds: 2) }
            #expect(harness.lookups == lookups)
        }
        host.lose(.flush)
        try host.restart()
        #expect(host.ask(0, 8)?.reason == .noSuchDevice)
    }

    /// What this worker knows counts though it could not be written.
    @Test func `regression: a device that the file still knows is refused by the worker that learned it is gone`()
        throws
    {
        var host = try Host(workers: 1)
        host.with(0) { $0.holdsWrites = true }
        host.change(8, nil)
        #expect(host.ask(0, 8)?.reason == .noSuchDevice)
        host.advance(seconds: 12)
        host.lose(.flush)
        host.with(0) { $0.change("d8") }
        #expect(host.ask(0, 8)?.reason == .noSuchDevice)
        host.workers[0].redis = .isDown
        host.advance(seconds: 400)
        #expect(host.ask(0, 8)?.outcome == .unknown)
    }

    /// A row that was rewritten while rows are held, and not fetched since, does not count when Redis goes away.
    @Test func `a change that is told while rows are held counts as one`() throws {
        var host = try Host(workers: 1)
        host.lose(.removals)
        #expect(host.ask(0, 50)?.outcome == .allow)
        host.change(50, "new")
        host.workers[0].redis = .isDown
        #expect(host.ask(0, 50)?.outcome == .unknown)
        #expect(host.ask(0, 51)?.outcome == .allow)
    }

    /// Once rows decide again those that were not fetched lack a change as before.
    @Test func `what was held counts no more after the end of it`() throws {
        var host = try Host(workers: 1)
        host.lose(.removals)
        #expect(host.ask(0, 50)?.outcome == .allow)
        host.with(0) { $0.authenticator.confirmMassRevoke(now: $0.time) }
        host.workers[0].redis = .isDown
        #expect(host.ask(0, 50)?.outcome == .unknown)
        #expect(host.ask(0, 10)?.outcome == .allow)
    }

    /// Without them a sample of what is left says that nothing is missing.
    @Test func `rows whose loss was told belong to the sample`() throws {
        var host = try Host(workers: 1)
        host.change(8, nil)
        host.advance(seconds: 12)
        host.lose(.removals)
        let harness = host.workers[0]
        var authenticator = harness.authenticator
        let sample = Set(authenticator.sampleOfKnownKeys(100, now: harness.time))
        #expect(sample.contains(harness.key("d50").redisKey))
        #expect(sample.contains(harness.key("d10").redisKey))
        #expect(!sample.contains(harness.key("d8").redisKey))
    }

    @Test func `a worker of a release before does not say since when rows vanish`() {
        let page = SharedPage()
        let account = DenialAccount(page: page)
        #expect(account.vanishingSinceMilliseconds == nil)
        page[1] = 50_000
        #expect(account.vanishingSinceMilliseconds == 40_000)
        account.resume(atMilliseconds: 89_000)
        account.suspend(atMilliseconds: 90_000, vanishingSince: 85_000)
        #expect(account.vanishingSinceMilliseconds == 85_000)
        account.suspend(atMilliseconds: 99_000, vanishingSince: 99_000)
        #expect(account.vanishingSinceMilliseconds == 85_000)
    }
}
