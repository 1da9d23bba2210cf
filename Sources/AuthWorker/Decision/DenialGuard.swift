/// Tells a Redis that has lost its data from devices that were revoked: the one must not throw a fleet out.
///
/// Absences of known rows are counted. Too many within ten seconds, or a Redis that came back as another server without the rows,
/// suspend denial: rows count as stale and good until the rows are back or somebody confirms.
///
/// ```
///            another server                 the sample is there
///  watching ────────────────▶ checking ───────────────────────────▶ watching
///     │ too many, or flushed      │ the sample is gone                 ▲
///     └───────────────────────────┴──────────▶ suspended ──────────────┘ the sample is back, or confirmed
/// ```
package struct DenialGuard {
    package enum State: Equatable, Sendable {
        case watching
        /// Redis is asked whether it has the rows of a sample; meanwhile no known row is denied.
        case checking
        case suspended(since: Int64)
    }

    /// Absences count for this long.
    static let windowNanoseconds: Int64 = 10 * 1_000_000_000
    /// So many absences are always believed.
    static let absencesAlwaysBelieved = 20

    package private(set) var state = State.watching
    /// Rows that were known before this moment were given up by somebody who confirmed it.
    private var confirmedAt = Int64.min
    private var recent: [Int64] = []
    /// Known rows that Redis did not have and that were not denied.
    package private(set) var held: UInt64 = 0

    package init() {}

    package var isSuspended: Bool { if case .suspended = self.state { true } else { false } }

    private static func limit(known: Int) -> Int { max(Self.absencesAlwaysBelieved, known / 100) }

    /// A known row is absent. Returns whether the device may be denied.
    mutating func isDenied(knownCurrent: Int64, known: Int, now: Int64) -> Bool {
        if knownCurrent < self.confirmedAt { return true }
        if self.state == .watching {
            self.recent.removeAll { now &- $0 >= Self.windowNanoseconds }
            self.recent.append(now)
            if self.recent.count <= Self.limit(known: known) { return true }
            self.suspend(now: now)
        }
        self.held += 1
        return false
    }

    mutating func suspend(now: Int64) {
        guard !self.isSuspended else { return }
        self.state = .suspended(since: now)
        self.recent = []
    }

    /// Redis may be another one.
    mutating func beginCheck() {
        if self.state == .watching { self.state = .checking }
    }

    /// Redis has all but `absent` of `sample` known rows, of `known` altogether.
    mutating func checked(sample: Int, absent: Int, known: Int, now: Int64) {
        let estimate = sample == 0 ? 0 : absent * max(known, sample) / sample
        let isLost = absent * 2 > sample || estimate > Self.limit(known: known)
        switch self.state {
        case .watching: break
        case .checking: if isLost { self.suspend(now: now) } else { self.state = .watching }
        case .suspended: if !isLost, sample > 0 { self.state = .watching }
        }
    }

    /// Somebody knows that the rows are gone for good.
    mutating func confirm(now: Int64) {
        self.state = .watching
        self.recent = []
        self.confirmedAt = now
    }
}
