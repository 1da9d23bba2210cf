import Common
import Testing

@testable import Listener

@Suite struct LiveSessionsTests {
    @Test("a named change brings up the sessions of that key, once")
    func named() {
        var live = LiveSessions()
        live.add(1, keyHash: 10)
        live.add(2, keyHash: 10)
        live.add(3, keyHash: 20)
        live.add(4, keyHash: 0)
        live.changed([10, 99])
        #expect(live.takeDue(now: 1) == [1, 2])
        #expect(live.takeDue(now: 2) == [])
        live.remove(1, keyHash: 10)
        live.changed([10])
        #expect(live.takeDue(now: 3) == [2])
        #expect(live.count == 2)
    }

    @Test("when all are in doubt, every session comes up, at the rate that Redis can stand")
    func sweep() {
        var live = LiveSessions()
        let sessions = 10_000
        for handle in 1...UInt64(sessions) { live.add(handle, keyHash: handle) }
        live.allChanged()
        var seen: Set<UInt64> = []
        var now: Instant = 5 * Nanoseconds.perSecond
        let start = now
        while live.hasMore {
            let due = live.takeDue(now: now)
            for handle in due { #expect(seen.insert(handle).inserted) }
            now += 20 * Nanoseconds.perMillisecond
        }
        #expect(seen.count == sessions)
        let seconds = Double(now - start) / 1e9
        #expect(seconds > Double(sessions) / Double(LiveSessions.sweepPerSecond) - 1)
        #expect(seconds < Double(sessions) / Double(LiveSessions.sweepPerSecond) + 1)
    }

    @Test("a named change does not wait behind a sweep")
    func namedDuringSweep() {
        var live = LiveSessions()
        for handle in 1...UInt64(5000) { live.add(handle, keyHash: handle) }
        live.allChanged()
        _ = live.takeDue(now: 10 * Nanoseconds.perSecond)
        live.changed([7])
        #expect(live.takeDue(now: 10 * Nanoseconds.perSecond) == [7])
    }
}
