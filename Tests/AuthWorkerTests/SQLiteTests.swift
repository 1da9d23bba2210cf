import Glibc
import SQLite
import TestSupport
import Testing

@Suite struct SQLiteTests {
    let directory: TemporaryDirectory

    init() throws {
        self.directory = try TemporaryDirectory("martlet-sqlite")
    }

    private func open(_ name: String = "t.db", access: Database.Access = .create) throws -> Database {
        try Database(path: self.directory.file(name), access: access, busyTimeoutMilliseconds: 0)
    }

    @Test func valuesComeBackAsTheyWere() throws {
        let database = try self.open()
        try database.execute("CREATE TABLE t (i INTEGER, b BLOB, s TEXT, n BLOB, f INTEGER)")
        let insert = try database.prepare("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5)")
        let blobs: [[UInt8]] = [[], [0], [0, 1, 0, 255], [UInt8](repeating: 7, count: 100_000)]
        for (index, blob) in blobs.enumerated() {
            try insert.bind(Int64.min + Int64(index), at: 1)
            try insert.bind(blob, at: 2)
            try insert.bind("tëxt \(index)", at: 3)
            try insert.bind(nil as [UInt8]?, at: 4)
            try insert.bind(index % 2 == 0, at: 5)
            try insert.run()
            #expect(database.changes == 1)
        }
        let select = try database.prepare("SELECT i, b, s, n, f FROM t ORDER BY i")
        for (index, blob) in blobs.enumerated() {
            #expect(try select.step())
            #expect(select.int64(0) == Int64.min + Int64(index))
            #expect(select.bytes(1) == blob)
            #expect(select.withBytes(1) { [UInt8]($0) } == blob)
            #expect(select.text(2) == "tëxt \(index)")
            #expect(select.bytes(3) == nil && select.isNull(3))
            #expect(select.bool(4) == (index % 2 == 0))
        }
        #expect(try !select.step())
        // It can run again.
        #expect(try select.step())
    }

    @Test func errorsNameStatementAndFile() throws {
        let database = try self.open()
        let error = #expect(throws: SQLiteError.self) { try database.prepare("SELECT i FROM nowhere") }
        #expect(error?.description.contains("no such table: nowhere") == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("SELECT i FROM") == true)
        #expect(error?.path == self.directory.file("t.db"))
        let missing = #expect(throws: SQLiteError.self) { try self.open("missing.db", access: .readWrite) }
        #expect(missing?.isCannotOpen == true)
        #expect(throws: SQLiteError.self) { try database.prepare("  ") }
    }

    /// A checkpoint of one process while another commits may lose pages (https://sqlite.org/wal.html#walresetbug).
    @Test func processesThatShareAFileWriteOneAtATime() throws {
        let database = try self.open()
        try database.useWriteAheadLog(synchronous: .normal, isShared: true)
        try database.execute("CREATE TABLE t (i INTEGER PRIMARY KEY)")
        let lock = Glibc.open(self.directory.file("t.db-lock"), O_RDONLY)
        defer { close(lock) }
        func isFree() -> Bool {
            guard flock(lock, LOCK_EX | LOCK_NB) == 0 else { return false }
            flock(lock, LOCK_UN)
            return true
        }
        #expect(isFree())
        // Another process, to SQLite itself of no concern.
        #expect(flock(lock, LOCK_EX) == 0)
        let refused = #expect(throws: SQLiteError.self) {
            try database.transaction { () throws(SQLiteError) in try database.execute("INSERT INTO t VALUES (1)") }
        }
        #expect(refused?.isBusy == true)
        let other = #expect(throws: SQLiteError.self) {
            try self.open().useWriteAheadLog(synchronous: .normal, isShared: true)
        }
        #expect(other?.isBusy == true)
        flock(lock, LOCK_UN)
        let wasFree = try database.transaction { () throws(SQLiteError) in
            try database.execute("INSERT INTO t VALUES (1)")
            return isFree()
        }
        #expect(!wasFree && isFree())
        #expect(throws: SQLiteError.self) {
            try database.transaction { () throws(SQLiteError) in try database.execute("INSERT INTO t VALUES (1)") }
        }
        #expect(isFree())
    }

    @Test func aFailedTransactionLeavesNothing() throws {
        let database = try self.open()
        try database.execute("CREATE TABLE t (i INTEGER PRIMARY KEY)")
        #expect(throws: SQLiteError.self) {
            try database.transaction { () throws(SQLiteError) in
                try database.execute("INSERT INTO t VALUES (1)")
                try database.execute("INSERT INTO t VALUES (1)")
            }
        }
        let count = try database.prepare("SELECT count(*) FROM t")
        #expect(try count.step() && count.int64(0) == 0)
        count.reset()
        // The connection is usable.
        try database.transaction { () throws(SQLiteError) in try database.execute("INSERT INTO t VALUES (1)") }
        #expect(try count.step() && count.int64(0) == 1)
    }

    @Test func readersDoNotWaitForTheWriter() throws {
        let writer = try self.open()
        try writer.useWriteAheadLog(synchronous: .normal)
        try writer.execute("CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (1)")
        let reader = try self.open(access: .readWrite)
        let other = try self.open(access: .readWrite)
        try writer.transaction { () throws(SQLiteError) in
            try writer.execute("INSERT INTO t VALUES (2)")
            let count = try reader.prepare("SELECT count(*) FROM t")
            #expect(try count.step() && count.int64(0) == 1)
            let error = #expect(throws: SQLiteError.self) { try other.execute("INSERT INTO t VALUES (3)") }
            #expect(error?.isBusy == true && error?.isCorrupt == false)
        }
        try other.execute("INSERT INTO t VALUES (3)")
    }

    @Test func migrationsRunOnceAndInOrder() throws {
        let steps = ["CREATE TABLE a (i INTEGER)", "ALTER TABLE a ADD COLUMN j INTEGER; CREATE TABLE b (i INTEGER)"]
        do {
            let database = try self.open()
            #expect(try database.migrate([steps[0]]) == 0)
            try database.execute("INSERT INTO a VALUES (1)")
        }
        let database = try self.open()
        #expect(try database.migrate(steps) == 1)
        #expect(try database.migrate(steps) == 2)
        #expect(try database.userVersion() == 2)
        let select = try database.prepare("SELECT i, j FROM a")
        #expect(try select.step() && select.int64(0) == 1 && select.isNull(1))
        // A file of a newer release stays as it is.
        #expect(try database.migrate([steps[0]]) == 2)
        #expect(try database.userVersion() == 2)
    }

    @Test func aFailedMigrationLeavesTheVersion() throws {
        let database = try self.open()
        #expect(throws: SQLiteError.self) { try database.migrate(["CREATE TABLE a (i INTEGER)", "NONSENSE"]) }
        #expect(try database.userVersion() == 0)
        try database.migrate(["CREATE TABLE a (i INTEGER)"])
    }

    @Test func garbageIsCorrupt() throws {
        let path = self.directory.file("garbage.db")
        _ = try runProcess("sh", arguments: ["-c", "yes garbage | head -c 20000 > '\(path)'"])
        let database = try self.open("garbage.db")
        let error = #expect(throws: SQLiteError.self) { try database.userVersion() }
        #expect(error?.isCorrupt == true && error?.isBusy == false)
    }

    @Test func quickCheckFindsDamage() throws {
        let path = self.directory.file("t.db")
        do {
            let database = try self.open()
            try database.execute("CREATE TABLE t (b BLOB)")
            let insert = try database.prepare("INSERT INTO t VALUES (?1)")
            for _ in 0..<200 {
                try insert.bind([UInt8](repeating: 1, count: 300), at: 1)
                try insert.run()
            }
            #expect(try database.passesQuickCheck())
        }
        _ = try runProcess(
            "dd",
            arguments: ["if=/dev/urandom", "of=\(path)", "bs=4096", "seek=3", "count=4", "conv=notrunc"]
        )
        let database = try self.open()
        let isSound = (try? database.passesQuickCheck()) ?? false
        #expect(!isSound)
    }

    @Test func anImmutableFileNeedsNothingBesideIt() throws {
        let name = "odd name#1?100%é.db"
        do {
            let database = try self.open(name)
            try database.useWriteAheadLog(synchronous: .normal)
            try database.execute("CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (42)")
        }
        let database = try self.open(name, access: .immutable)
        let select = try database.prepare("SELECT i FROM t")
        #expect(try select.step() && select.int64(0) == 42)
        #expect(throws: SQLiteError.self) { try database.execute("INSERT INTO t VALUES (1)") }
        let (_, files) = try runProcess("ls", arguments: [self.directory.path])
        #expect(files.split(whereSeparator: \.isNewline).count == 1)
    }
}
