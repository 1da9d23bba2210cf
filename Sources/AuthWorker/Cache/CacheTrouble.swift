import Glibc
import SQLite

/// Why the cache file cannot be used at the moment; authentication goes on without it.
struct CacheTrouble: Error, Equatable, CustomStringConvertible, Sendable {
    enum Kind: Equatable, Sendable {
        case corrupt
        /// Somebody else holds the lock: the same may work a moment later.
        case busy
        case other
    }

    let kind: Kind
    let description: String

    init(_ description: String) {
        self.kind = .other
        self.description = description
    }

    init(_ action: String, errno: Int32) {
        self.init("\(action): \(String(cString: strerror(errno)))")
    }

    init(_ error: SQLiteError) {
        self.kind = error.isCorrupt ? .corrupt : error.isBusy ? .busy : .other
        self.description = error.description
    }
}
