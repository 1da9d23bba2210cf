import SQLite

/// The rows of a store, without its log.
package struct StoreRows {
    package enum Order: String {
        case rising = "ASC"
        case falling = "DESC"
    }

    private let database: Database

    package init(_ database: Database) {
        self.database = database
    }

    /// Calls `body` with each message, by its number.
    package func messages(
        _ order: Order = .rising,
        _ body: (UInt64, UnsafeRawBufferPointer) -> Void
    ) throws(SQLiteError) {
        let statement = try self.database.prepare(
            "SELECT number, value FROM message ORDER BY number \(order.rawValue)"
        )
        while try statement.step() {
            let number = UInt64(bitPattern: statement.int64(0))
            statement.withBytes(1) { body(number, $0) }
        }
    }

    /// Calls `body` with each entry of a kind (see `StoreKey`), by its key.
    package func entries(
        _ kind: UInt8,
        _ order: Order = .rising,
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void
    ) throws(SQLiteError) {
        let statement = try self.database.prepare(
            "SELECT key, value FROM entry WHERE key >= ? AND key < ? ORDER BY key \(order.rawValue)"
        )
        try statement.bind([kind], at: 1)
        try statement.bind([kind + 1], at: 2)
        while try statement.step() {
            statement.withBytes(0) { key in statement.withBytes(1) { body(key, $0) } }
        }
    }
}
