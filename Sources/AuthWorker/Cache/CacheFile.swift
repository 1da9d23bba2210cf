import AuthCache
import Common
import SQLite

/// One connection to one cache file, with its statements. Of a worker's two connections one reads, on the loop's thread, and one
/// writes, on a thread of its own.
final class CacheFile {
    enum Use {
        /// Makes the tables; waits for other writers, as `write` does.
        case create
        /// Migrates the file as needed. One without tables is damaged.
        case write
        /// Never waits: a locked file counts as not readable.
        case read
    }

    /// Times that lie further in the future than this come from a clock that was wrong.
    private static let clockToleranceMilliseconds: Int64 = 60_000

    let number: Int
    /// As it was when it was opened, and with the most bytes that it was seen to have.
    var state: FileStamp?
    let database: Database
    let source: [UInt8]
    private let select: Statement
    private let upsert: Statement?
    private let markAbsent: Statement?
    private let correctTime: Statement?
    private let markChanged: Statement?
    private let insertChanged: Statement?
    private let relatedKeys: RelatedKeys?

    init(_ directory: CacheDirectory, number: Int, source: [UInt8], use: Use) throws(SQLiteError) {
        self.number = number
        self.source = source
        let path = directory.filePath(number)
        switch use {
        case .create, .write:
            self.database = try Database(
                path: path,
                access: .create,
                busyTimeoutMilliseconds: AuthLimits.cacheLockWaitMilliseconds
            )
            try self.database.useWriteAheadLog(synchronous: .normal, isShared: true)
            self.database.keepWriteAheadLog()
            try self.database.execute("PRAGMA journal_size_limit = 16777216")
            // Rows come in no order: with less, each of a large fleet's is read back from the file first.
            try self.database.execute("PRAGMA cache_size = -\(AuthLimits.cachePagesKiB)")
            // Only files with tables are ever in use. SQLite takes a log that was damaged for an empty one, in which they may have been.
            if use == .write, try self.database.userVersion() == 0 {
                throw SQLiteError.corrupt(
                    "its tables are gone, so the file or its log was damaged or removed",
                    path: path
                )
            }
            try self.database.migrate(CacheSchema.steps)
            self.upsert = try self.database.prepare(Self.upsertSQL)
            self.markAbsent = try self.database.prepare(Self.markAbsentSQL)
            self.correctTime = try self.database.prepare(Self.correctTimeSQL)
            self.markChanged = try self.database.prepare(Self.markChangedSQL)
            self.insertChanged = try self.database.prepare(Self.insertChangedSQL)
            self.relatedKeys = try RelatedKeys(self.database, source: source)
            self.select = try self.database.prepare(Self.selectSQL)
        case .read:
            (self.database, self.select) = try Self.openForReading(path, directory)
            self.upsert = nil
            self.markAbsent = nil
            self.correctTime = nil
            self.markChanged = nil
            self.insertChanged = nil
            self.relatedKeys = nil
        }
        self.state = FileStamp(path)
    }

    /// A reader of a write-ahead log wants to write its index; where it cannot, there are weaker ways.
    private static func openForReading(
        _ path: String,
        _ directory: CacheDirectory
    ) throws(SQLiteError) -> (Database, Statement) {
        do throws(SQLiteError) {
            return try Self.openForReading(path, .readWrite)
        } catch {
            guard error.isReadOnly || error.isCannotOpen else { throw error }
        }
        do throws(SQLiteError) {
            return try Self.openForReading(path, .readOnly)
        } catch {
            guard directory.isReadOnlyFileSystem else { throw error }
        }
        return try Self.openForReading(path, .immutable)
    }

    private static func openForReading(
        _ path: String,
        _ access: Database.Access
    ) throws(SQLiteError) -> (Database, Statement) {
        let database = try Database(path: path, access: access, busyTimeoutMilliseconds: 0)
        database.keepWriteAheadLog()
        // Preparing reads the schema: a file that cannot be used shows here.
        return (database, try database.prepare(Self.selectSQL))
    }

    // MARK: Reading

    private static let selectSQL = """
        SELECT secret_kind, secret, salt, superuser, must_fetch, known_current, absent_since, generation, access,
            imported, changed_since
        FROM rows WHERE source = ?1 AND redis_key = ?2 AND variant = ?3
        """

    /// Nil: there is no such row.
    func read(_ key: LookupKey) throws(SQLiteError) -> CachedRow? {
        defer { self.select.reset() }
        try self.bindKey(key, to: self.select)
        guard try self.select.step() else { return nil }
        let bytes = self.select.bytes(1) ?? []
        let secret: CredentialRow.Secret
        switch self.select.int64(0) {
        case 0: secret = .none
        case 1: secret = .hash(bytes)
        case 2: secret = .passwordCode(bytes)
        // Of a later release.
        default: return nil
        }
        guard let access = [AccessRow](encoded: self.select.bytes(8) ?? []) else { return nil }
        return CachedRow(
            row: CredentialRow(
                secret: secret,
                salt: self.select.bytes(2) ?? [],
                isSuperuser: self.select.bool(3),
                access: access
            ),
            absentSinceMilliseconds: self.select.isNull(6) ? nil : self.select.int64(6),
            mustFetch: self.select.bool(4),
            knownCurrentMilliseconds: self.select.int64(5),
            generation: self.select.int64(7),
            isImported: self.select.bool(9),
            changedSinceMilliseconds: self.select.isNull(10) ? nil : self.select.int64(10)
        )
    }

    /// All look-ups of a Redis key that there are rows of, and those whose rows were made from it too; the mark of a key that was named as changed, and that nobody knows a row of, is
    /// none.
    func keys(of redisKey: [UInt8]) throws(SQLiteError) -> [LookupKey] {
        let statement = try self.database.prepare(
            """
            SELECT redis_key, variant FROM rows
            WHERE source = ?1 AND redis_key = ?2 AND (must_fetch = 0 OR absent_since IS NULL)
            UNION SELECT redis_key, variant FROM related_keys JOIN rows USING (source, redis_key, variant)
            WHERE source = ?1 AND related_key = ?2 AND (must_fetch = 0 OR absent_since IS NULL) LIMIT 100
            """
        )
        try statement.bind(self.source, at: 1)
        try statement.bind(redisKey, at: 2)
        var keys: [LookupKey] = []
        while try statement.step() {
            keys.append(LookupKey(redisKey: statement.bytes(0) ?? [], variant: statement.bytes(1) ?? []))
        }
        return keys
    }

    /// Many `read`s in a row.
    func snapshot(_ body: () -> Void) {
        self.database.snapshot(body)
    }

    /// - Parameter changedSince: of rows that were named as changed those are in it that were since then.
    func sampleOfKnownKeys(
        _ count: Int,
        in span: Range<Int64>,
        changedSince: Int64
    ) throws(SQLiteError) -> [[UInt8]] {
        let statement = try self.database.prepare(
            """
            SELECT redis_key FROM rows WHERE absent_since IS NULL AND source = ?1
                AND (must_fetch = 0 OR changed_since >= ?5) AND known_current >= ?3 AND known_current < ?4
            ORDER BY known_current DESC LIMIT ?2
            """
        )
        try statement.bind(self.source, at: 1)
        try statement.bind(Int64(count), at: 2)
        try statement.bind(span.lowerBound, at: 3)
        try statement.bind(span.upperBound, at: 4)
        try statement.bind(changedSince, at: 5)
        var keys: [[UInt8]] = []
        while try statement.step() { keys.append(statement.bytes(0) ?? []) }
        return keys
    }

    /// When changes were told to one of the workers; of the last times.
    func toldSpans() throws(SQLiteError) -> [ToldSpans.Span] {
        let statement = try self.database.prepare("SELECT began, until FROM told WHERE source = ?1")
        try statement.bind(self.source, at: 1)
        var spans: [ToldSpans.Span] = []
        while try statement.step() {
            spans.append(ToldSpans.Span(began: statement.int64(0), until: statement.int64(1)))
        }
        return spans
    }

    func latestMilliseconds() throws(SQLiteError) -> Int64? {
        let statement = try self.database.prepare(
            """
            SELECT max(known_current, ifnull((SELECT max(until) FROM told WHERE source = ?1), 0)) FROM rows
            WHERE absent_since IS NULL AND source = ?1 ORDER BY known_current DESC LIMIT 1
            """
        )
        try statement.bind(self.source, at: 1)
        return try statement.step() ? statement.int64(0) : nil
    }

    private func writeTold(_ began: Int64, _ until: Int64) throws(SQLiteError) {
        let write = try self.database.prepare(
            """
            INSERT INTO told (source, began, until) VALUES (?1, ?2, ?3)
            ON CONFLICT (source, began) DO UPDATE SET until = max(until, excluded.until)
            """
        )
        try write.bind(self.source, at: 1)
        try write.bind(began, at: 2)
        try write.bind(until, at: 3)
        try write.run()
        let forget = try self.database.prepare(
            """
            DELETE FROM told WHERE source = ?1 AND began <
                (SELECT began FROM told WHERE source = ?1 ORDER BY began DESC LIMIT 1 OFFSET ?2)
            """
        )
        try forget.bind(self.source, at: 1)
        try forget.bind(Int64(ToldSpans.spansMax - 1), at: 2)
        try forget.run()
    }

    /// Counts by kind, and ages.
    func summary(nowMilliseconds: Int64) throws(SQLiteError) -> Report.Block {
        let statement = try self.database.prepare(
            """
            SELECT count(*) FILTER (WHERE absent_since IS NULL), count(*) FILTER (WHERE absent_since IS NOT NULL),
                count(*) FILTER (WHERE must_fetch = 1), min(known_current) FILTER (WHERE absent_since IS NULL),
                max(known_current) FILTER (WHERE absent_since IS NULL)
            FROM rows WHERE source = ?1
            """
        )
        try statement.bind(self.source, at: 1)
        var block: Report.Block = []
        guard try statement.step() else { return block }
        block.add("rows_on_disk", statement.int64(0))
        block.add("absent_rows_on_disk", statement.int64(1))
        block.add("rows_named_as_changed", statement.int64(2))
        if !statement.isNull(3) {
            block.add("oldest_row_seconds", max(0, nowMilliseconds - statement.int64(3)) / 1000)
            block.add("newest_row_seconds", max(0, nowMilliseconds - statement.int64(4)) / 1000)
        }
        return block
    }

    private func bindKey(_ key: LookupKey, to statement: Statement) throws(SQLiteError) {
        try statement.bind(self.source, at: 1)
        try statement.bind(key.redisKey, at: 2)
        try statement.bind(key.variant, at: 3)
    }

    // MARK: Writing

    /// Neither a row of another generation is replaced, nor one that is known from a later look-up of another worker, unless its
    /// time lies in the future (after ?10), where a wrong clock put it.
    private static let upsertSQL = """
        INSERT INTO rows (source, redis_key, variant, secret_kind, secret, salt, superuser, must_fetch, known_current,
            absent_since, generation, access, related_listed)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, NULL, ?9, ?11, 1)
        ON CONFLICT (source, redis_key, variant) DO UPDATE SET
            secret_kind = excluded.secret_kind, secret = excluded.secret, salt = excluded.salt,
            superuser = excluded.superuser, access = excluded.access, must_fetch = 0, known_current = excluded.known_current,
            absent_since = NULL, related_listed = 1, imported = 0
        WHERE rows.generation = excluded.generation
            AND (max(rows.known_current, ifnull(rows.absent_since, 0)) <= excluded.known_current
                OR max(rows.known_current, ifnull(rows.absent_since, 0)) > ?10)
        """

    private static let markAbsentSQL = """
        UPDATE rows SET absent_since = ?4
        WHERE source = ?1 AND redis_key = ?2 AND variant = ?3 AND generation = ?5 AND absent_since IS NULL
            AND (known_current <= ?4 OR known_current > ?6)
        """

    private static let correctTimeSQL = """
        UPDATE rows SET known_current = min(known_current, ?4), absent_since = min(absent_since, ?4)
        WHERE source = ?1 AND redis_key = ?2 AND variant = ?3
        """

    /// Where there is no row, the last mark is what counts for how long it stays.
    private static let markChangedSQL = """
        UPDATE rows SET generation = generation + 1, must_fetch = 1, absent_since = max(absent_since, ?3),
            changed_since = CASE must_fetch WHEN 0 THEN ?3 ELSE changed_since END
        WHERE source = ?1 AND redis_key = ?2
        """

    private static let markAllChangedSQL = """
        UPDATE rows SET generation = generation + 1, must_fetch = 1,
            changed_since = CASE must_fetch WHEN 0 THEN ?2 ELSE changed_since END
        WHERE source = ?1
        """

    private static let insertChangedSQL = """
        INSERT INTO rows (source, redis_key, variant, secret_kind, secret, salt, superuser, must_fetch, known_current,
            absent_since, generation, changed_since)
        VALUES (?1, ?2, x'', 0, x'', x'', 0, 1, ?3, ?3, 1, ?3)
        """

    /// Writes what the file holds already: an empty transaction would be committed where nothing can be written.
    func proveWritable() throws(SQLiteError) {
        try self.database.transaction { () throws(SQLiteError) in
            try self.database.execute("PRAGMA user_version = \(try self.database.userVersion())")
        }
    }

    /// All in one transaction. Returns the keys that were not stored, because the file holds something newer.
    func write(_ batch: ArraySlice<CacheWrite>, wallMilliseconds: Int64) throws(SQLiteError) -> [LookupKey] {
        let future = wallMilliseconds.addingReportingOverflow(Self.clockToleranceMilliseconds).partialValue
        let marksRelated = batch.contains { if case .markRelated = $0 { true } else { false } }
        if marksRelated { try self.listRelatedKeys() }
        return try self.database.transaction { () throws(SQLiteError) -> [LookupKey] in
            var refused: [LookupKey] = []
            let marksRemovedBefore = try self.marksRemovedBefore(wallMilliseconds: wallMilliseconds)
            // Another worker, of a release that does not list them, may have written one meanwhile.
            if marksRelated { while try self.relatedKeys?.listSome() ?? false {} }
            for write in Self.sorted(batch) {
                let isTooOld = try self.isOlderThanMarks(write, removedBefore: marksRemovedBefore)
                let isDone = try isTooOld ? false : self.perform(write, future: future)
                if !isDone, let key = write.key { refused.append(key) }
            }
            return refused
        }
    }

    /// A row that is new to the file and was asked for when there may have been a mark of its key that has gone since.
    private func isOlderThanMarks(_ write: CacheWrite, removedBefore: Int64?) throws(SQLiteError) -> Bool {
        guard case .store(let key, _, let time, _) = write, let removedBefore, time < removedBefore else {
            return false
        }
        return try self.read(key) == nil
    }

    /// In transactions of their own, so that others get their turn.
    private func listRelatedKeys() throws(SQLiteError) {
        guard let relatedKeys = self.relatedKeys else { return }
        while try self.database.transaction({ () throws(SQLiteError) in try relatedKeys.listSome() }) {}
    }

    /// In the order of the file, which then touches each page once. Writes of one key keep theirs, and none passes one that is about
    /// all rows.
    private static func sorted(_ batch: ArraySlice<CacheWrite>) -> [CacheWrite] {
        let keyed = batch.enumerated().map { (key: $1.key?.redisKey, number: $0, write: $1) }
        guard keyed.allSatisfy({ $0.key != nil }) else { return Array(batch) }
        return keyed.sorted { left, right in
            guard let leftKey = left.key, let rightKey = right.key, leftKey != rightKey else {
                return left.number < right.number
            }
            return leftKey.lexicographicallyPrecedes(rightKey)
        }.map(\.write)
    }

    private func perform(_ write: CacheWrite, future: Int64) throws(SQLiteError) -> Bool {
        switch write {
        case .store(let key, let row, let time, let generation):
            guard let statement = self.upsert else { return true }
            try self.bindKey(key, to: statement)
            let (kind, bytes): (Int64, [UInt8]) =
                switch row.secret {
                case .none: (0, [])
                case .hash(let hash): (1, hash)
                case .passwordCode(let code): (2, code)
                }
            try statement.bind(kind, at: 4)
            try statement.bind(bytes, at: 5)
            try statement.bind(row.salt, at: 6)
            try statement.bind(row.isSuperuser, at: 7)
            try statement.bind(time, at: 8)
            try statement.bind(generation, at: 9)
            try statement.bind(future, at: 10)
            try statement.bind(row.access.isEmpty ? nil : row.access.encoded, at: 11)
            try statement.run()
            guard self.database.changes > 0 else { return false }
            try self.relatedKeys?.list(key)
            return true
        case .markAbsent(let key, let time, let generation):
            guard let statement = self.markAbsent else { return true }
            try self.bindKey(key, to: statement)
            try statement.bind(time, at: 4)
            try statement.bind(generation, at: 5)
            try statement.bind(future, at: 6)
            try statement.run()
            guard self.database.changes == 0, let row = try self.read(key) else { return true }
            // It was named as changed, or fetched, after Redis had been asked.
            return row.absentSinceMilliseconds != nil
        case .correctTime(let key, let time):
            guard let statement = self.correctTime else { return true }
            try self.bindKey(key, to: statement)
            try statement.bind(time, at: 4)
            try statement.run()
            return true
        case .markChanged(let redisKey, let time):
            guard let update = self.markChanged, let insert = self.insertChanged else { return true }
            try update.bind(self.source, at: 1)
            try update.bind(redisKey, at: 2)
            try update.bind(time, at: 3)
            try update.run()
            guard self.database.changes == 0 else { return true }
            try insert.bind(self.source, at: 1)
            try insert.bind(redisKey, at: 2)
            try insert.bind(time, at: 3)
            try insert.run()
            return true
        case .told(let began, let until):
            try self.writeTold(began, until)
            return true
        case .markRelated(let redisKey, let time):
            try self.relatedKeys?.markRowsChanged(of: redisKey, atMilliseconds: time)
            return true
        case .markAllChanged(let time):
            let statement = try self.database.prepare(Self.markAllChangedSQL)
            try statement.bind(self.source, at: 1)
            try statement.bind(time, at: 2)
            try statement.run()
            return true
        }
    }
}
