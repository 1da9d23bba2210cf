import Common

/// A query, and the decision once it was made, for whoever asks why. Holds no password. An object: records are moved between
/// tables for each CONNECT, and a query has a dozen fields with memory of their own.
final class DecisionRecord {
    /// Without its password.
    let query: AuthQuery
    let startedAt: Instant
    /// The source that was asked last.
    var source = 0
    private(set) var wallNanoseconds: UInt64 = 0
    /// From the query to the verdict.
    private(set) var tookNanoseconds: UInt64 = 0
    /// Nil: not yet.
    private(set) var verdict: AuthVerdict?

    init(_ query: AuthQuery, now: Instant) {
        var query = query
        query.password = nil
        self.query = query
        self.startedAt = now
    }

    func decide(_ verdict: AuthVerdict, now: Instant, wallNanoseconds: UInt64) {
        self.verdict = verdict
        self.tookNanoseconds = now &- self.startedAt
        self.wallNanoseconds = wallNanoseconds
    }
}
