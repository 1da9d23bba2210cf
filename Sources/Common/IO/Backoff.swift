/// Delays between attempts: doubling, bounded, with jitter so that many processes do not try in step.
public struct Backoff: Sendable {
    private let initialNanoseconds: UInt64
    private let maximumNanoseconds: UInt64
    private var current: UInt64

    public init(initialNanoseconds: UInt64, maximumNanoseconds: UInt64) {
        precondition(initialNanoseconds > 0 && maximumNanoseconds >= initialNanoseconds)
        self.initialNanoseconds = initialNanoseconds
        self.maximumNanoseconds = maximumNanoseconds
        self.current = initialNanoseconds
    }

    /// Between half of the current delay and all of it; the next one is twice as long.
    public mutating func next(using random: inout some RandomNumberGenerator) -> UInt64 {
        defer { self.current = min(self.maximumNanoseconds, self.current * 2) }
        return UInt64.random(in: self.current / 2...self.current, using: &random)
    }

    public mutating func reset() {
        self.current = self.initialNanoseconds
    }
}
