import Common

/// That nobody else writes to a store: a lock on a file beside it, which readers do not need. Given back with the object.
package final class StoreLock {
    package enum Failure: Error {
        /// A router, or a command that changes the store.
        case isTaken
        case cannotOpen(String)
    }

    /// What the lock's file is called: the store's name, and this.
    package static let suffix = ".lock"

    private let lock: FileLock

    /// Whoever wants the lock next meets it: its file has not been removed or replaced.
    package var isInForce: Bool { self.lock.isNamed }

    /// - Parameter timeoutNanoseconds: how long to wait for the one who holds it.
    package init(storePath: String, timeoutNanoseconds: UInt64 = 0) throws(Failure) {
        let isFree: Bool
        do throws(SystemError) {
            self.lock = try FileLock(path: storePath + Self.suffix)
            isFree = try self.lock.acquire(timeoutNanoseconds: timeoutNanoseconds)
        } catch {
            throw .cannotOpen(error.description)
        }
        guard isFree else { throw .isTaken }
    }
}
