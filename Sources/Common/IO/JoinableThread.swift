import Glibc

/// A thread for work that blocks, beside the loop's own.
public struct JoinableThread: Sendable {
    private let thread: pthread_t

    /// - Throws: there is no thread to be had; `body` is not called then.
    public init(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Work(body: body)).toOpaque()
        let code = pthread_create(
            &thread,
            nil,
            { context in
                guard let context else { return nil }
                Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body()
                return nil
            },
            context
        )
        guard code == 0 else {
            Unmanaged<Work>.fromOpaque(context).release()
            throw SystemError("start a thread", code: code)
        }
        self.thread = thread
    }

    /// Waits for its end. Called once, and not after `detach`.
    public func join() {
        pthread_join(self.thread, nil)
    }

    /// Nobody waits for its end.
    public func detach() {
        pthread_detach(self.thread)
    }

    private final class Work: Sendable {
        let body: @Sendable () -> Void

        init(body: @escaping @Sendable () -> Void) {
            self.body = body
        }
    }
}
