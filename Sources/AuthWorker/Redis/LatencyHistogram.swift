import Common

/// Durations counted in buckets that are a quarter of a power of two wide: quantiles are at most 25 % too large. Of fixed size,
/// nothing is allocated to record.
package struct LatencyHistogram: Equatable, Sendable {
    private static let bucketsPerOctave = 4
    /// Up to 2^26 µs, more than a minute; longer ones count as that.
    private static let bucketCount = 26 * Self.bucketsPerOctave

    private var buckets = [UInt64](repeating: 0, count: Self.bucketCount)
    package private(set) var count: UInt64 = 0
    package private(set) var maximumNanoseconds: UInt64 = 0

    package init() {}

    package mutating func record(_ nanoseconds: UInt64) {
        self.buckets[Self.bucket(nanoseconds / 1000)] += 1
        self.count += 1
        self.maximumNanoseconds = max(self.maximumNanoseconds, nanoseconds)
    }

    package mutating func add(_ other: LatencyHistogram) {
        for index in self.buckets.indices { self.buckets[index] += other.buckets[index] }
        self.count += other.count
        self.maximumNanoseconds = max(self.maximumNanoseconds, other.maximumNanoseconds)
    }

    /// Microseconds within which this share of all lay; 0 when there are none.
    package func microseconds(_ quantile: Double) -> UInt64 {
        let wanted = UInt64((Double(self.count) * quantile).rounded(.up))
        var seen: UInt64 = 0
        for (index, count) in self.buckets.enumerated() where count > 0 {
            seen += count
            if seen >= max(1, wanted) { return min(Self.upperBound(index), self.maximumNanoseconds / 1000 + 1) }
        }
        return 0
    }

    private static func bucket(_ microseconds: UInt64) -> Int {
        guard microseconds >= UInt64(Self.bucketsPerOctave) else { return Int(microseconds) }
        let octave = 63 - microseconds.leadingZeroBitCount
        let within = Int(microseconds >> UInt64(octave - 2)) & (Self.bucketsPerOctave - 1)
        return min((octave - 1) * Self.bucketsPerOctave + within, Self.bucketCount - 1)
    }

    private static func upperBound(_ bucket: Int) -> UInt64 {
        guard bucket >= Self.bucketsPerOctave else { return UInt64(bucket) + 1 }
        let octave = bucket / Self.bucketsPerOctave + 1
        let within = UInt64(bucket % Self.bucketsPerOctave)
        return (UInt64(Self.bucketsPerOctave) + within + 1) << UInt64(octave - 2)
    }
}
