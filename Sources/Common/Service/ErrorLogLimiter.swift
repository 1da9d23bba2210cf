/// Lets so many lines through in ten seconds, and counts the rest.
public struct ErrorLogLimiter {
    private static let intervalNanoseconds = 10 * Nanoseconds.perSecond
    private let linesMax: Int
    private var windowStart: Instant?
    private var lines = 0
    private var leftOut: UInt64 = 0

    public init(linesMax: Int = 1) {
        self.linesMax = linesMax
    }

    /// How many were left out since the last line; nil: this one is left out.
    public mutating func admit(now: Instant) -> UInt64? {
        if self.windowStart.map({ now &- $0 >= Self.intervalNanoseconds }) ?? true {
            self.windowStart = now
            self.lines = 0
        }
        guard self.lines < self.linesMax else {
            self.leftOut += 1
            return nil
        }
        defer { self.leftOut = 0 }
        self.lines += 1
        return self.leftOut
    }
}
