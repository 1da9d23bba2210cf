/// Tells a Redis that has lost its data from devices that were revoked: the one must not throw a fleet out.
///
/// Absences of known rows are counted, those that all workers of the host have seen together. Too many within ten seconds, or a Redis
/// that came back without the rows, suspend denial: rows count as stale and good until the rows are back or somebody confirms. A
/// suspension is one of all workers, and of those that start while it lasts (`DenialAccount`).
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
        case suspended
    }

    /// So many absences are always believed.
    static let absencesAlwaysBelieved = 20

    private let account: DenialAccount
    private var isChecking = false
    /// Of the last sample while suspended.
    private var lastAbsent: Int?
    /// Known rows that Redis did not have and that were not denied.
    package private(set) var held: UInt64 = 0

    package init(account: DenialAccount = DenialAccount()) {
        self.account = account
    }

    package var state: State {
        if self.isSuspended { return .suspended }
        return self.isChecking ? .checking : .watching
    }

    package var isSuspended: Bool { self.account.suspendedSinceMilliseconds != nil }

    /// When rows of a sample were known current last: not before somebody confirmed that rows are gone; and while denial is suspended,
    /// before it was: those that came back and were fetched since are there, and say nothing about the others.
    package var sampledMilliseconds: Range<Int64> {
        let confirmed = self.account.confirmedAtMilliseconds
        return confirmed..<max(self.account.suspendedSinceMilliseconds ?? .max, confirmed)
    }

    /// A change that was told before has nothing to do with the rows that are missing; nil: none are known to be lost.
    package var vanishingSinceMilliseconds: Int64? { self.account.vanishingSinceMilliseconds }

    private static func limit(known: Int) -> Int { max(Self.absencesAlwaysBelieved, known / 100) }

    /// A known row is absent. Returns whether the device may be denied.
    mutating func isDenied(knownCurrent: Int64, known: Int, now: AuthTime) -> Bool {
        // Rows that were known before were given up by somebody who confirmed it.
        if knownCurrent < now.monotonic(ofWallMilliseconds: self.account.confirmedAtMilliseconds) { return true }
        if self.state == .watching {
            let fleet = self.account.know(known)
            if self.account.countAbsence(now: now.monotonic) <= Self.limit(known: fleet) { return true }
            self.suspend(now: now, vanishingSince: now.wallMilliseconds - DenialAccount.countedMilliseconds)
        }
        self.held += 1
        return false
    }

    /// - Parameter vanishingSince: milliseconds since 1970; nil: all rows went at once.
    mutating func suspend(now: AuthTime, vanishingSince: Int64? = nil) {
        let time = now.wallMilliseconds
        if self.account.suspend(atMilliseconds: time, vanishingSince: vanishingSince ?? time) { self.lastAbsent = nil }
    }

    /// Redis may be another one.
    mutating func beginCheck() {
        self.isChecking = true
    }

    /// Redis has all but `absent` of a sample of known rows.
    ///
    /// - Parameters:
    ///   - isWhole: there are no rows but those of the sample.
    ///   - isSameServer: it is the process that had them: what a few of them miss was removed.
    mutating func checked(
        sample: Int,
        absent: Int,
        isWhole: Bool,
        known: Int,
        isSameServer: Bool,
        now: AuthTime
    ) {
        let fleet = isWhole ? sample : max(self.account.know(known), sample)
        let estimate = sample == 0 ? 0 : absent * fleet / sample
        let isMass = estimate > Self.limit(known: fleet)
        let isMajority = absent * 2 > sample
        guard self.isSuspended else {
            guard self.isChecking else { return }
            self.isChecking = false
            if isSameServer ? isMass && isMajority : isMass || isMajority { self.suspend(now: now) }
            return
        }
        self.isChecking = false
        // While more come back from look to look somebody is at it, and those that are still missing are not gone.
        let isSettled = absent == 0 || absent == self.lastAbsent
        self.lastAbsent = absent
        if sample > 0, !isMass, !isMajority, isSettled { self.account.resume() }
    }

    /// Somebody knows that the rows are gone for good.
    mutating func confirm(now: AuthTime) {
        self.isChecking = false
        self.account.confirm(atMilliseconds: now.wallMilliseconds)
    }

    /// See `DenialAccount.sync`.
    package func sync() {
        self.account.sync()
    }
}
