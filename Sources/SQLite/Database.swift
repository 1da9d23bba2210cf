import CSQLite
import Common
import Glibc

/// One connection to a database file. It belongs to one thread at a time: SQLite's own locks are switched off.
package final class Database {
    package enum Access: Sendable {
        /// Makes the file when it is not there.
        case create
        case readWrite
        case readOnly
        /// Of a read-only file system: nobody can change the file, and no lock or log file can be made beside it.
        case immutable
    }

    /// What a commit waits for in WAL mode.
    package enum Synchronous: String, Sendable {
        /// Survives the end of the process; after a power loss the file is consistent, but may lack the last commits.
        case normal = "NORMAL"
        /// Survives a power loss.
        case full = "FULL"
        case off = "OFF"
    }

    package let path: String
    let handle: OpaquePointer
    private var busyTimeoutMilliseconds: Int32
    /// Of a file that several processes write to: one commits at a time.
    ///
    /// SQLite itself lets one connection commit while another copies the write-ahead log into the file. Before SQLite 3.51.3 that can lose
    /// pages: a checkpoint that begins just when somebody else's commit starts the log anew takes the new log for the former one
    /// (https://sqlite.org/wal.html#walresetbug). A commit and the checkpoint that SQLite does at its end are under this lock, so that
    /// neither begins while another runs.
    private var writerLock: FileLock?
    /// In the write-ahead log after this connection's last commit; counted after `checkpointByHand`.
    package private(set) var logPages = 0

    /// - Parameter busyTimeoutMilliseconds: how long a statement waits for somebody else's lock; 0: it fails at once with
    ///   an error that `isBusy`.
    package init(path: String, access: Access = .create, busyTimeoutMilliseconds: Int32) throws(SQLiteError) {
        self.path = path
        let flags =
            switch access {
            case .create: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
            case .readWrite: SQLITE_OPEN_READWRITE
            case .readOnly: SQLITE_OPEN_READONLY
            case .immutable: SQLITE_OPEN_READONLY | SQLITE_OPEN_URI
            }
        let name = access == .immutable ? Self.immutableURI(path) : path
        var opened: OpaquePointer?
        let code = sqlite3_open_v2(name, &opened, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nil)
        guard code == SQLITE_OK, let handle = opened else {
            let message = String(cString: opened == nil ? sqlite3_errstr(code) : sqlite3_errmsg(opened))
            sqlite3_close_v2(opened)
            throw SQLiteError(code: code, message: message, path: path)
        }
        self.handle = handle
        self.busyTimeoutMilliseconds = busyTimeoutMilliseconds
        sqlite3_busy_timeout(handle, busyTimeoutMilliseconds)
    }

    deinit {
        // close_v2 waits for statements that are still alive; each holds its database anyway.
        sqlite3_close_v2(self.handle)
    }

    package func setBusyTimeout(milliseconds: Int32) {
        self.busyTimeoutMilliseconds = milliseconds
        sqlite3_busy_timeout(self.handle, milliseconds)
    }

    /// Runs one or more statements without values, ignoring rows.
    package func execute(_ sql: String) throws(SQLiteError) {
        let code = sqlite3_exec(self.handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw self.error(code, statement: sql) }
    }

    /// Compiles a statement that is kept for long.
    package func prepare(_ sql: String) throws(SQLiteError) -> Statement {
        try Statement(sql, of: self)
    }

    /// Runs `body` between BEGIN IMMEDIATE and COMMIT. An error of the body or of the commit rolls back and is thrown on. Where
    /// several processes write, one at a time does; statements outside of a transaction must then change nothing.
    package func transaction<Result>(
        _ body: () throws(SQLiteError) -> Result
    ) throws(SQLiteError) -> Result {
        try self.acquireWriterLock()
        defer { self.writerLock?.release() }
        try self.execute("BEGIN IMMEDIATE")
        do throws(SQLiteError) {
            let result = try body()
            try self.execute("COMMIT")
            return result
        } catch {
            // SQLite may have rolled back by itself already (a full disk); then there is nothing to do.
            if sqlite3_get_autocommit(self.handle) == 0 { sqlite3_exec(self.handle, "ROLLBACK", nil, nil, nil) }
            throw error
        }
    }

    private func acquireWriterLock() throws(SQLiteError) {
        guard let lock = self.writerLock else { return }
        let timeout = UInt64(max(self.busyTimeoutMilliseconds, 0)) * Nanoseconds.perMillisecond
        let isAcquired: Bool
        do throws(SystemError) {
            isAcquired = try lock.acquire(timeoutNanoseconds: timeout)
        } catch {
            throw SQLiteError(code: SQLITE_IOERR, message: error.description, path: self.path)
        }
        guard isAcquired else {
            throw SQLiteError(code: SQLITE_BUSY, message: "another process is writing", path: self.path)
        }
    }

    /// What is read in `body` is of one moment, and the file is locked and unlocked once for it. Reading must not end it: errors are
    /// the body's own affair.
    package func snapshot(_ body: () -> Void) {
        let isBegun = sqlite3_exec(self.handle, "BEGIN", nil, nil, nil) == SQLITE_OK
        body()
        if isBegun, sqlite3_get_autocommit(self.handle) == 0 { sqlite3_exec(self.handle, "ROLLBACK", nil, nil, nil) }
    }

    /// Rows that the last INSERT, UPDATE or DELETE changed.
    package var changes: Int { Int(sqlite3_changes(self.handle)) }

    /// What the lock of a file that several processes write to is called: the file's name, and this.
    package static let writerLockSuffix = "-lock"

    /// Readers do not wait for the writer, nor it for them; one fsync a checkpoint (`normal`) or a commit (`full`).
    ///
    /// - Parameter isShared: other processes write to the file as well. All of them must say so.
    package func useWriteAheadLog(synchronous: Synchronous, isShared: Bool = false) throws(SQLiteError) {
        if isShared {
            do throws(SystemError) {
                self.writerLock = try FileLock(path: self.path + Self.writerLockSuffix)
            } catch {
                let code = error.code == EROFS ? SQLITE_READONLY : SQLITE_CANTOPEN
                throw SQLiteError(code: code, message: error.description, path: self.path)
            }
            try self.acquireWriterLock()
        }
        defer { self.writerLock?.release() }
        let mode = try self.prepare("PRAGMA journal_mode = WAL")
        guard try mode.step(), mode.text(0) == "wal" else {
            throw SQLiteError(
                code: SQLITE_CANTOPEN,
                message: "the file system does not allow a write-ahead log",
                statement: mode.sql,
                path: self.path
            )
        }
        try self.execute("PRAGMA synchronous = \(synchronous.rawValue)")
    }

    /// Leaves the log and its index beside the file when the last connection closes, so that it can be opened where nothing can
    /// be written.
    package func keepWriteAheadLog() {
        var on: Int32 = 1
        sqlite3_file_control(self.handle, "main", SQLITE_FCNTL_PERSIST_WAL, &on)
    }

    /// A number in the file's header that the application uses for the version of its schema.
    package func userVersion() throws(SQLiteError) -> Int {
        let statement = try self.prepare("PRAGMA user_version")
        return try statement.step() ? Int(statement.int64(0)) : 0
    }

    /// Brings the schema up to date: step n takes the file from version n to n + 1. Each step and its number are one
    /// transaction, and other processes may do the same at the same time.
    ///
    /// - Returns: the version found before; larger than `steps.count` when a newer release wrote the file, in which case
    ///   nothing was changed.
    @discardableResult
    package func migrate(_ steps: [String]) throws(SQLiteError) -> Int {
        let found = try self.userVersion()
        guard found < steps.count else { return found }
        try self.transaction { () throws(SQLiteError) in
            // Read again under the lock: another process may have been faster.
            var version = try self.userVersion()
            while version < steps.count {
                try self.execute(steps[max(version, 0)])
                version += 1
                try self.execute("PRAGMA user_version = \(version)")
            }
        }
        return found
    }

    /// Commits of this connection do not checkpoint any more: whoever calls this does, and knows from `logPages` when.
    package func checkpointByHand() {
        let note: @convention(c) (UnsafeMutableRawPointer?, OpaquePointer?, UnsafePointer<CChar>?, Int32) -> Int32 = {
            database,
            _,
            _,
            pages in
            guard let database else { return SQLITE_OK }
            Unmanaged<Database>.fromOpaque(database).takeUnretainedValue().logPages = Int(pages)
            return SQLITE_OK
        }
        sqlite3_wal_hook(self.handle, note, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Moves the write-ahead log into the file as far as nobody is reading it.
    package func checkpoint() throws(SQLiteError) {
        let code = sqlite3_wal_checkpoint_v2(self.handle, nil, SQLITE_CHECKPOINT_PASSIVE, nil, nil)
        guard code == SQLITE_OK else { throw self.error(code, statement: "checkpoint") }
    }

    /// Reads the whole file and says whether it is sound. Slow: for tools and after a suspicion.
    package func passesQuickCheck() throws(SQLiteError) -> Bool {
        let statement = try self.prepare("PRAGMA quick_check(1)")
        return try statement.step() && statement.text(0) == "ok"
    }

    /// The same, and whether the indexes hold what the tables do. Slower still.
    package func passesIntegrityCheck() throws(SQLiteError) -> Bool {
        let statement = try self.prepare("PRAGMA integrity_check(1)")
        return try statement.step() && statement.text(0) == "ok"
    }

    private static func immutableURI(_ path: String) -> String {
        let digits = Array("0123456789ABCDEF")
        var uri = "file:"
        for byte in path.utf8 {
            switch byte {
            case UInt8(ascii: "%"), UInt8(ascii: "?"), UInt8(ascii: "#"), 0x80...0xFF:
                uri += "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 0xF)])"
            default: uri.unicodeScalars.append(UnicodeScalar(byte))
            }
        }
        return uri + "?immutable=1"
    }

    func error(_ code: Int32, statement: String) -> SQLiteError {
        SQLiteError(
            code: code,
            message: String(cString: sqlite3_errmsg(self.handle)),
            statement: statement,
            path: self.path
        )
    }
}
