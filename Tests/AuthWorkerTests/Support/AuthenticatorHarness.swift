import AuthCache
import AuthWorker
import Common

/// An authenticator with a model of Redis and of the cache file, on clocks that the test sets.
struct AuthenticatorHarness {
    enum Redis: Equatable {
        case works
        case answersErrors
        case isDown
    }

    struct Flight {
        var token: UInt64
        /// What Redis held when it was asked.
        var reply: RedisReply
        var sentAt: UInt64
    }

    var settings = Authenticator.Settings()
    var authenticator: Authenticator
    let checker: PasswordChecker
    let command: CommandSet
    /// Common name to password.
    var rows: [String: String] = [:]
    var redis = Redis.works
    var disk: [LookupKey: CachedRow] = [:]
    var diskIsReadable = true
    var toldOnDisk = ToldSpans()
    /// Answers wait in `flights` until the test lets them go.
    var holdsAnswers = false
    var flights: [Flight] = []
    /// Writes to the cache file wait for `performWrites`.
    var holdsWrites = false
    private var heldWrites: [CacheWrite] = []
    /// Comparisons with slow hashes wait for `performChecks`.
    var holdsChecks = false
    private var heldChecks: [(token: UInt64, check: PasswordCheck)] = []
    /// What the workers of the host know together of rows that vanish.
    let denials: DenialAccount
    /// Of the host, too: what the file lacks.
    let marksPage: SharedPage
    private(set) var missingMarks: MissingMarks
    var verdicts: [UInt64: AuthVerdict] = [:]
    /// Keys whose live sessions are to be looked at again.
    var announced: [LookupKey] = []
    var lookups = 0
    var urgencies: [CommandUrgency] = []
    var cacheReads = 0
    /// Nanoseconds of the monotonic clock.
    var now: UInt64 = 1_000_000_000_000
    var wallMilliseconds: Int64 = 1_700_000_000_000
    private var nextRequest: UInt64 = 1

    /// Passwords that had to be compared by a slow hash.
    var slowChecks = 0

    /// - Parameter superCommand: asked beside the row's; there is never a mark.
    init(
        scheme: PasswordHash = .plain,
        superCommand: String? = nil,
        denials: DenialAccount = DenialAccount(),
        marksPage: SharedPage = SharedPage(),
        _ change: (inout Authenticator.Settings) -> Void = { _ in }
    ) throws {
        self.denials = denials
        self.marksPage = marksPage
        self.missingMarks = MissingMarks(page: marksPage)
        change(&self.settings)
        var superuser: CommandTemplate?
        if let superCommand { superuser = try CommandTemplate(superCommand, purpose: .superuser) }
        self.command = CommandSet(row: try CommandTemplate("HMGET d:%C password"), superuser: superuser)
        self.checker = PasswordChecker(scheme: scheme, hostKey: [1, 2, 3])
        self.authenticator = try Self.make(self.settings, self.command, self.checker, denials, self.missingMarks)
    }

    private static func make(
        _ settings: Authenticator.Settings,
        _ command: CommandSet,
        _ checker: PasswordChecker,
        _ denials: DenialAccount,
        _ missingMarks: MissingMarks
    ) throws -> Authenticator {
        let set = Configuration.Authorization.RuleSet(
            name: "default",
            rules: [.init(permission: .allow, actions: .all, topics: [.init("devices/%C/#")])]
        )
        let rules = try RuleTemplate(set, noMatch: .deny)
        return Authenticator(
            settings: settings,
            command: command,
            checker: checker,
            ruleSets: [Array("default".utf8): rules],
            denials: denials,
            missingMarks: missingMarks
        )
    }

    /// As when the process ends and a new one starts: the cache file is all that stays.
    mutating func restart() throws {
        self.missingMarks = MissingMarks(page: self.marksPage)
        self.heldWrites = []
        self.authenticator = try Self.make(
            self.settings,
            self.command,
            self.checker,
            self.denials,
            self.missingMarks
        )
        self.authenticator.toldOnDisk = self.toldOnDisk
        self.flights = []
    }

    var time: AuthTime { AuthTime(monotonic: self.now, wallMilliseconds: self.wallMilliseconds) }

    mutating func advance(seconds: Double) {
        self.now += UInt64(seconds * 1e9)
        self.wallMilliseconds += Int64(seconds * 1000)
        self.authenticator.serveLate(now: self.time)
        self.authenticator.lookAgain(now: self.time)
        self.performActions()
    }

    /// Ends what waits for longer than the query time-out allows.
    mutating func timeOut(afterNanoseconds limit: UInt64) {
        while let index = self.flights.firstIndex(where: { self.now - $0.sentAt > limit }) {
            self.fail(index, .queryTimedOut)
        }
    }

    func key(_ name: String) -> LookupKey { LookupKey(redisKey: Array("d:\(name)".utf8)) }

    mutating func send(_ name: String?, _ password: String?) -> UInt64 {
        self.send(.device(name, password: password))
    }

    mutating func send(_ query: AuthQuery) -> UInt64 {
        let request = self.nextRequest
        self.nextRequest += 1
        self.authenticator.receive(query, request: .init(link: 1, handle: request), now: self.time)
        self.performActions()
        return request
    }

    /// The verdict; nil when it waits for an answer that is held.
    mutating func ask(_ name: String?, _ password: String?) -> AuthVerdict? {
        let request = self.send(name, password)
        return self.verdicts[request]
    }

    /// Asks about a live session that was let in with this tag.
    mutating func revalidate(_ name: String, tag: [UInt8]) -> UInt64 {
        var query = AuthQuery.device(name, password: nil)
        query.revalidatedTag = tag
        return self.send(query)
    }

    mutating func change(_ names: String...) {
        self.authenticator.changed(names.map { self.key($0).redisKey }, now: self.time)
        self.performActions()
    }

    mutating func changeKeys(_ redisKeys: String...) {
        self.authenticator.changed(redisKeys.map { Array($0.utf8) }, now: self.time)
        self.performActions()
    }

    /// What another worker, which is told of changes too, writes into the file.
    mutating func anotherWorkerMarks(_ name: String) {
        self.mark(self.key(name), self.wallMilliseconds)
    }

    private mutating func mark(_ key: LookupKey, _ time: Int64) {
        guard var row = self.disk[key] else { return }
        if !row.mustFetch { row.changedSinceMilliseconds = time }
        row.generation += 1
        row.mustFetch = true
        row.absentSinceMilliseconds = row.absentSinceMilliseconds.map { max($0, time) }
        self.disk[key] = row
    }

    mutating func performActions() {
        while !self.authenticator.actions.isEmpty {
            let actions = self.authenticator.actions
            self.authenticator.actions = []
            for action in actions { self.perform(action) }
        }
    }

    private mutating func perform(_ action: Authenticator.Action) {
        switch action {
        case .readCache(let key):
            self.cacheReads += 1
            let answer: CacheAnswer =
                self.diskIsReadable ? self.disk[key].map { .found($0) } ?? .notFound : .notReadable
            self.authenticator.cacheAnswered(key, answer, now: self.time)
        case .lookUp(let token, let commands, let urgency):
            self.lookups += 1
            self.urgencies.append(urgency)
            self.look(token, commands[0])
        case .check(let token, let check, _):
            self.slowChecks += 1
            guard !self.holdsChecks else { return self.heldChecks.append((token, check)) }
            self.authenticator.passwordChecked(token: token, fits: check.perform(), now: self.time)
        case .write(let write):
            self.write(write)
        case .answer(let request, let verdict):
            precondition(self.verdicts[request.handle] == nil, "a query was answered twice")
            self.verdicts[request.handle] = verdict
        case .announce(let key):
            self.announced.append(key)
        case .reportAccess: break
        }
    }

    private mutating func look(_ token: UInt64, _ arguments: [[UInt8]]) {
        guard self.redis != .isDown else {
            return self.authenticator.lookupFailed(token: token, .unavailable("down"), now: self.time)
        }
        let name = String(decoding: arguments[1].dropFirst(2), as: UTF8.self)
        let value: RedisReply = self.rows[name].map { .bulk(Array($0.utf8)) } ?? .null
        let reply: RedisReply = self.redis == .works ? .array([value]) : .error(Array("LOADING".utf8))
        self.flights.append(Flight(token: token, reply: reply, sentAt: self.now))
        if !self.holdsAnswers { self.land(self.flights.count - 1) }
    }

    /// The answer to a look-up arrives.
    mutating func land(_ index: Int) {
        let flight = self.flights.remove(at: index)
        let replies = [flight.reply] + [RedisReply](repeating: .null, count: self.command.count - 1)
        self.authenticator.lookupAnswered(token: flight.token, replies, now: self.time)
        self.performActions()
    }

    mutating func fail(_ index: Int, _ failure: RedisFailure) {
        let flight = self.flights.remove(at: index)
        self.authenticator.lookupFailed(token: flight.token, failure, now: self.time)
        self.performActions()
    }

    /// The threads that compare passwords are done.
    mutating func performChecks() {
        self.holdsChecks = false
        let checks = self.heldChecks
        self.heldChecks = []
        for (token, check) in checks {
            self.authenticator.passwordChecked(token: token, fits: check.perform(), now: self.time)
        }
        self.performActions()
    }

    /// The threads find that nobody waits any more.
    mutating func dropChecks() {
        self.holdsChecks = false
        let checks = self.heldChecks
        self.heldChecks = []
        for (token, _) in checks { self.authenticator.passwordChecked(token: token, fits: nil, now: self.time) }
        self.performActions()
    }

    /// The file's thread gets to what waits for it.
    mutating func performWrites() {
        self.holdsWrites = false
        let writes = self.heldWrites
        self.heldWrites = []
        for write in writes { self.writeNow(write) }
        self.performActions()
    }

    private mutating func write(_ write: CacheWrite) {
        if !write.mayWait { self.missingMarks.awaits(self.missingMarks.note(write)) }
        guard !self.holdsWrites else { return self.heldWrites.append(write) }
        self.writeNow(write)
    }

    private mutating func writeNow(_ write: CacheWrite) {
        self.carryOut(write)
        if !write.mayWait { self.authenticator.marked([write]) }
    }

    private mutating func carryOut(_ write: CacheWrite) {
        switch write {
        case .store(let key, let row, let time, let generation):
            guard self.disk[key].map({ $0.generation == generation }) ?? true else {
                return self.authenticator.storeRefused(key, now: self.time)
            }
            self.disk[key] = CachedRow(row: row, knownCurrentMilliseconds: time, generation: generation)
        case .markAbsent(let key, let time, let generation):
            guard let row = self.disk[key], row.absentSinceMilliseconds == nil else { return }
            guard row.generation == generation else { return self.authenticator.storeRefused(key, now: self.time) }
            self.disk[key]?.absentSinceMilliseconds = time
        case .markChanged(let redisKey, let time):
            let key = LookupKey(redisKey: redisKey)
            guard self.disk[key] == nil else { return self.mark(key, time) }
            self.disk[key] = CachedRow(
                row: CredentialRow(secret: .none),
                absentSinceMilliseconds: time,
                mustFetch: true,
                knownCurrentMilliseconds: time,
                generation: 1,
                changedSinceMilliseconds: time
            )
        case .markRelated(let redisKey, let time):
            for key in self.disk.keys where key.relatedKeys.contains(redisKey) { self.mark(key, time) }
        case .told(let began, let until):
            self.toldOnDisk = ToldSpans(self.toldOnDisk.spans + [.init(began: began, until: until)])
        case .markAllChanged(let time):
            for key in self.disk.keys { self.mark(key, time) }
        case .correctTime(let key, let time):
            guard let row = self.disk[key] else { return }
            self.disk[key]?.knownCurrentMilliseconds = min(row.knownCurrentMilliseconds, time)
            self.disk[key]?.absentSinceMilliseconds = row.absentSinceMilliseconds.map { min($0, time) }
        }
    }
}
