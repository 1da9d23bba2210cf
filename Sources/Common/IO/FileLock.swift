import Glibc

/// A lock on a file (flock(2)), for processes that must not do something at the same time. It ends with the process that holds it,
/// however that ends. The file is made if need be, and stays.
public final class FileLock {
    private static let retryMicroseconds: UInt32 = 500

    public let path: String
    /// Of the file, for reading and writing: who holds the lock may say so in it.
    public let fileDescriptor: Int32

    public init(path: String) throws(SystemError) {
        // Nothing is stored before the file is open: `deinit` runs for an object whose initializer throws after that.
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemError("open \(path)") }
        self.path = path
        self.fileDescriptor = descriptor
    }

    deinit {
        // A child process that another thread has just forked still has the descriptor: closing ours would not unlock.
        self.release()
        close(self.fileDescriptor)
    }

    /// Takes the lock, or waits at most so long for the one who holds it.
    ///
    /// - Returns: false when somebody holds it for longer: a process that was stopped, say.
    public func acquire(timeoutNanoseconds: UInt64 = 0) throws(SystemError) -> Bool {
        let deadline = Clock.monotonic() &+ timeoutNanoseconds
        while flock(self.fileDescriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else { throw SystemError("lock \(self.path)") }
            guard Clock.monotonic() < deadline else { return false }
            usleep(Self.retryMicroseconds)
        }
        return true
    }

    /// Whether the path still names the file that is locked. Otherwise others lock another one.
    public var isNamed: Bool {
        guard let own = FileStamp(fileDescriptor: self.fileDescriptor), let named = FileStamp(self.path) else {
            return false
        }
        return named.isOfSameFile(as: own)
    }

    public func release() {
        flock(self.fileDescriptor, LOCK_UN)
    }
}
