import CLinux
import Glibc

/// Delivers signals as events of the loop (signalfd(2)): SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD. SIGPIPE and
/// SIGXFSZ are ignored: writes fail instead.
public final class SignalSource: EventHandler {
    private let loop: EventLoop
    private let fileDescriptor: Int32
    private let action: (Int32) -> Void
    private var registration: EventLoop.Registration?

    /// To be called before any thread is started, since threads inherit the blocked signals.
    public init(loop: EventLoop, _ action: @escaping (Int32) -> Void) throws(SystemError) {
        self.fileDescriptor = martlet_signal_fd()
        guard self.fileDescriptor >= 0 else { throw SystemError("signalfd") }
        self.loop = loop
        self.action = action
        self.registration = try loop.register(self.fileDescriptor, for: .readable, handler: self)
    }

    public func handle(_ events: IOEvents) {
        var information = signalfd_siginfo()
        while read(self.fileDescriptor, &information, MemoryLayout<signalfd_siginfo>.size)
            == MemoryLayout<signalfd_siginfo>.size
        {
            self.action(Int32(bitPattern: information.ssi_signo))
        }
    }
}
