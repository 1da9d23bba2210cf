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
        // Which rows were made from other Redis keys beside their own: access rows, marks of superusers. `related_listed` is NULL where
        // nobody has entered them yet: in rows of earlier releases, and in imported ones.
        """
        ALTER TABLE rows ADD COLUMN related_listed INTEGER;
        CREATE INDEX rows_not_listed ON rows (source) WHERE related_listed IS NULL AND variant <> x'';
        CREATE TABLE related_keys (
            source BLOB NOT NULL,
            related_key BLOB NOT NULL,
            redis_key BLOB NOT NULL, -- of the row, as its variant
            variant BLOB NOT NULL,
            PRIMARY KEY (source, related_key, redis_key, variant)
        ) WITHOUT ROWID;
        CREATE INDEX related_keys_by_row ON related_keys (source, redis_key, variant);
        CREATE TRIGGER rows_removed AFTER DELETE ON rows WHEN OLD.variant <> x'' BEGIN
            DELETE FROM related_keys
            WHERE source = OLD.source AND redis_key = OLD.redis_key AND variant = OLD.variant;
        END;
        """,
        // For each source's own limits. Releases before this step go on without the indexes by age alone, and remove rows more slowly.
        """
        DROP INDEX rows_by_age;
        DROP INDEX absent_rows_by_age;
        CREATE INDEX rows_of_source_by_age ON rows (source, known_current) WHERE absent_since IS NULL;
        CREATE INDEX absent_rows_of_source_by_age ON rows (source, absent_since) WHERE absent_since IS NOT NULL;
        """,
        // When changes were told to a worker, milliseconds since 1970, and rows that nothing was told about: they came from another host.
        """
        CREATE TABLE told (
            source BLOB NOT NULL,
            began INTEGER NOT NULL,
            until INTEGER NOT NULL,
            PRIMARY KEY (source, began)
        ) WITHOUT ROWID;
        ALTER TABLE rows ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;
        """,
        // Marks of keys without a row that are older than this, milliseconds since 1970, are not in the table any more.
        """
        CREATE TABLE marks_removed (
            source BLOB NOT NULL PRIMARY KEY,
            before INTEGER NOT NULL
        ) WITHOUT ROWID;
        """,
        // When the first change was told that a row with `must_fetch` lacks, milliseconds since 1970; NULL where a release before this step
        // marked it. It says nothing of other rows.
        "ALTER TABLE rows ADD COLUMN changed_since INTEGER",
    ]
}
