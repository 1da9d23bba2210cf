import Common

/// One device in the cache file.
package struct CachedRow: Equatable, Sendable {
    package var row: CredentialRow
    /// When Redis said that it does not know the key any more; milliseconds since 1970. The row's content is kept: a Redis that
    /// lost its data is no reason to forget a fleet.
    package var absentSinceMilliseconds: Int64?
    /// Redis named the key as changed, and it was not fetched since: not good for a time without Redis.
    package var mustFetch: Bool
    /// The last moment at which the row was known to be what Redis holds; milliseconds since 1970.
    package var knownCurrentMilliseconds: Int64
    /// Raised by every announced change of the key.
    package var generation: Int64
    /// It came from another host: changes that were told here before are not in it.
    package var isImported: Bool
    /// When the first change was told that the row lacks; milliseconds since 1970. Nil: a release before did not write it down.
    package var changedSinceMilliseconds: Int64?

    package init(
        row: CredentialRow,
        absentSinceMilliseconds: Int64? = nil,
        mustFetch: Bool = false,
        knownCurrentMilliseconds: Int64,
        generation: Int64 = 0,
        isImported: Bool = false,
        changedSinceMilliseconds: Int64? = nil
    ) {
        self.changedSinceMilliseconds = changedSinceMilliseconds
        self.isImported = isImported
        self.row = row
        self.absentSinceMilliseconds = absentSinceMilliseconds
        self.mustFetch = mustFetch
        self.knownCurrentMilliseconds = knownCurrentMilliseconds
        self.generation = generation
    }
}

/// What looking into the cache file gave.
package enum CacheAnswer: Equatable, Sendable {
    case found(CachedRow)
    case notFound
    /// The file was locked or could not be read: nothing is known.
    case notReadable
}

/// What is to be written into the cache file.
package enum CacheWrite: Equatable, Sendable {
    /// Fetched from Redis. Not stored when the key's generation in the file is another one: the row was announced as changed
    /// after the fetch began.
    case store(LookupKey, CredentialRow, knownCurrentMilliseconds: Int64, generation: Int64)
    /// Redis does not know the key any more. A key that is not in the file is not added.
    case markAbsent(LookupKey, atMilliseconds: Int64, generation: Int64)
    /// The clock was wrong when the row was written: it lies in the future. Counted from now on instead.
    case correctTime(LookupKey, knownCurrentMilliseconds: Int64)

    /// Redis named the key as changed: its generation is raised and it has to be fetched again. A key that is not in the file
    /// gets an empty row for a while, so that a worker whose look-up began before does not store what it then gets: see
    /// `AuthLimits.rowlessMarkMilliseconds`.
    case markChanged(redisKey: [UInt8], atMilliseconds: Int64)
    /// The same of rows for which this key was asked beside their own: the key of access rows, or of a superuser's mark.
    case markRelated(redisKey: [UInt8], atMilliseconds: Int64)
    /// Somebody wants all of the source's rows to be fetched again.
    case markAllChanged(atMilliseconds: Int64)
    /// Changes were told in this time, and are marked in the file if this is: see `ToldSpans`. By its beginning it is told from others.
    case told(beganMilliseconds: Int64, untilMilliseconds: Int64)

    /// It is no mark, and may wait for others: a worker that finds nothing in the file, or an older row, only asks Redis once more.
    package var mayWait: Bool {
        switch self {
        case .store, .correctTime, .told: true
        case .markAbsent, .markChanged, .markRelated, .markAllChanged: false
        }
    }

    /// What it is about; nil: all rows.
    package var key: LookupKey? {
        switch self {
        case .store(let key, _, _, _), .markAbsent(let key, _, _), .correctTime(let key, _): key
        case .markChanged(let redisKey, _): LookupKey(redisKey: redisKey)
        case .markRelated, .markAllChanged, .told: nil
        }
    }
}
