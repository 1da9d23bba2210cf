import Common
import TestSupport
import Testing

@testable import Martlet

/// Children 0 (stage 0), 1 and 2 (stage 1), 3 (stage 2): Redis, router and auth worker, listener.
@Suite struct SupervisorTests {
    private static let second = Nanoseconds.perSecond
    private static let millisecond = Nanoseconds.perMillisecond

    private func started(at now: Instant = 0) -> Supervisor {
        var supervisor = Supervisor(stages: [0, 1, 1, 2], now: now)
        _ = supervisor.begin(now: now)
        for id in 0..<4 { _ = supervisor.childReady(id, now: now) }
        return supervisor
    }

    @Test func stagesStartOneAfterTheOther() {
        var supervisor = Supervisor(stages: [0, 1, 1, 2], now: 0)
        #expect(supervisor.begin(now: 0) == [.start(0)])
        #expect(supervisor.childReady(0, now: 1) == [.start(1), .start(2)])
        #expect(supervisor.childReady(2, now: 2) == [])
        #expect(supervisor.childReady(2, now: 3) == [])
        #expect(!supervisor.isReady)
        #expect(supervisor.childReady(1, now: 4) == [.start(3)])
        #expect(supervisor.childReady(3, now: 5) == [.noteReady])
        #expect(supervisor.isReady)
        #expect(supervisor.deadline == nil)
    }

    @Test func aDeadChildComesBackAfterDoublingDelays() {
        var supervisor = self.started()
        var now: Instant = 1
        for milliseconds in [100, 200, 400, 800, 1600, 3200, 5000, 5000] as [UInt64] {
            let delay = milliseconds * Self.millisecond
            let ending = Supervisor.Ending.signalled(9)
            #expect(
                supervisor.childEnded(1, ending, now: now)
                    == [.noteRestart(1, ending: ending, afterNanoseconds: delay)]
            )
            #expect(!supervisor.isReady)
            #expect(supervisor.deadline == now + delay)
            #expect(supervisor.tick(now: now + delay - 1) == [])
            now += delay
            #expect(supervisor.tick(now: now) == [.start(1)])
            #expect(supervisor.childReady(1, now: now) == [])
            #expect(supervisor.isReady)
        }
    }

    @Test func aLongLifeResetsTheDelay() {
        var supervisor = self.started()
        _ = supervisor.childEnded(3, .exited(code: 1), now: 0)
        _ = supervisor.tick(now: 100 * Self.millisecond)
        let short = 100 * Self.millisecond + 10 * Self.second - 1
        var other = supervisor
        #expect(
            supervisor.childEnded(3, .exited(code: 1), now: short)
                == [.noteRestart(3, ending: .exited(code: 1), afterNanoseconds: 200 * Self.millisecond)]
        )
        #expect(
            other.childEnded(3, .exited(code: 1), now: short + 1)
                == [.noteRestart(3, ending: .exited(code: 1), afterNanoseconds: 100 * Self.millisecond)]
        )
    }

    @Test func stagesStopInReverse() {
        var supervisor = self.started()
        #expect(supervisor.stopRequested(now: 0) == [.terminate(3)])
        #expect(supervisor.childEnded(3, .exited(code: 0), now: 1) == [.terminate(1), .terminate(2)])
        #expect(supervisor.childEnded(2, .exited(code: 0), now: 2) == [])
        #expect(supervisor.childEnded(1, .exited(code: 0), now: 3) == [.terminate(0)])
        #expect(supervisor.childEnded(0, .exited(code: 0), now: 4) == [.finish(.stopped)])
        #expect(supervisor.deadline == nil)
    }

    @Test func whatDoesNotStopIsKilledWithinFourSeconds() {
        var supervisor = self.started()
        _ = supervisor.stopRequested(now: 0)
        #expect(supervisor.deadline == 2 * Self.second)
        #expect(supervisor.tick(now: 2 * Self.second) == [.noteKilled(3), .kill(3)])
        #expect(
            supervisor.childEnded(3, .signalled(9), now: 2 * Self.second) == [.terminate(1), .terminate(2)]
        )
        #expect(supervisor.deadline == 3 * Self.second)
        #expect(supervisor.childEnded(1, .exited(code: 0), now: 2 * Self.second) == [])
        #expect(supervisor.tick(now: 3 * Self.second) == [.noteKilled(2), .kill(2)])
        #expect(supervisor.childEnded(2, .signalled(9), now: 3 * Self.second) == [.terminate(0)])
        #expect(supervisor.tick(now: 4 * Self.second) == [.noteKilled(0), .kill(0)])
        #expect(supervisor.childEnded(0, .signalled(9), now: 4 * Self.second) == [.finish(.stopped)])
    }

    @Test func askedASecondTimeItKillsEverythingAtOnce() {
        var supervisor = self.started()
        _ = supervisor.stopRequested(now: 0)
        #expect(supervisor.stopRequested(now: 1) == [.kill(0), .kill(1), .kill(2), .kill(3)])
        for id in 0..<3 { #expect(supervisor.childEnded(id, .signalled(9), now: 2) == []) }
        #expect(supervisor.childEnded(3, .signalled(9), now: 2) == [.finish(.stopped)])
    }

    @Test func aChildThatEndsAtStartUpEndsEverything() {
        var supervisor = Supervisor(stages: [0, 1, 1, 2], now: 0)
        _ = supervisor.begin(now: 0)
        _ = supervisor.childReady(0, now: 0)
        #expect(supervisor.childEnded(1, .exited(code: 1), now: 1) == [.terminate(2)])
        #expect(supervisor.childEnded(2, .exited(code: 0), now: 2) == [.terminate(0)])
        #expect(
            supervisor.childEnded(0, .exited(code: 0), now: 3) == [.finish(.failedAtStart(1, .exited(code: 1)))]
        )
    }

    @Test func aChildThatIsNeverReadyEndsEverything() {
        var supervisor = Supervisor(stages: [0, 0], now: 5)
        _ = supervisor.begin(now: 5)
        _ = supervisor.childReady(0, now: 6)
        #expect(supervisor.deadline == 5 + 60 * Self.second)
        #expect(supervisor.tick(now: 5 + 60 * Self.second) == [.terminate(0), .terminate(1)])
        _ = supervisor.childEnded(0, .exited(code: 0), now: 5 + 60 * Self.second)
        #expect(
            supervisor.childEnded(1, .exited(code: 0), now: 5 + 60 * Self.second) == [.finish(.notReady(1))]
        )
    }

    @Test func stoppingWhileAChildWaitsForItsRestart() {
        var supervisor = Supervisor(stages: [0], now: 0)
        _ = supervisor.begin(now: 0)
        _ = supervisor.childReady(0, now: 0)
        _ = supervisor.childEnded(0, .exited(code: 1), now: 0)
        #expect(supervisor.stopRequested(now: 1) == [.finish(.stopped)])
    }

    @Test func aFailureElsewhereStopsInOrder() {
        var supervisor = self.started()
        #expect(supervisor.fail(now: 0) == [.terminate(3)])
        #expect(supervisor.fail(now: 0) == [])
    }

    /// Random events: every child that runs when it is asked to stop is ended once, and it finishes in bounded time.
    @Test func randomLivesAlwaysEnd() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<300 {
            let stages = [0] + (0..<Int.random(in: 0...4, using: &random)).map { $0 / 2 }
            var world = World(stages: stages)
            for _ in 0..<Int.random(in: 0...60, using: &random) { world.step(&random) }
            world.stop()
            let stopped = world.now
            for _ in 0..<1000 where world.outcome == nil { world.finishStep(&random) }
            #expect(world.outcome != nil, "seed \(seed)")
            #expect(world.running.isEmpty, "seed \(seed)")
            #expect(world.now - stopped <= 4 * Self.second, "seed \(seed)")
            #expect(!world.startedTwice, "seed \(seed)")
        }
    }

    /// Children that obey, or do not.
    private struct World {
        var supervisor: Supervisor
        var now: Instant = 0
        var running: Set<Int> = []
        var outcome: Supervisor.Outcome?
        var startedTwice = false

        init(stages: [Int]) {
            self.supervisor = Supervisor(stages: stages, now: 0)
            self.apply(self.supervisor.begin(now: 0))
        }

        mutating func apply(_ actions: [Supervisor.Action]) {
            for action in actions {
                switch action {
                case .start(let id): if !self.running.insert(id).inserted { self.startedTwice = true }
                case .kill(let id) where self.running.remove(id) != nil:
                    self.apply(self.supervisor.childEnded(id, .signalled(9), now: self.now))
                case .finish(let outcome): self.outcome = outcome
                case .kill, .terminate, .noteRestart, .noteKilled, .noteReady: break
                }
            }
        }

        mutating func step(_ random: inout SeededRandom) {
            switch Int.random(in: 0..<4, using: &random) {
            case 0, 1:
                guard let id = self.running.sorted().randomElement(using: &random) else { return self.advance() }
                self.apply(self.supervisor.childReady(id, now: self.now))
            case 2:
                self.advance()
            default:
                guard random.oneIn(3), let id = self.running.sorted().randomElement(using: &random) else { return }
                self.running.remove(id)
                self.apply(self.supervisor.childEnded(id, .exited(code: 1), now: self.now))
            }
        }

        mutating func advance() {
            guard let deadline = self.supervisor.deadline, deadline != Instant.max else { return }
            self.now = max(self.now, deadline)
            self.apply(self.supervisor.tick(now: self.now))
        }

        mutating func stop() {
            self.apply(self.supervisor.stopRequested(now: self.now))
        }

        /// A child obeys, or time goes on.
        mutating func finishStep(_ random: inout SeededRandom) {
            if random.oneIn(2), let id = self.running.sorted().randomElement(using: &random) {
                self.running.remove(id)
                self.apply(self.supervisor.childEnded(id, .exited(code: 0), now: self.now))
            } else {
                self.advance()
            }
        }
    }
}

@Suite struct LinePrefixerTests {
    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test func linesGetTheNameAtEverySplit() {
        let input = Array("one\ntwo\r\n\nthree".utf8)
        for split in 0...input.count {
            var prefixer = LinePrefixer(name: "router", width: 10)
            var output = prefixer.lines(from: input[..<split])
            output += prefixer.lines(from: input[split...])
            output += prefixer.rest()
            let lines = ["router     | one", "router     | two", "router     | ", "router     | three"]
            #expect(self.text(output) == lines.map { "\($0)\n" }.joined())
            #expect(prefixer.lastLine == "three")
        }
    }

    @Test func aLineWithoutEndIsCut() {
        var prefixer = LinePrefixer(name: "r", width: 1)
        let output = prefixer.lines(from: [UInt8](repeating: 65, count: LinePrefixer.lineBytesMax * 2))
        #expect(output.filter { $0 == UInt8(ascii: "\n") }.count == 2)
        #expect(prefixer.rest().isEmpty)
    }
}
