/// Work that would stop the loop (large files to be read and taken apart), done on a thread of its own; the result comes back on the
/// loop's thread.
public enum BackgroundJob {
    /// - Parameter done: called once, on the loop's thread, in a later turn.
    public static func run<Value: Sendable>(
        on loop: EventLoop,
        _ work: @escaping @Sendable () -> Value,
        then done: @escaping (Value) -> Void
    ) throws(SystemError) {
        // The closure keeps the waker until the result is there.
        var owner: Waker?
        let result = BackgroundResult<Value>()
        let waker = try Waker(loop: loop) {
            guard let value = result.take() else { return }
            owner?.invalidate()
            owner = nil
            done(value)
        }
        owner = waker
        let handle = waker.handle
        let job: @Sendable () -> Void = {
            result.put(work())
            handle.wake()
        }
        guard let thread = try? JoinableThread(job) else {
            // No thread to be had: late is better than never.
            return job()
        }
        thread.detach()
    }
}

/// Sendable: guarded by the monitor.
private final class BackgroundResult<Value: Sendable>: @unchecked Sendable {
    private let monitor = Monitor()
    private var value: Value?

    func put(_ value: Value) {
        self.monitor.locked { self.value = value }
    }

    func take() -> Value? {
        self.monitor.locked {
            defer { self.value = nil }
            return self.value
        }
    }
}
