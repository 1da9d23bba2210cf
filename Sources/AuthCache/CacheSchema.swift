/// The tables of the cache file. Passwords are in it as hashes, or as codes under the host's key.
package enum CacheSchema {
    /// Version n + 1 is version n and the nth step. Steps only add: workers of the release before may still be running.
    package static let steps = [
        """
        CREATE TABLE rows (
            source BLOB NOT NULL, -- which command and password scheme made the row
            redis_key BLOB NOT NULL,
            variant BLOB NOT NULL,
            secret_kind INTEGER NOT NULL,
            secret BLOB NOT NULL,
            salt BLOB NOT NULL,
            superuser INTEGER NOT NULL,
            must_fetch INTEGER NOT NULL DEFAULT 0,
            known_current INTEGER NOT NULL, -- milliseconds since 1970
            absent_since INTEGER, -- the same; NULL while Redis has the key
            generation INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (source, redis_key, variant)
        ) WITHOUT ROWID;
        CREATE INDEX rows_by_age ON rows (known_current) WHERE absent_since IS NULL;
        CREATE INDEX absent_rows_by_age ON rows (absent_since) WHERE absent_since IS NOT NULL;
        """,
        // What the device may do: filters and accesses, each after its length; NULL where nobody asked.
        "ALTER TABLE rows ADD COLUMN access BLOB",
    ]
}
