import CSQLite

/// What SQLite said, about which statement of which file.
package struct SQLiteError: Error, Equatable, CustomStringConvertible {
    /// The extended result code, such as `SQLITE_IOERR_FSYNC`.
    package var code: Int32
    /// SQLite's own words.
    package var message: String
    /// The statement, with its placeholders; never the bound values. Empty when opening a file.
    package var statement: String
    package var path: String

    package init(code: Int32, message: String, statement: String = "", path: String) {
        self.code = code
        self.message = message
        self.statement = statement
        self.path = path
    }

    /// Of a file in which something is missing that has to be there, though SQLite can read it.
    package static func corrupt(_ message: String, path: String) -> SQLiteError {
        SQLiteError(code: SQLITE_CORRUPT, message: message, path: path)
    }

    private var primaryCode: Int32 { self.code & 0xFF }

    /// Somebody else holds the lock: try again, nothing is broken.
    package var isBusy: Bool { self.primaryCode == SQLITE_BUSY || self.primaryCode == SQLITE_LOCKED }

    /// The file is damaged, or is no database at all.
    package var isCorrupt: Bool { self.primaryCode == SQLITE_CORRUPT || self.primaryCode == SQLITE_NOTADB }

    /// There is no room for what was to be written. Beyond a quota or the limit of a file's size SQLite says that a write failed, as it
    /// does of a bad disk.
    package var isDiskFull: Bool { self.primaryCode == SQLITE_FULL || self.code == Self.writeFailed }

    /// SQLITE_IOERR_WRITE, a macro that Swift does not see.
    private static let writeFailed = SQLITE_IOERR | 3 << 8

    package var isCannotOpen: Bool { self.primaryCode == SQLITE_CANTOPEN }

    package var isReadOnly: Bool { self.primaryCode == SQLITE_READONLY }

    package var description: String {
        let place = self.statement.isEmpty ? "" : " in \"\(self.statement)\""
        return "\(self.path): \(self.message) (SQLite code \(self.code))\(place)"
    }
}
