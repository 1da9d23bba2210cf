import Common

/// The Redis of one source, whether that is one server, the master that Sentinels name, or the masters of a Redis Cluster. Commands
/// go in with the key that they are about, answers come out as events.
final class RedisAccess {
    enum Event {
        case answered(token: UInt64, RedisReply)
        case notAnswered(token: UInt64, RedisFailure)
        /// Look-ups on this server are refused from now on. Told once for each reason until `back`.
        case lost(server: String, RedisFailure)
        case back(server: String, downNanoseconds: UInt64)
        case sentinelsLost(RedisFailure)
        /// `masters` are others than before.
        case mastersChanged
    }

    struct Outage {
        var server: String
        var failure: RedisFailure
        var since: Instant
    }

    private let loop: EventLoop
    private let settings: RedisSourceSettings
    let tls: RedisTLS?
    /// The one server, or the master that Sentinels name; nil: a cluster.
    private var main: RedisNode?
    private var sentinel: SentinelConnection?
    /// Failures of the master that the Sentinels' answers account for, or that they were told of.
    private var failuresSeen: UInt64 = 0
    private var cluster: ClusterAccess?
    private var events: [Event] = []

    init(loop: EventLoop, settings: RedisSourceSettings) throws {
        let redis = settings.source.redis
        self.loop = loop
        self.settings = settings
        self.tls = redis.url.usesTLS ? RedisTLS(settings.tls) : nil
        switch redis.topology {
        case .single:
            self.main = try RedisNode(loop: loop, server: redis.url.server, settings: settings, tls: self.tls)
        case .sentinel(let sentinel):
            self.main = try RedisNode(loop: loop, server: nil, settings: settings, tls: self.tls)
            self.sentinel = try SentinelConnection(loop: loop, sentinel: sentinel, settings: settings, tls: self.tls)
        case .cluster(let seeds):
            self.cluster = ClusterAccess(loop: loop, seeds: seeds, settings: settings, tls: self.tls)
        }
    }

    var isCluster: Bool { self.cluster != nil }

    /// The servers that have rows, as far as they are known.
    var masters: [RedisURL.Server] {
        if let cluster = self.cluster { return cluster.masters }
        return [self.main?.server].compactMap { $0 }
    }

    /// All rows can be asked for.
    var isReady: Bool {
        if let cluster = self.cluster { return cluster.isReady }
        return self.main?.client.state == .ready
    }

    /// Some rows can be asked for.
    var isAnyReady: Bool { self.cluster?.isAnyReady ?? self.isReady }

    /// Nil: no node is known to have the key's slot, or there is one server.
    func clusterNode(of key: [UInt8]) -> RedisURL.Server? { self.cluster?.node(of: key) }

    /// Of the server that has been away for the longest; nil: all are there.
    var outage: Outage? { self.cluster?.outage ?? self.main?.outage }

    /// All of them, as events name them.
    var serversAway: Set<String> {
        if let cluster = self.cluster { return cluster.serversAway }
        return Set([self.main?.outage?.server].compactMap { $0 })
    }

    /// A server whose connections break again and again.
    func breaksAgainAndAgain(now: Instant) -> Outage? {
        self.cluster?.breaksAgainAndAgain(now: now) ?? self.main?.breaksAgainAndAgain(now: now)
    }

    /// In words, for the status.
    var description: String {
        if let cluster = self.cluster { return cluster.description }
        guard let main = self.main else { return "" }
        let at = self.sentinel == nil ? "" : ", master \(main.description)"
        if let outage = main.client.outage { return "unavailable: \(outage)\(at)" }
        guard main.server != nil else { return "asking the Sentinels which server is the master" }
        return (main.client.state == .ready ? "in use" : "connecting") + at
    }

    var counters: RedisCounters {
        if let cluster = self.cluster { return cluster.counters }
        return self.main?.client.counters ?? RedisCounters()
    }

    var commandsInFlight: Int { self.cluster?.commandsInFlight ?? self.main?.client.commandsInFlight ?? 0 }
    var commandsQueued: Int { self.cluster?.commandsQueued ?? self.main?.client.commandsQueued ?? 0 }
    /// Of all these, those in the background.
    var commandsInBackground: Int { self.cluster?.commandsInBackground ?? self.main?.client.commandsInBackground ?? 0 }
    var redirections: UInt64? { self.cluster?.redirections }

    var nextDeadline: Instant? {
        if let cluster = self.cluster { return cluster.nextDeadline }
        return [self.main?.client.nextDeadline, self.sentinel?.nextDeadline].compactMap { $0 }.min()
    }

    // MARK: Commands

    /// Takes a command, or says why not; it leaves with the next `flush`.
    ///
    /// - Parameter key: the key that it is about; empty: any server will do.
    func submit(
        _ arguments: [[UInt8]],
        key: [UInt8],
        token: UInt64,
        urgency: CommandUrgency = .client
    ) throws(RedisFailure) {
        if let cluster = self.cluster {
            return try cluster.submit(arguments, key: key, token: token, urgency: urgency)
        }
        try self.main?.client.submit(arguments, token: token, urgency: urgency, now: self.loop.now)
    }

    /// The same to one of `masters`. False: there is no such server.
    func submit(_ arguments: [[UInt8]], to server: RedisURL.Server, token: UInt64) throws(RedisFailure) -> Bool {
        if let cluster = self.cluster { return try cluster.submit(arguments, to: server, token: token) }
        guard let main = self.main, main.server == server else { return false }
        try main.client.submit(arguments, token: token, now: self.loop.now)
        return true
    }

    // MARK: A turn

    /// Does what is due.
    func advance() {
        if let cluster = self.cluster { return cluster.advance() }
        self.main?.advance()
        guard let sentinel = self.sentinel else { return }
        let failures = self.main?.client.counters.failures ?? 0
        if failures > self.failuresSeen {
            self.failuresSeen = failures
            sentinel.masterFailed()
        }
        for action in sentinel.endTurn() {
            switch action {
            case .master(let server):
                self.main?.move(to: server)
                self.failuresSeen = self.main?.client.counters.failures ?? 0
                self.events.append(.mastersChanged)
            case .lost(let failure):
                self.main?.client.serverNotFound(failure)
                self.events.append(.sentinelsLost(failure))
            case .connect, .close:
                break
            }
        }
    }

    /// What happened since the last call.
    func takeEvents() -> [Event] {
        if let cluster = self.cluster { return cluster.takeEvents() }
        if let main = self.main {
            while !main.client.actions.isEmpty {
                let actions = main.client.actions
                main.client.actions = []
                for action in actions { self.perform(action, main) }
            }
        }
        defer { self.events = [] }
        return self.events
    }

    private func perform(_ action: RedisClient.Action, _ node: RedisNode) {
        switch action {
        case .connect: node.connect()
        case .close: node.close()
        case .answered(let token, let reply): self.events.append(.answered(token: token, reply))
        case .notAnswered(let token, let failure): self.events.append(.notAnswered(token: token, failure))
        case .lost(let failure): self.events.append(.lost(server: node.description, failure))
        case .back(let down): self.events.append(.back(server: node.description, downNanoseconds: down))
        }
    }

    /// Writes what waits, once per server.
    func flush() {
        if let cluster = self.cluster { return cluster.flush() }
        self.main?.flush()
    }

    /// Ends it for good; commands without an answer are told as such.
    func stop() {
        self.main?.stop()
        self.cluster?.stop()
    }

    func invalidate() {
        self.main?.invalidate()
        self.sentinel?.stop()
        self.cluster?.invalidate()
    }
}
