import Common

// Rows of the cache file, which other workers write too, and what memory makes of them.
extension Authenticator {
    /// Longer ages count as this: a hundred years.
    private static let ageMillisecondsMax: Int64 = 100 * 365 * 86_400_000

    /// Takes a row of the cache file into memory. Returns what memory holds then.
    mutating func keep(_ cached: CachedRow, for key: LookupKey, now: AuthTime) -> Entry {
        let written = cached.absentSinceMilliseconds ?? cached.knownCurrentMilliseconds
        let age = now.wallMilliseconds.subtractingReportingOverflow(written)
        var ageNanoseconds = min(max(age.overflow ? 0 : age.partialValue, 0), Self.ageMillisecondsMax) * 1_000_000
        if age.overflow || age.partialValue < 0 {
            // The clock was ahead when the row was written, or was set back. The row's true age is not known: it is not
            // fresh, but good for a time without Redis, which is counted from now on.
            ageNanoseconds = self.settings.positiveTTLNanoseconds
            self.actions.append(.write(.correctTime(key, knownCurrentMilliseconds: now.wallMilliseconds)))
        }
        var entry = Entry(
            row: cached.absentSinceMilliseconds == nil ? cached.row : nil,
            origin: .memoryCache,
            changedSince: self.changedSince(cached, key, now: now),
            knownCurrent: now.monotonic - ageNanoseconds,
            generation: cached.generation
        )
        if cached.isImported || entry.mustFetch {
            entry.hasChanged = true
        } else {
            let until = min(self.toldOnDisk.end(of: written), now.wallMilliseconds)
            if until > written { entry.toldUntil = now.monotonic(ofWallMilliseconds: until) }
        }
        if entry.row == nil {
            self.keepAbsent(entry, for: key)
        } else if let absent = self.absent.value(for: key), absent.knownCurrent > entry.knownCurrent {
            return self.stayAbsent(absent, entry, for: key)
        } else {
            let before = self.known.value(for: key)
            entry.isHeld = before?.isHeld ?? false
            entry.acceptanceCode = before?.acceptanceCode
            entry.credentialTag = self.checker.credentialTag(of: cached.row, key: key)
            entry.accessRules = cached.row.access.isEmpty ? nil : AccessRowRules(cached.row.access)
            self.known.insert(entry, for: key)
        }
        entry.origin = .diskCache
        return entry
    }

    package var knownKeys: [LookupKey] { self.known.keys }

    /// What a new file is to hold of a key; nil: nothing, or Redis has to be asked first.
    package func rowOfMemory(_ key: LookupKey, now: AuthTime) -> CacheWrite? {
        guard let entry = self.known.peek(key), let row = entry.row, !entry.mustFetch else { return nil }
        let age = (now.monotonic - entry.knownCurrent) / Int64(Nanoseconds.perMillisecond)
        let time = now.wallMilliseconds - max(age, 0)
        return .store(key, row, knownCurrentMilliseconds: time, generation: entry.generation)
    }

    /// Whether the file says more than memory: its writes wait for their turn, and what another worker was told of may be in it already.
    func isAhead(_ cached: CachedRow, of entry: Entry?, now: AuthTime) -> Bool {
        guard let entry, !entry.mustFetch else { return true }
        guard cached.generation <= entry.generation else { return true }
        func isSince(_ milliseconds: Int64) -> Bool {
            now.monotonic(ofWallMilliseconds: milliseconds) >= entry.knownCurrent
        }
        if cached.mustFetch, let changed = cached.changedSinceMilliseconds, isSince(changed) { return true }
        if let absent = cached.absentSinceMilliseconds { return isSince(absent) }
        let written = cached.knownCurrentMilliseconds
        return written <= now.wallMilliseconds && now.monotonic(ofWallMilliseconds: written) > entry.knownCurrent
    }

    /// When the first change was told that the file's row lacks: one that is marked in it, or is going to be.
    private mutating func changedSince(_ cached: CachedRow, _ key: LookupKey, now: AuthTime) -> Int64? {
        let marked = cached.mustFetch ? cached.changedSinceMilliseconds ?? .min : nil
        // One from the future was written by a clock that was wrong.
        let inFile = marked.map { $0 > now.wallMilliseconds ? .min : now.monotonic(ofWallMilliseconds: $0) }
        guard self.unwrittenMarks.concern(key) else {
            // One that was told to another worker, which perhaps has ended since.
            let written = cached.absentSinceMilliseconds ?? cached.knownCurrentMilliseconds
            return self.missingMarks.concern(key, knownCurrentMilliseconds: written) ? .min : inFile
        }
        // Of a row that was not in memory then it is not known.
        return min(inFile ?? .max, self.entry(for: key)?.changedSince ?? .min)
    }

    /// Another worker has learned that Redis does not know the key any more: the row that this one had is no longer a known one.
    private mutating func keepAbsent(_ entry: Entry, for key: LookupKey) {
        if let known = self.known.value(for: key), known.knownCurrent <= entry.knownCurrent { self.known.remove(key) }
        self.absent.insert(entry, for: key)
    }

    /// Redis was asked after the file's row had been fetched, and did not know the key; the file was not told, or not yet.
    private mutating func stayAbsent(_ absent: Entry, _ cached: Entry, for key: LookupKey) -> Entry {
        var absent = absent
        absent.changedSince = cached.changedSince ?? absent.changedSince
        absent.hasChanged = absent.hasChanged || cached.hasChanged
        absent.generation = cached.generation
        self.absent.insert(absent, for: key)
        return absent
    }
}
