import Common

/// A decision that was made, for whoever asks why. Holds no password.
struct DecisionRecord {
    /// Without its password.
    var query: AuthQuery
    var wallNanoseconds: UInt64
    /// From the query to the verdict.
    var tookNanoseconds: UInt64
    /// The source that was asked last.
    var source: Int
    var verdict: AuthVerdict
}
