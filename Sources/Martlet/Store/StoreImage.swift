import Common
import Glibc
import RouterStore
import SQLite

/// The router's store as it is at one moment: rows with the log over them (docs/adr/0009). Reading does not disturb a router that
/// runs.
final class StoreImage {
    let path: String
    private let database: Database
    private let rows: StoreRows
    /// What the log changes; nil: deleted.
    private(set) var logged: [[UInt8]: [UInt8]?] = [:]
    private(set) var brokenGroups = 0

    /// - Parameter isDamaged: whatever can be read is wanted, also of a file that lost its end, which SQLite refuses as a whole otherwise.
    init(path: String, isDamaged: Bool = false) throws(CommandFailure) {
        try Folder.require(path, absent: "there is no store \(path)")
        self.path = path
        let version: Int
        do throws(SQLiteError) {
            self.database = try Database(path: path, access: .readOnly, busyTimeoutMilliseconds: 5_000)
            if isDamaged { try self.database.execute("PRAGMA writable_schema = ON") }
            // One moment for all that follows.
            try self.database.execute("BEGIN")
            version = try self.database.userVersion()
        } catch {
            throw CommandFailure("\(path): \(error.message)")
        }
        self.rows = StoreRows(self.database)
        guard version <= StoreSchema.version else {
            throw CommandFailure(
                "\(path) has schema version \(version), and this release knows versions up to \(StoreSchema.version): it was "
                    + "written by a newer release, whose martlet reads it"
            )
        }
        guard version >= StoreSchema.oldestReadable else {
            throw CommandFailure("\(path) has schema version \(version): it is no store of a router")
        }
    }

    /// - Throws: what SQLite says; the log cannot be read then.
    func readLog() throws(SQLiteError) {
        let statement = try self.database.prepare("SELECT records FROM log ORDER BY number")
        while try statement.step() {
            statement.withBytes(0) { records in
                var reader = ChangeReader(records)
                while let record = reader.next() {
                    let value = record.operation == .delete ? nil : [UInt8](record.value)
                    self.logged.updateValue(value, forKey: [UInt8](record.key))
                }
                if reader.isBroken { self.brokenGroups += 1 }
            }
        }
    }

    func isSound() throws(SQLiteError) -> Bool { try self.database.passesQuickCheck() }

    /// Calls `body` with each entry of a kind as the log has left it: key and value.
    func forEach(_ kind: UInt8, _ body: ([UInt8], [UInt8]) -> Void) throws(SQLiteError) {
        var changed = self.logged.filter { $0.key.first == kind }
        try self.readRows(kind, .rising) { key, value in
            guard let change = changed.removeValue(forKey: key) else { return body(key, value) }
            if let changedValue = change { body(key, changedValue) }
        }
        let added = changed.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        for case (let key, let value?) in added { body(key, value) }
    }

    /// The rows alone.
    func readRows(_ kind: UInt8, _ order: StoreRows.Order, _ body: ([UInt8], [UInt8]) -> Void) throws(SQLiteError) {
        if kind == StoreKey.message {
            try self.rows.messages(order) { body(StoreKey.message($0), [UInt8]($1)) }
        } else {
            try self.rows.entries(kind, order) { body([UInt8]($0), [UInt8]($1)) }
        }
    }

    func copy(to target: String) throws(SQLiteError) {
        try self.database.execute("COMMIT")
        let statement = try self.database.prepare("VACUUM INTO ?")
        try statement.bind(target, at: 1)
        try statement.run()
    }
}
