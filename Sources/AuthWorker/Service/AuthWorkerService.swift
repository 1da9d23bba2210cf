import Common
import Glibc
import Logging
import TLS

/// The auth worker: answers listeners' questions whether a client may come in.
///
/// - Talks to: listeners (it listens on `authworker-N.sock`), Redis, the cache file it shares with the other workers of the host.
/// - Holds: Redis' credentials, hashes of passwords. No message, no TLS key, no socket to the internet.
/// - When it is killed: listeners ask the next worker; the cache file stays.
/// - An attacker who owns it can let anybody in, and sees the passwords of those who come.
///
/// One turn of the loop: read the queries of all links, decide, write all look-ups into one pipeline, flush. It blocks on
/// nothing: the cache is read without waiting for locks and written by a thread, names are looked up by another.
package final class AuthWorkerService: Role {
    let context: RoleContext
    let logger: Logger
    let loop: EventLoop
    let settings: AuthWorkerSettings
    private let hello: LinkHello
    var authenticator: Authenticator
    var redis: RedisClient
    private var transport: RedisTransport?
    var cache: CredentialCache?
    private var cacheWaker: Waker?
    private var server: LinkServer?
    private var linkLog = ErrorLogLimiter()
    var links: [Int: Link] = [:]
    var linksToFlush: Set<Int> = []
    private var nextLink = 1
    private var timer: (deadline: Instant, timer: EventLoop.Timer)?
    var isStopped = false
    private var errorLog = ErrorLogLimiter()
    private var gatherer = ReplyGatherer()
    private let passwordWaker: Waker
    private let passwordThreads: PasswordThreads
    let sourceIsRedis: Bool
    var feeds: [InvalidationFeed] = []
    var pollTimer: EventLoop.Timer?
    var dataCheck = DataCheck()

    /// - Throws: mistakes of the configuration, as a sentence.
    package init(_ context: RoleContext) throws {
        self.context = context
        self.logger = context.logger
        self.loop = context.loop
        let authentication = context.configuration.authentication
        self.settings = try AuthWorkerSettings(context.configuration, name: context.name)
        self.sourceIsRedis = authentication.source == .redis
        self.hello = LinkHello(
            role: .authWorker,
            bootID: RoleProcess.makeBootID(),
            name: Array(context.name.utf8)
        )
        self.redis = RedisClient(
            settings: self.settings.redis,
            random: SystemRandomNumberGenerator(),
            now: context.loop.now
        )
        self.passwordWaker = try Waker(loop: context.loop) {}
        self.passwordThreads = PasswordThreads(waker: self.passwordWaker.handle)
        let hostKey = Self.loadHostKey(authentication.cache, context.logger)
        self.authenticator = Authenticator(
            settings: AuthWorkerSettings.authenticatorSettings(context.configuration),
            command: self.settings.command,
            checker: PasswordChecker(scheme: authentication.passwordHash, hostKey: hostKey.key),
            ruleSets: self.settings.ruleSets
        )
        if self.sourceIsRedis, authentication.cache.enabled, hostKey.isShared {
            let waker = try Waker(loop: context.loop) {}
            self.cacheWaker = waker
            self.cache = CredentialCache(
                directory: authentication.cache.directory,
                source: CredentialSource.tag(
                    commands: [
                        authentication.command, authentication.superCommand ?? "", authentication.accessCommand ?? "",
                    ],
                    scheme: authentication.passwordHash,
                    database: authentication.redis.url.database,
                    hostKey: hostKey.key
                ),
                diskEntries: authentication.cache.diskEntries,
                negativeEntries: authentication.cache.negativeEntries,
                waker: waker.handle
            )
        }
    }

    /// The key that plain passwords are kept under; one of this process alone when the shared one cannot be had, in which case
    /// nothing is written to disk.
    private static func loadHostKey(
        _ cache: Configuration.Authentication.Cache,
        _ logger: Logger
    ) -> (key: [UInt8], isShared: Bool) {
        guard cache.enabled else { return (SecureRandom.bytes(CacheDirectory.hostKeyBytes), false) }
        let directory = CacheDirectory(path: cache.directory)
        do throws(CacheTrouble) {
            try directory.create()
            return (try directory.loadHostKey(), true)
        } catch {
            logger.error(
                "authentication cache not usable, only memory is used until the next start",
                metadata: ["reason": "\(error)"]
            )
            return (SecureRandom.bytes(CacheDirectory.hostKeyBytes), false)
        }
    }

    // MARK: Role

    package func start() throws {
        self.cache?.start()
        self.takeCacheEvents()
        if self.sourceIsRedis {
            self.transport = try RedisTransport(
                loop: self.loop,
                server: self.context.configuration.authentication.redis.url.server,
                delegate: self
            )
        }
        try self.startFeeds()
        self.server = try LinkServer(
            loop: self.loop,
            path: self.context.configuration.authWorkerSocketPath(self.context.instance),
            allowedUsers: self.context.configuration.linkUsers,
            hello: self.hello,
            expectedRoles: [.listener, .tool],
            logger: self.logger,
            delegate: self
        )
        self.loop.atEndOfTurn { [weak self] in self?.endTurn() }
        self.scheduleCacheInspection()
        self.endTurn()
    }

    package func stop() {
        guard !self.isStopped else { return }
        self.server?.close()
        self.redis.stop()
        self.endTurn()
        self.isStopped = true
        if let timer = self.timer { self.loop.cancel(timer.timer) }
        for link in self.links.values {
            link.flush()
            link.close()
        }
        self.links = [:]
        self.passwordThreads.stop()
        self.passwordWaker.invalidate()
        self.transport?.invalidate()
        self.stopFeeds()
        self.cache?.stop()
        self.cacheWaker?.invalidate()
        self.loop.stop()
    }

    package func status() -> StatusReport {
        var report = StatusReport()
        let counters = self.authenticator.statistics
        report.add("links", self.links.count)
        report.add("redis", self.redisDescription)
        report.add("changes_learned_by", self.feedDescription)
        if self.authenticator.denialGuard.isSuspended {
            report.add(
                "alarm",
                "Redis has lost rows of known devices: they stay in until the rows are back or confirmed gone"
            )
        }
        report.add("rows_held", self.authenticator.denialGuard.held)
        report.add("queries", counters.queries)
        report.add("allowed_by_redis", counters.allowedByRedis)
        report.add("allowed_by_certificate", counters.allowedByCertificate)
        report.add("allowed_by_memory", counters.allowedByMemory)
        report.add("allowed_by_disk", counters.allowedByDisk)
        report.add("allowed_stale", counters.allowedStale)
        for reason in AuthVerdict.Reason.allCases {
            if let count = counters.denied[reason] { report.add("denied_\(reason)", count) }
        }
        for reason in AuthVerdict.Reason.allCases {
            if let count = counters.unknown[reason] { report.add("unknown_\(reason)", count) }
        }
        report.add("queries_waiting", self.authenticator.queriesWaiting)
        report.add("lookups", counters.lookups)
        report.add("lookups_shared", counters.joined)
        report.add("slow_password_checks", counters.slowChecks)
        report.add("slow_password_checks_waiting", self.authenticator.checksPending)
        report.add("revalidations", counters.revalidations)
        report.add("rules_dropped", counters.rulesDropped)
        report.add("rows_in_memory", self.authenticator.rowsInMemory)
        report.add("absent_keys_in_memory", self.authenticator.absentKeysInMemory)
        self.addRedisCounters(to: &report)
        self.cache?.report(into: &report)
        return report
    }

    private func addRedisCounters(to report: inout StatusReport) {
        let counters = self.redis.counters
        report.add("redis_commands", counters.commands)
        report.add("redis_pipelines", counters.pipelines)
        report.add("redis_answers", counters.answers)
        report.add("redis_errors", counters.errors)
        report.add("redis_timeouts", counters.timeouts)
        report.add("redis_connections", counters.connections)
        report.add("redis_failures", counters.failures)
        report.add("redis_in_flight", self.redis.commandsInFlight)
        report.add("redis_queued", self.redis.commandsQueued)
    }

    private var redisDescription: String {
        guard self.sourceIsRedis else { return "not used" }
        if let outage = self.redis.outage { return "unavailable: \(outage)" }
        return self.redis.state == .ready ? "in use" : "connecting"
    }

    // MARK: A turn

    var time: AuthTime {
        AuthTime(
            monotonic: self.loop.now,
            wallMilliseconds: Int64(clamping: Clock.wall() / Nanoseconds.perMillisecond)
        )
    }

    private func endTurn() {
        guard !self.isStopped else { return }
        self.takeCacheEvents()
        for result in self.passwordThreads.takeResults() {
            self.authenticator.passwordChecked(token: result.token, fits: result.fits, now: self.time)
        }
        self.takeChanges()
        if self.sourceIsRedis { self.redis.advance(now: self.loop.now) }
        self.performActions()
        self.redis.fillPipeline(now: self.loop.now)
        if let failure = self.transport?.send(&self.redis.output) {
            self.redis.failed(failure, now: self.loop.now)
            self.performActions()
        }
        for index in self.linksToFlush { self.links[index]?.flush() }
        self.linksToFlush.removeAll(keepingCapacity: true)
        self.scheduleTimer()
    }

    /// Actions of one machine are events of the other: until both are quiet. Each query goes through at most two look-ups and two
    /// reads, so it ends.
    private func performActions() {
        while !self.authenticator.actions.isEmpty || !self.redis.actions.isEmpty {
            let decided = self.authenticator.actions
            self.authenticator.actions = []
            for action in decided { self.perform(action) }
            let happened = self.redis.actions
            self.redis.actions = []
            for action in happened { self.perform(action) }
        }
    }

    private func perform(_ action: Authenticator.Action) {
        switch action {
        case .readCache(let key):
            self.authenticator.cacheAnswered(key, self.cache?.read(key) ?? .notFound, now: self.time)
        case .lookUp(let token, let commands):
            self.lookUp(commands, token: token)
        case .check(let token, let check):
            self.passwordThreads.submit(check, token: token)
        case .write(let write):
            self.cache?.write(write)
        case .answer(let request, let verdict):
            guard let link = self.links[request.link], link.isOpen else { return }
            verdict.encode(into: &link.output, request: request.handle)
            self.linksToFlush.insert(request.link)
        }
    }

    private func lookUp(_ commands: [[[UInt8]]], token: UInt64) {
        let numbers = self.gatherer.begin(token, count: commands.count)
        for (number, command) in zip(numbers, commands) {
            do throws(RedisFailure) {
                try self.redis.submit(command, token: number, now: self.loop.now)
            } catch {
                guard let lookup = self.gatherer.failed(number) else { continue }
                self.authenticator.lookupFailed(token: lookup, error, now: self.time)
            }
        }
    }

    private func perform(_ action: RedisClient.Action) {
        switch action {
        case .connect: self.transport?.connect()
        case .close: self.transport?.close()
        case .answered(let token, let reply) where DataCheck.isToken(token):
            self.checkAnswered(token, reply)
        case .notAnswered(let token, _) where DataCheck.isToken(token):
            self.checkFailed()
        case .answered(let token, let reply):
            if let text = reply.errorText { self.logRedisError(text) }
            guard let (lookup, replies) = self.gatherer.answered(token, reply) else { return }
            self.authenticator.lookupAnswered(token: lookup, replies, now: self.time)
        case .notAnswered(let token, let failure):
            guard let lookup = self.gatherer.failed(token) else { return }
            self.authenticator.lookupFailed(token: lookup, failure, now: self.time)
        case .lost(let failure):
            self.logger.warning(
                "Redis lost, devices seen before are let in from the cache",
                metadata: ["server": "\(self.serverDescription)", "reason": "\(failure)"]
            )
        case .back(let downNanoseconds):
            self.beginDataCheck()
            self.logger.notice(
                "Redis in use",
                metadata: [
                    "server": "\(self.serverDescription)",
                    "after": "\(downNanoseconds / Nanoseconds.perMillisecond)ms",
                ]
            )
        }
    }

    var serverDescription: String { self.context.configuration.authentication.redis.url.description }

    private func logRedisError(_ text: String) {
        guard let leftOut = self.errorLog.admit(now: self.loop.now) else { return }
        self.logger.warning("Redis answers an error", metadata: ["error": "\(text)", "left_out": "\(leftOut)"])
    }

    private func scheduleTimer() {
        guard self.sourceIsRedis, !self.isStopped else { return }
        let deadlines = [self.redis.nextDeadline] + self.feeds.map(\.nextDeadline)
        guard let deadline = deadlines.compactMap({ $0 }).min() else { return }
        if let timer = self.timer {
            if timer.deadline <= deadline { return }
            self.loop.cancel(timer.timer)
        }
        // What is due is done at the end of the turn that the timer causes.
        let timer = self.loop.schedule(at: deadline) { [weak self] in self?.timer = nil }
        self.timer = (deadline, timer)
    }

    // MARK: Cache

    private func scheduleCacheInspection() {
        guard let cache = self.cache else { return }
        self.loop.schedule(afterNanoseconds: AuthLimits.cacheInspectionNanoseconds) { [weak self] in
            guard let self, !self.isStopped else { return }
            cache.reopenIfNeeded()
            self.scheduleCacheInspection()
        }
    }

    private func takeCacheEvents() {
        guard let cache = self.cache else { return }
        for event in cache.takeEvents() {
            switch event {
            case .replaced(let reason):
                self.logger.error(
                    "authentication cache was damaged and is replaced by an empty one",
                    metadata: ["reason": "\(reason)"]
                )
            case .trouble(let reason):
                self.logger.error(
                    "authentication cache not usable at the moment, authentication goes on without it",
                    metadata: ["reason": "\(reason)"]
                )
            case .works:
                self.logger.notice("authentication cache works again")
            case .refused(let key):
                self.authenticator.storeRefused(key)
            }
        }
    }

    // MARK: Links

    private func take(_ frame: Frame, from link: Link) {
        guard let query = AuthQuery.decode(frame.body) else {
            if let leftOut = self.linkLog.admit(now: self.loop.now) {
                self.logger.error(
                    "link closed, the peer sent a broken query",
                    metadata: ["peer": "\(link.peerDescription)", "not_logged_before": "\(leftOut)"]
                )
            }
            self.links[link.index] = nil
            link.close()
            self.server?.forget(link)
            return
        }
        let request = Authenticator.Request(link: link.index, handle: frame.handle)
        if self.context.configuration.authentication.source == .certificate {
            return self.authenticator.receiveCertificate(query, request: request)
        }
        guard self.sourceIsRedis else {
            let detail = "authentication.source is none, so only listeners with anonymous: true let anybody in"
            let verdict = AuthVerdict(outcome: .deny, reason: .noSuchDevice, detail: Array(detail.utf8))
            verdict.encode(into: &link.output, request: frame.handle)
            self.linksToFlush.insert(link.index)
            return
        }
        self.authenticator.receive(query, request: request, now: self.time)
    }
}

extension AuthWorkerService: LinkDelegate {
    package func linkUp(_ link: Link, peer: LinkHello) {
        link.index = self.nextLink
        self.nextLink += 1
        link.outputBytesMax = AuthLimits.linkOutputBytesMax
        self.links[link.index] = link
        let name = String(decoding: peer.name, as: UTF8.self)
        self.logger.debug("link up", metadata: ["peer": "\(name)"])
    }

    package func link(_ link: Link, received frame: Frame) {
        guard frame.kind == .authQuery else { return }
        self.take(frame, from: link)
    }

    package func linkFinishedReading(_ link: Link) {}

    package func linkDown(_ link: Link, reason: String) {
        self.links[link.index] = nil
        let name = link.peer.map { String(decoding: $0.name, as: UTF8.self) } ?? link.peerDescription
        self.logger.debug("link down", metadata: ["peer": "\(name)", "reason": "\(reason)"])
    }
}

extension AuthWorkerService: RedisTransportDelegate {
    func transportConnected() {
        self.redis.connected(now: self.loop.now)
    }

    func transport(received bytes: UnsafeRawBufferPointer) {
        self.redis.received(bytes, now: self.loop.now)
        // A protocol error closes the connection at once: what follows in the socket is garbage too.
        if case .waiting = self.redis.state { self.transport?.close() }
    }

    func transportFailed(_ failure: RedisFailure) {
        self.redis.failed(failure, now: self.loop.now)
    }
}
