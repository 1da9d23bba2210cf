import Common
import Glibc
import SQLite

/// The router's store as it is at one moment: rows with the log over them (docs/adr/0009). Reading does not disturb a router that
/// runs.
final class StoreImage {
    /// The schema that this release writes.
    static let schemaVersion = 1

    struct Entry {
        var key: [UInt8]
        var value: [UInt8]
    }

    let path: String
    private let database: Database
    /// What the log changes; nil: deleted.
    private var overlay: [[UInt8]: [UInt8]?] = [:]
    private(set) var brokenGroups = 0

    init(path: String) throws(CommandFailure) {
        guard access(path, F_OK) == 0 else { throw CommandFailure("there is no store \(path)") }
        self.path = path
        do throws(SQLiteError) {
            self.database = try Database(path: path, access: .readOnly, busyTimeoutMilliseconds: 5_000)
            // One moment for all that follows.
            try self.database.execute("BEGIN")
            let version = try self.database.userVersion()
            guard version == Self.schemaVersion else {
                throw SQLiteError(
                    code: -1,
                    message: "has schema version \(version); this release knows version \(Self.schemaVersion)",
                    path: path
                )
            }
        } catch {
            throw CommandFailure("\(path): \(error.message)")
        }
    }

    /// - Throws: what SQLite says; the log cannot be read then.
    func readLog() throws(SQLiteError) {
        let statement = try self.database.prepare("SELECT records FROM log ORDER BY number")
        while try statement.step() {
            let isSound = statement.withBytes(0) { self.note($0) }
            if !isSound { self.brokenGroups += 1 }
        }
    }

    /// Records as docs/adr/0009 has them: operation, lengths of key and value, key, value.
    private func note(_ records: UnsafeRawBufferPointer) -> Bool {
        var reader = ByteReader(records)
        while !reader.isAtEnd {
            guard let operation = reader.readUInt8(), 1...3 ~= operation,
                let keyBytes = reader.readLittleEndian(UInt32.self),
                let valueBytes = reader.readLittleEndian(UInt32.self),
                let key = reader.readBytes(Int(keyBytes)), let value = reader.readBytes(Int(valueBytes))
            else { return false }
            self.overlay.updateValue(operation == 2 ? nil : [UInt8](value), forKey: [UInt8](key))
        }
        return true
    }

    func isSound() throws(SQLiteError) -> Bool { try self.database.passesQuickCheck() }

    /// Whether rows of a table can be read from both ends up to the damage; see `StoreMaintenance.repair`.
    enum Direction: String {
        case forward = "ASC"
        case backward = "DESC"
    }

    /// Calls `body` with each entry of a kind; with nil as direction in order and with the log's changes.
    func forEach(_ kind: UInt8, _ body: (Entry) -> Void) throws(SQLiteError) {
        var changed: [[UInt8]: [UInt8]?] = self.overlay.filter { $0.key.first == kind }
        try self.readRows(kind, .forward) { entry in
            guard let change = changed.removeValue(forKey: entry.key) else { return body(entry) }
            if let value = change { body(Entry(key: entry.key, value: value)) }
        }
        let added = changed.compactMap { key, value in value.map { Entry(key: key, value: $0) } }
        for entry in added.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) { body(entry) }
    }

    /// The rows alone.
    func readRows(_ kind: UInt8, _ direction: Direction, _ body: (Entry) -> Void) throws(SQLiteError) {
        guard kind == StoreEntryKind.message else {
            let statement = try self.database.prepare(
                "SELECT key, value FROM entry WHERE key >= ? AND key < ? ORDER BY key \(direction.rawValue)"
            )
            try statement.bind([kind], at: 1)
            try statement.bind([kind + 1], at: 2)
            while try statement.step() {
                body(Entry(key: statement.bytes(0) ?? [], value: statement.bytes(1) ?? []))
            }
            return
        }
        let statement = try self.database.prepare(
            "SELECT number, value FROM message ORDER BY number \(direction.rawValue)"
        )
        while try statement.step() {
            let number = UInt64(bitPattern: statement.int64(0))
            let key = [kind] + (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) }
            body(Entry(key: key, value: statement.bytes(1) ?? []))
        }
    }

    /// What the log puts.
    var logged: [[UInt8]: [UInt8]?] { self.overlay }

    func copy(to target: String) throws(SQLiteError) {
        try self.database.execute("COMMIT")
        let statement = try self.database.prepare("VACUUM INTO ?")
        try statement.bind(target, at: 1)
        try statement.run()
    }
}
