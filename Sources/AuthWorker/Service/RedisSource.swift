import AuthCache
import Common
import Logging
import TLS

/// One Redis that devices are looked up in: the decisions, the connection, the cache and the news about changed rows that belong
/// together. Thin I/O around `Authenticator` and `RedisClient`.
final class RedisSource {
    /// Its place among the sources.
    let index: Int
    let configuration: Configuration.Authentication.Source
    unowned let service: AuthWorkerService
    let logger: Logger
    let loop: EventLoop
    let settings: RedisSourceSettings
    var authenticator: Authenticator
    let redis: RedisAccess
    var cache: CredentialCache?
    var cacheWaker: Waker?
    var cacheFolder: CacheFolder
    /// The cache file is a new one: these rows of memory are not in it yet.
    var rowsToWrite: [LookupKey] = []
    var errorLog = ErrorLogLimiter()
    var connectionLog = ConnectionLog()
    var connectionLogTimer: EventLoop.Timer?
    var gatherer = ReplyGatherer()
    /// Empty; the memory of actions that were performed.
    private var performed: [Authenticator.Action] = []
    private let passwordWaker: Waker
    private let passwordThreads: PasswordThreads
    /// By the server that tells.
    var feeds: [RedisURL.Server: InvalidationFeed] = [:]
    var changesTakenAt: Instant = 0
    /// They are decided when the changes that came with them, or before, are known.
    private var waitingQueries: WaitingQueries
    /// How changes are told by each server, as the log says.
    var methodsLogged: [RedisURL.Server: InvalidationSubscriber.Action] = [:]
    var pollTimer: EventLoop.Timer?
    /// See `RedisSource+Clock`.
    var clock: CacheClock
    var wallAheadMilliseconds: Int64
    var clockJump: (milliseconds: Int64, at: Instant)?
    var clockDoubt: String?
    /// See `RedisSource+Told`: the beginning of the last span, and when it was written and others' were read last.
    var toldBeganMilliseconds: Int64 = 0
    var toldWrittenAt: Instant = 0
    var toldReadAt: Instant = 0
    /// Nil: changes are told.
    var feedLoss: FeedLoss?
    var feedLossTimer: EventLoop.Timer?
    /// Some server has told changes, since the start: that none are told is a loss.
    var hasBeenTold = false
    /// See `RedisSource+KeyspaceEvents`: questions without an answer, by their tokens.
    var keyspaceChecks: [UInt64: (server: RedisURL.Server, askedAt: Instant)] = [:]
    var keyspaceChecksBegun: UInt64 = 0
    var hasLoggedKeyspaceEvents = false
    var dataCheck = DataCheck()
    /// The rights for a look-up's command are missing, as Redis said last; by the command's place.
    var lookupRefusals: [Int: String] = [:]
    var lookupHealth = LookupHealth()
    /// As Redis said last.
    var evictionPolicy: EvictionPolicy?
    /// See `RedisSource+Swaps`: how often Redis has exchanged databases, as it said last.
    var swapCount: UInt64?
    /// Redis had no part in a verdict, since listeners were told last that all may have changed: somebody was let in on a row that is
    /// old, or a session could not be judged.
    var hasDecidedAlone = false
    var isStopped = false
    /// Where the key stands among the arguments of each command.
    private let keyPlaces: [Int]

    init(_ settings: RedisSourceSettings, index: Int, service: AuthWorkerService) throws {
        let context = service.context
        self.index = index
        self.configuration = settings.source
        self.service = service
        var logger = context.logger
        if !settings.source.name.isEmpty { logger[metadataKey: "source"] = "\(settings.source.name)" }
        self.logger = logger
        self.loop = context.loop
        self.settings = settings
        self.keyPlaces = settings.command.all.map(\.keyPlace)
        self.waitingQueries = WaitingQueries(
            countMax: AuthLimits.queriesWaitingMax,
            backgroundMax: settings.redis.backgroundInFlightMax
        )
        self.redis = try RedisAccess(loop: context.loop, settings: settings)
        self.passwordWaker = try Waker(loop: context.loop) {}
        self.passwordThreads = PasswordThreads(waker: self.passwordWaker.handle)
        self.cacheFolder = CacheFolder.open(settings.source.cache)
        self.clock = self.cacheFolder.clock
        self.wallAheadMilliseconds = 0
        self.authenticator = Authenticator(
            settings: settings.authenticator,
            command: settings.command,
            checker: PasswordChecker(scheme: settings.source.passwordHash, hostKey: self.cacheFolder.hostKey),
            ruleSets: settings.ruleSets,
            denials: Self.denials(settings, self.cacheFolder, worker: context.instance, logger),
            missingMarks: Self.missingMarks(settings, self.cacheFolder, logger)
        )
        self.tellCacheFolderTrouble()
        try self.makeCache()
    }

    // MARK: Life

    func start() throws(SystemError) {
        // Files that cannot be used fail the first attempt to connect, which says why.
        _ = try? self.redis.tls?.current()
        self.warnOfCertificates()
        self.cache?.start(waits: true)
        self.takeCacheEvents()
        self.tendTold()
        self.compareClockWithRows()
        self.watchClock()
        self.startFeeds()
        self.scheduleCacheInspection()
        self.scheduleEvictionCheck()
        self.scheduleKeyspaceCheck()
    }

    private func warnOfCertificates() {
        for warning in self.redis.tls?.takeWarnings() ?? [] { self.logger.warning("\(warning)") }
    }

    /// The files are read again as the configuration named them at the start.
    func reloadCertificates() {
        guard let tls = self.redis.tls else { return }
        do throws(TLSError) {
            try tls.reload()
            self.logger.notice("certificates for Redis read again, connections from now on use them")
            self.warnOfCertificates()
        } catch {
            self.logger.error(
                "certificates for Redis not usable, those read before stay in use",
                metadata: ["reason": "\(error)"]
            )
        }
    }

    /// Nobody waits for an answer after this.
    func stopAsking() {
        self.redis.stop()
        repeat { self.endTurn() } while self.waitingQueries.count > 0
        self.isStopped = true
    }

    func stop() {
        self.passwordThreads.stop()
        self.passwordWaker.invalidate()
        self.redis.invalidate()
        self.endTold()
        self.stopFeeds()
        self.stopCache()
        self.cacheWaker?.invalidate()
    }

    var serverDescription: String {
        switch self.configuration.redis.topology {
        case .single: self.configuration.redis.url.description
        case .sentinel(let sentinel): "master \(sentinel.master)"
        case .cluster: "cluster"
        }
    }

    /// When `endTurn` has something to do next without an event.
    var nextDeadline: Instant? {
        if self.waitingQueries.isDue(commandsInBackground: self.redis.commandsInBackground) { return self.loop.now }
        let deadlines =
            [self.redis.nextDeadline, self.authenticator.nextLate, self.authenticator.nextLookAgain]
            + self.feeds.values.map(\.nextDeadline)
        return deadlines.compactMap { $0 }.min()
    }

    // MARK: A turn

    func receive(_ query: AuthQuery, _ request: Authenticator.Request) {
        guard !self.waitingQueries.append(query, request) else { return }
        self.authenticator.refuseOverloaded(request)
    }

    /// Queries without their verdicts.
    var queriesWaiting: Int { self.waitingQueries.count + self.authenticator.queriesWaiting }

    private func decideWaiting() {
        let queries = self.waitingQueries.takeTurn(commandsInBackground: self.redis.commandsInBackground)
        for (query, request) in queries { self.authenticator.receive(query, request: request, now: self.time) }
    }

    /// Does what the turn's events ask for; look-ups of one turn travel together.
    func endTurn() {
        guard !self.isStopped else { return }
        self.mendPages()
        self.takeCacheEvents()
        for result in self.passwordThreads.takeResults() {
            self.authenticator.passwordChecked(token: result.token, fits: result.fits, now: self.time)
        }
        // Verdicts leave before word of changes that they do not know: a listener that has let somebody in asks again then.
        self.performDecisions()
        self.takeChanges()
        self.decideWaiting()
        self.redis.advance()
        self.authenticator.serveLate(now: self.time)
        self.authenticator.lookAgain(now: self.time)
        self.performActions()
        if self.authenticator.denialGuard.isSuspended != self.dataCheck.wasSuspended { self.noticeSuspension() }
        self.useCacheFolderIfIdle()
        self.redis.flush()
        // A connection that broke while it was written to.
        self.performActions()
    }

    /// Actions of one machine are events of the other: until both are quiet. Each query goes through at most two look-ups and two
    /// reads, so it ends.
    private func performActions() {
        while true {
            self.performDecisions()
            let happened = self.redis.takeEvents()
            for event in happened { self.perform(event) }
            if self.authenticator.actions.isEmpty, happened.isEmpty { return }
        }
    }

    func performDecisions() {
        while !self.authenticator.actions.isEmpty {
            // One memory for the actions of all turns; what a storm made large goes.
            var decided = self.performed
            self.performed = []
            swap(&decided, &self.authenticator.actions)
            defer {
                decided.removeAll(keepingCapacity: decided.count <= AuthLimits.actionsKeptMax)
                self.performed = decided
            }
            let reads = decided.count { if case .readCache = $0 { true } else { false } }
            if let cache = self.cache, reads > 1 {
                cache.snapshot { for action in decided { self.perform(action) } }
            } else {
                for action in decided { self.perform(action) }
            }
        }
    }

    private func perform(_ action: Authenticator.Action) {
        switch action {
        case .readCache(let key):
            self.authenticator.cacheAnswered(key, self.cache?.read(key) ?? .notFound, now: self.time)
        case .lookUp(let token, let commands, let urgency):
            self.lookUp(commands, token: token, urgency)
        case .check(let token, let check, let parties):
            self.passwordThreads.submit(check, token: token, of: parties)
        case .write(let write):
            self.write(write)
        case .answer(let request, let verdict):
            if verdict.source == .staleCache || verdict.outcome == .unknown { self.hasDecidedAlone = true }
            self.service.sourceAnswered(request, verdict, from: self.index)
        case .announce(let key):
            self.service.announce([key.hash], of: self.index)
        case .reportAccess(let key, let mistake):
            self.service.reportAccess(key, mistake, self.logger)
        }
    }

    private func write(_ write: CacheWrite) {
        guard let cache = self.cache else { return }
        guard !write.mayWait else {
            cache.write(write)
            return
        }
        // First: the process may be killed before the file has it, and that may take long.
        let marks = self.authenticator.missingMarks
        let place = marks.note(write)
        guard !cache.write(write) else { return marks.awaits(place) }
        marks.keep(place)
        // A mark that the file lacks: its rows are current no longer.
        self.endTold()
        self.beginTold()
    }

    private func lookUp(_ commands: [[[UInt8]]], token: UInt64, _ urgency: CommandUrgency) {
        // Most have one command, which goes under the look-up's number.
        let numbers =
            commands.count == 1 ? token..<token + 1 : self.gatherer.begin(token, count: commands.count)
        for (index, command) in commands.enumerated() {
            let number = numbers.lowerBound + UInt64(index)
            do throws(RedisFailure) {
                let place = self.keyPlaces[index]
                let key = place < command.count ? command[place] : []
                try self.redis.submit(command, key: key, token: number, urgency: urgency)
            } catch {
                self.notAnswered(number, error)
            }
        }
    }

    private func answered(_ number: UInt64, _ reply: RedisReply) {
        guard ReplyGatherer.isPart(number) else { return self.answered(lookup: number, [reply]) }
        guard let (lookup, replies) = self.gatherer.answered(number, reply) else { return }
        self.answered(lookup: lookup, replies)
    }

    private func answered(lookup: UInt64, _ replies: [RedisReply]) {
        self.noteResult(self.authenticator.lookupAnswered(token: lookup, replies, now: self.time), replies)
    }

    private func notAnswered(_ number: UInt64, _ failure: RedisFailure) {
        guard let lookup = ReplyGatherer.isPart(number) ? self.gatherer.failed(number) : number else { return }
        self.lookupHealth.failed(failure.description, now: self.loop.now)
        self.authenticator.lookupFailed(token: lookup, failure, now: self.time)
    }

    private func perform(_ event: RedisAccess.Event) {
        switch event {
        case .answered(Self.evictionToken, let reply):
            self.learnedEviction(EvictionPolicy(reply: reply))
        case .answered(Self.swapsToken, let reply):
            self.learnedSwaps(reply.callCount(of: "swapdb"))
        case .notAnswered(Self.evictionToken, _), .notAnswered(Self.swapsToken, _):
            break
        case .answered(let token, let reply) where Self.isKeyspaceToken(token):
            self.learnedKeyspaceEvents(token, reply)
        case .notAnswered(let token, _) where Self.isKeyspaceToken(token):
            self.keyspaceEventsNotAnswered(token)
        case .answered(let token, let reply) where DataCheck.isToken(token):
            self.checkAnswered(token, reply)
        case .notAnswered(let token, let failure) where DataCheck.isToken(token):
            self.checkNotAnswered(token, failure)
        case .answered(let token, let reply):
            self.noteRefusal(token, reply)
            self.answered(token, reply)
        case .notAnswered(let token, let failure):
            self.notAnswered(token, failure)
        case .lost(let server, let failure):
            self.tellLost(server, failure)
        case .sentinelsLost(let failure):
            let others =
                self.redis.masters.isEmpty
                ? "none has since the start: devices seen before are let in from the cache"
                : "the last known one is used"
            self.logger.warning(
                "no Sentinel says which server is the master, \(others)",
                metadata: ["reason": "\(failure)"]
            )
        case .back(let server, let downNanoseconds):
            self.warnOfCertificates()
            self.beginDataCheck()
            self.askForEviction()
            self.askForSwaps()
            // Changes may have been told all the time, or again before: who came in since then on an old row was not there to be
            // doubted, and who was named as changed could not be judged.
            if self.hasDecidedAlone { self.doubtAll() }
            self.tellBack(server, downNanoseconds: downNanoseconds)
        case .mastersChanged:
            self.tellMasters()
            self.startFeeds()
        }
    }
}
