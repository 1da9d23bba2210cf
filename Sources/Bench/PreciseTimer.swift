import CLinux
import Common
import Glibc

/// One action at a time, to some microseconds: waits of the event loop are rounded up to milliseconds.
final class PreciseTimer: EventHandler {
    private unowned let loop: EventLoop
    private let fileDescriptor: Int32
    private var registration: EventLoop.Registration?
    private var action: () -> Void = {}

    init(_ loop: EventLoop) throws(SystemError) {
        self.loop = loop
        self.fileDescriptor = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK) | Int32(TFD_CLOEXEC))
        guard self.fileDescriptor >= 0 else { throw SystemError("timerfd_create") }
        self.registration = try loop.register(self.fileDescriptor, for: .readable, handler: self)
    }

    deinit {
        close(self.fileDescriptor)
    }

    /// In place of what was to be done before.
    func schedule(at moment: Instant, _ action: @escaping () -> Void) {
        self.action = action
        var setting = itimerspec()
        // Zero would switch it off.
        setting.it_value = timespec(
            tv_sec: Int(max(1, moment) / Nanoseconds.perSecond),
            tv_nsec: Int(max(1, moment) % Nanoseconds.perSecond)
        )
        timerfd_settime(self.fileDescriptor, Int32(TFD_TIMER_ABSTIME), &setting, nil)
    }

    /// Lets go of the action, and of the loop, which keeps the timer until then.
    func end() {
        if let registration = self.registration { self.loop.deregister(registration) }
        self.registration = nil
        self.action = {}
    }

    func handle(_ events: IOEvents) {
        var count: UInt64 = 0
        guard read(self.fileDescriptor, &count, MemoryLayout<UInt64>.size) == MemoryLayout<UInt64>.size else { return }
        self.action()
    }
}
