import Common

/// Decides who may come in: memory, then the cache file, then Redis, one look-up at a time for each key. It makes no system
/// call: queries, answers and the time go in, actions come out.
///
/// ```
///                fresh row that fits                            answer
///  query ─────────────────────────────────────────────────────────▶
///    │ nothing in memory            nothing usable        ┌─ row, or none: allow or deny
///    ├────────────────▶ readCache ────────────────▶ lookUp ┤
///    └────────────────────────────────────────────▶        └─ failure: stale row, or unknown
///       expired, or the password does not fit
/// ```
///
/// A verdict is allow, deny or unknown, and nothing but Redis' own "there is no such key" or a password that does not fit a
/// row that Redis just gave, or confirmed within its time to live, is a deny.
package struct Authenticator {
    package struct Settings: Sendable {
        package var positiveTTLNanoseconds: Int64
        package var staleMaxNanoseconds: Int64
        package var negativeTTLNanoseconds: Int64
        package var memoryEntries: Int
        package var negativeEntries: Int
        /// Queries that may wait for look-ups at the same time.
        package var waitersMax: Int
        /// There is a cache file to ask.
        package var readsCache: Bool

        package init(
            positiveTTLNanoseconds: Int64 = 300 * 1_000_000_000,
            staleMaxNanoseconds: Int64 = 86_400 * 1_000_000_000,
            negativeTTLNanoseconds: Int64 = 10 * 1_000_000_000,
            memoryEntries: Int = 100_000,
            negativeEntries: Int = 20_000,
            waitersMax: Int = 100_000,
            readsCache: Bool = true
        ) {
            self.positiveTTLNanoseconds = positiveTTLNanoseconds
            self.staleMaxNanoseconds = staleMaxNanoseconds
            self.negativeTTLNanoseconds = negativeTTLNanoseconds
            self.memoryEntries = memoryEntries
            self.negativeEntries = negativeEntries
            self.waitersMax = waitersMax
            self.readsCache = readsCache
        }
    }

    /// Names a query: the link it came over and its number there.
    package struct Request: Hashable, Sendable {
        package var link: Int
        package var handle: UInt64

        package init(link: Int, handle: UInt64) {
            self.link = link
            self.handle = handle
        }
    }

    package enum Action: Equatable {
        /// Look into the cache file and report `cacheAnswered`.
        case readCache(LookupKey)
        /// Ask Redis and report `lookupAnswered` or `lookupFailed`.
        case lookUp(token: UInt64, arguments: [[UInt8]])
        case write(CacheWrite)
        case answer(Request, AuthVerdict)
    }

    /// What memory holds of one key.
    struct Entry {
        /// Nil: Redis does not know the key.
        var row: CredentialRow?
        var origin: AuthVerdict.Source
        var mustFetch = false
        /// The last moment the row was known current, on the monotonic clock.
        var knownCurrent: Int64
        var generation: Int64
        var credentialTag: [UInt8] = []
        /// When a password that did not fit last forced a look-up.
        var lastForcedLookup: Int64?
        /// That look-up gave nothing yet: the row is not confirmed against the password that did not fit.
        var awaitsConfirmation = false

        mutating func forceLookup(at now: Int64) {
            self.lastForcedLookup = now
            self.awaitsConfirmation = true
        }
    }

    struct Waiter {
        var request: Request
        var client: ClientAttributes
        var rules: RuleTemplate
        /// Nil for a live session that is looked at again: Redis is asked in any case, and the row as it is now is the answer.
        var password: Secret?
        /// The look-up was on its way already: what it brings may be older than this query.
        var joinedAfterSending = false
    }

    private enum Stage: Equatable {
        case readingCache
        case lookingUp(token: UInt64)
        /// Redis gave nothing, and the cache could not be read before: the last try.
        case readingCacheAgain(AuthVerdict.Reason, String)
    }

    private struct Pending {
        var arguments: [[UInt8]]
        var stage: Stage
        var waiters: [Waiter] = []
        var startedAt: AuthTime
        /// The key's generation when the look-up began.
        var generation: Int64 = 0
        /// A change was announced after Redis was asked: the answer may be older than the change.
        var isOutdated = false
        /// Look-ups made again for that reason.
        var repetitions = 0
        /// There is a row of this key in the cache file, as far as known.
        var isOnDisk = false
        var cacheWasNotReadable = false

        /// A new look-up begins: it is later than all who wait.
        mutating func forgetOrder() {
            for index in self.waiters.indices { self.waiters[index].joinedAfterSending = false }
        }
    }

    /// To be taken and performed after each call.
    package var actions: [Action] = []
    var counters = AuthCounters()

    private let settings: Settings
    private let command: CommandTemplate
    private let checker: PasswordChecker
    private let ruleSets: [[UInt8]: RuleTemplate]
    private var known: BoundedCache<LookupKey, Entry>
    private var absent: BoundedCache<LookupKey, Entry>
    private var pending: [LookupKey: Pending] = [:]
    private var keys: [UInt64: LookupKey] = [:]
    private var nextToken: UInt64 = 1
    private var waiterCount = 0
    package private(set) var denialGuard = DenialGuard()
    /// Rows known current before this moment are fetched again before they count as fresh: nobody knows which have changed.
    private var doubtedBefore = Int64.min
    /// Keys announced as changed, and when: the cache file is marked by a thread, and what is read from it meanwhile is too old.
    private var named = BoundedCache<[UInt8], Int64>(capacity: AuthLimits.namedKeysMax)

    package init(
        settings: Settings,
        command: CommandTemplate,
        checker: PasswordChecker,
        ruleSets: [[UInt8]: RuleTemplate]
    ) {
        self.settings = settings
        self.command = command
        self.checker = checker
        self.ruleSets = ruleSets
        self.known = BoundedCache(capacity: settings.memoryEntries)
        self.absent = BoundedCache(capacity: settings.negativeEntries)
    }

    package var statistics: AuthCounters { self.counters }
    package var rowsInMemory: Int { self.known.count }
    package var absentKeysInMemory: Int { self.absent.count }
    package var lookupsPending: Int { self.pending.count }
    package var queriesWaiting: Int { self.waiterCount }

    // MARK: Queries

    package mutating func receive(_ query: AuthQuery, request: Request, now: AuthTime) {
        self.counters.queries += 1
        let client = ClientAttributes(
            clientIdentifier: query.clientIdentifier,
            userName: query.userName,
            peerAddress: query.peerAddress,
            identity: query.identity
        )
        guard let rules = self.ruleSets[query.rulesName] else {
            let name = String(decoding: query.rulesName, as: UTF8.self)
            let detail = "there is no set of rules \"\(name)\" in the auth worker's configuration"
            return self.answer(request, .unknown, .redisError, detail: detail)
        }
        let rendered: CommandTemplate.Rendered
        do throws(TemplateText.RenderFailure) {
            rendered = try self.command.render(client)
        } catch {
            switch error {
            case .missing(let placeholder):
                return self.answer(request, .deny, .fieldMissing, detail: "the look-up needs \(placeholder.title)")
            case .notAllowed(let placeholder):
                let detail = "\(placeholder.name) holds control characters"
                return self.answer(request, .deny, .fieldNotAllowed, detail: detail)
            }
        }
        let key = rendered.key
        guard key.redisKey.count + key.variant.count <= AuthLimits.redisKeyBytesMax else {
            return self.answer(request, .deny, .fieldNotAllowed, detail: "the look-up's key is too long")
        }
        let password = query.revalidatedTag == nil ? query.password.map { Secret($0) } : nil
        if password == nil, query.revalidatedTag == nil {
            return self.answer(request, .deny, .passwordMissing, key: key)
        }
        let waiter = Waiter(request: request, client: client, rules: rules, password: password)
        self.decide(waiter, rendered, now: now)
    }

    private mutating func decide(_ waiter: Waiter, _ rendered: CommandTemplate.Rendered, now: AuthTime) {
        let key = rendered.key
        let entry = self.entry(for: key)
        if let entry, let verdict = self.judge(waiter, entry, key: key, now: now) {
            self.answer(waiter.request, verdict)
            if verdict.outcome == .allow { self.revalidateIfDue(rendered, entry, now: now) }
            return
        }
        guard self.waiterCount < self.settings.waitersMax else {
            return self.settle(waiter, key: key, .overloaded, "too many queries are waiting", now: now)
        }
        self.waiterCount += 1
        if var pending = self.pending.removeValue(forKey: key) {
            self.counters.joined += 1
            var joining = waiter
            if case .lookingUp = pending.stage { joining.joinedAfterSending = true }
            pending.waiters.append(joining)
            self.pending[key] = pending
            return
        }
        var pending = Pending(arguments: rendered.arguments, stage: .readingCache, waiters: [waiter], startedAt: now)
        pending.generation = entry?.generation ?? 0
        pending.isOnDisk = entry?.row != nil
        if entry == nil && self.settings.readsCache {
            self.pending[key] = pending
            self.actions.append(.readCache(key))
        } else {
            // For a fresh row the password did not fit: what forces a look-up now may not do so again for a while.
            if let entry, waiter.password != nil, self.isFresh(entry, now: now) {
                self.known.update(key) { $0.forceLookup(at: now.monotonic) }
            }
            self.lookUp(key, pending, now: now)
        }
    }

    private mutating func entry(for key: LookupKey) -> Entry? {
        self.known.value(for: key) ?? self.absent.value(for: key)
    }

    private mutating func lookUp(_ key: LookupKey, _ pending: Pending, now: AuthTime) {
        var pending = pending
        let token = self.nextToken
        self.nextToken += 1
        pending.stage = .lookingUp(token: token)
        pending.startedAt = now
        self.pending[key] = pending
        self.keys[token] = key
        self.counters.lookups += 1
        self.actions.append(.lookUp(token: token, arguments: pending.arguments))
    }

    /// Asks again in the background before a row in use expires; when exactly depends on the key, so that rows fetched
    /// together are not asked for together.
    private mutating func revalidateIfDue(_ rendered: CommandTemplate.Rendered, _ entry: Entry, now: AuthTime) {
        guard entry.row != nil, self.pending[rendered.key] == nil else { return }
        let share = 70 + Int64(rendered.key.hash % 25)
        guard now.monotonic &- entry.knownCurrent >= self.settings.positiveTTLNanoseconds / 100 * share else { return }
        self.counters.revalidations += 1
        var pending = Pending(arguments: rendered.arguments, stage: .readingCache, startedAt: now)
        pending.generation = entry.generation
        pending.isOnDisk = true
        self.lookUp(rendered.key, pending, now: now)
    }

    // MARK: Answers

    package mutating func cacheAnswered(_ key: LookupKey, _ answer: CacheAnswer, now: AuthTime) {
        guard var pending = self.pending[key] else { return }
        var entry: Entry?
        switch answer {
        case .found(let cached):
            pending.isOnDisk = true
            pending.generation = cached.generation
            entry = self.keep(cached, for: key, now: now)
        case .notFound:
            break
        case .notReadable:
            pending.cacheWasNotReadable = true
        }
        switch pending.stage {
        case .lookingUp:
            return
        case .readingCacheAgain(let reason, let detail):
            self.pending[key] = nil
            self.settleAll(pending.waiters, key: key, reason, detail, now: now)
        case .readingCache:
            var left: [Waiter] = []
            for waiter in pending.waiters {
                if let entry, let verdict = self.judge(waiter, entry, key: key, now: now) {
                    self.waiterCount -= 1
                    self.answer(waiter.request, verdict)
                } else {
                    left.append(waiter)
                }
            }
            self.pending[key] = nil
            guard !left.isEmpty else { return }
            if let entry, left.contains(where: { $0.password != nil }), self.isFresh(entry, now: now) {
                self.known.update(key) { $0.forceLookup(at: now.monotonic) }
            }
            pending.waiters = left
            self.lookUp(key, pending, now: now)
        }
    }

    /// Takes a row of the cache file into memory.
    private mutating func keep(_ cached: CachedRow, for key: LookupKey, now: AuthTime) -> Entry {
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
            mustFetch: cached.mustFetch,
            knownCurrent: now.monotonic - ageNanoseconds,
            generation: cached.generation
        )
        if let changed = self.named.value(for: key.redisKey), entry.knownCurrent <= changed { entry.mustFetch = true }
        if entry.row == nil {
            self.absent.insert(entry, for: key)
        } else {
            entry.credentialTag = self.checker.credentialTag(of: cached.row, key: key)
            self.known.insert(entry, for: key)
        }
        entry.origin = .diskCache
        return entry
    }

    /// Longer ages count as this: a hundred years.
    private static let ageMillisecondsMax: Int64 = 100 * 365 * 86_400_000

    package mutating func lookupAnswered(token: UInt64, _ reply: RedisReply, now: AuthTime) {
        guard let key = self.keys.removeValue(forKey: token), let pending = self.pending.removeValue(forKey: key) else {
            return
        }
        if pending.isOutdated, pending.repetitions < AuthLimits.outdatedLookupsMax {
            return self.repeatLookup(key, pending, now: now)
        }
        switch self.command.interpret(reply) {
        case .found(let found):
            self.take(found, key: key, pending, now: now)
        case .absent:
            if self.holdsBack(key, now: now) { return self.serveHeld(key, pending, now: now) }
            self.known.remove(key)
            let entry = Entry(
                row: nil,
                origin: .redis,
                mustFetch: pending.isOutdated,
                knownCurrent: pending.startedAt.monotonic,
                generation: pending.generation
            )
            self.absent.insert(entry, for: key)
            if pending.isOnDisk || pending.cacheWasNotReadable {
                let time = pending.startedAt.wallMilliseconds
                self.actions.append(.write(.markAbsent(key, atMilliseconds: time, generation: pending.generation)))
            }
            // A live session is not ended by an answer that is older than the question.
            let late = pending.waiters.filter { $0.password == nil && $0.joinedAfterSending }
            self.waiterCount -= pending.waiters.count - late.count
            for waiter in pending.waiters where waiter.password != nil || !waiter.joinedAfterSending {
                self.answer(waiter.request, .deny, .noSuchDevice, source: .redis, key: key)
            }
            self.lookUpForLate(late, key, pending, now: now)
        case .unusable(let text):
            self.lookupFailed(pending, key: key, .redisError, text, now: now)
        }
    }

    private mutating func take(_ found: CredentialReply, key: LookupKey, _ pending: Pending, now: AuthTime) {
        let row = self.checker.row(from: found, key: key)
        self.absent.remove(key)
        let entry = Entry(
            row: row,
            origin: .memoryCache,
            mustFetch: pending.isOutdated,
            knownCurrent: pending.startedAt.monotonic,
            generation: pending.generation,
            credentialTag: self.checker.credentialTag(of: row, key: key),
            lastForcedLookup: self.known.value(for: key)?.lastForcedLookup
        )
        self.known.insert(entry, for: key)
        let time = pending.startedAt.wallMilliseconds
        self.actions.append(
            .write(.store(key, row, knownCurrentMilliseconds: time, generation: pending.generation))
        )
        var late: [Waiter] = []
        for waiter in pending.waiters {
            if waiter.password == nil, waiter.joinedAfterSending {
                late.append(waiter)
            } else if self.fits(waiter, row, key: key) {
                self.waiterCount -= 1
                self.answer(waiter.request, self.allow(waiter, entry, .redis, key: key))
            } else if waiter.joinedAfterSending, self.mayForceLookup(entry, now: now) {
                late.append(waiter)
            } else {
                self.waiterCount -= 1
                self.answer(waiter.request, .deny, .wrongPassword, source: .redis, key: key)
            }
        }
        // The password may have been changed after Redis was asked and before these came.
        if late.contains(where: { $0.password != nil }) {
            self.known.update(key) { $0.forceLookup(at: now.monotonic) }
        }
        var again = pending
        again.isOnDisk = true
        self.lookUpForLate(late, key, again, now: now)
    }

    private mutating func lookUpForLate(_ late: [Waiter], _ key: LookupKey, _ pending: Pending, now: AuthTime) {
        guard !late.isEmpty else { return }
        var again = pending
        again.waiters = late
        again.forgetOrder()
        self.lookUp(key, again, now: now)
    }

    /// The key was announced as changed while Redis was asked: the answer is neither served nor stored.
    private mutating func repeatLookup(_ key: LookupKey, _ pending: Pending, now: AuthTime) {
        var again = pending
        again.isOutdated = false
        again.repetitions += 1
        again.forgetOrder()
        self.lookUp(key, again, now: now)
    }

    /// Redis could not be asked, or gave no answer.
    package mutating func lookupFailed(token: UInt64, _ failure: RedisFailure, now: AuthTime) {
        guard let key = self.keys.removeValue(forKey: token), let pending = self.pending.removeValue(forKey: key) else {
            return
        }
        let reason: AuthVerdict.Reason = failure == .overloaded ? .overloaded : .redisUnavailable
        self.lookupFailed(pending, key: key, reason, failure.description, now: now)
    }

    private mutating func lookupFailed(
        _ pending: Pending,
        key: LookupKey,
        _ reason: AuthVerdict.Reason,
        _ detail: String,
        now: AuthTime
    ) {
        if pending.cacheWasNotReadable, !pending.waiters.isEmpty {
            var again = pending
            again.stage = .readingCacheAgain(reason, detail)
            self.pending[key] = again
            self.actions.append(.readCache(key))
        } else {
            self.settleAll(pending.waiters, key: key, reason, detail, now: now)
        }
    }

    // MARK: A Redis that lost its data

    /// Redis has no row for the key. True: it had one, and seems to have lost it together with too many others.
    private mutating func holdsBack(_ key: LookupKey, now: AuthTime) -> Bool {
        guard let entry = self.known.value(for: key), entry.row != nil else { return false }
        return !self.denialGuard.isDenied(
            knownCurrent: entry.knownCurrent,
            known: self.known.count,
            now: now.monotonic
        )
    }

    /// The row that was known stays good, as while Redis is away.
    private mutating func serveHeld(_ key: LookupKey, _ pending: Pending, now: AuthTime) {
        self.known.update(key) { $0.mustFetch = false }
        self.waiterCount -= pending.waiters.count
        let detail = "Redis has lost rows; see martlet auth confirm-mass-revoke"
        for waiter in pending.waiters {
            guard let entry = self.known.value(for: key), let row = entry.row,
                now.monotonic &- entry.knownCurrent < self.settings.staleMaxNanoseconds,
                self.fits(waiter, row, key: key)
            else {
                self.answer(waiter.request, .unknown, .redisError, detail: detail, key: key)
                continue
            }
            self.answer(waiter.request, self.allow(waiter, entry, .staleCache, key: key))
        }
    }

    /// Redis may be another one than before: no known row is denied until `sampled`.
    package mutating func serverMayHaveChanged() {
        self.denialGuard.beginCheck()
    }

    /// Redis keys of known rows, of the last used ones.
    package func sampleOfKnownKeys(_ count: Int) -> [[UInt8]] {
        self.known.newestKeys(count).map(\.redisKey)
    }

    /// How many of a sample Redis does not have.
    package mutating func sampled(_ sample: Int, absent: Int, now: AuthTime) {
        let known = max(self.known.count, sample)
        self.denialGuard.checked(sample: sample, absent: absent, known: known, now: now.monotonic)
    }

    /// Redis was emptied.
    package mutating func flushed(now: AuthTime) {
        if self.known.count > 0 { self.denialGuard.suspend(now: now.monotonic) }
    }

    /// The rows are gone for good.
    package mutating func confirmMassRevoke(now: AuthTime) {
        self.denialGuard.confirm(now: now.monotonic)
    }

    // MARK: Announced changes

    /// Redis named these keys as changed: what is kept of them is not served before it was fetched again, not even while Redis
    /// is away, and what is on its way may be too old.
    package mutating func changed(_ redisKeys: [[UInt8]], now: AuthTime) {
        for redisKey in redisKeys {
            self.named.insert(now.monotonic, for: redisKey)
            self.actions.append(.write(.markChanged(redisKey: redisKey, atMilliseconds: now.wallMilliseconds)))
        }
        if self.command.hasOneKeyPerRedisKey {
            for redisKey in redisKeys { self.markChanged(LookupKey(redisKey: redisKey)) }
        } else {
            let names = Set(redisKeys)
            for key in self.known.keys where names.contains(key.redisKey) { self.markChanged(key) }
            for key in self.absent.keys where names.contains(key.redisKey) { self.markChanged(key) }
            for key in Array(self.pending.keys) where names.contains(key.redisKey) { self.markChanged(key) }
        }
    }

    private mutating func markChanged(_ key: LookupKey) {
        func mark(_ entry: inout Entry) {
            entry.generation &+= 1
            entry.mustFetch = true
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

    /// The cache file holds a newer generation of this key: what was fetched may be older than an announced change.
    package mutating func storeRefused(_ key: LookupKey) {
        self.known.remove(key)
        self.absent.remove(key)
    }

    // MARK: Verdicts

    /// The verdict on what memory holds; nil when Redis has to be asked.
    private mutating func judge(_ waiter: Waiter, _ entry: Entry, key: LookupKey, now: AuthTime) -> AuthVerdict? {
        guard waiter.password != nil, self.isFresh(entry, now: now) else { return nil }
        guard let row = entry.row else {
            return AuthVerdict(outcome: .deny, reason: .noSuchDevice, source: entry.origin, keyHash: key.hash)
        }
        if self.fits(waiter, row, key: key) {
            return self.allow(waiter, entry, entry.origin, key: key)
        }
        // It may have been changed in Redis since: ask, but not for each guess of an attacker.
        guard !self.mayForceLookup(entry, now: now), self.pending[key] == nil else { return nil }
        if !entry.awaitsConfirmation {
            return AuthVerdict(outcome: .deny, reason: .wrongPassword, source: entry.origin, keyHash: key.hash)
        }
        let detail = "the password does not fit the cached row, and Redis could not say whether it was changed"
        return AuthVerdict(
            outcome: .unknown,
            reason: .redisUnavailable,
            detail: Array(detail.utf8),
            keyHash: key.hash
        )
    }

    private func fits(_ waiter: Waiter, _ row: CredentialRow, key: LookupKey) -> Bool {
        guard let password = waiter.password else { return true }
        return self.checker.isPassword(password, of: row, key: key)
    }

    private func isFresh(_ entry: Entry, now: AuthTime) -> Bool {
        guard !entry.mustFetch, entry.knownCurrent >= self.doubtedBefore else { return false }
        let age = now.monotonic &- entry.knownCurrent
        return age < (entry.row == nil ? self.settings.negativeTTLNanoseconds : self.settings.positiveTTLNanoseconds)
    }

    private func mayForceLookup(_ entry: Entry, now: AuthTime) -> Bool {
        guard let last = entry.lastForcedLookup else { return true }
        return now.monotonic &- last >= Int64(AuthLimits.forcedLookupIntervalNanoseconds)
    }

    private mutating func settleAll(
        _ waiters: [Waiter],
        key: LookupKey,
        _ reason: AuthVerdict.Reason,
        _ detail: String,
        now: AuthTime
    ) {
        self.waiterCount -= waiters.count
        for waiter in waiters { self.settle(waiter, key: key, reason, detail, now: now) }
    }

    /// Redis gave nothing: a row that is stale and fits, or unknown.
    private mutating func settle(
        _ waiter: Waiter,
        key: LookupKey,
        _ reason: AuthVerdict.Reason,
        _ detail: String,
        now: AuthTime
    ) {
        // A live session stays while nobody can say; it needs no stale row for that.
        if waiter.password != nil, let entry = self.entry(for: key), let row = entry.row, !entry.mustFetch {
            let age = now.monotonic &- entry.knownCurrent
            if age < self.settings.staleMaxNanoseconds, self.fits(waiter, row, key: key) {
                let isFresh = self.isFresh(entry, now: now)
                let verdict = self.allow(waiter, entry, isFresh ? entry.origin : .staleCache, key: key)
                return self.answer(waiter.request, verdict)
            }
        }
        self.answer(waiter.request, .unknown, reason, detail: detail, key: key)
    }

    private mutating func allow(
        _ waiter: Waiter,
        _ entry: Entry,
        _ source: AuthVerdict.Source,
        key: LookupKey
    ) -> AuthVerdict {
        let rendered = waiter.rules.render(for: waiter.client)
        self.counters.rulesDropped += UInt64(rendered.rulesDropped)
        var access = rendered.access
        access.isSuperuser = entry.row?.isSuperuser ?? false
        return AuthVerdict(
            outcome: .allow,
            source: source,
            access: access,
            credentialTag: entry.credentialTag,
            keyHash: key.hash
        )
    }

    private mutating func answer(
        _ request: Request,
        _ outcome: AuthVerdict.Outcome,
        _ reason: AuthVerdict.Reason,
        source: AuthVerdict.Source = .none,
        detail: String = "",
        key: LookupKey? = nil
    ) {
        self.answer(
            request,
            AuthVerdict(
                outcome: outcome,
                reason: reason,
                source: source,
                detail: Array(detail.utf8),
                keyHash: key?.hash ?? 0
            )
        )
    }

    private mutating func answer(_ request: Request, _ verdict: AuthVerdict) {
        self.counters.count(verdict)
        self.actions.append(.answer(request, verdict))
    }
}
