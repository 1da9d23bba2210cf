import Common
import SQLite

/// The part of the cache file that says which rows were made from other Redis keys beside their own, so that a change of such a key
/// marks them without a look through all rows. For whoever writes the file.
final class RelatedKeys {
    private let database: Database
    private let source: [UInt8]
    private let insert: Statement
    private let markChanged: Statement
    private let selectUnlisted: Statement
    private let setListed: Statement

    /// Rows that `listSome` enters at once.
    private static let listedAtOnce = 2000

    static let markChangedSQL = """
        UPDATE rows SET generation = generation + 1, must_fetch = 1,
            changed_since = CASE must_fetch WHEN 0 THEN ?3 ELSE changed_since END
        WHERE source = ?1 AND (redis_key, variant) IN
            (SELECT redis_key, variant FROM related_keys WHERE source = ?1 AND related_key = ?2)
        """

    static let selectUnlistedSQL = """
        SELECT redis_key, variant FROM rows INDEXED BY rows_not_listed
        WHERE source = ?1 AND related_listed IS NULL AND variant <> x'' LIMIT ?2
        """

    init(_ database: Database, source: [UInt8]) throws(SQLiteError) {
        self.database = database
        self.source = source
        self.insert = try database.prepare(
            "INSERT OR IGNORE INTO related_keys (source, redis_key, variant, related_key) VALUES (?1, ?2, ?3, ?4)"
        )
        self.markChanged = try database.prepare(Self.markChangedSQL)
        self.selectUnlisted = try database.prepare(Self.selectUnlistedSQL)
        self.setListed = try database.prepare(
            "UPDATE rows SET related_listed = 1 WHERE source = ?1 AND redis_key = ?2 AND variant = ?3"
        )
    }

    /// Enters the keys that a row is about to be made from.
    func list(_ key: LookupKey) throws(SQLiteError) {
        for relatedKey in key.relatedKeys { try self.list(relatedKey, of: key) }
    }

    private func list(_ relatedKey: [UInt8], of key: LookupKey) throws(SQLiteError) {
        try self.bind(key, to: self.insert)
        try self.insert.bind(relatedKey, at: 4)
        try self.insert.run()
    }

    /// Marks the rows that were made from this key, and not those whose own key it is.
    func markRowsChanged(of relatedKey: [UInt8], atMilliseconds time: Int64) throws(SQLiteError) {
        try self.markChanged.bind(self.source, at: 1)
        try self.markChanged.bind(relatedKey, at: 2)
        try self.markChanged.bind(time, at: 3)
        try self.markChanged.run()
    }

    /// Enters those of rows that others wrote, in steps; true: there are more. Without the commands that the rows come from everything
    /// in their variants may be a key, which costs a needless look-up at most.
    func listSome() throws(SQLiteError) -> Bool {
        var keys: [LookupKey] = []
        defer { self.selectUnlisted.reset() }
        try self.selectUnlisted.bind(self.source, at: 1)
        try self.selectUnlisted.bind(Int64(Self.listedAtOnce), at: 2)
        while try self.selectUnlisted.step() {
            keys.append(
                LookupKey(
                    redisKey: self.selectUnlisted.bytes(0) ?? [],
                    variant: self.selectUnlisted.bytes(1) ?? []
                )
            )
        }
        for key in keys {
            for field in Self.fields(of: key.variant) where !field.isEmpty { try self.list(field, of: key) }
            try self.bind(key, to: self.setListed)
            try self.setListed.run()
        }
        return keys.count == Self.listedAtOnce
    }

    /// Those of the commands' own variants as well, which are fields themselves.
    private static func fields(of variant: [UInt8]) -> [[UInt8]] {
        let fields = LookupKey.fields(of: variant) ?? []
        return fields + fields.flatMap { LookupKey.fields(of: $0) ?? [] }
    }

    private func bind(_ key: LookupKey, to statement: Statement) throws(SQLiteError) {
        try statement.bind(self.source, at: 1)
        try statement.bind(key.redisKey, at: 2)
        try statement.bind(key.variant, at: 3)
    }
}
