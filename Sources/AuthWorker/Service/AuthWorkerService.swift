import Common
import Glibc
import Logging

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
    private var chain: SourceChain
    /// One for each source of the configuration.
    private(set) var sources: [Source] = []
    private var server: LinkServer?
    private var linkLog = ErrorLogLimiter()
    private var accessLog = ErrorLogLimiter()
    private var links: [Int: Link] = [:]
    private var linksToFlush: Set<Int> = []
    private var nextLink = 1
    private var timer: (deadline: Instant, timer: EventLoop.Timer)?
    private var isStopped = false
    /// The last ones, for `martlet why`.
    private(set) var decisions = RecentRing<DecisionRecord>(capacity: AuthLimits.decisionsKept)
    /// By link: what let in the live session that its next query is about.
    private var admitted: [Int: (request: UInt64, keyHash: UInt64)] = [:]
    /// Queries without their verdicts.
    private var underWay: [Authenticator.Request: DecisionRecord] = [:]
    private var scratch = ByteBuffer()

    enum Source {
        case redis(RedisSource)
        case certificate(CertificateSource)
        case embedded(EmbeddedSource)
        case none
    }

    /// - Throws: mistakes of the configuration, as a sentence.
    package init(_ context: RoleContext) throws {
        self.context = context
        self.logger = context.logger
        self.loop = context.loop
        let authentication = context.configuration.authentication
        self.settings = try AuthWorkerSettings(context.configuration, name: context.name)
        self.hello = LinkHello(
            role: .authWorker,
            bootID: RoleProcess.makeBootID(),
            name: Array(context.name.utf8)
        )
        self.chain = SourceChain(
            authentication.sources.map { source in
                SourceChain.Member(
                    onFailure: source.onFailure,
                    listeners: source.listeners.map { Array($0.utf8) },
                    asksForCertificate: source.certificatePlaceholder != nil
                )
            }
        )
        for (index, source) in authentication.sources.enumerated() {
            switch (source.kind, self.settings.redisSources[index]) {
            case (.redis, let settings?):
                self.sources.append(.redis(try RedisSource(settings, index: index, service: self)))
            case (.certificate, _):
                self.sources.append(.certificate(CertificateSource(ruleSets: self.settings.ruleSets)))
            case (.embedded, _):
                guard let settings = self.settings.embeddedSources[index] else { continue }
                self.sources.append(.embedded(try EmbeddedSource(settings, index: index, service: self)))
            case (.redis, nil), (.none, _):
                self.sources.append(.none)
            }
        }
    }

    var redisSources: [RedisSource] {
        self.sources.compactMap { if case .redis(let source) = $0 { source } else { nil } }
    }

    // MARK: Role

    package func start() throws {
        for source in self.redisSources { try source.start() }
        for case .embedded(let source) in self.sources { source.start() }
        self.warnOfTrustedNames()
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
        self.endTurn()
    }

    private func warnOfTrustedNames() {
        let configuration = self.context.configuration
        for source in configuration.authentication.sources where source.trustsNames {
            for listener in configuration.listeners
            where !listener.anonymous && listener.clientCertificate != .required && source.isAsked(about: listener.name)
            {
                self.logger.warning(
                    "whoever knows a name gets in: password_hash is none, the command asks for nothing of a certificate, and none is required",
                    metadata: ["listener": "\(listener.name)", "command": "\(source.command)"]
                )
            }
        }
    }

    /// The TLS files of each Redis are read again; passwords are with each connection. What else has changed waits for a restart.
    package func reload(_ configuration: Configuration) {
        for source in self.redisSources { source.reloadCertificates() }
    }

    package func stop() {
        guard !self.isStopped else { return }
        self.server?.close()
        for source in self.redisSources { source.stopAsking() }
        self.flushLinks()
        self.isStopped = true
        if let timer = self.timer { self.loop.cancel(timer.timer) }
        for link in self.links.values {
            link.flush()
            link.close()
        }
        self.links = [:]
        for source in self.redisSources { source.stop() }
        for case .embedded(let source) in self.sources { source.stop() }
        self.loop.stop()
    }

    package func status() -> StatusReport {
        for source in self.redisSources { source.mendPages() }
        var report = StatusReport()
        report.add("links", self.links.count)
        report.add("heap_bytes", HeapUsage.bytes)
        if let problem = self.server?.problem { report.add("alarm", "listeners cannot connect: \(problem)") }
        for (source, configuration) in zip(self.sources, self.context.configuration.authentication.sources) {
            var lines = StatusReport()
            switch source {
            case .redis(let source):
                source.addStatus(to: &lines)
            case .certificate(let source):
                lines.add("queries", source.counters.queries)
                lines.add("allowed_by_certificate", source.counters.allowedByCertificate)
                source.counters.reportRefusals(into: &lines)
                lines.add("rules_dropped", source.counters.rulesDropped)
            case .embedded(let source):
                lines.add("devices", source.status)
                if let problem = source.lastProblem {
                    lines.add("alarm", "the file of devices cannot be read, nobody new is let in by it: \(problem)")
                }
                let counters = source.counters
                lines.add("queries", counters.queries)
                lines.add("allowed", counters.allowedByRedis)
                counters.reportRefusals(into: &lines)
                lines.add("slow_password_checks", counters.slowChecks)
                lines.add("slow_password_checks_dropped", counters.slowChecksDropped)
            case .none:
                break
            }
            let prefix = configuration.name.isEmpty ? "" : "\(configuration.name)."
            for line in lines.lines { report.add("\(prefix)\(line.name)", line.value) }
        }
        return report
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
        // A query goes from a source only to a later one, which has its turn after it.
        for source in self.sources {
            switch source {
            case .redis(let source): source.endTurn()
            case .embedded(let source): source.endTurn()
            case .certificate, .none: break
            }
        }
        self.flushLinks()
        self.scheduleTimer()
    }

    private func flushLinks() {
        for index in self.linksToFlush { self.links[index]?.flush() }
        self.linksToFlush.removeAll(keepingCapacity: true)
    }

    private func scheduleTimer() {
        guard !self.isStopped else { return }
        var earliest: Instant?
        for case .redis(let source) in self.sources {
            if let deadline = source.nextDeadline { earliest = min(deadline, earliest ?? deadline) }
        }
        guard let deadline = earliest else { return }
        if let timer = self.timer {
            if timer.deadline <= deadline { return }
            self.loop.cancel(timer.timer)
        }
        // What is due is done at the end of the turn that the timer causes.
        let timer = self.loop.schedule(at: deadline) { [weak self] in self?.timer = nil }
        self.timer = (deadline, timer)
    }

    // MARK: Sources

    /// A source has decided about a query.
    func sourceAnswered(_ request: Authenticator.Request, _ verdict: AuthVerdict, from source: Int) {
        // The first one's need no change: most have no other.
        guard source > 0 else { return self.perform(self.answered(request, verdict), request) }
        var verdict = verdict
        verdict.keyHash = SourceChain.keyHash(verdict.keyHash, of: source)
        verdict.relatedKeyHashes = verdict.relatedKeyHashes.map { SourceChain.keyHash($0, of: source) }
        self.perform(self.answered(request, verdict), request)
    }

    private func answered(_ request: Authenticator.Request, _ verdict: AuthVerdict) -> SourceChain.Step {
        if self.sources.count > 1, let record = self.underWay[request], let source = record.source {
            record.heard(self.chain.answer(of: source, verdict))
        }
        return self.chain.answered(request, verdict)
    }

    /// An access row of a device was not understood.
    func reportAccess(_ key: LookupKey, _ mistake: AccessRowRules.Mistake, _ logger: Logger) {
        guard let leftOut = self.accessLog.admit(now: self.loop.now) else { return }
        logger.warning(
            "access row not understood, \(mistake.text)\(mistake.others)",
            metadata: [
                "key": "\(String(decoding: key.redisKey, as: UTF8.self))",
                "filter": "\(mistake.filter)",
                "access": "\(mistake.access)",
                "not_logged_before": "\(leftOut)",
            ]
        )
    }

    private func perform(_ first: SourceChain.Step, _ request: Authenticator.Request) {
        var step = first
        while true {
            switch step {
            case .final(var verdict, let consulted):
                self.record(&verdict, request)
                guard let link = self.links[request.link], link.isOpen else { return }
                let hashes = consulted.keyHashes
                if !hashes.isEmpty {
                    AuthConsulted(keyHashes: hashes).encode(into: &link.output, request: request.handle)
                }
                verdict.encode(into: &link.output, request: request.handle)
                if consulted.hasChanged {
                    AuthChanged(all: false, keyHashes: Array(hashes.prefix(1))).encode(into: &link.output)
                }
                self.linksToFlush.insert(request.link)
                return
            case .ask(let index, let query):
                self.underWay[request]?.source = index
                guard let verdict = self.ask(index, query, request) else { return }
                step = self.answered(request, verdict)
            }
        }
    }

    /// Of several sources, a refusal tells the listener's log what each of them said.
    private func record(_ verdict: inout AuthVerdict, _ request: Authenticator.Request) {
        guard let record = self.underWay.removeValue(forKey: request) else { return }
        record.decide(verdict, now: self.loop.now, wallNanoseconds: Clock.wall())
        self.decisions.append(record)
        guard verdict.outcome != .allow, !record.answers.isEmpty else { return }
        let names = self.context.configuration.authentication.sources.map(\.name)
        verdict.detail = SourceAnswer.account(record.answers, names: names)
    }

    /// Nil: the source answers later.
    private func ask(_ index: Int, _ query: AuthQuery, _ request: Authenticator.Request) -> AuthVerdict? {
        switch self.sources[index] {
        case .redis(let source):
            source.receive(query, request)
            return nil
        case .embedded(let source):
            source.receive(query, request)
            return nil
        case .certificate(var source):
            let verdict = source.verdict(query)
            self.sources[index] = .certificate(source)
            return verdict
        case .none:
            let detail = "authentication.source is none, so only listeners with anonymous: true let anybody in"
            return AuthVerdict(outcome: .deny, reason: .noSuchDevice, detail: Array(detail.utf8))
        }
    }

    // MARK: Changes

    func announce(_ hashes: [UInt64], of source: Int) {
        var rest = hashes.map { SourceChain.keyHash($0, of: source) }[...]
        while !rest.isEmpty {
            let part = AuthChanged(all: false, keyHashes: Array(rest.prefix(AuthChanged.keysMax)))
            rest = rest.dropFirst(AuthChanged.keysMax)
            self.announce(part)
        }
    }

    func announce(_ change: AuthChanged) {
        self.chain.changed(change.all ? nil : change.keyHashes)
        for (index, link) in self.links where link.isOpen && link.peer?.role == .listener {
            change.encode(into: &link.output)
            self.linksToFlush.insert(index)
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
            self.admitted[link.index] = nil
            link.close()
            self.server?.forget(link)
            return
        }
        let request = Authenticator.Request(link: link.index, handle: frame.handle)
        self.underWay[request] = DecisionRecord(query, scratch: &self.scratch, now: self.loop.now)
        let admitted = self.admitted.removeValue(forKey: link.index)
        let admittedBy = query.revalidatedTag != nil && admitted?.request == frame.handle ? admitted?.keyHash : nil
        self.perform(self.chain.begin(query, request, admittedBy: admittedBy ?? 0), request)
    }
}

extension AuthWorkerService: LinkDelegate {
    package func linkUp(_ link: Link, peer: LinkHello) {
        link.index = self.nextLink
        self.nextLink += 1
        link.outputBytesMax = AuthLimits.linkOutputBytesMax
        self.links[link.index] = link
        if peer.role == .listener {
            // What changed before the link was there could not be told.
            AuthChanged(all: true).encode(into: &link.output)
            self.linksToFlush.insert(link.index)
        }
        let name = String(decoding: peer.name, as: UTF8.self)
        self.logger.debug("link up", metadata: ["peer": "\(name)"])
    }

    package func link(_ link: Link, received frame: Frame) {
        switch frame.kind {
        case .authQuery: self.take(frame, from: link)
        case .authAdmitted:
            self.admitted[link.index] = AuthAdmitted.decode(frame.body).map { (frame.handle, $0.keyHash) }
        case .authPing:
            link.output.writeFrameHeader(.authPong, handle: 0, bodyBytes: 0)
            self.linksToFlush.insert(link.index)
        default: break
        }
    }

    package func linkFinishedReading(_ link: Link) {}

    package func linkDown(_ link: Link, reason: String) {
        self.links[link.index] = nil
        self.admitted[link.index] = nil
        let name = link.peer.map { String(decoding: $0.name, as: UTF8.self) } ?? link.peerDescription
        self.logger.debug("link down", metadata: ["peer": "\(name)", "reason": "\(reason)"])
    }
}
