/// Lets so much of something pass per second, and a bucketful at once.
///
/// A whole packet may take more than is left: the bucket is then in debt, and nothing passes until that is paid. So no packet
/// is too large to pass at all, and on average the rate is kept.
public struct TokenBucket: Equatable, Sendable {
    private let perSecond: UInt64
    /// The time in which an empty bucket fills: at least what one unit takes.
    private let fillNanoseconds: UInt64
    private var fullAt: Instant = 0

    /// Nil for a rate of 0, which stands for no limit.
    public init?(perSecond: Int, burstNanoseconds: UInt64) {
        guard perSecond > 0 else { return nil }
        self.perSecond = UInt64(perSecond)
        self.fillNanoseconds = max(burstNanoseconds, Nanoseconds.perSecond / UInt64(perSecond))
    }

    /// Nil: something may pass now. Otherwise when it may.
    public func blockedUntil(now: Instant) -> Instant? {
        let unit = Nanoseconds.perSecond / self.perSecond
        // Compared as times: the bucket holds `fill - (fullAt - now)`.
        let ready = self.fullAt &+ unit &- min(self.fullAt &+ unit, self.fillNanoseconds)
        return ready > now ? ready : nil
    }

    /// - Parameter amount: at most 2³² at once.
    public mutating func take(_ amount: Int, now: Instant) {
        let (product, overflow) = UInt64(clamping: amount).multipliedReportingOverflow(by: Nanoseconds.perSecond)
        let cost = overflow ? UInt64(clamping: amount) : product / self.perSecond
        self.fullAt = max(self.fullAt, now) &+ cost
    }
}
