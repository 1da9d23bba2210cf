import Common

/// Finds out from Sentinels which server is the master, without the socket: bytes, events and the time go in; bytes and actions
/// come out.
///
/// One Sentinel at a time is asked four times a second. That notices a failover as fast as a subscription to its announcements
/// would, and also when the announcement was missed. One that does not answer, or does not know the master, is left for the next; so is
/// one that names a server which cannot be used, for it may not have heard of a failover.
///
/// ```
///            delay over             connected
///  waiting ─────────────▶ connecting ─────────▶ asking ──▶ SENTINEL GET-MASTER-ADDR-BY-NAME, again and again
///     ▲                        │                  │
///     └── next Sentinel ───────┴── any failure ───┘
/// ```
package struct SentinelWatcher: ~Copyable {
    package enum Action: Equatable, Sendable {
        /// Make a connection to this Sentinel; report `connected` or `failed`.
        case connect(RedisURL.Server)
        case close
        /// This is the master now.
        case master(RedisURL.Server)
        /// None of the Sentinels could say which server is the master; told once until one can.
        case lost(RedisFailure)
    }

    private enum State: Equatable {
        case waiting(until: Instant)
        case connecting(deadline: Instant)
        case asking
        case stopped
    }

    private enum Step {
        case greeting(RedisGreeting.Step)
        case master
    }

    package var output = ByteBuffer()
    /// To be taken and performed after each call, in this order.
    package var actions: [Action] = []
    /// The last answer.
    package private(set) var master: RedisURL.Server?
    private let servers: [RedisURL.Server]
    private let name: String
    private var settings: RedisClient.Settings
    private var random: any RandomNumberGenerator
    private var state: State
    private var current = 0
    private var failuresInARow = 0
    /// The present Sentinel has named a master.
    private var hasNamed = false
    /// No Sentinel is left for the master that it names before then.
    private var nextDoubt: Instant = 0
    private var reader = RedisReplyReader()
    private var expected = FirstInFirstOut<Step>()
    private var nextQuestion: Instant = 0
    /// Until the oldest question must be answered; nil: there is none.
    private var answerDeadline: Instant?
    private var backoff = Backoff(
        initialNanoseconds: AuthLimits.reconnectInitialNanoseconds,
        maximumNanoseconds: AuthLimits.reconnectMaximumNanoseconds
    )

    /// - Parameter settings: credentials are the Sentinels' own.
    package init(
        servers: [RedisURL.Server],
        name: String,
        settings: RedisClient.Settings,
        random: any RandomNumberGenerator,
        now: Instant
    ) {
        precondition(!servers.isEmpty, "Sentinels are needed to be asked")
        self.servers = servers
        self.name = name
        self.settings = settings
        self.random = random
        self.state = .waiting(until: now)
    }

    /// When `advance` has to be called at the latest.
    package var nextDeadline: Instant? {
        switch self.state {
        case .waiting(let until): until
        case .connecting(let deadline): deadline
        case .asking: self.answerDeadline ?? self.nextQuestion
        case .stopped: nil
        }
    }

    package mutating func setPassword(_ password: [UInt8]?) {
        self.settings.password = password
    }

    // MARK: Events of the connection

    package mutating func connected(now: Instant) {
        guard case .connecting = self.state else { return }
        self.state = .asking
        self.hasNamed = false
        self.reader = RedisReplyReader()
        self.expected = FirstInFirstOut()
        for command in RedisGreeting.commands(self.settings, name: "\(self.settings.clientName)-sentinel") {
            RedisCommand.write(command.arguments, into: &self.output)
            self.expected.append(.greeting(command.step))
        }
        self.ask(now: now)
    }

    private mutating func ask(now: Instant) {
        RedisCommand.write(
            ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name].map { Array($0.utf8) },
            into: &self.output
        )
        self.expected.append(.master)
        self.nextQuestion = now &+ AuthLimits.sentinelPollNanoseconds
        self.answerDeadline = now &+ AuthLimits.sentinelSilenceNanoseconds
    }

    package mutating func received(_ bytes: UnsafeRawBufferPointer, now: Instant) {
        guard self.state == .asking else { return }
        do throws(RedisFailure) {
            self.reader.feed(bytes)
            while let reply = try self.reader.next() { try self.take(reply) }
        } catch {
            self.failed(error, now: now)
        }
    }

    private mutating func take(_ reply: RedisReply) throws(RedisFailure) {
        guard let step = self.expected.popFirst() else {
            throw .protocolError("an answer came that nothing was asked for")
        }
        switch step {
        case .greeting(let step):
            try RedisGreeting.check(reply, to: step)
        case .master:
            self.answerDeadline = nil
            if let text = reply.errorText { throw .refused(text) }
            guard reply != .null else { throw .refused("the Sentinel knows no master \(self.name)") }
            guard case .array(let elements) = reply, elements.count == 2, case .bulk(let host) = elements[0],
                case .bulk(let digits) = elements[1], let port = UInt16(String(decoding: digits, as: UTF8.self)),
                !host.isEmpty
            else { throw .protocolError("the Sentinel's answer is no address") }
            self.hasNamed = true
            self.failuresInARow = 0
            self.backoff.reset()
            let master = RedisURL.Server.tcp(host: String(decoding: host, as: UTF8.self), port: port)
            guard master != self.master else { return }
            self.master = master
            self.actions.append(.master(master))
        }
    }

    /// The connection could not be made or broke; also called by the machine itself.
    package mutating func failed(_ failure: RedisFailure, now: Instant) {
        switch self.state {
        case .waiting, .stopped: return
        case .connecting, .asking: break
        }
        self.leave()
        self.failuresInARow += 1
        // The others first, at once; a pause when all have failed.
        let allFailed = self.failuresInARow.isMultiple(of: self.servers.count)
        self.state = .waiting(until: allFailed ? now &+ self.backoff.next(using: &self.random) : now)
        if self.failuresInARow == self.servers.count { self.actions.append(.lost(failure)) }
    }

    /// For the next one.
    private mutating func leave() {
        self.actions.append(.close)
        self.output.clear()
        self.answerDeadline = nil
        self.current = (self.current + 1) % self.servers.count
    }

    /// The master cannot be reached, or is none: another Sentinel may know better. While none does they take turns.
    package mutating func masterFailed(now: Instant) {
        guard self.state == .asking, self.hasNamed, self.servers.count > 1, now >= self.nextDoubt else { return }
        self.nextDoubt = now &+ AuthLimits.sentinelDoubtNanoseconds
        self.leave()
        self.state = .waiting(until: now)
    }

    // MARK: Time

    package mutating func advance(now: Instant) {
        switch self.state {
        case .waiting(let until):
            guard now >= until else { return }
            self.state = .connecting(deadline: now &+ self.settings.connectTimeoutNanoseconds)
            self.actions.append(.connect(self.servers[self.current]))
        case .connecting(let deadline):
            if now >= deadline { self.failed(.connectTimedOut, now: now) }
        case .asking:
            if let deadline = self.answerDeadline {
                if now >= deadline { self.failed(.silent, now: now) }
            } else if now >= self.nextQuestion {
                self.ask(now: now)
            }
        case .stopped:
            return
        }
    }

    /// Ends it for good.
    package mutating func stop() {
        guard self.state != .stopped else { return }
        self.state = .stopped
        self.output.clear()
        self.actions.append(.close)
    }
}
