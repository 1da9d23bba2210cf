import AuthCache
import Common
import Glibc
import SQLite

/// Carries rows of the authentication cache from one host to another, past running auth workers.
struct CacheTransfer {
    struct Outcome {
        /// In the file.
        var rows: Int
        var taken: Int
        /// Not to be carried: without a row in Redis, or named as changed.
        var unusable: Int
        var keyIsNew: Bool
        /// Whether the file is as it was made.
        var isChecked: Bool

        /// Known here as of a later moment, or named as changed.
        var kept: Int { self.rows - self.taken - self.unusable }
    }

    /// A file that is to be taken.
    private struct Content {
        var key: [UInt8]
        var rows: Int
        var unusable: Int
        var isChecked: Bool
    }

    struct Exported {
        var rows: Int
        /// Rows of the same kind that no worker of this configuration uses any more.
        var unused: Int
    }

    private let directory: CacheDirectory

    private static let busyMilliseconds: Int32 = 10_000
    private static let columns = """
        source, redis_key, variant, secret_kind, secret, salt, superuser, must_fetch, known_current, absent_since, generation, access
        """
    /// Redis has the row, as far as known, and did not name it as changed.
    private static let isCarried = "absent_since IS NULL AND must_fetch = 0"
    /// Beside the rows, in exported files only.
    private static let keyTable = "CREATE TABLE host_key (key BLOB NOT NULL)"

    init(directory: String) {
        self.directory = CacheDirectory(path: directory)
    }

    /// - Parameter sources: whose rows are wanted; others are in the file when a command or the host's key is another one than before.
    func export(of sources: [Configuration.Authentication.Source], to path: String) throws -> Exported {
        guard let number = try self.directory.currentNumber(), let key = try self.directory.readHostKey() else {
            throw CommandFailure("\(self.directory.path): there is no cache")
        }
        try Self.makePrivateFile(path)
        do {
            let file = try Database(path: path, busyTimeoutMilliseconds: Self.busyMilliseconds)
            try file.migrate(CacheSchema.steps)
            try file.execute(Self.keyTable)
            let insert = try file.prepare("INSERT INTO host_key VALUES (?1)")
            try insert.bind(key, at: 1)
            try insert.run()
            try Self.attach(self.directory.filePath(number), to: file)
            let count = try file.prepare("SELECT count(*) FROM other.rows WHERE \(Self.isCarried)")
            let copy = try file.prepare(
                """
                INSERT INTO main.rows (\(Self.columns)) SELECT \(Self.columns) FROM other.rows
                WHERE source = ?1 AND \(Self.isCarried)
                """
            )
            // One moment for what is counted and what is copied.
            let exported = try file.transaction { () throws(SQLiteError) in
                let all = try count.step() ? Int(count.int64(0)) : 0
                count.reset()
                var rows = 0
                for tag in Set(sources.map { CredentialSource.tag(of: $0, hostKey: key) }) {
                    try copy.bind(tag, at: 1)
                    try copy.run()
                    rows += file.changes
                }
                return Exported(rows: rows, unused: all - rows)
            }
            try CacheDigest.write(try CacheDigest.compute(file, key: key, columns: Self.columns), to: file)
            return exported
        } catch {
            unlink(path)
            throw error
        }
    }

    /// - Parameter freshNanoseconds: what was announced as changed since the export is not known here, so that rows confirmed
    ///   within this time count as if they had been confirmed before it.
    func `import`(from path: String, freshNanoseconds: UInt64, replacesKey: Bool) throws -> Outcome {
        let content = try Self.look(at: path)
        try self.makeFolder()
        let result = Result { try self.merge(path, content, freshNanoseconds, replacesKey: replacesKey) }
        // Also what was made before something went wrong.
        try self.giveToOwner()
        return try result.get()
    }

    private func merge(
        _ path: String,
        _ content: Content,
        _ freshNanoseconds: UInt64,
        replacesKey: Bool
    ) throws -> Outcome {
        var keyIsNew = false
        let number = try self.directory.withLock { () throws(CacheTrouble) -> Int in
            let own = try self.directory.readHostKey()
            if own != content.key {
                guard own == nil || replacesKey else {
                    throw CacheTrouble(
                        "this host has another key: its own rows and those of the file cannot both be used. --replace-key takes the "
                            + "file's; auth workers go on with the one that they have until they are restarted"
                    )
                }
                try self.directory.setHostKey(content.key)
                keyIsNew = true
            }
            if let number = try self.directory.currentNumber() { return number }
            let next = try self.directory.nextNumber()
            try self.directory.makeFile(next)
            try self.directory.setCurrent(next)
            return next
        }
        let database = try Database(
            path: self.directory.filePath(number),
            busyTimeoutMilliseconds: Self.busyMilliseconds
        )
        try database.useWriteAheadLog(synchronous: .normal, isShared: true)
        database.keepWriteAheadLog()
        try database.migrate(CacheSchema.steps)
        try Self.attach(path, to: database)
        let now = CacheClock(self.directory).milliseconds
        let statement = try database.prepare(
            """
            INSERT INTO main.rows (\(Self.columns), imported)
            SELECT source, redis_key, variant, secret_kind, secret, salt, superuser, 0, min(known_current, ?1), NULL, 0, access, 1
            FROM other.rows WHERE \(Self.isCarried)
            ON CONFLICT (source, redis_key, variant) DO UPDATE SET
                secret_kind = excluded.secret_kind, secret = excluded.secret, salt = excluded.salt,
                superuser = excluded.superuser, access = excluded.access, known_current = excluded.known_current, imported = 1
            WHERE rows.must_fetch = 0 AND rows.absent_since IS NULL AND rows.known_current < excluded.known_current
            """
        )
        try statement.bind(now - Int64(freshNanoseconds / Nanoseconds.perMillisecond), at: 1)
        let taken = try database.transaction { () throws(SQLiteError) in
            try statement.run()
            return database.changes
        }
        return Outcome(
            rows: content.rows,
            taken: taken,
            unusable: content.unusable,
            keyIsNew: keyIsNew,
            isChecked: content.isChecked
        )
    }

    /// The file's key and how many rows it has; a file of another kind, or a damaged one, is refused before anything is changed.
    private static func look(at path: String) throws -> Content {
        try Folder.require(path, absent: "there is no file \(path)")
        do {
            let file = try Database(path: path, access: .readOnly, busyTimeoutMilliseconds: Self.busyMilliseconds)
            let version = try file.userVersion()
            guard version <= CacheSchema.steps.count else {
                throw CommandFailure(
                    "\(path) was made by a later release: its layout is \(version), not \(CacheSchema.steps.count)"
                )
            }
            try Self.checkTables(of: file, version: version)
            let keys = try file.prepare("SELECT key FROM host_key")
            guard try keys.step(), let key = keys.bytes(0), key.count == CacheDirectory.hostKeyBytes else {
                throw CommandFailure("\(path) holds no host key")
            }
            let digest = try CacheDigest.read(file)
            if let digest, try digest != CacheDigest.compute(file, key: key, columns: Self.columns) {
                throw CommandFailure("\(path) is damaged: its digest is not that of its key and rows. Export it again")
            }
            let count = try file.prepare(
                "SELECT count(*), count(*) FILTER (WHERE NOT (\(Self.isCarried))) FROM (SELECT \(Self.columns) FROM rows)"
            )
            guard try count.step() else { throw CommandFailure("\(path) has no rows that can be counted") }
            return Content(
                key: key,
                rows: Int(count.int64(0)),
                unusable: Int(count.int64(1)),
                isChecked: digest != nil
            )
        } catch let error as SQLiteError {
            throw CommandFailure("\(path) is no exported cache: \(error.description)")
        }
    }

    /// The digest is of what is in the tables. What is found in them depends on their own text as well, and on the indexes.
    private static func checkTables(of file: Database, version: Int) throws {
        let model = try Database(path: ":memory:", busyTimeoutMilliseconds: Self.busyMilliseconds)
        try model.migrate(Array(CacheSchema.steps.prefix(max(version, 0))))
        try model.execute(Self.keyTable)
        let earlier = try Self.tables(of: model)
        try model.execute(CacheDigest.table)
        let found = try Self.tables(of: file)
        guard found.contains(where: { $0.contains("host_key") }) else {
            throw CommandFailure("\(file.path) holds no host key")
        }
        guard try found == earlier || found == Self.tables(of: model), try file.passesIntegrityCheck() else {
            throw CommandFailure(
                "\(file.path) is damaged: its tables are not those of an exported cache. Export it again"
            )
        }
    }

    private static func tables(of file: Database) throws(SQLiteError) -> [String] {
        let rows = try file.prepare(
            "SELECT quote(type) || quote(name) || quote(tbl_name) || quote(sql) FROM main.sqlite_master ORDER BY 1"
        )
        var tables: [String] = []
        while try rows.step() { tables.append(rows.text(0) ?? "") }
        return tables
    }

    private static func attach(_ path: String, to database: Database) throws(SQLiteError) {
        let statement = try database.prepare("ATTACH ?1 AS other")
        try statement.bind(path, at: 1)
        try statement.run()
    }

    private static func makePrivateFile(_ path: String) throws {
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw CommandFailure(SystemError("cannot make \(path)").description) }
        close(descriptor)
    }

    /// A folder that root makes belongs to whom the folder above it belongs to.
    private func makeFolder() throws {
        var missing: [String] = []
        var above: String? = self.directory.path
        while let path = above, !Folder.exists(path) {
            missing.append(path)
            above = Folder.parent(of: path)
        }
        try self.directory.create()
        var status = stat()
        guard getuid() == 0, stat(above ?? "/", &status) == 0 else { return }
        for path in missing { try Self.give(path, to: status) }
    }

    /// Files that root has made belong to whom the folder belongs to: auth workers run as that user.
    private func giveToOwner() throws {
        var status = stat()
        guard getuid() == 0, stat(self.directory.path, &status) == 0 else { return }
        let number = try self.directory.currentNumber()
        let files =
            number.map { number in CacheDirectory.fileSuffixes.map { self.directory.filePath(number) + $0 } } ?? []
        for path in files + ["host.key", "current", "lock", "clock"].map({ "\(self.directory.path)/\($0)" })
        where Folder.exists(path) {
            try Self.give(path, to: status)
        }
    }

    private static func give(_ path: String, to owner: stat) throws {
        guard lchown(path, owner.st_uid, owner.st_gid) == 0 else {
            throw CommandFailure(SystemError("cannot give \(path) to the owner of its folder").description)
        }
    }
}
