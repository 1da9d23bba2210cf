import Glibc

/// Tells the service manager that the loop turns, at half the interval that `WatchdogSec=` sets (sd_watchdog_enabled(3)): a
/// loop that hangs is noticed, which a thread of its own would hide.
public enum Watchdog {
    public static func start(on loop: EventLoop, environment: [String: String]) {
        guard let interval = Self.interval(environment, pid: getpid()) else { return }
        Self.feed(loop, ServiceNotifier(environment: environment), interval / 2)
    }

    /// Nanoseconds; nil: nobody asks for it, or not of this process.
    static func interval(_ environment: [String: String], pid: pid_t) -> UInt64? {
        guard let text = environment["WATCHDOG_USEC"], let microseconds = UInt64(text),
            1_000...86_400_000_000 ~= microseconds
        else { return nil }
        if let owner = environment["WATCHDOG_PID"], owner != "\(pid)" { return nil }
        return microseconds * 1_000
    }

    private static func feed(_ loop: EventLoop, _ notifier: ServiceNotifier, _ interval: UInt64) {
        notifier.alive()
        loop.schedule(afterNanoseconds: interval) { Self.feed(loop, notifier, interval) }
    }
}
