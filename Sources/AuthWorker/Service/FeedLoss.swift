import Common

/// A time in which Redis tells no changes.
struct FeedLoss {
    let since: Instant
    /// When everything live was asked about last.
    var askedAt: Instant = 0
    /// It lasts, Redis answers, and the log says so.
    var isTold = false
}
