/// The tables of the store: groups of changes that are not folded yet, and what there is without them.
package enum StoreSchema {
    /// Version n + 1 is version n and the nth step.
    package static let steps = [
        """
        CREATE TABLE log (number INTEGER PRIMARY KEY, records BLOB NOT NULL);
        CREATE TABLE entry (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE message (number INTEGER PRIMARY KEY, value BLOB NOT NULL);
        """,
        // Messages with an exchange, and entries of kind 'c', which earlier releases do not know.
        "DELETE FROM entry WHERE key = x'63'",
    ]

    /// From this version on entries are where they are now, and what they say has not changed: a store that no router of this release has
    /// started with can be read as it is.
    package static let oldestReadable = 1

    /// What this release writes.
    package static var version: Int { self.steps.count }
}
