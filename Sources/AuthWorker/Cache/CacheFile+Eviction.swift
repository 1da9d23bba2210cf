import SQLite

// Which rows make room. Sources share a file, and each has limits of its own.
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
