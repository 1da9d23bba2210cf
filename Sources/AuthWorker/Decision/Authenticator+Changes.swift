import Common

// What Redis tells without being asked, and what is made of rows that are gone.
extension Authenticator {
    // MARK: A Redis that lost its data

    static let lostRowsDetail = "Redis has lost rows; see martlet auth confirm-mass-revoke"

    /// Redis has no row for the key. True: it had one, and seems to have lost it together with too many others.
    mutating func holdsBack(_ key: LookupKey, now: AuthTime) -> Bool {
        guard self.settings.guardsDenials, let entry = self.known.value(for: key), entry.row != nil else {
            return false
        }
        return !self.denialGuard.isDenied(
            knownCurrent: entry.knownCurrent,
            known: self.known.count,
            now: now
        )
    }

    /// A row that was named as changed is good for nothing without Redis, unless it is the loss of rows that it was told of.
    func counts(_ entry: Entry, now: AuthTime) -> Bool {
        !entry.mustFetch || entry.isHeld && self.isOfLoss(entry, now: now)
    }

    /// The first change that was told of it was told while rows vanished that are held now.
    private func isOfLoss(_ entry: Entry, now: AuthTime) -> Bool {
        guard let changed = entry.changedSince, let since = self.denialGuard.vanishingSinceMilliseconds else {
            return false
        }
        return changed >= now.monotonic(ofWallMilliseconds: since)
    }

    /// The row that was known stays good, as while Redis is away.
    mutating func serveHeld(_ key: LookupKey, _ pending: Pending, now: AuthTime) {
        self.known.update(key) { $0.isHeld = !pending.isOutdated }
        self.waiterCount -= pending.waiters.count
        let detail = Self.lostRowsDetail
        let rendered = CommandSet.Rendered(key: key, commands: pending.commands)
        for waiter in pending.waiters {
            guard let entry = self.known.value(for: key), let row = entry.row, self.counts(entry, now: now),
                self.isUsable(entry, now: now)
            else {
                self.answer(waiter.request, .unknown, .redisError, detail: detail, key: key)
                continue
            }
            switch self.compare(waiter, row, entry, key: key) {
            case .fits:
                self.answer(waiter.request, self.allow(waiter, entry, .staleCache, key: key))
            case .doesNotFit:
                self.answer(waiter.request, .unknown, .redisError, detail: detail, key: key)
            case .slow(let check):
                self.begin(check, Checking(waiter: waiter, row: row, rendered: rendered, stage: .known))
            }
        }
    }

    /// Redis may be another one than before: no known row is denied until `sampled`.
    package mutating func serverMayHaveChanged() {
        self.denialGuard.beginCheck()
    }

    /// Redis keys of known rows, of the last used ones.
    package mutating func sampleOfKnownKeys(_ count: Int, now: AuthTime) -> [[UInt8]] {
        let spans = self.denialGuard.sampledSpans.map { span in
            let end = span.upperBound == .max ? .max : now.monotonic(ofWallMilliseconds: span.upperBound)
            return (first: now.monotonic(ofWallMilliseconds: span.lowerBound), end: end)
        }
        let entries = self.known.newestKeys(count).compactMap { key in self.known.value(for: key).map { (key, $0) } }
            .filter { _, entry in !entry.mustFetch || self.isOfLoss(entry, now: now) }
        return spans.flatMap { span in
            entries.filter { _, entry in entry.knownCurrent >= span.first && entry.knownCurrent < span.end }
        }.map(\.0.redisKey)
    }

    /// How many of a sample Redis does not have: see `DenialGuard.checked`.
    package mutating func sampled(
        _ sample: Int,
        absent: Int,
        isWhole: Bool = true,
        isSameServer: Bool = false,
        nodes: [RowSample] = [],
        now: AuthTime
    ) {
        self.denialGuard.checked(
            RowSample(count: sample, absent: absent),
            isWhole: isWhole,
            known: self.known.count,
            isSameServer: isSameServer,
            nodes: nodes,
            now: now
        )
    }

    /// Redis was emptied.
    ///
    /// - Parameter hasRowsOnDisk: the cache file holds rows, or cannot be read.
    package mutating func flushed(hasRowsOnDisk: Bool = false, now: AuthTime) {
        if self.known.count > 0 || hasRowsOnDisk { self.denialGuard.suspend(now: now) }
    }

    /// The rows are gone for good.
    package mutating func confirmMassRevoke(now: AuthTime) {
        self.denialGuard.confirm(now: now)
    }

    // MARK: Announced changes

    /// Redis named these keys as changed: what is kept of them is not served before it was fetched again, not even while Redis
    /// is away, and what is on its way may be too old.
    package mutating func changed(_ redisKeys: [[UInt8]], now: AuthTime) {
        for redisKey in Set(redisKeys) {
            if self.hasOneKeyPerRedisKey {
                self.markChanged(LookupKey(redisKey: redisKey), now: now)
            } else {
                for key in self.dependents.lookups(of: redisKey) { self.markChanged(key, now: now) }
            }
            let time = now.wallMilliseconds
            self.mark(redisKey, .markChanged(redisKey: redisKey, atMilliseconds: time))
            guard self.command.hasRelatedKeys else { continue }
            self.mark(redisKey, .markRelated(redisKey: redisKey, atMilliseconds: time))
        }
    }

    /// Before anything is kept of a look-up.
    mutating func noteDependencies(of key: LookupKey) {
        guard !self.hasOneKeyPerRedisKey, self.dependents.add(key) else { return }
        // Two for each that comes: so there are never more than twice as many as are in use.
        for _ in 0..<2 {
            guard let old = self.dependents.takeOldest() else { return }
            let isInUse = self.known.contains(old) || self.absent.contains(old) || self.pending[old] != nil
            if isInUse || old == key { self.dependents.keep(old) } else { self.dependents.remove(old) }
        }
    }

    private mutating func mark(_ redisKey: [UInt8], _ write: CacheWrite) {
        if self.settings.readsCache { self.unwrittenMarks.add(redisKey) }
        self.actions.append(.write(write))
    }

    /// All rows are to be fetched again before they count, those of the cache file too.
    package mutating func allNamed(now: AuthTime) {
        let keys = Set(self.known.keys + self.absent.keys + Array(self.pending.keys))
        for key in keys { self.markChanged(key, now: now) }
        if self.settings.readsCache { self.unwrittenMarks.addAll() }
        self.actions.append(.write(.markAllChanged(atMilliseconds: now.wallMilliseconds)))
    }

    /// These marks are in the file, in the order in which they were to be written.
    package mutating func marked(_ marks: [CacheWrite]) {
        for mark in marks {
            switch mark {
            case .markChanged(let redisKey, _), .markRelated(let redisKey, _): self.unwrittenMarks.written(redisKey)
            case .markAllChanged: self.unwrittenMarks.writtenAll()
            case .markAbsent, .store, .correctTime, .told: break
            }
            self.missingMarks.forgetNext()
        }
    }

    mutating func markChanged(_ key: LookupKey, now: AuthTime) {
        let told = self.told
        func mark(_ entry: inout Entry) {
            if !entry.hasChanged {
                entry.toldUntil = told.end(of: entry.toldUntil ?? entry.knownCurrent)
                entry.hasChanged = true
            }
            entry.generation &+= 1
            if entry.changedSince == nil { entry.changedSince = now.monotonic }
            entry.isHeld = false
        }
        self.known.update(key, mark)
        self.absent.update(key, mark)
        guard var pending = self.pending.removeValue(forKey: key) else { return }
        if case .lookingUp = pending.stage {
            pending.isOutdated = true
            pending.generation &+= 1
        }
        self.pending[key] = pending
    }

    /// Rows may have changed, and nobody knows which: none counts as fresh until it was fetched again; while Redis is away all
    /// are as good as before.
    package mutating func allChanged(now: AuthTime) {
        // What is on its way was asked for before, and does not count as fresh either.
        self.doubtedBefore = now.monotonic
    }

    /// No changes are told any more: until `changesTold` no row counts as fresh. While Redis is away all are as good as before.
    package mutating func changesLost() {
        self.changesAreLost = true
    }

    package mutating func changesTold() {
        self.changesAreLost = false
    }

    /// The cache file holds a newer generation of this key: what was fetched may be older than a change that another worker was told
    /// of. It is fetched once more, with the file's generation: without it the row would be good for nothing when Redis goes away, and one
    /// that is gone would be known in the file.
    package mutating func storeRefused(_ key: LookupKey, now: AuthTime) {
        self.known.remove(key)
        // It stays: with the file's row in its place the device would be one more that vanishes.
        self.absent.update(key) { $0.changedSince = $0.changedSince ?? now.monotonic }
        guard let commands = self.unsettled.remove(key)?.commands else { return }
        self.readAgain(key, commands, now: now)
    }

    private mutating func readAgain(_ key: LookupKey, _ commands: [[[UInt8]]], now: AuthTime) {
        guard self.pending[key] == nil else { return }
        self.counters.refetches += 1
        self.noteDependencies(of: key)
        self.pending[key] = Pending(commands: commands, stage: .readingCache, startedAt: now)
        self.actions.append(.readCache(key))
    }

    // MARK: Rows that have changed

    /// A row that had changed is about to be stored, or its absence.
    mutating func willLookAgain(_ key: LookupKey, _ commands: [[[UInt8]]], now: AuthTime) {
        self.unsettled.insert((commands, now.monotonic &+ Int64(AuthLimits.lookAgainNanoseconds)), for: key)
    }

    /// When `lookAgain` has something to do.
    package var nextLookAgain: Instant? { self.unsettled.oldestEntry.map { Instant(clamping: $0.value.until) } }

    /// Another worker may be told of a change when this one has fetched and stored the row already: the file then takes the row for
    /// outdated, and this worker, which serves it from memory, would not notice until Redis is away. Once all must have been told,
    /// it looks. Where there are many, the rest waits for the next turn: see `nextLookAgain`.
    package mutating func lookAgain(now: AuthTime) {
        for _ in 0..<AuthLimits.backgroundPerTurn {
            guard let (key, row) = self.unsettled.oldestEntry, row.until <= now.monotonic else { return }
            self.unsettled.remove(key)
            self.readAgain(key, row.commands, now: now)
        }
    }
}
