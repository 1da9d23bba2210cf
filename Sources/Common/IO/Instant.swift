import Glibc

/// Nanoseconds of CLOCK_MONOTONIC. State machines get it as an argument; only the event loop reads the clock.
public typealias Instant = UInt64

public enum Nanoseconds {
    public static let perMillisecond: UInt64 = 1_000_000
    public static let perSecond: UInt64 = 1_000_000_000
}

public enum Clock {
    public static func monotonic() -> Instant { self.read(CLOCK_MONOTONIC) }

    /// Counts on during suspend, and is the same for all processes of the host: for stamps that processes compare.
    public static func bootTime() -> UInt64 { self.read(CLOCK_BOOTTIME) }

    /// Nanoseconds since 1970. It may jump: only for what people read and what outlives a boot.
    public static func wall() -> UInt64 { self.read(CLOCK_REALTIME) }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * Nanoseconds.perSecond + UInt64(time.tv_nsec)
    }
}
