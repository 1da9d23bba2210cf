import Glibc

/// Work that would stop the loop (large files to be read and taken apart), done on a thread of its own; the result comes back on the
/// loop's thread.
package enum BackgroundJob {
    /// - Parameter done: called once, on the loop's thread, in a later turn.
    package static func run<Value: Sendable>(
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
        let job = BackgroundWork {
            result.put(work())
            handle.wake()
        }
        var thread = pthread_t()
        let context = Unmanaged.passRetained(job).toOpaque()
        let code = pthread_create(
            &thread,
            nil,
            { context in
                guard let context else { return nil }
                Unmanaged<BackgroundWork>.fromOpaque(context).takeRetainedValue().perform()
                return nil
            },
            context
        )
        guard code == 0 else {
            // No thread to be had: late is better than never.
            return Unmanaged<BackgroundWork>.fromOpaque(context).takeRetainedValue().perform()
        }
        pthread_detach(thread)
    }
}

private final class BackgroundWork: Sendable {
    let perform: @Sendable () -> Void

    init(_ perform: @escaping @Sendable () -> Void) {
        self.perform = perform
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
