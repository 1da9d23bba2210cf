import Glibc

/// That nobody else writes to a store: a lock on a file beside it, which readers do not need. Given back with the object.
package final class StoreLock {
    package enum Failure: Error {
        /// A router, or a command that changes the store.
        case isTaken
        case cannotOpen(String)
    }

    private let fileDescriptor: Int32

    package init(storePath: String) throws(Failure) {
        let path = storePath + ".lock"
        // Nothing is stored before the lock is held: `deinit` runs for an object whose initializer throws after that.
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .cannotOpen("\(path): \(String(cString: strerror(errno)))") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw .isTaken
        }
        self.fileDescriptor = descriptor
    }

    deinit {
        // A child process that another thread has just forked still has the descriptor: closing ours would not unlock.
        flock(self.fileDescriptor, LOCK_UN)
        close(self.fileDescriptor)
    }
}
