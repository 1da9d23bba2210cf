import Common

/// The connection on which one Redis server tells what has changed, without the socket: bytes, events and the time go in; bytes
/// and actions come out.
///
/// Server-assisted client caching is turned on with the connection itself as the target (RESP2 delivers to a Pub/Sub channel),
/// because a target that is another connection can break without a sign. It has to answer a PING every 250 ms; after a second of
/// silence it counts as lost.
///
/// ```
///  CLIENT ID ─▶ CLIENT TRACKING ON REDIRECT id BCAST PREFIX … ─▶ SUBSCRIBE __redis__:invalidate ─▶ active (tracking)
///       └ refused ─────────┴─────────────────────────────────────────┴─▶ CONFIG GET notify-keyspace-events
///                                                 on: PSUBSCRIBE __keyspace@n__:… ─▶ active (keyspace)
///                                       off, refused: SUBSCRIBE martlet:revoke ────▶ active (channel, poll)
/// ```
package struct InvalidationSubscriber: ~Copyable {
    package typealias Mode = Configuration.Authentication.Redis.Invalidation

    /// How changes are learned.
    package enum Method: String, Equatable, Sendable {
        case tracking
        case keyspace
        /// Only what is published on `martlet:revoke`.
        case channel
        /// Nothing is announced: all rows are taken as changed from time to time.
        case poll
    }

    package enum Action: Equatable, Sendable {
        case connect
        case close
        /// Changes are told from now on. `refused` says why a better method is not used.
        case active(Method, refused: [String])
        /// Redis names these keys as changed.
        case changed([[UInt8]])
        /// All keys were removed.
        case flushed
        /// No changes are told any more; not told for attempts that fail before `active`.
        case lost(RedisFailure)
    }

    package static let revocationChannel = Array("martlet:revoke".utf8)
    private static let trackingChannel = Array("__redis__:invalidate".utf8)

    private enum Step: Equatable {
        case greeting(RedisGreeting.Step)
        case identify
        case track
        case notifications
        case subscribe(Method)
        case subscribeRevocations
        case ping(sentAt: Instant)
    }

    private enum State: Equatable {
        case waiting(until: Instant)
        case connecting(deadline: Instant)
        case handshaking(deadline: Instant)
        case active
        case stopped
    }

    package var output = ByteBuffer()
    /// To be taken and performed after each call, in this order.
    package var actions: [Action] = []
    package private(set) var method: Method?
    private var state: State
    private var settings: RedisClient.Settings
    private let mode: Mode
    private let prefixes: [[UInt8]]
    private var random: any RandomNumberGenerator
    private var reader = RedisReplyReader()
    private var expected = FirstInFirstOut<Step>()
    private var refused: [String] = []
    private var chosen: Method = .poll
    private var backoff = Backoff(
        initialNanoseconds: AuthLimits.reconnectInitialNanoseconds,
        maximumNanoseconds: AuthLimits.reconnectMaximumNanoseconds
    )
    private var lastHeard: Instant = 0
    /// When `advance` was called last, and whether what it missed was accounted for since something was heard.
    private var lastTurn: Instant = 0
    private var isExcused = false
    /// The question of the last PING that was answered.
    private var heardAt: Instant = 0
    /// When the server was asked last whether it announces keyspace events, and does; `.max`: it cannot be asked, or need not.
    var eventsSeenAt = Instant.max
    private(set) var activeSince: Instant = 0
    /// Changes have been told by keyspace events at some time.
    private(set) var hadKeyspaceEvents = false
    /// What has changed before this moment was told, since `active`.
    package var provenAt: Instant { min(self.heardAt, self.eventsSeenAt) }
    private var nextPing: Instant = 0

    /// - Parameter prefixes: what the keys of interest begin with; see `merge`.
    package init(
        settings: RedisClient.Settings,
        mode: Mode,
        prefixes: [[UInt8]],
        random: any RandomNumberGenerator,
        now: Instant
    ) {
        self.settings = settings
        self.mode = mode
        self.prefixes = Self.merge(prefixes)
        self.random = random
        self.state = mode == .off ? .stopped : .waiting(until: now)
    }

    /// Without those that another one covers: Redis refuses prefixes that overlap.
    package static func merge(_ prefixes: [[UInt8]]) -> [[UInt8]] {
        var kept: [[UInt8]] = []
        for prefix in prefixes.sorted(by: { $0.count < $1.count })
        where !kept.contains(where: { prefix.starts(with: $0) }) {
            kept.append(prefix)
        }
        return kept
    }

    /// Another password from the next connection on.
    package mutating func setPassword(_ password: [UInt8]?) {
        self.settings.password = password
    }

    package var isActive: Bool { self.state == .active }

    /// When `advance` has to be called at the latest.
    package var nextDeadline: Instant? {
        switch self.state {
        case .waiting(let until): until
        case .connecting(let deadline), .handshaking(let deadline): deadline
        case .active: min(self.nextPing, self.lastHeard &+ AuthLimits.subscriptionSilenceNanoseconds)
        case .stopped: nil
        }
    }

    // MARK: Events of the connection

    package mutating func connected(now: Instant) {
        guard case .connecting = self.state else { return }
        self.state = .handshaking(deadline: now &+ self.settings.connectTimeoutNanoseconds)
        self.reader = RedisReplyReader()
        self.expected = FirstInFirstOut()
        self.refused = []
        self.eventsSeenAt = .max
        for command in RedisGreeting.commands(self.settings, name: "\(self.settings.clientName)-changes") {
            self.send(.greeting(command.step), command.arguments)
        }
        switch self.mode {
        case .auto, .tracking: self.send(.identify, "CLIENT", "ID")
        case .keyspace: self.send(.notifications, "CONFIG", "GET", "notify-keyspace-events")
        case .channel: self.subscribeRevocations(.channel)
        case .poll, .off: self.subscribeRevocations(.poll)
        }
    }

    private mutating func send(_ step: Step, _ words: String...) {
        self.send(step, words.map { Array($0.utf8) })
    }

    private mutating func send(_ step: Step, _ arguments: [[UInt8]]) {
        RedisCommand.write(arguments, into: &self.output)
        self.expected.append(step)
    }

    private mutating func subscribeRevocations(_ method: Method) {
        self.chosen = method
        self.send(.subscribeRevocations, [Array("SUBSCRIBE".utf8), Self.revocationChannel])
    }

    package mutating func received(_ bytes: UnsafeRawBufferPointer, now: Instant) {
        switch self.state {
        case .handshaking, .active: break
        case .waiting, .connecting, .stopped: return
        }
        self.lastHeard = now
        self.isExcused = false
        do throws(RedisFailure) {
            self.reader.feed(bytes)
            while let reply = try self.reader.next() { try self.take(reply, now: now) }
        } catch {
            self.failed(error, now: now)
        }
    }

    private mutating func take(_ reply: RedisReply, now: Instant) throws(RedisFailure) {
        if case .array(let elements) = reply, case .bulk(let kind)? = elements.first {
            if kind == Array("message".utf8) || kind == Array("pmessage".utf8) { return self.takeMessage(elements) }
        }
        guard let step = self.expected.popFirst() else {
            throw .protocolError("an answer came that nothing was asked for")
        }
        try self.take(reply, of: step, now: now)
    }

    private mutating func take(_ reply: RedisReply, of step: Step, now: Instant) throws(RedisFailure) {
        let text = reply.errorText
        switch step {
        case .greeting, .ping: break
        case .identify, .track, .notifications, .subscribe, .subscribeRevocations:
            if let text, !Self.isLasting(text) { throw .refused(text) }
        }
        switch step {
        case .greeting(let step):
            try RedisGreeting.check(reply, to: step)
        case .identify:
            guard case .integer(let number) = reply else { return self.refuse("CLIENT ID", text, next: .keyspace) }
            var command = ["CLIENT", "TRACKING", "ON", "REDIRECT", "\(number)", "BCAST"].map { Array($0.utf8) }
            for prefix in self.prefixes where !prefix.isEmpty { command += [Array("PREFIX".utf8), prefix] }
            self.send(.track, command)
        case .track:
            if let text { return self.refuse("CLIENT TRACKING", text, next: .keyspace) }
            self.chosen = .tracking
            self.send(.subscribe(.tracking), [Array("SUBSCRIBE".utf8), Self.trackingChannel])
        case .notifications:
            guard let flags = Self.keyspaceFlags(reply) else {
                return self.refuse("CONFIG GET notify-keyspace-events", text, next: .channel)
            }
            guard Self.announcesChanges(flags) else {
                return self.refuse("keyspace events", "notify-keyspace-events is not KA", next: .channel)
            }
            let patterns = (self.prefixes.isEmpty ? [[]] : self.prefixes).map { prefix in
                Array("__keyspace@\(self.settings.database)__:".utf8) + Self.escape(prefix) + [UInt8(ascii: "*")]
            }
            for pattern in patterns { self.send(.subscribe(.keyspace), [Array("PSUBSCRIBE".utf8), pattern]) }
            self.chosen = .keyspace
            self.eventsSeenAt = now
        case .subscribe(let method):
            if let text, method == .tracking { return self.refuse("the channel for tracking", text, next: .keyspace) }
            if let text {
                self.refused.append("the channels for keyspace events: \(text)")
                self.chosen = .poll
            }
            if case .subscribe = self.expected.first { return }
            self.subscribeRevocations(self.chosen)
        case .subscribeRevocations:
            if let text { self.refused.append("the channel martlet:revoke: \(text)") }
            if text != nil, self.chosen == .channel { self.chosen = .poll }
            self.state = .active
            self.activeSince = now
            self.method = self.chosen
            if self.chosen == .keyspace { self.hadKeyspaceEvents = true }
            self.backoff.reset()
            self.nextPing = now &+ AuthLimits.subscriptionPingNanoseconds
            self.actions.append(.active(self.chosen, refused: self.refused))
        case .ping(let sentAt):
            if let text, !text.hasPrefix("NOPERM") { throw .refused(text) }
            // Redis sends in the order of what happened.
            self.heardAt = sentAt
        }
    }

    /// The user may not, or the server cannot: it will say so again. Other errors (NOAUTH, LOADING, BUSY, …) pass, and a method is not given
    /// up for them.
    static func isLasting(_ error: String) -> Bool { error.hasPrefix("NOPERM") || error.hasPrefix("ERR ") }

    /// A method cannot be had: the next one, if the configuration leaves the choice.
    private mutating func refuse(_ what: String, _ text: String?, next: Method) {
        self.refused.append("\(what): \(text ?? "an unexpected answer")")
        guard self.mode == .auto else { return self.subscribeRevocations(.poll) }
        switch next {
        case .keyspace: self.send(.notifications, "CONFIG", "GET", "notify-keyspace-events")
        case .tracking, .channel, .poll: self.subscribeRevocations(.poll)
        }
    }

    private static func escape(_ prefix: [UInt8]) -> [UInt8] {
        prefix.flatMap { byte in
            Array("*?[]\\".utf8).contains(byte) ? [UInt8(ascii: "\\"), byte] : [byte]
        }
    }

    private mutating func takeMessage(_ elements: [RedisReply]) {
        guard elements.count >= 3, case .bulk(let channel) = elements[elements.count - 2] else { return }
        let content = elements[elements.count - 1]
        if channel == Self.trackingChannel {
            switch content {
            case .array(let keys):
                self.actions.append(.changed(keys.compactMap { if case .bulk(let key) = $0 { key } else { nil } }))
            case .null: self.actions.append(.flushed)
            case .bulk(let key): self.actions.append(.changed([key]))
            case .integer, .status, .error: break
            }
        } else if channel == Self.revocationChannel {
            if case .bulk(let key) = content, !key.isEmpty { self.actions.append(.changed([key])) }
        } else if let colon = channel.firstIndex(of: UInt8(ascii: ":")) {
            self.actions.append(.changed([Array(channel[(colon + 1)...])]))
        }
    }

    /// The connection could not be made or broke; also called by the machine itself.
    package mutating func failed(_ failure: RedisFailure, now: Instant) {
        switch self.state {
        case .waiting, .stopped: return
        case .connecting, .handshaking, .active: break
        }
        let wasActive = self.state == .active
        self.state = .waiting(until: now &+ self.backoff.next(using: &self.random))
        self.method = nil
        self.output.clear()
        self.actions.append(.close)
        if wasActive { self.actions.append(.lost(failure)) }
    }

    /// Only polling is left, and the configuration wants more: rights may have been given and events turned on since. The connection is
    /// made anew, because one that is subscribed takes no other commands; what is published meanwhile is not heard, as the next `active`
    /// says.
    ///
    /// - Returns: false: there is nothing to try.
    package mutating func tryAgain(now: Instant) -> Bool {
        guard self.state == .active, self.method == .poll, self.mode != .poll else { return false }
        self.state = .waiting(until: now)
        self.method = nil
        self.output.clear()
        self.actions.append(.close)
        return true
    }

    // MARK: Time

    package mutating func advance(now: Instant) {
        self.excuseStall(now: now)
        switch self.state {
        case .waiting(let until):
            guard now >= until else { return }
            self.state = .connecting(deadline: now &+ self.settings.connectTimeoutNanoseconds)
            self.actions.append(.connect)
        case .connecting(let deadline):
            if now >= deadline { self.failed(.connectTimedOut, now: now) }
        case .handshaking(let deadline):
            if now >= deadline { self.failed(.queryTimedOut, now: now) }
        case .active:
            if now >= self.lastHeard &+ AuthLimits.subscriptionSilenceNanoseconds {
                self.failed(.silent, now: now)
            } else if now >= self.nextPing {
                self.nextPing = now &+ AuthLimits.subscriptionPingNanoseconds
                self.send(.ping(sentAt: now), "PING")
            }
        case .stopped:
            return
        }
    }

    /// While the process did not run it has not asked, and not read: that is no silence of the server's. Once, so that a host that runs
    /// it now and then only does notice.
    private mutating func excuseStall(now: Instant) {
        let gap = now &- self.lastTurn
        self.lastTurn = now
        guard self.state == .active, gap >= AuthLimits.stallNanoseconds, !self.isExcused else { return }
        self.isExcused = true
        self.lastHeard = min(now, self.lastHeard &+ gap)
        self.nextPing = now
    }

    /// Ends it for good.
    package mutating func stop() {
        guard self.state != .stopped else { return }
        self.state = .stopped
        self.output.clear()
        self.actions.append(.close)
    }
}
