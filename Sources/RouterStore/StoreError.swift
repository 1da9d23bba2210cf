import SQLite

/// Why the store cannot be used, in words for the person who has to do something about it.
package struct StoreError: Error, CustomStringConvertible {
    package var description: String

    package init(_ description: String) {
        self.description = description
    }

    package init(_ error: SQLiteError, path: String) {
        if error.isCorrupt {
            self.description =
                "the router's store \(path) is damaged (\(error.message)). Nothing was changed. See what it holds with "
                + "`martlet store check`, restore a backup with `martlet store restore FILE`, make a store of what can be read with "
                + "`martlet store repair`, or move the file away to start "
                + "with nothing: that loses all parked sessions, their messages, and what is retained"
        } else {
            self.description = "the router's store cannot be used: \(error)"
        }
    }
}
