import Glibc
import SQLite

/// Why the cache file cannot be used at the moment; authentication goes on without it.
package struct CacheTrouble: Error, Equatable, CustomStringConvertible, Sendable {
    package enum Kind: Equatable, Sendable {
        case corrupt
        /// Somebody else holds the lock: the same may work a moment later.
        case busy
        case other
    }

    package let kind: Kind
    package let description: String

    package init(_ description: String) {
        self.kind = .other
        self.description = description
    }

    package init(_ action: String, errno: Int32) {
        self.init("\(action): \(String(cString: strerror(errno)))")
    }

    package init(_ error: SQLiteError) {
        self.kind = error.isCorrupt ? .corrupt : error.isBusy ? .busy : .other
        self.description = error.description
    }
}
