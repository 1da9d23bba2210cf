import CSQLite
import Glibc

/// Lets one connection at a time write to a file that several processes share: a lock on a file beside it (flock(2)).
///
/// SQLite itself lets one connection commit while another copies the write-ahead log into the file. Before SQLite 3.51.3 that can lose
/// pages: a checkpoint that begins just when somebody else's commit starts the log anew takes the new log for the former one
/// (https://sqlite.org/wal.html#walresetbug). A commit and the checkpoint that SQLite does at its end are under this lock, so that
/// neither begins while another runs. It ends with the process that holds it.
final class WriterLock {
    private static let retryMicroseconds: UInt32 = 500

    private let path: String
    private let fileDescriptor: Int32

    /// - Parameter path: of the file that is locked; it is made, and stays.
    init(path: String) throws(SQLiteError) {
        self.path = path
        self.fileDescriptor = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard self.fileDescriptor >= 0 else {
            let code = errno == EROFS ? SQLITE_READONLY : SQLITE_CANTOPEN
            throw SQLiteError(code: code, message: String(cString: strerror(errno)), path: path)
        }
    }

    deinit {
        if self.fileDescriptor >= 0 { close(self.fileDescriptor) }
    }

    /// Waits until nobody else holds it.
    ///
    /// - Throws: an error that `isBusy` when somebody does for longer: a process that was stopped, say.
    func acquire(timeoutMilliseconds: Int32) throws(SQLiteError) {
        var waited: UInt32 = 0
        while flock(self.fileDescriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR, waited < UInt32(max(timeoutMilliseconds, 0)) * 1000 else {
                let code = errno == EWOULDBLOCK || errno == EINTR ? SQLITE_BUSY : SQLITE_IOERR
                throw SQLiteError(code: code, message: "another process is writing", path: self.path)
            }
            usleep(Self.retryMicroseconds)
            waited += Self.retryMicroseconds
        }
    }

    func release() {
        flock(self.fileDescriptor, LOCK_UN)
    }
}
