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

    @Test("a session that depends on several rows comes up for each of them, and once when all are in doubt")
    func severalKeys() {
        var live = LiveSessions()
        for hash in [10, 20] as [UInt64] { live.add(1, keyHash: hash) }
        live.changed([20])
        #expect(live.takeDue(now: 1) == [1])
        live.changed([10])
        #expect(live.takeDue(now: 2) == [1])
        live.allChanged()
        #expect(live.takeDue(now: 5 * Nanoseconds.perSecond) == [1] && !live.hasMore)
        for hash in [10, 20] as [UInt64] { live.remove(1, keyHash: hash) }
        #expect(live.count == 0)
    }

    @Test("a key that a fleet has in common brings up all of them that are left")
    func commonKey() {
        var live = LiveSessions()
        for handle in 1...UInt64(1000) {
            live.add(handle, keyHash: handle + 5000)
            live.add(handle, keyHash: 7)
        }
        live.add(1, keyHash: 7)
        #expect(live.count == 2000)
        for handle in 1...UInt64(990) { live.remove(handle, keyHash: 7) }
        live.changed([7])
        #expect(live.takeDue(now: 1).sorted() == Array(991...1000))
        for handle in 991...UInt64(1000) { live.remove(handle, keyHash: 7) }
        live.remove(1, keyHash: 7)
        live.changed([7])
        #expect(live.takeDue(now: 2) == [])
        #expect(live.count == 1000)
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

    /// Doubted again and again, as while Redis tells no changes, some were never asked about.
    @Test("whose turn has not come keeps it when all are in doubt again")
    func sweepBeginsAgain() {
        var live = LiveSessions()
        let sessions: UInt64 = 5000
        for handle in 1...sessions { live.add(handle, keyHash: handle) }
        var seen: Set<UInt64> = []
        var now: Instant = 5 * Nanoseconds.perSecond
        for _ in 0..<20 where seen.count < sessions {
            live.allChanged()
            now += 250 * Nanoseconds.perMillisecond
            seen.formUnion(live.takeDue(now: now))
        }
        #expect(seen.count == sessions)
    }

    /// A device that was removed while Redis did not answer stayed for as long as its delay had become.
    @Test("whom nobody could judge comes up first when all are in doubt")
    func unjudgedFirst() {
        var live = LiveSessions()
        for handle in 1...UInt64(5000) { live.add(handle, keyHash: handle) }
        let now: Instant = 5 * Nanoseconds.perSecond
        let due = live.askLater(77, count: 6, now: now)
        live.allChanged()
        let first = live.takeDue(now: now + 10 * Nanoseconds.perMillisecond)
        #expect(first.last == 77 && first.count < 1000 && due > now + 30 * Nanoseconds.perSecond)
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

    @Test("sessions nobody can say anything about come up again at the same bounded rate, each time later")
    func retries() {
        var live = LiveSessions()
        let sessions = 6000
        let start: Instant = 100 * Nanoseconds.perSecond
        for handle in 1...UInt64(sessions) { _ = live.askLater(handle, count: 1, now: start) }
        #expect(live.takeDue(now: start + 999 * Nanoseconds.perMillisecond) == [])
        #expect(live.nextRetry == start + Nanoseconds.perSecond)
        var now = start + Nanoseconds.perSecond
        var seen = 0
        var most = 0
        repeat {
            let due = live.takeDue(now: now).count
            seen += due
            most = max(most, due)
            now += 20 * Nanoseconds.perMillisecond
        } while live.hasMore
        #expect(seen == sessions)
        #expect(most <= LiveSessions.sweepPerSecond / 4)
        #expect(now - start > 3 * Nanoseconds.perSecond)
        let delays = (1...8).map { live.askLater(1, count: $0, now: now) - now }
        #expect(delays == [1, 2, 4, 8, 16, 32, 32, 32].map { $0 * Nanoseconds.perSecond })
    }
}
