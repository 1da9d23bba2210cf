/// Tells a Redis that has lost its data from devices that were revoked: the one must not throw a fleet out.
///
/// Absences of known rows are counted, those that all workers of the host have seen together. Too many within ten seconds, or a Redis
/// that came back without the rows, suspend denial: rows count as stale and good until the rows are back or somebody confirms. A
/// suspension is one of all workers, and of those that start while it lasts (`DenialAccount`). When one of them has found the rows, each
/// other one asks its own server before it denies anybody: they may not be connected to the same one.
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
    /// So many of one node of a Redis Cluster are not, where they are most of its rows.
    static let absencesOfLostNode = 5
    /// So long after another worker found the rows this one may still be connected to a server that lacks them.
    static let movingMilliseconds: Int64 = 10_000

    private let account: DenialAccount
    private var isChecking = false
    /// What the account says of that, as far as this worker has looked itself since.
    private var restorationChecked: Int64
    /// Of the last sample while suspended.
    private var lastAbsent: Int?
    /// Known rows that Redis did not have and that were not denied.
    package private(set) var held: UInt64 = 0

    package init(account: DenialAccount = DenialAccount()) {
        self.account = account
        self.restorationChecked = account.restoredAtMilliseconds
    }

    package var state: State {
        if self.isSuspended { return .suspended }
        return self.isChecking || self.account.restoredAtMilliseconds != self.restorationChecked ? .checking : .watching
    }

    package var isSuspended: Bool { self.account.suspendedSinceMilliseconds != nil }

    package var suspendedSinceMilliseconds: Int64? { self.account.suspendedSinceMilliseconds }

    /// When rows of a sample were known current last, those to be taken first in front: not before somebody confirmed that rows are gone;
    /// and while denial is suspended, before rows began to vanish: those that were fetched since are there, and say nothing about the others.
    package var sampledSpans: [Range<Int64>] {
        let confirmed = self.account.confirmedAtMilliseconds
        guard let suspended = self.account.suspendedSinceMilliseconds, suspended > confirmed else {
            return [confirmed..<Int64.max]
        }
        let vanishing = min(max(self.account.vanishingSinceMilliseconds ?? suspended, confirmed), suspended)
        return [confirmed..<vanishing, vanishing..<suspended, suspended..<Int64.max]
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
    ///   - nodes: the same by the nodes of a Redis Cluster, each of which may have lost its rows by itself.
    mutating func checked(
        _ sample: RowSample,
        isWhole: Bool,
        known: Int,
        isSameServer: Bool,
        nodes: [RowSample] = [],
        now: AuthTime
    ) {
        let fleet = isWhole ? sample.count : max(self.account.know(known), sample.count)
        let estimate = sample.count == 0 ? 0 : sample.absent * fleet / sample.count
        let isMass = estimate > Self.limit(known: fleet)
        let isMajority = sample.isMostlyAbsent
        let isNodeLost = nodes.contains { $0.absent >= Self.absencesOfLostNode && $0.isMostlyAbsent }
        guard !self.isSuspended else {
            self.isChecking = false
            // While more come back from look to look somebody is at it, and those that are still missing are not gone.
            let isSettled = sample.absent == 0 || sample.absent == self.lastAbsent
            self.lastAbsent = sample.absent
            guard sample.count > 0, !isMass, !isMajority, !isNodeLost, isSettled else { return }
            self.account.resume(atMilliseconds: now.wallMilliseconds)
            self.restorationChecked = self.account.restoredAtMilliseconds
            return
        }
        guard self.state == .checking else { return }
        let restored = self.account.restoredAtMilliseconds
        if isNodeLost || (isSameServer ? isMass && isMajority : isMass || isMajority) {
            // It is on its way to where the rows are, and holds them by itself until then.
            let isMoving =
                restored != self.restorationChecked && now.wallMilliseconds - restored < Self.movingMilliseconds
            guard !isMoving else { return }
            self.suspend(now: now)
        }
        self.isChecking = false
        self.restorationChecked = restored
    }

    /// Somebody knows that the rows are gone for good.
    package mutating func confirm(now: AuthTime) {
        self.isChecking = false
        self.restorationChecked = self.account.restoredAtMilliseconds
        self.account.confirm(atMilliseconds: now.wallMilliseconds)
    }

    /// See `DenialAccount.isShared`.
    package var isShared: Bool { self.account.isShared }

    /// See `DenialAccount.relink`.
    package func relink(nowMilliseconds: Int64) {
        self.account.relink(nowMilliseconds: nowMilliseconds)
    }

    /// See `DenialAccount.isIntact`.
    package var isIntact: Bool { self.account.isIntact }

    /// See `DenialAccount.wasDamaged`.
    package var wasDamaged: Bool { self.account.wasDamaged }

    /// See `DenialAccount.sync`.
    package func sync() {
        self.account.sync()
    }
}
