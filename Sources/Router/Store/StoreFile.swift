import Common
import Glibc
import SQLite

/// The router's state in one SQLite file (write-ahead log).
///
/// A group of changes is one row of `log`: one blob for any number of messages. Now and then the log is folded: the net effect of
/// its groups goes to `entry` and `message`, and the rows of the log go away, in one transaction. What came and went
/// between two folds, as most messages do, is never a row of its own.
package final class StoreFile {
    /// Version n + 1 is version n and the nth step.
    static let schema = [
        """
        CREATE TABLE log (number INTEGER PRIMARY KEY, records BLOB NOT NULL);
        CREATE TABLE entry (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE message (number INTEGER PRIMARY KEY, value BLOB NOT NULL);
        CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
        """
    ]

    package let path: String
    private let database: Database
    private let lock: Int32
    private let insertLog: Statement
    private let putEntry: Statement
    private let deleteEntry: Statement
    private let putMessage: Statement
    private let deleteMessage: Statement
    /// The net effect of the rows in `log`.
    private var changes = NetChanges()
    private var nextLogNumber: Int64 = 1
    /// Of the rows in `log`.
    var logBytes: Int { self.changes.bytes }

    /// Opens or makes the file, brings its schema up to date and folds the log that the last router left.
    package init(path: String, survivesPowerLoss: Bool) throws(StoreError) {
        self.path = path
        self.lock = try Self.takeLock(path)
        do throws(SQLiteError) {
            self.database = try Database(path: path, access: .create, busyTimeoutMilliseconds: 5_000)
            try self.database.useWriteAheadLog(synchronous: survivesPowerLoss ? .full : .normal)
            let version = try self.database.migrate(Self.schema)
            guard version <= Self.schema.count else { throw Self.newer(version, path) }
            self.insertLog = try self.database.prepare("INSERT INTO log VALUES (?, ?)")
            self.putEntry = try self.database.prepare("INSERT OR REPLACE INTO entry VALUES (?, ?)")
            self.deleteEntry = try self.database.prepare("DELETE FROM entry WHERE key = ?")
            self.putMessage = try self.database.prepare("INSERT OR REPLACE INTO message VALUES (?, ?)")
            self.deleteMessage = try self.database.prepare("DELETE FROM message WHERE number = ?")
            try self.readLog()
            try self.fold()
        } catch {
            if error.code == Self.newerCode { throw StoreError(error.message) }
            throw StoreError(error, path: path)
        }
    }

    deinit {
        // A child process that another thread has just forked still has the descriptor: closing ours would not unlock.
        flock(self.lock, LOCK_UN)
        close(self.lock)
    }

    private static let newerCode: Int32 = -1

    private static func newer(_ version: Int, _ path: String) -> SQLiteError {
        SQLiteError(
            code: Self.newerCode,
            message: "the router's store \(path) has schema version \(version), and this release knows versions up to "
                + "\(Self.schema.count): it was written by a newer release. Install that one again, or restore a backup from before",
            path: path
        )
    }

    /// Two routers on one file would each overwrite what the other promised.
    private static func takeLock(_ path: String) throws(StoreError) -> Int32 {
        let lockPath = path + ".lock"
        let file = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw StoreError("\(lockPath): \(String(cString: strerror(errno)))") }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            close(file)
            throw StoreError("another router uses the store \(path); each needs a state_directory of its own")
        }
        return file
    }

    private func readLog() throws(SQLiteError) {
        let statement = try self.database.prepare("SELECT number, records FROM log ORDER BY number")
        while try statement.step() {
            self.nextLogNumber = statement.int64(0) + 1
            guard self.changes.note(statement.bytes(1) ?? []) else {
                throw SQLiteError(code: 11, message: "a group of changes in its log is broken", path: self.path)
            }
        }
    }

    // MARK: Writing

    /// Commits groups, in one transaction.
    func append(_ groups: [[UInt8]]) throws(SQLiteError) {
        try self.database.transaction { () throws(SQLiteError) in
            var number = self.nextLogNumber
            for records in groups {
                try self.insertLog.bind(number, at: 1)
                try self.insertLog.bind(records, at: 2)
                try self.insertLog.run()
                number += 1
            }
            self.insertLog.clearBindings()
        }
        self.nextLogNumber += Int64(groups.count)
        for records in groups { _ = self.changes.note(records) }
    }

    /// Moves the net effect of the log to its rows.
    func fold() throws(SQLiteError) {
        guard self.logBytes > 0 else { return }
        try self.database.transaction { () throws(SQLiteError) in
            try self.changes.forEach { key, value throws(SQLiteError) in try self.apply(key, value) }
            try self.database.execute("DELETE FROM log")
        }
        self.changes.removeAll()
    }

    private func apply(_ key: [UInt8], _ value: UnsafeRawBufferPointer?) throws(SQLiteError) {
        if let number = key.withUnsafeBytes({ StoreKey.messageNumber($0) }) {
            let statement = value == nil ? self.deleteMessage : self.putMessage
            try statement.bind(Int64(bitPattern: number), at: 1)
            if let value { try statement.bind(value, at: 2) }
            return try statement.run()
        }
        let statement = value == nil ? self.deleteEntry : self.putEntry
        try statement.bind(key, at: 1)
        if let value { try statement.bind(value, at: 2) }
        try statement.run()
    }

    // MARK: Reading

    /// Calls `body` with each message, by rising number.
    func readMessages(_ body: (UInt64, UnsafeRawBufferPointer) -> Void) throws(SQLiteError) {
        let statement = try self.database.prepare("SELECT number, value FROM message ORDER BY number")
        while try statement.step() {
            let number = UInt64(bitPattern: statement.int64(0))
            statement.withBytes(1) { body(number, $0) }
        }
    }

    /// Calls `body` with each entry of a kind, in the order of the keys.
    func readEntries(
        _ kind: UInt8,
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void
    ) throws(SQLiteError) {
        let statement = try self.database.prepare(
            "SELECT key, value FROM entry WHERE key >= ? AND key < ? ORDER BY key"
        )
        try statement.bind([kind], at: 1)
        try statement.bind([kind + 1], at: 2)
        while try statement.step() {
            statement.withBytes(0) { key in statement.withBytes(1) { body(key, $0) } }
        }
    }

    /// Whether the file is sound as SQLite sees it. Reads all of it.
    package func isSound() throws(SQLiteError) -> Bool { try self.database.passesQuickCheck() }
}
