import Common

/// Lets one line through every ten seconds, and counts the rest.
struct ErrorLogLimiter {
    private static let intervalNanoseconds = 10 * Nanoseconds.perSecond
    private var last: Instant?
    private var leftOut: UInt64 = 0

    /// How many were left out since the last line; nil: this one is left out.
    mutating func admit(now: Instant) -> UInt64? {
        if let last = self.last, now &- last < Self.intervalNanoseconds {
            self.leftOut += 1
            return nil
        }
        defer { self.leftOut = 0 }
        self.last = now
        return self.leftOut
    }
}
