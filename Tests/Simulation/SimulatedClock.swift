import Common
import SimulatedKernel

/// The time of all processes. It goes on when the simulation says so.
final class SimulatedClock {
    /// Nanoseconds, of the monotonic clock.
    private(set) var now: Instant = 1000 * Nanoseconds.perSecond
    /// What the wall clock shows more than the monotonic one.
    private var wallOffset: UInt64 = 1_790_000_000 * Nanoseconds.perSecond

    init() {
        self.tell()
    }

    func advance(by nanoseconds: UInt64) {
        self.now += nanoseconds
        self.tell()
    }

    /// Somebody sets the wall clock.
    func jump(seconds: Int) {
        self.wallOffset &+= UInt64(bitPattern: Int64(seconds)) &* Nanoseconds.perSecond
        self.tell()
    }

    private func tell() {
        simulated_set_clock(self.now, self.now &+ self.wallOffset)
    }
}
