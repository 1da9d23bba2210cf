import AuthCache
import Common

/// What the auth workers of a host know together about rows that vanish from one source: how many did in the last seconds, whether
/// denial is suspended, and what somebody has confirmed. It stays when they end.
///
/// ```
///  word 0       layout and boot: counts of another boot of the host are not read
///       1       since when denial is suspended, milliseconds since 1970; 0: it is not
///       2       when the loss of rows was confirmed last, the same
///       3       since when rows have been vanishing, the same; of this suspension if it is within ten seconds before that began
///       4       when a worker found the rows back last, and ended the suspension, the same
///       5       always the same: the page was not overwritten; 0: it is of a release before
///      16 …  79 rows known to each worker, by its number
///      80 … 143 absences, by quarters of a second: the quarter's number above, their count below
/// ```
package final class DenialAccount {
    private static let layout: UInt64 = 1
    private static let suspendedSince = 1
    private static let confirmedAt = 2
    private static let vanishingSince = 3
    private static let restoredAt = 4
    private static let mark = 5
    private static let markValue: UInt64 = 0x4465_6E69_616C_7301
    private static let workers = 16
    private static let workersMax = 64
    private static let absences = 80
    private static let absenceSlots = 64
    private static let quarterNanoseconds: Int64 = 250_000_000
    /// Absences count for ten seconds.
    private static let quartersCounted: UInt64 = 40
    static let countedMilliseconds = Int64(DenialAccount.quartersCounted) * DenialAccount.quarterNanoseconds / 1_000_000

    private let page: SharedPage
    /// The number of this worker's word among those of all.
    private let worker: Int
    /// Layout and boot.
    private let stamp: UInt64

    /// - Parameters:
    ///   - page: shared with the other workers.
    ///   - boot: names the host's start: times on the monotonic clock mean nothing in another one.
    package init(page: SharedPage = SharedPage(), worker: Int = 1, boot: UInt64 = 0) {
        self.page = page
        self.worker = Self.workers + (max(worker, 1) - 1) % Self.workersMax
        self.stamp = boot << 8 | Self.layout
        let isOfFormerRelease = page[0] != 0 && page[Self.mark] == 0
        self.wasDamaged = page[0] != 0 && !isOfFormerRelease && page[Self.mark] != Self.markValue
        if self.wasDamaged { self.empty() }
        self.prepare()
        self.page[self.worker] = 0
    }

    /// Somebody has overwritten the page, or cut it short: nothing of what it held is known.
    package private(set) var wasDamaged: Bool

    /// False: `relink` is to be called before anything else.
    package var isIntact: Bool { !self.page.isCut && self.page[Self.mark] == Self.markValue }

    private func empty() {
        for index in 0..<SharedPage.wordCount { self.page[index] = 0 }
    }

    /// Other workers see it, and those that start later.
    var isShared: Bool { self.page.isShared }

    private func prepare() {
        defer { self.page[Self.mark] = Self.markValue }
        guard !self.page.exchange(0, from: 0, to: self.stamp) else { return }
        let former = self.page[0]
        guard former != self.stamp else { return }
        // Of another layout nothing can be read.
        for index in (former & 0xFF == Self.layout ? Self.workers : 1)..<SharedPage.wordCount {
            self.page[index] = 0
        }
        self.page[0] = self.stamp
    }

    /// Nil: denial is not suspended.
    var suspendedSinceMilliseconds: Int64? {
        let since = self.page[Self.suspendedSince]
        return since == 0 ? nil : Int64(clamping: since)
    }

    /// Rows have been vanishing since then; nil: denial is not suspended.
    var vanishingSinceMilliseconds: Int64? {
        guard let suspended = self.suspendedSinceMilliseconds else { return nil }
        let earliest = suspended - Self.countedMilliseconds
        let since = Int64(clamping: self.page[Self.vanishingSince])
        // A worker of a release before does not write it.
        return (earliest...suspended).contains(since) ? since : earliest
    }

    var confirmedAtMilliseconds: Int64 { Int64(clamping: self.page[Self.confirmedAt]) }

    /// False: it was suspended already.
    ///
    /// - Parameter vanishingSince: when the first of the rows went at the earliest.
    @discardableResult
    package func suspend(atMilliseconds time: Int64, vanishingSince: Int64) -> Bool {
        guard self.suspendedSinceMilliseconds == nil else { return false }
        self.page[Self.vanishingSince] = UInt64(max(vanishingSince, 1))
        let isFirst = self.page.exchange(Self.suspendedSince, from: 0, to: UInt64(max(time, 1)))
        if isFirst { self.forgetAbsences() }
        return isFirst
    }

    /// A worker found the rows back where it is connected to; others may be connected elsewhere.
    func resume(atMilliseconds time: Int64) {
        // Another number each time.
        self.page[Self.restoredAt] = max(UInt64(max(time, 1)), self.page[Self.restoredAt] &+ 1)
        self.end()
    }

    /// 0: that never was.
    var restoredAtMilliseconds: Int64 { Int64(clamping: self.page[Self.restoredAt]) }

    func confirm(atMilliseconds time: Int64) {
        self.page[Self.confirmedAt] = UInt64(max(time, 0))
        self.end()
    }

    private func end() {
        self.forgetAbsences()
        self.page[Self.suspendedSince] = 0
    }

    private func forgetAbsences() {
        for index in Self.absences..<Self.absences + Self.absenceSlots { self.page[index] = 0 }
    }

    /// This worker knows so many rows. Returns how many all of them know.
    func know(_ count: Int) -> Int {
        self.page[self.worker] = UInt64(count)
        return (Self.workers..<Self.workers + Self.workersMax).reduce(0) { $0 + Int(clamping: self.page[$1]) }
    }

    /// One more row has vanished. Returns how many did lately, in the eyes of any worker.
    func countAbsence(now: Int64) -> Int {
        let quarter = UInt64(truncatingIfNeeded: now / Self.quarterNanoseconds) & 0xFFFF_FFFF
        let word = Self.absences + Int(quarter % UInt64(Self.absenceSlots))
        while true {
            let former = self.page[word]
            let desired = former >> 32 == quarter ? former &+ 1 : quarter << 32 | 1
            if self.page.exchange(word, from: former, to: desired) { break }
        }
        var count = 0
        for index in Self.absences..<Self.absences + Self.absenceSlots {
            let word = self.page[index]
            // A quarter ahead is of a worker whose turn began later.
            let age = Int64(quarter) - Int64(word >> 32)
            if age < Int64(Self.quartersCounted), age > -Int64(Self.quartersCounted) {
                count += Int(word & 0xFFFF_FFFF)
            }
        }
        return count
    }

    /// See `SharedPage.relink`. What this worker alone knew, others know then, as far as they have decided nothing else meanwhile.
    package func relink(nowMilliseconds: Int64) {
        let former = self.page.relink()
        self.wasDamaged = (former?[Self.mark] ?? self.page[Self.mark]) != Self.markValue
        if self.wasDamaged {
            if self.page[Self.mark] != Self.markValue { self.empty() }
            self.prepare()
            // It may have been suspended: each worker looks whether the rows are there before it denies anybody.
            self.page.raise(Self.restoredAt, to: UInt64(max(nowMilliseconds, 1)))
        }
        guard let former, !self.wasDamaged else { return }
        self.prepare()
        self.page[self.worker] = former[self.worker]
        for index in [Self.confirmedAt, Self.restoredAt] { self.page.raise(index, to: former[index]) }
        // The later quarter, or the higher count of the same one.
        for index in Self.absences..<Self.absences + Self.absenceSlots { self.page.raise(index, to: former[index]) }
        let present = self.page[Self.suspendedSince]
        if present != 0, present < self.page[Self.confirmedAt] { self.end() }
        let suspended = former[Self.suspendedSince]
        guard suspended > max(self.page[Self.confirmedAt], self.page[Self.restoredAt]) else { return }
        self.suspend(
            atMilliseconds: Int64(clamping: suspended),
            vanishingSince: Int64(clamping: former[Self.vanishingSince])
        )
    }

    /// The suspension, or its end, outlives a host that loses its power.
    package func sync() {
        self.page.sync()
    }
}
