import Common

/// The two clocks at one moment: the monotonic one for everything within the process, the wall clock for what is written to disk.
package struct AuthTime: Equatable, Sendable {
    /// Nanoseconds, as a signed number: the past of a row may lie before the machine's start.
    package var monotonic: Int64
    /// Milliseconds since 1970. May jump.
    package var wallMilliseconds: Int64

    package init(monotonic: Instant, wallMilliseconds: Int64) {
        self.monotonic = Int64(clamping: monotonic)
        self.wallMilliseconds = wallMilliseconds
    }

    /// When it was this time by the wall clock, on the monotonic one.
    func monotonic(ofWallMilliseconds time: Int64) -> Int64 {
        let age = self.wallMilliseconds.subtractingReportingOverflow(time).partialValue
        let nanoseconds = age.multipliedReportingOverflow(by: 1_000_000)
        return nanoseconds.overflow ? Int64.min : self.monotonic &- nanoseconds.partialValue
    }
}
