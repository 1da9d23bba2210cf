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
}
