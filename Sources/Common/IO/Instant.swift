import Glibc

/// Nanoseconds of CLOCK_MONOTONIC. State machines get it as an argument; only the event loop reads the clock.
package typealias Instant = UInt64

package enum Nanoseconds {
    package static let perMillisecond: UInt64 = 1_000_000
    package static let perSecond: UInt64 = 1_000_000_000
}

package enum Clock {
    package static func monotonic() -> Instant { self.read(CLOCK_MONOTONIC) }

    /// Counts on during suspend, and is the same for all processes of the host: for stamps that processes compare.
    package static func bootTime() -> UInt64 { self.read(CLOCK_BOOTTIME) }

    /// Nanoseconds since 1970. It may jump: only for what people read and what outlives a boot.
    package static func wall() -> UInt64 { self.read(CLOCK_REALTIME) }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * Nanoseconds.perSecond + UInt64(time.tv_nsec)
    }
}
