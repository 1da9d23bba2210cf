import Common
import Glibc

/// How often something happens per minute, averaged over the last 1, 5 and 15 minutes with exponentially falling weight.
struct LoadAverage {
    static let minutes = [1, 5, 15]

    /// Per minute.
    private(set) var values = [0.0, 0.0, 0.0]
    private var counted: UInt64 = 0

    /// - Parameters:
    ///   - count: how often it has happened since the start.
    ///   - elapsedNanoseconds: since the last update.
    mutating func update(_ count: UInt64, elapsedNanoseconds: UInt64) {
        guard elapsedNanoseconds > 0 else { return }
        let elapsedMinutes = Double(elapsedNanoseconds) / Double(60 * Nanoseconds.perSecond)
        let rate = Double(count &- self.counted) / elapsedMinutes
        self.counted = count
        for (index, minutes) in Self.minutes.enumerated() {
            self.values[index] += (rate - self.values[index]) * (1 - exp(-elapsedMinutes / Double(minutes)))
        }
    }
}
