import Common

/// The connections to the nodes of a Redis Cluster: one to each master, each with a pipeline of its own.
final class ClusterAccess {
    /// Tokens of commands of our own; others are below.
    private static let slotsToken = UInt64.max
    private static let askingToken = UInt64.max - 1

    private struct Early {
        var arguments: [[UInt8]]
        var key: [UInt8]
        var token: UInt64
        var urgency: CommandUrgency
    }

    private let loop: EventLoop
    private let settings: RedisSourceSettings
    private let tls: RedisTLS?
    private let seeds: [RedisURL.Server]
    private var router: ClusterRouter
    private var nodes: [RedisURL.Server: RedisNode] = [:]
    private var nextSeed = 0
    private var nextMaster = 0
    /// As the last `mastersChanged` told.
    private var mastersTold: Set<RedisURL.Server> = []
    private var isAskingForSlots = false
    /// Whether there has been a map, or all seeds were asked in vain: until then commands wait.
    private var hasBegun = false
    private var failedAttempts = 0
    private var early: [Early] = []
    private var events: [RedisAccess.Event] = []
    /// Of nodes that are gone.
    private var formerCounters = RedisCounters()
    private var isStopped = false

    init(loop: EventLoop, seeds: [RedisURL.Server], settings: RedisSourceSettings, tls: RedisTLS?) {
        self.loop = loop
        self.seeds = seeds
        self.settings = settings
        self.tls = tls
        self.router = ClusterRouter(queryTimeoutNanoseconds: settings.redis.queryTimeoutNanoseconds)
    }

    // MARK: State

    var masters: [RedisURL.Server] { self.router.masters }

    var isReady: Bool {
        !self.masters.isEmpty && self.masters.allSatisfy { self.nodes[$0]?.client.state == .ready }
    }

    var isAnyReady: Bool { self.masters.contains { self.nodes[$0]?.client.state == .ready } }

    /// The master that has the key's slot, as far as it is known.
    func node(of key: [UInt8]) -> RedisURL.Server? { self.router.slots.master(of: ClusterSlots.slot(of: key)) }

    /// Without a map of the slots, of those that were asked for one.
    var outage: RedisAccess.Outage? {
        let nodes = self.masters.isEmpty ? Array(self.nodes.values) : self.masters.compactMap { self.nodes[$0] }
        return nodes.compactMap(\.outage).min { $0.since < $1.since }
    }

    var serversAway: Set<String> { Set(self.nodes.values.compactMap { $0.outage?.server }) }

    func breaksAgainAndAgain(now: Instant) -> RedisAccess.Outage? {
        self.masters.lazy.compactMap { self.nodes[$0]?.breaksAgainAndAgain(now: now) }.first
    }

    var description: String {
        let ready = self.masters.count { self.nodes[$0]?.client.state == .ready }
        guard !self.masters.isEmpty else {
            let reason = self.nodes.values.compactMap { $0.client.outage }.first
            return reason.map { "unavailable: \($0)" } ?? "connecting"
        }
        if ready == self.masters.count { return "in use, \(ready) masters" }
        return "\(ready) of \(self.masters.count) masters in use"
    }

    var counters: RedisCounters {
        self.nodes.values.reduce(into: self.formerCounters) { $0.add($1.client.counters) }
    }
    var commandsInFlight: Int { self.nodes.values.reduce(0) { $0 + $1.client.commandsInFlight } }
    var commandsQueued: Int { self.nodes.values.reduce(self.early.count) { $0 + $1.client.commandsQueued } }
    var commandsInBackground: Int {
        self.nodes.values.reduce(self.early.count { $0.urgency == .background }) { $0 + $1.client.commandsInBackground }
    }
    var redirections: UInt64 { self.router.redirections }

    var nextDeadline: Instant? {
        var deadlines = self.nodes.values.compactMap { $0.client.nextDeadline }
        if self.router.wantsRefresh, !self.isAskingForSlots {
            deadlines.append(self.hasBegun ? self.router.refreshDue : self.loop.now)
        }
        if let retry = self.router.nextRetry { deadlines.append(retry) }
        if let due = self.router.nextImportingDue(where: self.isLost) { deadlines.append(due) }
        return deadlines.min()
    }

    private func isLost(_ server: RedisURL.Server) -> Bool { self.nodes[server]?.client.outage != nil }

    private func node(_ server: RedisURL.Server) throws(RedisFailure) -> RedisNode {
        if let node = self.nodes[server] { return node }
        do throws(SystemError) {
            let node = try RedisNode(loop: self.loop, server: server, settings: self.settings, tls: self.tls)
            self.nodes[server] = node
            return node
        } catch {
            throw .connect(error.description)
        }
    }

    // MARK: Commands

    func submit(
        _ arguments: [[UInt8]],
        key: [UInt8],
        token: UInt64,
        urgency: CommandUrgency
    ) throws(RedisFailure) {
        guard !self.isStopped else { throw .stopped }
        guard self.hasBegun else {
            guard self.early.count < self.settings.redis.queueMax else { throw .overloaded }
            self.early.append(Early(arguments: arguments, key: key, token: token, urgency: urgency))
            return
        }
        guard let server = self.router.begin(arguments, key: key, token: token, now: self.loop.now) else {
            throw .unavailable("no node of the cluster has the key's slot")
        }
        do throws(RedisFailure) {
            try self.send(arguments, token: token, to: server, urgency: urgency)
        } catch {
            self.router.forget(token)
            throw error
        }
    }

    /// Goes to this node and to no other, whatever it says.
    func submit(_ arguments: [[UInt8]], to server: RedisURL.Server, token: UInt64) throws(RedisFailure) -> Bool {
        guard let node = self.nodes[server], !self.isStopped else { return false }
        try node.client.submit(arguments, token: token, now: self.loop.now)
        return true
    }

    /// - Parameter urgency: that of a command which is sent on is a client's: it has waited for its turn.
    private func send(
        _ arguments: [[UInt8]],
        token: UInt64,
        to server: RedisURL.Server,
        asking: Bool = false,
        urgency: CommandUrgency = .client
    ) throws(RedisFailure) {
        let node = try self.node(server)
        do throws(RedisFailure) {
            // ASKING holds for the next command on the connection only.
            if asking {
                let command = [Array("ASKING".utf8)]
                try node.client.submit(command, token: Self.askingToken, leadsNext: true, now: self.loop.now)
            }
            try node.client.submit(arguments, token: token, urgency: urgency, now: self.loop.now)
        } catch {
            self.router.doubtMap()
            throw error
        }
    }

    private func begin() {
        guard !self.hasBegun else { return }
        self.hasBegun = true
        let early = self.early
        self.early = []
        for command in early {
            do throws(RedisFailure) {
                try self.submit(
                    command.arguments,
                    key: command.key,
                    token: command.token,
                    urgency: command.urgency
                )
            } catch {
                self.events.append(.notAnswered(token: command.token, error))
            }
        }
    }

    // MARK: A turn

    func advance() {
        guard !self.isStopped else { return }
        let now = self.loop.now
        for node in self.nodes.values { node.advance() }
        for retry in self.router.takeRetries(now: now) {
            do throws(RedisFailure) {
                guard let server = retry.server else { throw .unavailable("no node of the cluster has the key's slot") }
                try self.send(retry.arguments, token: retry.token, to: server)
            } catch {
                self.router.forget(retry.token)
                self.events.append(.notAnswered(token: retry.token, error))
            }
        }
        if self.router.dropImporting(now: now, where: self.isLost) { self.dropFormerNodes() }
        self.refreshIfNeeded()
    }

    /// The masters take turns: one may not have heard of a change yet, or be a member no more. Nil: none answers. Others that answer are not
    /// preferred to the rest of those that the configuration names: they may have been taken out of the cluster.
    private func nodeToAsk() -> RedisURL.Server? {
        let ready = self.masters.filter { self.nodes[$0]?.client.state == .ready }
        guard !ready.isEmpty else { return nil }
        self.nextMaster = (self.nextMaster + 1) % ready.count
        return ready[self.nextMaster]
    }

    /// Asks a node that answers, or else one after the other of those that the configuration names.
    private func refreshIfNeeded() {
        guard !self.isAskingForSlots, self.router.beginRefresh(now: self.loop.now, isUrgent: !self.hasBegun) else {
            return
        }
        let ready = self.nodeToAsk()
        let server = ready ?? self.seeds[self.nextSeed % self.seeds.count]
        self.nextSeed += ready == nil ? 1 : 0
        self.isAskingForSlots = true
        do throws(RedisFailure) {
            let node = try self.node(server)
            let command = ["CLUSTER", "SLOTS"].map { Array($0.utf8) }
            try node.client.submit(command, token: Self.slotsToken, now: self.loop.now)
        } catch {
            self.slotsNotKnown()
        }
    }

    private func slotsNotKnown() {
        self.isAskingForSlots = false
        self.router.doubtMap()
        self.failedAttempts += 1
        if self.failedAttempts >= self.seeds.count { self.begin() }
    }

    private func learned(_ reply: RedisReply, from server: RedisURL.Server) {
        self.isAskingForSlots = false
        let slots: ClusterSlots
        do throws(RedisFailure) {
            slots = try ClusterSlots(reply, asked: server)
        } catch {
            self.events.append(.lost(server: server.description, error))
            return self.slotsNotKnown()
        }
        // A node that was taken out of the cluster knows of no slots.
        guard !slots.masters.isEmpty else { return self.slotsNotKnown() }
        self.router.learned(slots)
        for master in slots.masters { _ = try? self.node(master) }
        self.dropFormerNodes()
        self.begin()
        // A master that is gone has a successor some time later.
        if !self.masters.allSatisfy({ self.nodes[$0]?.client.outage == nil }) { self.router.doubtMap() }
    }

    private func dropFormerNodes() {
        guard !self.masters.isEmpty else { return }
        let masters = Set(self.masters)
        for (server, node) in self.nodes where !masters.contains(server) {
            guard node.client.commandsInFlight == 0, node.client.commandsQueued == 0 else { continue }
            self.formerCounters.add(node.client.counters)
            node.stop()
            node.client.actions = []
            node.close()
            node.invalidate()
            self.nodes[server] = nil
        }
    }

    func takeEvents() -> [RedisAccess.Event] {
        var goesOn = true
        while goesOn {
            goesOn = false
            for (server, node) in self.nodes where !node.client.actions.isEmpty {
                goesOn = true
                let actions = node.client.actions
                node.client.actions = []
                for action in actions { self.perform(action, node, server) }
            }
        }
        self.tellMasters()
        defer { self.events = [] }
        return self.events
    }

    /// Whatever made them others: a map, or a node that sent a command on to one that no map has named yet.
    private func tellMasters() {
        guard self.router.takeMastersMayDiffer() else { return }
        let masters = Set(self.masters)
        guard masters != self.mastersTold else { return }
        self.mastersTold = masters
        self.events.append(.mastersChanged)
    }

    private func perform(_ action: RedisClient.Action, _ node: RedisNode, _ server: RedisURL.Server) {
        switch action {
        case .connect: node.connect()
        case .close: node.close()
        case .answered(Self.askingToken, _), .notAnswered(Self.askingToken, _): break
        case .answered(Self.slotsToken, let reply): self.learned(reply, from: server)
        case .notAnswered(Self.slotsToken, _): self.slotsNotKnown()
        case .answered(let token, let reply): self.answered(token, reply, server)
        case .notAnswered(let token, let failure):
            self.router.forget(token)
            self.events.append(.notAnswered(token: token, failure))
        case .lost(let failure):
            self.router.doubtMap()
            self.events.append(.lost(server: server.description, failure))
        case .back(let down):
            self.events.append(.back(server: server.description, downNanoseconds: down))
        }
    }

    private func answered(_ token: UInt64, _ reply: RedisReply, _ server: RedisURL.Server) {
        switch self.router.answered(token, reply, by: server, now: self.loop.now) {
        case .deliver(let reply):
            self.events.append(.answered(token: token, reply))
        case .fail(let failure):
            self.events.append(.notAnswered(token: token, failure))
        case .wait:
            break
        case .send(let target, let arguments, let asking):
            do throws(RedisFailure) {
                try self.send(arguments, token: token, to: target, asking: asking)
            } catch {
                self.router.forget(token)
                self.events.append(.notAnswered(token: token, error))
            }
        }
    }

    func flush() {
        for node in self.nodes.values { node.flush() }
    }

    func stop() {
        self.isStopped = true
        for command in self.early { self.events.append(.notAnswered(token: command.token, .stopped)) }
        self.early = []
        for node in self.nodes.values { node.stop() }
    }

    func invalidate() {
        for node in self.nodes.values { node.invalidate() }
    }
}
