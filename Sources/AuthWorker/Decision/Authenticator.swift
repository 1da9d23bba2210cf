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
        /// How long a query with a row that is not fresh waits for Redis before the row is good enough.
        package var staleAfterNanoseconds: Int64
        package var memoryEntries: Int
        package var negativeEntries: Int
        /// Queries that may wait for look-ups at the same time.
        package var waitersMax: Int
        /// There is a cache file to ask.
        package var readsCache: Bool
        package var accessRows: Configuration.Authorization.AccessRows
        /// Many known rows that are gone at once are taken for an accident.
        package var guardsDenials: Bool

        package init(
            positiveTTLNanoseconds: Int64 = 300 * 1_000_000_000,
            staleMaxNanoseconds: Int64 = 86_400 * 1_000_000_000,
            negativeTTLNanoseconds: Int64 = 10 * 1_000_000_000,
            staleAfterNanoseconds: Int64 = 30 * 1_000_000,
            memoryEntries: Int = 100_000,
            negativeEntries: Int = 20_000,
            waitersMax: Int = 100_000,
            readsCache: Bool = true,
            accessRows: Configuration.Authorization.AccessRows = .first,
            guardsDenials: Bool = true
        ) {
            self.guardsDenials = guardsDenials
            self.positiveTTLNanoseconds = positiveTTLNanoseconds
            self.staleMaxNanoseconds = staleMaxNanoseconds
            self.negativeTTLNanoseconds = negativeTTLNanoseconds
            self.staleAfterNanoseconds = staleAfterNanoseconds
            self.memoryEntries = memoryEntries
            self.negativeEntries = negativeEntries
            self.waitersMax = waitersMax
            self.readsCache = readsCache
            self.accessRows = accessRows
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
        /// Ask Redis all of these in one pipeline and report `lookupAnswered` with all answers, or `lookupFailed`.
        case lookUp(token: UInt64, commands: [[[UInt8]]], CommandUrgency)
        /// Compare on another thread and report `passwordChecked`.
        case check(token: UInt64, PasswordCheck, CheckParties)
        case write(CacheWrite)
        case answer(Request, AuthVerdict)
        /// The row of a device that was let in a moment ago is another one, or gone: its live sessions are to be looked at again.
        case announce(LookupKey)
        /// One of the access rows that were just fetched is not understood.
        case reportAccess(LookupKey, AccessRowRules.Mistake)
    }

    /// What memory holds of one key.
    struct Entry {
        /// Nil: Redis does not know the key.
        var row: CredentialRow?
        var origin: AuthVerdict.Source
        /// When the first change was told that the row lacks, on the monotonic clock; nil: none was.
        var changedSince: Int64?
        /// Since the last change Redis has said that there is no row, and seems to have lost it with others: see `counts`.
        var isHeld = false
        /// When the row was asked for, on the monotonic clock.
        var knownCurrent: Int64
        /// Until then other workers had been told of a change; nil: nobody knows. See `lastCurrent`.
        var toldUntil: Int64?
        /// A change was told, or may have been missed: what is told later says nothing about the row.
        var hasChanged = false
        var generation: Int64
        var credentialTag: [UInt8] = []
        /// When a password that did not fit last forced a look-up.
        var lastForcedLookup: Int64?
        /// That look-up gave nothing yet: the row is not confirmed against the password that did not fit.
        var awaitsConfirmation = false
        /// The row's access rows taken apart; nil when it has none.
        var accessRules: AccessRowRules?
        /// Of the last password that fitted a row whose hash is slow: see `PasswordChecker.acceptanceCode`.
        var acceptanceCode: [UInt8]?

        /// It has to be fetched again before it counts.
        var mustFetch: Bool { self.changedSince != nil }

        mutating func forceLookup(at now: Int64) {
            self.lastForcedLookup = now
            self.awaitsConfirmation = true
        }
    }

    /// One query. It is an object because it goes from hand to hand, and a dozen arrays with it.
    final class Waiter {
        let request: Request
        let client: ClientAttributes
        let rules: RuleTemplate
        /// Nil for a live session that is looked at again: Redis is asked in any case, and the row as it is now is the answer.
        let password: Secret?
        /// The look-up was on its way already: what it brings may be older than this query.
        var joinedAfterSending = false
        /// What a slow comparison with this row gave.
        var checked: (row: CredentialRow, fits: Bool)?

        init(request: Request, client: ClientAttributes, rules: RuleTemplate, password: Secret?) {
            self.request = request
            self.client = client
            self.rules = rules
            self.password = password
        }
    }

    enum Stage: Equatable {
        case readingCache
        case lookingUp(token: UInt64)
        /// Redis gave nothing, and the cache could not be read before: the last try.
        case readingCacheAgain(AuthVerdict.Reason, String)
    }

    struct Pending {
        var commands: [[[UInt8]]]
        var stage: Stage
        var waiters: [Waiter] = []
        var startedAt: AuthTime
        /// The key's generation when the look-up began.
        var generation: Int64 = 0
        /// A change was announced after Redis was asked: the answer may be older than the change.
        var isOutdated = false
        /// Look-ups made again for that reason.
        var repetitions = 0
        /// The row that was cached was good enough for those who waited too long for Redis.
        var servedEarly: CredentialRow?
        /// There is a row of this key in the cache file, as far as known.
        var isOnDisk = false
        var cacheWasNotReadable = false
        /// When the file was read it lacked a mark of our own: its row, which another worker may have written later, is of an older
        /// generation than it will be.
        var isMarkUnwritten = false
        /// It was named as changed: the file's row may become another one than this look-up went by.
        var wasNamed: Bool { self.generation != 0 || self.isMarkUnwritten }

        /// Clients that want to come in wait for it.
        var urgency: CommandUrgency { self.waiters.contains { $0.password != nil } ? .client : .background }

        /// A new look-up begins: it is later than all who wait.
        func forgetOrder() {
            for waiter in self.waiters { waiter.joinedAfterSending = false }
        }
    }

    /// Where a query goes on when its slow comparison is done.
    enum CheckStage {
        /// With what is known by then: Redis may be there again that was away, or have its rows again.
        case known
        /// With what Redis has just answered.
        case fetched(Entry)
    }

    struct Checking {
        var waiter: Waiter
        var row: CredentialRow
        var rendered: CommandSet.Rendered
        var stage: CheckStage
    }

    /// To be taken and performed after each call.
    package var actions: [Action] = []
    var counters = AuthCounters()

    let settings: Settings
    let command: CommandSet
    let checker: PasswordChecker
    let ruleSets: [[UInt8]: RuleTemplate]
    var known: BoundedCache<LookupKey, Entry>
    var absent: BoundedCache<LookupKey, Entry>
    var pending: [LookupKey: Pending] = [:]
    /// All of them by the Redis keys they depend on; empty where there is nothing to look up, because each has one of its own.
    var dependents = DependentLookups()
    let hasOneKeyPerRedisKey: Bool
    var keys: [UInt64: LookupKey] = [:]
    /// Look-ups in the order of their beginning, for those who wait with a row that is not fresh: see `serveLate`.
    var lateLookups = FirstInFirstOut<(token: UInt64, due: Int64)>()
    var nextToken: UInt64 = 1
    var waiterCount = 0
    var checking: [UInt64: Checking] = [:]
    package internal(set) var denialGuard: DenialGuard
    /// When this worker was told of changes, on the monotonic clock, and when all that have the file in common were, by the wall clock.
    package var told = ToldSpans()
    package var toldOnDisk = ToldSpans()
    /// Rows known current before this moment are fetched again before they count as fresh: nobody knows which have changed.
    var doubtedBefore = Int64.min
    /// Changes were told, and are not any more: a row is asked for whenever it is needed.
    var changesAreLost = false
    var unwrittenMarks = UnwrittenMarks()
    package let missingMarks: MissingMarks
    /// How rows that had changed are fetched, and until when their state in the file is not settled: see `storeRefused`, `lookAgain`.
    var unsettled = BoundedCache<LookupKey, (commands: [[[UInt8]]], until: Int64)>(capacity: AuthLimits.namedKeysMax)

    package init(
        settings: Settings,
        command: CommandSet,
        checker: PasswordChecker,
        ruleSets: [[UInt8]: RuleTemplate],
        denials: DenialAccount = DenialAccount(),
        missingMarks: MissingMarks = MissingMarks()
    ) {
        self.missingMarks = missingMarks
        self.denialGuard = DenialGuard(account: denials)
        self.settings = settings
        self.command = command
        self.hasOneKeyPerRedisKey = command.hasOneKeyPerRedisKey
        self.checker = checker
        self.ruleSets = ruleSets
        self.known = BoundedCache(capacity: settings.memoryEntries)
        self.absent = BoundedCache(capacity: settings.negativeEntries)
    }

    package var statistics: AuthCounters { self.counters }
    package var rowsInMemory: Int { self.known.count }
    package var absentKeysInMemory: Int { self.absent.count }
    package var absentKeysPushedOut: UInt64 { self.absent.evictions }
    package var lookupsPending: Int { self.pending.count }
    package var queriesWaiting: Int { self.waiterCount }
    package var checksPending: Int { self.checking.count }

    // MARK: Queries

    /// Too many queries wait for being decided.
    package mutating func refuseOverloaded(_ request: Request) {
        self.counters.queries += 1
        self.answer(request, .unknown, .overloaded, detail: "too many queries are waiting")
    }

    package mutating func receive(_ query: AuthQuery, request: Request, now: AuthTime) {
        self.counters.queries += 1
        let client = ClientAttributes(query)
        guard let rules = self.ruleSets[query.rulesName] else {
            return self.answer(request, .withoutRules(query.rulesName))
        }
        let rendered: CommandSet.Rendered
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
        // Where no password is asked for, whatever the client sends is as good as none.
        let given = self.checker.scheme.needsPassword ? query.password : []
        let isOptional = self.checker.acceptsRowsWithoutPassword
        let password = query.revalidatedTag == nil ? (given ?? (isOptional ? [] : nil)).map { Secret($0) } : nil
        if password == nil, query.revalidatedTag == nil {
            return self.answer(request, .deny, .passwordMissing, key: key)
        }
        let waiter = Waiter(request: request, client: client, rules: rules, password: password)
        self.decide(waiter, rendered, now: now)
    }

    mutating func decide(_ waiter: Waiter, _ rendered: CommandSet.Rendered, now: AuthTime) {
        let key = rendered.key
        let entry = self.entry(for: key)
        if let entry {
            switch self.judge(waiter, entry, key: key, now: now) {
            case .verdict(let verdict):
                self.answer(waiter.request, verdict)
                if verdict.outcome == .allow { self.revalidateIfDue(rendered, entry, now: now) }
                return
            case .compare(let check, let row):
                return self.begin(check, Checking(waiter: waiter, row: row, rendered: rendered, stage: .known))
            case .askRedis:
                break
            }
        }
        guard self.waiterCount < self.settings.waitersMax else {
            return self.settle(waiter, rendered, .overloaded, "too many queries are waiting", now: now)
        }
        self.noteDependencies(of: key)
        self.waiterCount += 1
        if var pending = self.pending.removeValue(forKey: key) {
            self.counters.joined += 1
            if case .lookingUp = pending.stage { waiter.joinedAfterSending = true }
            pending.waiters.append(waiter)
            if self.isLate(pending, now: now) { self.serveEarly(key, &pending, now: now) }
            self.pending[key] = pending
            return
        }
        var pending = Pending(commands: rendered.commands, stage: .readingCache, waiters: [waiter], startedAt: now)
        pending.generation = entry?.generation ?? 0
        pending.isOnDisk = entry?.row != nil
        // One that was named as changed may have been fetched by another worker meanwhile; and while this one is told of no changes,
        // another may have been, and have marked the row.
        if self.settings.readsCache, self.changesAreLost || entry?.mustFetch ?? true {
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

    mutating func entry(for key: LookupKey) -> Entry? {
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
        if pending.isOnDisk { self.lateLookups.append((token, now.monotonic + self.settings.staleAfterNanoseconds)) }
        self.counters.lookups += 1
        self.actions.append(.lookUp(token: token, commands: pending.commands, pending.urgency))
    }

    /// Asks again in the background before a row in use expires; when exactly depends on the key, so that rows fetched
    /// together are not asked for together.
    private mutating func revalidateIfDue(_ rendered: CommandSet.Rendered, _ entry: Entry, now: AuthTime) {
        guard entry.row != nil, self.pending[rendered.key] == nil else { return }
        let share = 70 + Int64(rendered.key.hash % 25)
        guard now.monotonic &- entry.knownCurrent >= self.settings.positiveTTLNanoseconds / 100 * share else { return }
        self.counters.revalidations += 1
        var pending = Pending(commands: rendered.commands, stage: .readingCache, startedAt: now)
        pending.generation = entry.generation
        pending.isOnDisk = true
        self.lookUp(rendered.key, pending, now: now)
    }

    // MARK: Answers

    package mutating func cacheAnswered(_ key: LookupKey, _ answer: CacheAnswer, now: AuthTime) {
        guard var pending = self.pending[key] else { return }
        var entry: Entry?
        var isMarked = false
        let isBehind = self.unwrittenMarks.concern(key)
        // Without waiters it is the second look, for which the first one's write had to wait for the mark.
        pending.isMarkUnwritten = isBehind && !pending.waiters.isEmpty
        switch answer {
        case .found(let cached):
            pending.isOnDisk = true
            // The file lacks marks of our own that will be in it before what is fetched now.
            pending.generation = max(cached.generation, isBehind ? pending.generation : 0)
            isMarked = cached.mustFetch && cached.absentSinceMilliseconds == nil
            // Without waiters one that is in memory stays as it is until Redis has answered, which may be away.
            let known = self.entry(for: key)
            if known == nil || !pending.waiters.isEmpty && self.isAhead(cached, of: known, now: now) {
                entry = self.keep(cached, for: key, now: now)
            }
        case .notFound:
            break
        case .notReadable:
            pending.cacheWasNotReadable = self.entry(for: key)?.mustFetch ?? true
        }
        switch pending.stage {
        case .lookingUp:
            return
        case .readingCacheAgain(let reason, let detail):
            self.pending[key] = nil
            self.settleAll(pending, key: key, reason, detail, now: now)
        case .readingCache:
            self.pending[key] = nil
            // Without waiters it is a row whose state in the file is not settled.
            let isWanted =
                pending.waiters.isEmpty && (isMarked || (entry ?? self.entry(for: key))?.mustFetch ?? true)
            let left = self.judgeAll(pending, entry, key: key, now: now)
            guard !left.isEmpty || isWanted else { return }
            if let entry, left.contains(where: { $0.password != nil }), self.isFresh(entry, now: now) {
                self.known.update(key) { $0.forceLookup(at: now.monotonic) }
            }
            pending.waiters = left
            self.lookUp(key, pending, now: now)
        }
    }

    /// Answers those whom what the cache had is enough for; returns the others.
    private mutating func judgeAll(_ pending: Pending, _ entry: Entry?, key: LookupKey, now: AuthTime) -> [Waiter] {
        guard let entry else { return pending.waiters }
        var left: [Waiter] = []
        let rendered = CommandSet.Rendered(key: key, commands: pending.commands)
        for waiter in pending.waiters {
            switch self.judge(waiter, entry, key: key, now: now) {
            case .verdict(let verdict):
                self.waiterCount -= 1
                self.answer(waiter.request, verdict)
            case .compare(let check, let row):
                self.waiterCount -= 1
                self.begin(check, Checking(waiter: waiter, row: row, rendered: rendered, stage: .known))
            case .askRedis:
                left.append(waiter)
            }
        }
        return left
    }

    /// - Returns: what the answers mean.
    @discardableResult
    package mutating func lookupAnswered(token: UInt64, _ replies: [RedisReply], now: AuthTime) -> LookupResult {
        var result = self.command.interpret(replies)
        if case .found(let row) = result, row.salt != nil, self.checker.scheme.salt == .none {
            result = .unusable("the reply's second value is a salt, and password_hash \(self.checker.scheme) uses none")
        }
        self.lookedUp(token: token, result, now: now)
        return result
    }

    /// The same with what the answers mean.
    package mutating func lookedUp(token: UInt64, _ result: LookupResult, now: AuthTime) {
        guard let key = self.keys.removeValue(forKey: token), let pending = self.pending.removeValue(forKey: key) else {
            return
        }
        if pending.isOutdated, pending.repetitions < AuthLimits.outdatedLookupsMax {
            return self.repeatLookup(key, pending, now: now)
        }
        self.confirmEarly(key, pending, result)
        switch result {
        case .found(let found):
            self.take(found, key: key, pending, now: now)
        case .absent:
            if self.holdsBack(key, now: now) { return self.serveHeld(key, pending, now: now) }
            if pending.cacheWasNotReadable, self.denialGuard.state != .watching {
                // Whether there was a row is not known, and Redis may have lost it.
                return self.lookupFailed(pending, key: key, .redisError, Self.lostRowsDetail, now: now)
            }
            self.known.remove(key)
            let entry = Entry(
                row: nil,
                origin: .redis,
                changedSince: pending.isOutdated ? pending.startedAt.monotonic : nil,
                knownCurrent: pending.startedAt.monotonic,
                hasChanged: pending.isOutdated,
                generation: pending.generation
            )
            self.absent.insert(entry, for: key)
            // Of a key that was named as changed meanwhile another worker may have stored a row since the file was read.
            if pending.isOnDisk || pending.cacheWasNotReadable || pending.wasNamed {
                if pending.wasNamed, self.settings.readsCache {
                    self.willLookAgain(key, pending.commands, now: now)
                }
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
        case .disabled:
            self.known.remove(key)
            self.waiterCount -= pending.waiters.count
            for waiter in pending.waiters {
                self.answer(waiter.request, .deny, .deviceDisabled, source: .redis, key: key)
            }
        case .unusable(let text):
            self.lookupFailed(pending, key: key, .redisError, text, now: now)
        case .tooLong(let text):
            self.lookupFailed(pending, key: key, .rowTooLong, text, now: now)
        }
    }

    private mutating func take(_ found: CredentialReply, key: LookupKey, _ pending: Pending, now: AuthTime) {
        let row = self.checker.row(from: found, key: key)
        self.absent.remove(key)
        let before = self.known.value(for: key)
        let entry = Entry(
            row: row,
            origin: .memoryCache,
            changedSince: pending.isOutdated ? pending.startedAt.monotonic : nil,
            knownCurrent: pending.startedAt.monotonic,
            hasChanged: pending.isOutdated,
            generation: pending.generation,
            credentialTag: self.checker.credentialTag(of: row, key: key),
            lastForcedLookup: before?.lastForcedLookup,
            accessRules: row.access.isEmpty ? nil : AccessRowRules(row.access),
            acceptanceCode: before?.acceptanceCode
        )
        self.known.insert(entry, for: key)
        if let mistake = entry.accessRules?.mistake { self.actions.append(.reportAccess(key, mistake)) }
        // One that may be older than a change is for those who wait, and for nobody else.
        if !pending.isOutdated { self.store(row, key, pending, now: now) }
        var late: [Waiter] = []
        let rendered = CommandSet.Rendered(key: key, commands: pending.commands)
        for waiter in pending.waiters {
            // A live session is not judged by an answer that is older than the question.
            if waiter.password == nil, waiter.joinedAfterSending {
                late.append(waiter)
                continue
            }
            switch self.compare(waiter, row, entry, key: key) {
            case .fits:
                self.waiterCount -= 1
                self.answer(waiter.request, self.allow(waiter, entry, .redis, key: key))
            case .slow(let check):
                self.waiterCount -= 1
                let stage = CheckStage.fetched(entry)
                self.begin(check, Checking(waiter: waiter, row: row, rendered: rendered, stage: stage))
            case .doesNotFit:
                if waiter.joinedAfterSending, self.mayForceLookup(entry, now: now) {
                    late.append(waiter)
                } else {
                    self.waiterCount -= 1
                    self.refuse(waiter, row, key: key)
                }
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

    private mutating func store(_ row: CredentialRow, _ key: LookupKey, _ pending: Pending, now: AuthTime) {
        if pending.wasNamed, self.settings.readsCache { self.willLookAgain(key, pending.commands, now: now) }
        let time = pending.startedAt.wallMilliseconds
        self.actions.append(
            .write(.store(key, row, knownCurrentMilliseconds: time, generation: pending.generation))
        )
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
            self.settleAll(pending, key: key, reason, detail, now: now)
        }
    }

    // MARK: Verdicts

    private enum Judgement {
        case verdict(AuthVerdict)
        case askRedis
        case compare(PasswordCheck, CredentialRow)
    }

    /// The verdict on what memory holds.
    private mutating func judge(_ waiter: Waiter, _ entry: Entry, key: LookupKey, now: AuthTime) -> Judgement {
        guard waiter.password != nil, self.isFresh(entry, now: now) else { return .askRedis }
        guard let row = entry.row else {
            return .verdict(
                AuthVerdict(
                    outcome: .deny,
                    reason: .noSuchDevice,
                    source: entry.origin,
                    keyHash: key.hash,
                    relatedKeyHashes: key.relatedHashes
                )
            )
        }
        switch self.compare(waiter, row, entry, key: key) {
        case .fits: return .verdict(self.allow(waiter, entry, entry.origin, key: key))
        case .slow(let check): return .compare(check, row)
        case .doesNotFit: break
        }
        // It may have been changed in Redis since: ask, but not for each guess of an attacker.
        guard !self.mayForceLookup(entry, now: now), self.pending[key] == nil else { return .askRedis }
        if !entry.awaitsConfirmation {
            return .verdict(self.denial(row, entry, key: key))
        }
        let detail = "the password does not fit the cached row, and Redis could not say whether it was changed"
        return .verdict(
            AuthVerdict(
                outcome: .unknown,
                reason: .redisUnavailable,
                detail: Array(detail.utf8),
                keyHash: key.hash
            )
        )
    }

    func isFresh(_ entry: Entry, now: AuthTime) -> Bool {
        guard !entry.mustFetch, entry.knownCurrent >= self.doubtedBefore else { return false }
        if self.changesAreLost, entry.row != nil { return false }
        let age = now.monotonic &- entry.knownCurrent
        return age < (entry.row == nil ? self.settings.negativeTTLNanoseconds : self.settings.positiveTTLNanoseconds)
    }

    /// The last moment at which the row was known to be what Redis holds: when it was asked for, or later where a change would have been
    /// told since.
    func lastCurrent(_ entry: Entry) -> Int64 {
        let moment = entry.toldUntil ?? entry.knownCurrent
        return entry.hasChanged ? moment : self.told.end(of: moment)
    }

    /// Good for a time without Redis.
    func isUsable(_ entry: Entry, now: AuthTime) -> Bool {
        now.monotonic &- self.lastCurrent(entry) < self.settings.staleMaxNanoseconds
    }

    func mayForceLookup(_ entry: Entry, now: AuthTime) -> Bool {
        guard let last = entry.lastForcedLookup else { return true }
        return now.monotonic &- last >= Int64(AuthLimits.forcedLookupIntervalNanoseconds)
    }

    private mutating func settleAll(
        _ pending: Pending,
        key: LookupKey,
        _ reason: AuthVerdict.Reason,
        _ detail: String,
        now: AuthTime
    ) {
        self.waiterCount -= pending.waiters.count
        let rendered = CommandSet.Rendered(key: key, commands: pending.commands)
        for waiter in pending.waiters { self.settle(waiter, rendered, reason, detail, now: now) }
    }

    /// Redis gave nothing: a row that is stale and fits, or unknown.
    mutating func settle(
        _ waiter: Waiter,
        _ rendered: CommandSet.Rendered,
        _ reason: AuthVerdict.Reason,
        _ detail: String,
        now: AuthTime
    ) {
        let key = rendered.key
        // A live session stays while nobody can say; it needs no stale row for that.
        if waiter.password != nil, let entry = self.entry(for: key), let row = entry.row, self.counts(entry, now: now) {
            if self.isUsable(entry, now: now) {
                switch self.compare(waiter, row, entry, key: key) {
                case .fits:
                    let isFresh = self.isFresh(entry, now: now)
                    let verdict = self.allow(waiter, entry, isFresh ? entry.origin : .staleCache, key: key)
                    return self.answer(waiter.request, verdict)
                case .slow(let check):
                    return self.begin(check, Checking(waiter: waiter, row: row, rendered: rendered, stage: .known))
                case .doesNotFit:
                    break
                }
            }
        }
        // Nobody is denied on that, but another source may know the client.
        let isAbsent = waiter.password != nil && self.isKnownAbsent(key, now: now)
        self.answer(waiter.request, .unknown, reason, source: isAbsent ? .staleCache : .none, detail: detail, key: key)
    }

    /// Redis did not know the key, as long ago as a row may be.
    private mutating func isKnownAbsent(_ key: LookupKey, now: AuthTime) -> Bool {
        guard let entry = self.entry(for: key), entry.row == nil, !entry.mustFetch else { return false }
        return self.isUsable(entry, now: now)
    }

    mutating func allow(
        _ waiter: Waiter,
        _ entry: Entry,
        _ source: AuthVerdict.Source,
        key: LookupKey
    ) -> AuthVerdict {
        var access = self.access(waiter, entry)
        access.isSuperuser = entry.row?.isSuperuser ?? false
        return AuthVerdict(
            outcome: .allow,
            source: source,
            access: access,
            credentialTag: entry.credentialTag,
            keyHash: key.hash,
            relatedKeyHashes: key.relatedHashes
        )
    }

    mutating func answer(
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
                keyHash: key?.hash ?? 0,
                relatedKeyHashes: key?.relatedHashes ?? []
            )
        )
    }

    mutating func answer(_ request: Request, _ verdict: AuthVerdict) {
        self.counters.count(verdict)
        self.actions.append(.answer(request, verdict))
    }
}
