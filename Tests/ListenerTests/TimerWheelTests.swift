import Common
import TestSupport
import Testing

@testable import Listener

@Suite struct TimerWheelTests {
    private static let tick = TimerWheel.tickNanoseconds

    @Test("Random deadlines and clock steps: each key comes up once, when it was said to")
    func model() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<30 {
            var now = UInt64.random(in: 0...1_000_000, using: &random) * Self.tick / 7
            var wheel = TimerWheel(now: now)
            var expected: [UInt64: Instant] = [:]
            var nextKey: UInt64 = 0
            for _ in 0..<300 {
                for _ in 0..<Int.random(in: 0...3, using: &random) {
                    let ticksAhead = UInt64.random(in: 0...(random.oneIn(5) ? 3000 : 100), using: &random)
                    // Some deadlines have passed already, some never come.
                    let deadline =
                        random.oneIn(20) ? Instant.max : random.oneIn(10) ? 0 : now + ticksAhead * Self.tick / 3
                    let due = wheel.schedule(nextKey, deadline: deadline)
                    if deadline > now, deadline < now + 900 * Self.tick {
                        #expect(due >= deadline, "early, seed \(seed)")
                        #expect(due <= deadline + Self.tick, "late, seed \(seed)")
                    }
                    expected[nextKey] = due
                    nextKey += 1
                }
                // Now and then the process was suspended for longer than the wheel is round.
                let step = random.oneIn(40) ? 5000 * Self.tick : UInt64.random(in: 0...3 * Self.tick, using: &random)
                now += step
                let due = Set(wheel.due(now: now))
                #expect(due == Set(expected.filter { $0.value <= now }.map(\.key)), "seed \(seed)")
                for key in due { expected[key] = nil }
                #expect(wheel.count == expected.count, "seed \(seed)")
            }
        }
    }

    @Test("A deadline beyond the horizon comes up at the horizon, for the owner to look at again")
    func horizon() {
        var wheel = TimerWheel(now: 0)
        let due = wheel.schedule(1, deadline: .max)
        #expect(due == 1023 * Self.tick)
        #expect(wheel.due(now: due - 1) == [])
        #expect(wheel.due(now: due) == [1])
    }

    @Test("A wheel that stood still takes new keys without a delay of a whole round")
    func stoodStill() {
        var wheel = TimerWheel(now: 0)
        let now = 100_000 * Self.tick
        let due = wheel.schedule(1, deadline: now + 4 * Self.tick)
        #expect(due <= now + 5 * Self.tick)
        #expect(wheel.due(now: now + 5 * Self.tick) == [1])
    }
}
