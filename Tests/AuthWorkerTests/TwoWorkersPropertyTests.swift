import AuthCache
import AuthWorker
import Common
import TestSupport
import Testing

/// Two workers on one cache file, told of changes at different times, with answers and writes that take theirs: nobody is let in by a
/// password that a worker was told is not the one any more, and whoever got in since the last change gets in without Redis.
@Suite struct TwoWorkersPropertyTests {
    private struct World {
        var workers: [AuthenticatorHarness]
        var disk: [LookupKey: CachedRow] = [:]
        /// The version of each device's password in Redis.
        var versions = [Int](repeating: 0, count: 4)
        /// Redis has no row of these.
        var removed: Set<Int> = []
        /// What each worker still has to be told.
        var untold: [[Int]] = [[], []]
        /// The version that each worker was told of last, for each device.
        var told = [[Int]](repeating: [Int](repeating: 0, count: 4), count: 2)
        /// Of each question: the worker, the device, the password's version, and what the worker had been told by then.
        var questions: [(worker: Int, request: UInt64, device: Int, version: Int, told: Int)] = []

        init() throws {
            let page = SharedPage()
            let marks = SharedPage()
            self.workers = try (1...2).map {
                try AuthenticatorHarness(denials: DenialAccount(page: page, worker: $0), marksPage: marks)
            }
            for device in self.versions.indices { self.setRow(device) }
        }

        static func name(_ device: Int) -> String { "d\(device)" }
        static func password(_ version: Int) -> String { "p\(version)" }

        mutating func setRow(_ device: Int) {
            for worker in self.workers.indices {
                let password = self.removed.contains(device) ? nil : Self.password(self.versions[device])
                self.workers[worker].rows[Self.name(device)] = password
            }
        }

        /// The file is one.
        mutating func with(_ worker: Int, _ body: (inout AuthenticatorHarness) -> Void) {
            self.workers[worker].disk = self.disk
            body(&self.workers[worker])
            self.disk = self.workers[worker].disk
        }

        mutating func change(_ device: Int, removes: Bool = false) {
            self.versions[device] += 1
            if removes { self.removed.insert(device) } else { self.removed.remove(device) }
            self.setRow(device)
            for worker in self.untold.indices { self.untold[worker].append(device) }
        }

        mutating func tell(_ worker: Int) {
            guard !self.untold[worker].isEmpty else { return }
            let device = self.untold[worker].removeFirst()
            // There may have been several changes; each is told.
            self.told[worker][device] += 1
            self.with(worker) { $0.change(Self.name(device)) }
        }

        mutating func ask(_ worker: Int, _ device: Int, version: Int) {
            var request: UInt64 = 0
            self.with(worker) { request = $0.send(Self.name(device), Self.password(version)) }
            self.questions.append((worker, request, device, version, self.told[worker][device]))
        }

        mutating func verdict(_ worker: Int, _ device: Int, version: Int) -> AuthVerdict.Outcome? {
            var outcome: AuthVerdict.Outcome?
            self.with(worker) { outcome = $0.ask(Self.name(device), Self.password(version))?.outcome }
            return outcome
        }

        /// Redis loses all rows, and the workers may end.
        mutating func lose(restarts: Bool) throws {
            for worker in self.workers.indices {
                self.workers[worker].rows = [:]
                self.with(worker) { harness in
                    harness.advance(seconds: 12)
                    harness.authenticator.flushed(now: harness.time)
                    harness.authenticator.allChanged(now: harness.time)
                }
                if restarts { try self.workers[worker].restart() }
            }
        }

        /// Everybody is told everything, all answers come and all is written.
        mutating func settle() {
            for worker in self.workers.indices {
                while !self.untold[worker].isEmpty { self.tell(worker) }
            }
            for _ in 0..<10 {
                for worker in self.workers.indices {
                    self.with(worker) { harness in
                        harness.holdsAnswers = false
                        while !harness.flights.isEmpty { harness.land(0) }
                        harness.performWrites()
                        harness.advance(seconds: 0.3)
                    }
                }
            }
        }
    }

    @Test func nobodyIsLockedOutAndNobodyComesInByAnOldPassword() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for round in 0..<300 {
            var world = try World()
            for _ in 0..<Int.random(in: 1...60, using: &random) { self.step(&world, &random) }
            world.settle()
            // Each device comes once more while Redis is there, over one worker or the other.
            for device in world.versions.indices {
                let worker = Int.random(in: 0..<2, using: &random)
                let outcome = world.verdict(worker, device, version: world.versions[device])
                #expect(outcome == .allow, "device \(device), round \(round), seed \(seed)")
            }
            world.settle()
            for worker in 0..<2 { world.workers[worker].redis = .isDown }
            for device in world.versions.indices {
                for worker in 0..<2 {
                    let version = world.versions[device]
                    let outcome = world.verdict(worker, device, version: version)
                    #expect(outcome == .allow, "worker \(worker), device \(device), round \(round), seed \(seed)")
                    guard version > 0 else { continue }
                    let old = world.verdict(worker, device, version: version - 1)
                    #expect(old != .allow, "worker \(worker), device \(device), round \(round), seed \(seed)")
                }
            }
            for question in world.questions where question.version < question.told {
                let verdict = world.workers[question.worker].verdicts[question.request]
                #expect(verdict?.outcome != .allow, "\(question), round \(round), seed \(seed)")
            }
        }
    }

    /// Nobody comes in who was removed before, and nobody with a password that was told to be another one.
    @Test func whileRowsAreHeldWhoWasOutStaysOut() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for round in 0..<300 {
            var world = try World()
            for _ in 0..<Int.random(in: 1...60, using: &random) {
                if Int.random(in: 0..<10, using: &random) == 0 {
                    world.change(Int.random(in: 0..<4, using: &random), removes: true)
                } else {
                    self.step(&world, &random)
                }
            }
            world.settle()
            var askedAgain: Set<Int> = []
            for device in world.versions.indices where Bool.random(using: &random) {
                _ = world.verdict(Int.random(in: 0..<2, using: &random), device, version: world.versions[device])
                askedAgain.insert(device)
            }
            world.settle()
            try world.lose(restarts: Bool.random(using: &random))
            for _ in 0..<8 {
                let device = Int.random(in: 0..<4, using: &random)
                let worker = Int.random(in: 0..<2, using: &random)
                let hint: Comment = "device \(device), worker \(worker), round \(round), seed \(seed)"
                // As when the access rows of one are written again, and Redis does without its own.
                if Int.random(in: 0..<4, using: &random) == 0, world.removed.contains(device) {
                    world.with(worker) { $0.change(World.name(device)) }
                }
                let version = world.versions[device]
                let outcome = world.verdict(worker, device, version: version)
                if world.removed.contains(device) {
                    #expect(outcome != .allow, hint)
                    if askedAgain.contains(device) { #expect(outcome == .deny, hint) }
                } else if askedAgain.contains(device) {
                    #expect(outcome == .allow, hint)
                }
                if version > 0 { #expect(world.verdict(worker, device, version: version - 1) != .allow, hint) }
            }
        }
    }

    private func step(_ world: inout World, _ random: inout SeededRandom) {
        let worker = Int.random(in: 0..<2, using: &random)
        let device = world.versions.indices.randomElement(using: &random) ?? 0
        switch Int.random(in: 0..<10, using: &random) {
        case 0: world.change(device)
        case 1, 2: world.tell(worker)
        case 3, 4: world.ask(worker, device, version: world.versions[device])
        case 5: world.ask(worker, device, version: max(0, world.versions[device] - 1))
        case 6: world.with(worker) { $0.holdsAnswers.toggle() }
        case 7:
            world.with(worker) { harness in
                if !harness.flights.isEmpty { harness.land(Int.random(in: 0..<harness.flights.count, using: &random)) }
            }
        case 8: world.with(worker) { $0.holdsWrites = true }
        default: world.with(worker) { $0.performWrites() }
        }
    }
}
