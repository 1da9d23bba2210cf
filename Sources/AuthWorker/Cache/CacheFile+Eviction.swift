import SQLite

// Which rows make room, and which marks go. Sources share a file, and each has limits of its own.
extension CacheFile {
    private enum Kind {
        /// Redis has them.
        case known
        /// Redis had them once.
        case absent

        var condition: String { self == .known ? "absent_since IS NULL" : "absent_since IS NOT NULL" }
        var age: String { self == .known ? "known_current" : "absent_since" }
        /// By source and age.
        var index: String { self == .known ? "rows_of_source_by_age" : "absent_rows_of_source_by_age" }
    }

    /// Rows of another source that are removed at once.
    private static let abandonedAtOnce = 1000

    /// Removes the source's rows that were not known current for the longest time, and some of sources that nobody has any more. Returns
    /// how many went.
    func evict(knownMax: Int, absentMax: Int, wallMilliseconds: Int64) throws(SQLiteError) -> Int {
        try self.evict(.known, max: knownMax) + self.evict(.absent, max: absentMax)
            + self.removeAbandoned(before: wallMilliseconds - AuthLimits.abandonedSourceMilliseconds)
    }

    private func evict(_ kind: Kind, max: Int) throws(SQLiteError) -> Int {
        let statement = try self.database.prepare(
            "SELECT count(*) FROM rows INDEXED BY \(kind.index) WHERE source = ?1 AND \(kind.condition)"
        )
        try statement.bind(self.source, at: 1)
        guard try statement.step() else { return 0 }
        let count = Int(statement.int64(0))
        statement.reset()
        guard count > max else { return 0 }
        // A little more than needed, so that it is not done for each new row.
        return try self.remove(
            "INDEXED BY \(kind.index) WHERE source = ?1 AND \(kind.condition) ORDER BY \(kind.age)",
            of: self.source,
            count - max + max / 100
        )
    }

    // MARK: Marks

    private static let rowlessMarks = """
        rows INDEXED BY absent_rows_of_source_by_age WHERE source = ?1 AND absent_since IS NOT NULL AND absent_since < ?2
            AND must_fetch = 1 AND secret_kind = 0 AND secret = x'' AND salt = x'' AND superuser = 0 AND access IS NULL
        """

    /// Marks of keys without a row that go at once.
    private static let marksAtOnce = 1000

    /// Removes what only says that a key was named as changed, when that is so long ago that no look-up should have begun before. One that
    /// has is known by its time: see `marksRemovedBefore`. Returns how many went.
    func removeRowlessMarks(before time: Int64) throws(SQLiteError) -> Int {
        let any = try self.database.prepare("SELECT 1 FROM \(Self.rowlessMarks) LIMIT 1")
        let remove = try self.database.prepare(
            """
            DELETE FROM rows WHERE (source, redis_key, variant) IN
                (SELECT source, redis_key, variant FROM \(Self.rowlessMarks) LIMIT ?3)
            """
        )
        let note = try self.database.prepare(
            """
            INSERT INTO marks_removed (source, before) VALUES (?1, ?2)
            ON CONFLICT (source) DO UPDATE SET before = excluded.before
            WHERE before < excluded.before OR before > excluded.before + \(AuthLimits.rowlessMarkMilliseconds)
            """
        )
        for statement in [any, remove, note] {
            try statement.bind(self.source, at: 1)
            try statement.bind(time, at: 2)
        }
        try remove.bind(Int64(Self.marksAtOnce), at: 3)
        var removed = 0
        while true {
            let isAny = try any.step()
            any.reset()
            guard isAny else { return removed }
            // In transactions of their own, so that others get their turn.
            removed += try self.database.transaction { () throws(SQLiteError) in
                try note.run()
                try remove.run()
                return self.database.changes
            }
        }
    }

    /// Marks that are older may be gone; nil: none, or the clock was ahead when it was noted.
    func marksRemovedBefore(wallMilliseconds: Int64) throws(SQLiteError) -> Int64? {
        let statement = try self.database.prepare("SELECT before FROM marks_removed WHERE source = ?1 AND before <= ?2")
        try statement.bind(self.source, at: 1)
        try statement.bind(wallMilliseconds, at: 2)
        return try statement.step() ? statement.int64(0) : nil
    }

    /// Of other commands, or another host key, that were in the configuration before.
    private func removeAbandoned(before time: Int64) throws(SQLiteError) -> Int {
        for source in try self.otherSources() {
            let statement = try self.database.prepare(
                """
                SELECT max(
                    ifnull((SELECT max(known_current) FROM rows INDEXED BY rows_of_source_by_age
                        WHERE source = ?1 AND absent_since IS NULL), 0),
                    ifnull((SELECT max(absent_since) FROM rows INDEXED BY absent_rows_of_source_by_age
                        WHERE source = ?1 AND absent_since IS NOT NULL), 0)
                )
                """
            )
            try statement.bind(source, at: 1)
            guard try statement.step() else { continue }
            let newest = statement.int64(0)
            statement.reset()
            if newest < time { return try self.remove("WHERE source = ?1", of: source, Self.abandonedAtOnce) }
        }
        return 0
    }

    /// From one to the next in the order of the table, without a look at their rows.
    private func otherSources() throws(SQLiteError) -> [[UInt8]] {
        let statement = try self.database.prepare(
            """
            WITH RECURSIVE sources (name) AS (
                SELECT min(source) FROM rows
                UNION ALL SELECT (SELECT min(source) FROM rows WHERE source > name) FROM sources WHERE name IS NOT NULL
            )
            SELECT name FROM sources WHERE name IS NOT NULL AND name <> ?1
            """
        )
        try statement.bind(self.source, at: 1)
        var sources: [[UInt8]] = []
        while try statement.step() { sources.append(statement.bytes(0) ?? []) }
        return sources
    }

    private func remove(_ which: String, of source: [UInt8], _ count: Int) throws(SQLiteError) -> Int {
        let statement = try self.database.prepare(
            """
            DELETE FROM rows WHERE (source, redis_key, variant) IN
                (SELECT source, redis_key, variant FROM rows \(which) LIMIT ?2)
            """
        )
        try statement.bind(source, at: 1)
        try statement.bind(Int64(count), at: 2)
        return try self.database.transaction { () throws(SQLiteError) in
            try statement.run()
            return self.database.changes
        }
    }
}
