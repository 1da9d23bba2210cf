import Common
import SQLite
import TLS

/// What an exported file says of itself, so that one that was damaged on the way is noticed: SHA-256 over the host's key, then over each
/// row behind the digest of all before it.
enum CacheDigest {
    static let table = "CREATE TABLE digest (value BLOB NOT NULL)"

    /// Of a file that is complete.
    ///
    /// - Parameter columns: of `rows`, in the order in which they are hashed.
    static func compute(_ file: Database, key: [UInt8], columns: String) throws(SQLiteError) -> [UInt8] {
        // As SQL writes it: with its type, and in no other way.
        let texts = columns.split(separator: ",").map { "quote(\($0.filter { !$0.isWhitespace }))" }
        let rows = try file.prepare(
            "SELECT \(texts.joined(separator: " || ',' || ")) FROM main.rows ORDER BY source, redis_key, variant"
        )
        var digest = Digest.sha256(key)
        while try rows.step() { digest = Digest.sha256(digest, rows.bytes(0) ?? []) }
        return digest
    }

    static func write(_ digest: [UInt8], to file: Database) throws(SQLiteError) {
        try file.execute(Self.table)
        let insert = try file.prepare("INSERT INTO digest VALUES (?1)")
        try insert.bind(digest, at: 1)
        try insert.run()
    }

    /// Nil: the file was made by a release before there were digests.
    static func read(_ file: Database) throws(SQLiteError) -> [UInt8]? {
        let tables = try file.prepare(
            "SELECT count(*) FROM main.sqlite_master WHERE type = 'table' AND name = 'digest'"
        )
        guard try tables.step(), tables.int64(0) > 0 else { return nil }
        let values = try file.prepare("SELECT value FROM main.digest")
        return try values.step() ? values.bytes(0) ?? [] : []
    }
}
