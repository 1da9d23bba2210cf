import SQLite

/// Puts and deletes rows of a store.
package final class StoreEditor {
    private let putEntry: Statement
    private let deleteEntry: Statement
    private let putMessage: Statement
    private let deleteMessage: Statement

    package init(_ database: Database) throws(SQLiteError) {
        self.putEntry = try database.prepare("INSERT OR REPLACE INTO entry VALUES (?, ?)")
        self.deleteEntry = try database.prepare("DELETE FROM entry WHERE key = ?")
        self.putMessage = try database.prepare("INSERT OR REPLACE INTO message VALUES (?, ?)")
        self.deleteMessage = try database.prepare("DELETE FROM message WHERE number = ?")
    }

    package func set(_ key: [UInt8], _ value: [UInt8]) throws(SQLiteError) {
        let result = value.withUnsafeBytes { bytes -> Result<Void, SQLiteError> in
            do throws(SQLiteError) {
                return .success(try self.set(key, bytes))
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    /// - Parameter value: nil: the row goes.
    package func set(_ key: [UInt8], _ value: UnsafeRawBufferPointer?) throws(SQLiteError) {
        if let number = key.withUnsafeBytes({ StoreKey.messageNumber($0) }) {
            let statement = value == nil ? self.deleteMessage : self.putMessage
            try statement.bind(Int64(bitPattern: number), at: 1)
            if let value { try statement.bind(value, at: 2) }
            return try statement.run()
        }
        let statement = value == nil ? self.deleteEntry : self.putEntry
        try statement.bind(key, at: 1)
        if let value { try statement.bind(value, at: 2) }
        try statement.run()
    }
}
