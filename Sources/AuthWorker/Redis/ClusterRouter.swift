import Common

/// Sends the commands of a Redis Cluster to the nodes that have their keys, and on to others when slots have moved; without
/// sockets: answers and the time go in, what is to be done comes out.
struct ClusterRouter {
    /// What becomes of an answer.
    enum Step: Equatable {
        /// It is for whoever asked.
        case deliver(RedisReply)
        case fail(RedisFailure)
        /// The command goes to this node; with ASKING in front of it when the slot is on its way there.
        case send(RedisURL.Server, arguments: [[UInt8]], asking: Bool)
        /// It is tried again at `nextRetry`.
        case wait
    }

    private struct Command {
        var arguments: [[UInt8]]
        var slot: Int
        var deadline: Instant
        var redirections = 0
    }

    private(set) var slots = ClusterSlots()
    /// Nodes without a slot in the map that answer for slots on their way to them, and when one sent a command there last.
    private var importing: [RedisURL.Server: Instant] = [:]
    private var mastersMayDiffer = false
    private let queryTimeoutNanoseconds: UInt64
    private var commands: [UInt64: Command] = [:]
    /// Commands for slots that are on their way, in the order in which they are due.
    private var waiting = FirstInFirstOut<(due: Instant, token: UInt64)>()
    /// The map of slots is out of date, or a node is gone.
    private(set) var wantsRefresh = true
    private var lastRefresh: Instant?
    private(set) var redirections: UInt64 = 0

    init(queryTimeoutNanoseconds: UInt64) {
        self.queryTimeoutNanoseconds = queryTimeoutNanoseconds
    }

    var commandsPending: Int { self.commands.count }

    // MARK: The map

    /// All that answer commands: what changes in each of them has to be known.
    var masters: [RedisURL.Server] {
        self.importing.isEmpty ? self.slots.masters : self.slots.masters + self.importing.keys
    }

    /// Whether `masters` may be others than when this was asked last.
    mutating func takeMastersMayDiffer() -> Bool {
        defer { self.mastersMayDiffer = false }
        return self.mastersMayDiffer
    }

    mutating func learned(_ slots: ClusterSlots) {
        self.slots = slots
        for master in slots.masters { self.importing[master] = nil }
        self.mastersMayDiffer = true
        self.wantsRefresh = false
    }

    /// Lets go of nodes that were to get slots and got none; nobody says when a move is given up. Whoever still has rows there is sent there
    /// again.
    ///
    /// - Returns: there were some.
    mutating func dropImporting(now: Instant, where isLost: (RedisURL.Server) -> Bool) -> Bool {
        var hasDropped = false
        for (server, named) in self.importing where now >= Self.importingDue(named, isLost: isLost(server)) {
            self.importing[server] = nil
            self.mastersMayDiffer = true
            hasDropped = true
        }
        return hasDropped
    }

    func nextImportingDue(where isLost: (RedisURL.Server) -> Bool) -> Instant? {
        self.importing.map { Self.importingDue($0.value, isLost: isLost($0.key)) }.min()
    }

    private static func importingDue(_ named: Instant, isLost: Bool) -> Instant {
        named &+ (isLost ? AuthLimits.clusterImportingLostNanoseconds : AuthLimits.clusterImportingNanoseconds)
    }

    private mutating func noteImporting(_ server: RedisURL.Server, now: Instant) {
        if self.importing[server] == nil {
            let masters = self.slots.masters
            guard !masters.contains(server), masters.count + self.importing.count < AuthLimits.clusterNodesMax else {
                return
            }
            self.mastersMayDiffer = true
        }
        self.importing[server] = now
    }

    /// A node is gone, or one answered that it does not have what the map says.
    mutating func doubtMap() {
        self.wantsRefresh = true
    }

    /// Whether CLUSTER SLOTS may be asked now; notes that it is.
    mutating func beginRefresh(now: Instant, isUrgent: Bool = false) -> Bool {
        guard self.wantsRefresh, isUrgent || now >= self.refreshDue else { return false }
        self.lastRefresh = now
        return true
    }

    var refreshDue: Instant { self.lastRefresh.map { $0 &+ AuthLimits.clusterRefreshNanoseconds } ?? 0 }

    // MARK: Commands

    /// The node for a new command.
    mutating func begin(_ arguments: [[UInt8]], key: [UInt8], token: UInt64, now: Instant) -> RedisURL.Server? {
        let slot = ClusterSlots.slot(of: key)
        guard let server = self.slots.master(of: slot) else {
            self.doubtMap()
            return nil
        }
        self.commands[token] = Command(
            arguments: arguments,
            slot: slot,
            deadline: now &+ self.queryTimeoutNanoseconds
        )
        return server
    }

    /// The command did not leave.
    mutating func forget(_ token: UInt64) {
        self.commands[token] = nil
    }

    mutating func answered(_ token: UInt64, _ reply: RedisReply, by server: RedisURL.Server, now: Instant) -> Step {
        guard var command = self.commands.removeValue(forKey: token) else { return .deliver(reply) }
        guard let text = reply.errorText else { return .deliver(reply) }
        if text.hasPrefix("TRYAGAIN") || text.hasPrefix("CLUSTERDOWN") {
            self.doubtMap()
            guard now &+ AuthLimits.clusterRetryNanoseconds < command.deadline else { return .deliver(reply) }
            self.commands[token] = command
            self.waiting.append((now &+ AuthLimits.clusterRetryNanoseconds, token))
            return .wait
        }
        let isAsk = text.hasPrefix("ASK ")
        guard isAsk || text.hasPrefix("MOVED "), let target = Self.target(text, asked: server) else {
            return .deliver(reply)
        }
        command.redirections += 1
        self.redirections += 1
        guard command.redirections <= AuthLimits.clusterRedirectionsMax, now < command.deadline else {
            return .fail(.unavailable("the nodes of the cluster send the command to one another"))
        }
        if isAsk {
            self.noteImporting(target, now: now)
        } else {
            self.slots.move(command.slot, to: target)
            self.importing[target] = nil
            self.mastersMayDiffer = true
            self.doubtMap()
        }
        // What changes there could not be learned.
        guard self.importing[target] != nil || self.slots.masters.contains(target) else {
            return .fail(.unavailable("more than \(AuthLimits.clusterNodesMax) nodes of the cluster answer commands"))
        }
        self.commands[token] = command
        return .send(target, arguments: command.arguments, asking: isAsk)
    }

    /// `MOVED 3999 127.0.0.1:6381`
    private static func target(_ text: String, asked: RedisURL.Server) -> RedisURL.Server? {
        let words = text.split(separator: " ")
        guard words.count >= 3, let colon = words[2].lastIndex(of: ":"),
            let port = UInt16(words[2][words[2].index(after: colon)...])
        else { return nil }
        return ClusterSlots.server(Array(words[2][..<colon].utf8), port, asked: asked)
    }

    /// Commands whose waiting is over, with their nodes.
    mutating func takeRetries(now: Instant) -> [(token: UInt64, server: RedisURL.Server?, arguments: [[UInt8]])] {
        var due: [(token: UInt64, server: RedisURL.Server?, arguments: [[UInt8]])] = []
        while let first = self.waiting.first, first.due <= now, let (_, token) = self.waiting.popFirst() {
            guard let command = self.commands[token] else { continue }
            due.append((token, self.slots.master(of: command.slot), command.arguments))
        }
        return due
    }

    var nextRetry: Instant? { self.waiting.first?.due }
}
