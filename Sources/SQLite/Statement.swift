import CSQLite

/// A compiled statement: bind, step, read columns, reset. Bound values are copied by SQLite.
///
/// Parameters count from 1, columns from 0, as in SQLite.
package final class Statement {
    package let sql: String
    private let database: Database
    private let handle: OpaquePointer

    init(_ sql: String, of database: Database) throws(SQLiteError) {
        var prepared: OpaquePointer?
        let code = sqlite3_prepare_v3(database.handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
        guard code == SQLITE_OK else { throw database.error(code, statement: sql) }
        guard let handle = prepared else {
            throw SQLiteError(
                code: SQLITE_MISUSE,
                message: "there is no statement in the text",
                statement: sql,
                path: database.path
            )
        }
        self.sql = sql
        self.database = database
        self.handle = handle
    }

    deinit {
        sqlite3_finalize(self.handle)
    }

    package func bind(_ value: Int64, at index: Int32) throws(SQLiteError) {
        try self.check(sqlite3_bind_int64(self.handle, index, value))
    }

    package func bind(_ value: Bool, at index: Int32) throws(SQLiteError) {
        try self.bind(value ? 1 : 0 as Int64, at: index)
    }

    /// Nil is NULL; an empty array is an empty blob.
    package func bind(_ value: [UInt8]?, at index: Int32) throws(SQLiteError) {
        guard let value else { return try self.check(sqlite3_bind_null(self.handle, index)) }
        try self.bind(value, at: index)
    }

    package func bind(_ value: [UInt8], at index: Int32) throws(SQLiteError) {
        let code = value.withUnsafeBytes { self.bindBlob($0, at: index) }
        try self.check(code)
    }

    package func bind(_ value: UnsafeRawBufferPointer, at index: Int32) throws(SQLiteError) {
        try self.check(self.bindBlob(value, at: index))
    }

    package func bind(_ value: String, at index: Int32) throws(SQLiteError) {
        try self.check(sqlite3_bind_text(self.handle, index, value, -1, martlet_sqlite_transient()))
    }

    /// Goes to the next row; false: there is none, and the statement is ready to run again.
    package func step() throws(SQLiteError) -> Bool {
        switch sqlite3_step(self.handle) {
        case SQLITE_ROW:
            return true
        case SQLITE_DONE:
            sqlite3_reset(self.handle)
            return false
        case let code:
            let error = self.database.error(code, statement: self.sql)
            sqlite3_reset(self.handle)
            throw error
        }
    }

    /// Runs a statement that gives no rows, or whose rows do not matter.
    package func run() throws(SQLiteError) {
        defer { self.reset() }
        while try self.step() {}
    }

    /// The same, with a blob that is not copied first.
    package func run(with blob: [UInt8], at index: Int32) throws(SQLiteError) {
        let result = blob.withUnsafeBytes { bytes -> Result<Void, SQLiteError> in
            defer { sqlite3_bind_null(self.handle, index) }
            do throws(SQLiteError) {
                try self.check(self.bindBlob(bytes, at: index, martlet_sqlite_static()))
                return .success(try self.run())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    /// Ends reading rows and lets go of their locks; bound values stay.
    package func reset() {
        sqlite3_reset(self.handle)
    }

    package func isNull(_ column: Int32) -> Bool {
        sqlite3_column_type(self.handle, column) == SQLITE_NULL
    }

    package func int64(_ column: Int32) -> Int64 {
        sqlite3_column_int64(self.handle, column)
    }

    package func bool(_ column: Int32) -> Bool {
        self.int64(column) != 0
    }

    /// Nil for NULL.
    package func bytes(_ column: Int32) -> [UInt8]? {
        guard !self.isNull(column) else { return nil }
        // The pointer has to be asked for before the length.
        let start = sqlite3_column_blob(self.handle, column)
        let count = Int(sqlite3_column_bytes(self.handle, column))
        return [UInt8](UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
    }

    /// The column's bytes without a copy, valid inside `body` only; no bytes for NULL.
    package func withBytes<Result>(_ column: Int32, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        let start = sqlite3_column_blob(self.handle, column)
        let count = Int(sqlite3_column_bytes(self.handle, column))
        return body(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
    }

    /// Nil for NULL.
    package func text(_ column: Int32) -> String? {
        sqlite3_column_text(self.handle, column).map { String(cString: $0) }
    }

    private func bindBlob(
        _ value: UnsafeRawBufferPointer,
        at index: Int32,
        _ lifetime: sqlite3_destructor_type? = martlet_sqlite_transient()
    ) -> Int32 {
        guard let start = value.baseAddress, value.count > 0 else {
            return sqlite3_bind_zeroblob(self.handle, index, 0)
        }
        return sqlite3_bind_blob64(self.handle, index, start, UInt64(value.count), lifetime)
    }

    private func check(_ code: Int32) throws(SQLiteError) {
        guard code == SQLITE_OK else { throw self.database.error(code, statement: self.sql) }
    }
}
