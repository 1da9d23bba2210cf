/// Durations in buckets that are 1/128 of their power of two wide, as HdrHistogram's: quantiles are at most 0.8 % too large. Of fixed
/// size; nothing is allocated to record.
package struct Histogram: Sendable {
    private static let bits = 7
    private static let perOctave = 1 << Self.bits
    /// Up to 2^40 ns, eighteen minutes; longer ones count as that.
    private static let bucketCount = (40 - Self.bits + 1) * Self.perOctave

    private var buckets = [UInt64](repeating: 0, count: Self.bucketCount)
    package private(set) var count: UInt64 = 0
    package private(set) var maximum: UInt64 = 0

    package init() {}

    package mutating func record(_ nanoseconds: UInt64) {
        self.buckets[Self.bucket(nanoseconds)] += 1
        self.count += 1
        self.maximum = max(self.maximum, nanoseconds)
    }

    /// Nanoseconds within which this share of all lay; 0 when there are none.
    package func quantile(_ share: Double) -> UInt64 {
        let wanted = max(1, UInt64((Double(self.count) * share).rounded(.up)))
        var seen: UInt64 = 0
        for (index, count) in self.buckets.enumerated() where count > 0 {
            seen += count
            if seen >= wanted { return min(Self.upperBound(index), self.maximum) }
        }
        return 0
    }

    static func bucket(_ value: UInt64) -> Int {
        guard value >= UInt64(Self.perOctave) else { return Int(value) }
        let octave = 63 - value.leadingZeroBitCount
        let within = Int(value >> UInt64(octave - Self.bits)) & (Self.perOctave - 1)
        return min((octave - Self.bits + 1) * Self.perOctave + within, Self.bucketCount - 1)
    }

    /// The largest value of the bucket.
    static func upperBound(_ bucket: Int) -> UInt64 {
        guard bucket >= Self.perOctave else { return UInt64(bucket) }
        let octave = bucket / Self.perOctave - 1 + Self.bits
        let within = UInt64(bucket % Self.perOctave)
        return (UInt64(Self.perOctave) + within + 1) << UInt64(octave - Self.bits) - 1
    }
}
