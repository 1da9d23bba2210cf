import Glibc

/// A lock, and a condition that is waited for under it (pthread mutex and condition variable).
public final class Monitor: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    public init() {
        pthread_mutex_init(self.mutex, nil)
        // The monotonic clock: waits must not change with the wall clock.
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(self.condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(self.condition)
        pthread_mutex_destroy(self.mutex)
        self.condition.deallocate()
        self.mutex.deallocate()
    }

    public func locked<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(self.mutex)
        defer { pthread_mutex_unlock(self.mutex) }
        return body()
    }

    /// Ends a thread that waits for something under the lock, if there is one, and waits for its end.
    ///
    /// - Parameter tell: makes what it waits for true; called under the lock.
    public func end(_ thread: inout JoinableThread?, _ tell: () -> Void) {
        guard let ending = thread else { return }
        thread = nil
        self.locked {
            tell()
            self.signal()
        }
        ending.join()
    }

    /// To be called under the lock, which is released while it waits: until `isTrue`, or the time is over.
    public func wait(nanoseconds: UInt64, until isTrue: () -> Bool) {
        let deadline = Clock.monotonic() &+ nanoseconds
        var time = timespec()
        time.tv_sec = Int(clamping: deadline / Nanoseconds.perSecond)
        time.tv_nsec = Int(deadline % Nanoseconds.perSecond)
        while !isTrue() {
            if pthread_cond_timedwait(self.condition, self.mutex, &time) == ETIMEDOUT { return }
        }
    }

    public func signal() {
        pthread_cond_broadcast(self.condition)
    }
}
