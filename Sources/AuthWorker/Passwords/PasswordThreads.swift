import Common
import Glibc

/// The threads that compare passwords by bcrypt and PBKDF2. The loop hands them comparisons and never waits; it is woken when
/// there are results. How many wait is bounded by the caller.
final class PasswordThreads: @unchecked Sendable {
    struct Result: Equatable, Sendable {
        var token: UInt64
        /// Nil: it was not compared, for it had waited for so long that nobody wants to know any more.
        var fits: Bool?
    }

    private struct Shared {
        var queue = PasswordQueue()
        var results: [Result] = []
        var isStopping = false
    }

    private let monitor = Monitor()
    private let waker: Waker.Handle
    private var shared = Shared()
    private var threads: [JoinableThread] = []

    /// - Parameter waker: woken when `takeResults` has something.
    init(waker: Waker.Handle) {
        self.waker = waker
    }

    /// Hands one over; starts the threads with the first one, so that those who need none have none.
    func submit(_ check: PasswordCheck, token: UInt64, of parties: CheckParties) {
        if self.threads.isEmpty { self.startThreads() }
        guard !self.threads.isEmpty else {
            // No thread can be had: late rather than never.
            self.monitor.locked { self.shared.results.append(Result(token: token, fits: check.perform())) }
            return self.waker.wake()
        }
        self.monitor.locked {
            self.shared.queue.append(check, token: token, of: parties, now: Clock.monotonic())
            self.monitor.signal()
        }
    }

    func takeResults() -> [Result] {
        self.monitor.locked {
            defer { self.shared.results = [] }
            return self.shared.results
        }
    }

    /// Forgets what waits and ends the threads; each ends its comparison first.
    func stop() {
        self.monitor.locked {
            self.shared.isStopping = true
            self.shared.queue.removeAll()
            self.monitor.signal()
        }
        for thread in self.threads { thread.join() }
        self.threads = []
    }

    private func startThreads() {
        let cores = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        for _ in 0..<min(cores, AuthLimits.passwordThreadsMax) {
            guard let thread = try? JoinableThread({ self.run() }) else { return }
            self.threads.append(thread)
        }
    }

    private func run() {
        while let (token, check) = self.next() {
            let fits = check?.perform()
            let isFirst = self.monitor.locked {
                self.shared.results.append(Result(token: token, fits: fits))
                return self.shared.results.count == 1
            }
            if isFirst { self.waker.wake() }
        }
    }

    private func next() -> (token: UInt64, check: PasswordCheck?)? {
        self.monitor.locked {
            while !self.shared.isStopping {
                if let next = self.shared.queue.popFirst(now: Clock.monotonic()) { return next }
                self.monitor.wait(nanoseconds: 10 * Nanoseconds.perSecond) {
                    self.shared.isStopping || !self.shared.queue.isEmpty
                }
            }
            return nil
        }
    }
}
