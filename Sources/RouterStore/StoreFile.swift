import Common
import Glibc
import SQLite

/// The router's state in one SQLite file (write-ahead log).
///
/// A group of changes is one row of `log`: one blob for any number of messages. Now and then the log is folded: the net effect of
/// its groups goes to `entry` and `message`, and the rows of the log go away, in one transaction. What came and went
/// between two folds, as most messages do, is never a row of its own.
package final class StoreFile {
    package let path: String
    /// Two routers on one file would each overwrite what the other promised.
    var lock: StoreLock
    let database: Database
    let survivesPowerLoss: Bool
    var names: StoreFileNames
    private let insertLog: Statement
    private let editor: StoreEditor
    /// What it holds, the log folded into it. While there is no room for that, a copy in memory.
    package private(set) var rows: StoreRows
    private var rowsAreCopied = false
    /// The net effect of the rows in `log`, but for those of `unnoted`.
    private var changes = NetChanges()
    /// Groups of the last commit.
    private var unnoted: [[UInt8]] = []
    private var nextLogNumber: Int64 = 1
    package let checkpointPages: Int
    /// Of the database's own log, when it was last copied into the file.
    private var pagesAtCheckpoint = 0
    /// Whoever has set this looks at `newPages`, and calls `checkpoint`.
    package var leavesCheckpoints = false
    /// Of the rows in `log`.
    package var logBytes: Int { self.changes.bytes }
    /// That a fold would put or delete.
    package var changedEntries: Int { self.changes.count }

    /// Opens or makes the file, brings its schema up to date and folds the log that the last router left.
    ///
    /// - Parameter checkpointPages: of 8 KiB, in the database's own log before it is copied into the file. Pages are used again by the
    ///   next groups: a checkpoint that comes seldom copies each of them once, not each time. On a small file system fewer.
    package convenience init(
        path: String,
        survivesPowerLoss: Bool,
        checkpointPages: Int = 8192
    ) throws(StoreError) {
        try self.init(
            path: path,
            survivesPowerLoss: survivesPowerLoss,
            checkpointPages: checkpointPages,
            lock: Self.takeLock(path, timeoutNanoseconds: Self.lockNanoseconds)
        )
    }

    /// A router that was killed holds its lock until the last of its threads is gone.
    private static let lockNanoseconds = Nanoseconds.perSecond

    static func takeLock(_ path: String, timeoutNanoseconds: UInt64 = 0) throws(StoreError) -> StoreLock {
        do throws(StoreLock.Failure) {
            return try StoreLock(storePath: path, timeoutNanoseconds: timeoutNanoseconds)
        } catch {
            switch error {
            case .isTaken:
                throw StoreError("another router uses the store \(path); each needs a state_directory of its own")
            case .cannotOpen(let reason): throw StoreError(reason)
            }
        }
    }

    /// - Parameter lock: of the store at `path`.
    init(path: String, survivesPowerLoss: Bool, checkpointPages: Int, lock: StoreLock) throws(StoreError) {
        self.path = path
        self.lock = lock
        self.survivesPowerLoss = survivesPowerLoss
        let version: Int
        do throws(SQLiteError) {
            self.database = try Database(path: path, access: .create, busyTimeoutMilliseconds: 5_000)
            // Of a new file. Groups take many pages: larger ones make fewer writes, and the log is copied half as often, during which
            // commits wait.
            try self.database.execute("PRAGMA page_size = 8192")
            try self.database.useWriteAheadLog(synchronous: survivesPowerLoss ? .full : .normal)
            self.database.checkpointByHand()
            // Nobody needs zeros where a group was; and freeing a group reads its pages, which therefore stay in memory.
            try self.database.execute("PRAGMA journal_size_limit = 67108864")
            try self.database.execute("PRAGMA secure_delete = OFF")
            try self.database.execute("PRAGMA cache_size = -16384")
            version = try self.database.migrate(StoreSchema.steps)
        } catch {
            throw StoreError(error, path: path)
        }
        self.checkpointPages = min(checkpointPages, Self.checkpointPages(fileSystemOf: path))
        self.names = StoreFileNames(path: path)
        guard version <= StoreSchema.version else {
            throw StoreError(
                "the router's store \(path) has schema version \(version), and this release knows versions up to "
                    + "\(StoreSchema.version): it was written by a newer release. Install that one again, or restore a backup "
                    + "from before"
            )
        }
        do throws(SQLiteError) {
            self.insertLog = try self.database.prepare("INSERT INTO log VALUES (?, ?)")
            self.editor = try StoreEditor(self.database)
            self.rows = StoreRows(self.database)
            try self.readLog()
            try self.foldOrCopy()
        } catch {
            throw StoreError(error, path: path)
        }
    }

    /// The database's own log takes at most a thirty-second of the file system, and not less than its largest group.
    private static func checkpointPages(fileSystemOf path: String) -> Int {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return .max }
        let bytes = UInt64(status.f_blocks).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        return bytes.overflow ? .max : max(64, Int(clamping: bytes.partialValue / 32 / 8192))
    }

    /// A full disk keeps nobody from what is stored.
    private func foldOrCopy() throws(SQLiteError) {
        do throws(SQLiteError) {
            try self.fold()
        } catch {
            guard error.isDiskFull else { throw error }
            let copy = try Database(path: ":memory:", busyTimeoutMilliseconds: 0)
            try copy.migrate(StoreSchema.steps)
            let attach = try copy.prepare("ATTACH ? AS disk")
            try attach.bind(self.path, at: 1)
            try attach.run()
            try copy.execute(
                "INSERT INTO entry SELECT * FROM disk.entry; INSERT INTO message SELECT * FROM disk.message"
            )
            let editor = try StoreEditor(copy)
            try self.changes.forEach { key, value throws(SQLiteError) in try editor.set(key, value) }
            self.rows = StoreRows(copy)
            self.rowsAreCopied = true
        }
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

    /// Commits groups, in one transaction. What nobody has to wait for is left to `noteCommitted`.
    package func append(_ groups: [[UInt8]]) throws(SQLiteError) {
        self.noteCommitted()
        try self.database.transaction { () throws(SQLiteError) in
            var number = self.nextLogNumber
            for records in groups {
                try self.insertLog.bind(number, at: 1)
                try self.insertLog.run(with: records, at: 2)
                number += 1
            }
        }
        self.nextLogNumber += Int64(groups.count)
        self.unnoted = groups
        self.noteLog()
    }

    /// Works out what the last commit changed. A thread that has told of the commit calls this; otherwise the next call does it.
    package func noteCommitted() {
        let groups = self.unnoted
        self.unnoted = []
        for records in groups { _ = self.changes.note(records) }
    }

    /// Moves the net effect of the log to its rows.
    package func fold() throws(SQLiteError) {
        self.noteCommitted()
        guard self.logBytes > 0 else { return }
        try self.database.transaction { () throws(SQLiteError) in
            try self.changes.forEach { key, value throws(SQLiteError) in try self.editor.set(key, value) }
            try self.database.execute("DELETE FROM log")
        }
        self.changes.removeAll()
        if self.rowsAreCopied {
            self.rows = StoreRows(self.database)
            self.rowsAreCopied = false
        }
        self.noteLog()
    }

    // MARK: Checkpoints

    /// In the database's own log since the last checkpoint began.
    package var newPages: Int { self.database.logPages - self.pagesAtCheckpoint }

    package var isCheckpointDue: Bool { self.newPages >= self.checkpointPages }

    /// The database's own log has begun anew since the last checkpoint.
    package var logIsNew: Bool { self.pagesAtCheckpoint == 0 }

    /// A checkpoint begins.
    package func noteCheckpoint() { self.pagesAtCheckpoint = self.database.logPages }

    /// Copies what is in the database's own log into the file and waits for the disk, so that the log can begin anew.
    package func checkpoint() throws(SQLiteError) {
        self.noteCheckpoint()
        try self.database.checkpoint()
    }

    private func noteLog() {
        if self.database.logPages < self.pagesAtCheckpoint { self.pagesAtCheckpoint = 0 }
        // One that fails is tried again when more has come.
        if !self.leavesCheckpoints, self.isCheckpointDue { try? self.checkpoint() }
    }
}
