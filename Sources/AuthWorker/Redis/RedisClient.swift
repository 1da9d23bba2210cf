import Common

/// One connection to one Redis server, without the socket: bytes, events and the time go in; bytes and actions come out.
///
/// ```
///            delay over              connected               handshake answered
///  waiting ─────────────▶ connecting ─────────▶ handshaking ───────────────────▶ ready
///     ▲                       │                     │                              │
///     └───── back-off ────────┴──── any failure ────┴──────────────────────────────┘
/// ```
///
/// It is its own circuit breaker: from the first failure on, look-ups are refused at once, so that devices with a cached row do
/// not wait, until an attempt at reconnecting, made after a jittered delay, was answered by a PING within the query
/// time-out. Before anything failed (at the start) look-ups wait for the first attempt.
///
/// A connection that was in use and breaks is no outage yet: servers close idle and doubtful clients, proxies move them. One attempt is
/// made at once, new look-ups wait for it, and those that were not answered are asked again, once each: all are reads.
///
/// That a connection can be made, and that PING is answered, says little: look-ups may break it all the same. Delays between attempts
/// begin anew only after a connection that has lived for some seconds.
///
/// The answers come in the order of the commands; a command that is not answered in time therefore ends the connection. Nothing is
/// charged to Redis that the loop is late by: see `excuseLateness`.
///
/// ```
///  submit(.client) ─────▶ queue ───────── most of the places ──┐
///                                                              ├──▶ inFlight ──▶ answered
///  submit(.background) ─▶ background ──── one place in eight ──┘
///                         without a deadline, and at most a quarter of those in flight
/// ```
package struct RedisClient: ~Copyable {
    package struct Settings: Sendable {
        package var user: [UInt8]?
        package var password: [UInt8]?
        package var database: Int
        /// Shown by `CLIENT LIST`.
        package var clientName: String
        package var connectTimeoutNanoseconds: UInt64
        /// From sending a command to its answer. In front of a Redis that answers, but not fast enough, a command waits at most
        /// twice as long for being sent.
        package var queryTimeoutNanoseconds: UInt64
        /// Commands sent and not answered.
        package var pipelineMax: Int
        /// Commands that wait for being sent.
        package var queueMax: Int
        /// A server that is a replica is not used: somebody named it as the master.
        package var needsMaster: Bool

        /// Of the commands in flight, those in the background at most: what others have to wait for at the longest.
        package var backgroundInFlightMax: Int { max(1, self.pipelineMax / 4) }

        package init(
            user: [UInt8]? = nil,
            password: [UInt8]? = nil,
            database: Int = 0,
            clientName: String = "martlet-authworker",
            connectTimeoutNanoseconds: UInt64 = Nanoseconds.perSecond,
            queryTimeoutNanoseconds: UInt64 = 500 * Nanoseconds.perMillisecond,
            pipelineMax: Int = 1000,
            queueMax: Int = 100_000,
            needsMaster: Bool = false
        ) {
            self.needsMaster = needsMaster
            self.user = user
            self.password = password
            self.database = database
            self.clientName = clientName
            self.connectTimeoutNanoseconds = connectTimeoutNanoseconds
            self.queryTimeoutNanoseconds = queryTimeoutNanoseconds
            self.pipelineMax = max(1, pipelineMax)
            self.queueMax = max(0, queueMax)
        }
    }

    package enum Action: Equatable, Sendable {
        /// Make a connection; report `connected` or `failed`.
        case connect
        /// Close the connection, and forget its bytes.
        case close
        case answered(token: UInt64, RedisReply)
        case notAnswered(token: UInt64, RedisFailure)
        /// Look-ups are refused from now on. Told once for each reason until `back`.
        case lost(RedisFailure)
        /// Redis is in use (again), after this long.
        case back(downNanoseconds: UInt64)
    }

    package enum State: Equatable, Sendable {
        case waiting(until: Instant)
        case connecting(deadline: Instant)
        case handshaking(deadline: Instant)
        case ready
        case stopped
    }

    private enum Purpose {
        case lookup(Command)
        case handshake(HandshakeStep)
        case ping
        /// Whether the server still is a master.
        case role
    }

    private enum HandshakeStep {
        case greeting(RedisGreeting.Step)
        case role
        case ping
    }

    private struct InFlight {
        var purpose: Purpose
        /// This and that of `Queued` are without `excusedNanoseconds`.
        var deadline: Instant
    }

    private struct Command {
        var token: UInt64
        var arguments: [[UInt8]]
        var urgency: CommandUrgency
        /// The next one follows it at once.
        var leadsNext = false
        /// It was sent before, over a connection that broke.
        var isRepeated = false
    }

    private struct Queued {
        var command: Command
        var deadline: Instant
    }

    package private(set) var state: State
    /// Bytes for the server.
    package var output = ByteBuffer()
    /// To be taken and performed after each call, in this order.
    package var actions: [Action] = []
    /// Why look-ups are refused; nil while they are taken.
    package private(set) var outage: RedisFailure?

    private var settings: Settings
    private var random: any RandomNumberGenerator
    private var reader = RedisReplyReader(passesOverLong: true)
    private var inFlight = FirstInFirstOut<InFlight>()
    private var queue = FirstInFirstOut<Queued>()
    private var background = FirstInFirstOut<Command>()
    private var backgroundInFlight = 0
    /// Others written since the last one in the background.
    private var writtenSinceBackground = 0
    /// The command that was written last leads the next one of `queue`.
    private var leadsNext = false
    /// What deadlines were put off by so far, because the loop was late.
    private var excusedNanoseconds: UInt64 = 0
    /// It was late, and nothing has come since.
    private var isExcused = false
    private var backoff = Backoff(
        initialNanoseconds: AuthLimits.reconnectInitialNanoseconds,
        maximumNanoseconds: AuthLimits.reconnectMaximumNanoseconds
    )
    /// Connections in a row that came into use and did not live long.
    private var shortLived = 0
    private var lastBreak: RedisFailure?
    private static let reasonsToldMax = 8
    private var reasonsTold: [RedisFailure] = []
    /// Since when it has not been in use, while it is not.
    package private(set) var downSince: Instant
    private var readySince: Instant = 0
    private var lastTraffic: Instant = 0
    private var nextRoleCheck: Instant = 0
    package private(set) var counters = RedisCounters()

    /// - Parameter knowsServer: false: there is nothing to connect to before `reconnect`.
    package init(settings: Settings, random: any RandomNumberGenerator, knowsServer: Bool = true, now: Instant) {
        self.settings = settings
        self.random = random
        self.state = .waiting(until: knowsServer ? now : .max)
        self.downSince = now
    }

    package var commandsInFlight: Int { self.inFlight.count }
    package var commandsQueued: Int { self.queue.count + self.background.count }
    /// Of all these, those in the background.
    package var commandsInBackground: Int { self.background.count + self.backgroundInFlight }

    /// When `advance` has to be called at the latest.
    package var nextDeadline: Instant? {
        var earliest: Instant?
        func consider(_ instant: Instant) { earliest = min(earliest ?? instant, instant) }
        switch self.state {
        case .waiting(.max): break
        case .waiting(let until): consider(until)
        case .connecting(let deadline), .handshaking(let deadline): consider(deadline)
        case .ready:
            if self.inFlight.isEmpty { consider(self.lastTraffic &+ AuthLimits.idlePingNanoseconds) }
            if self.settings.needsMaster { consider(self.nextRoleCheck) }
        case .stopped: return nil
        }
        if let deadline = self.commandDeadline { consider(deadline) }
        return earliest
    }

    /// Of the first command that is not answered, or not sent, in time.
    private var commandDeadline: Instant? {
        let deadlines = [self.inFlight.first?.deadline, self.queue.first?.deadline]
        guard let first = deadlines.compactMap({ $0 }).min() else { return nil }
        return first &+ self.excusedNanoseconds
    }

    /// A command would be given up: what has come is to be read before `advance`.
    package func isOverdue(now: Instant) -> Bool { self.commandDeadline.map { now >= $0 } ?? false }

    // MARK: Look-ups

    /// Takes a command, or says why not; the answer comes as an action with the token. It leaves with the next `fillPipeline`.
    ///
    /// - Parameter leadsNext: nothing comes between it and the next command of a client's.
    package mutating func submit(
        _ arguments: [[UInt8]],
        token: UInt64,
        urgency: CommandUrgency = .client,
        leadsNext: Bool = false,
        now: Instant
    ) throws(RedisFailure) {
        if self.state == .stopped { throw .stopped }
        if let outage = self.outage { throw .unavailable(outage.description) }
        let command = Command(token: token, arguments: arguments, urgency: urgency, leadsNext: leadsNext)
        switch urgency {
        case .client:
            guard self.queue.count < self.settings.queueMax else { throw .overloaded }
            let deadline = now &- self.excusedNanoseconds &+ 2 * self.settings.queryTimeoutNanoseconds
            self.queue.append(Queued(command: command, deadline: deadline))
        case .background:
            guard self.background.count < self.settings.queueMax else { throw .overloaded }
            self.background.append(command)
        }
    }

    /// Writes waiting commands as far as the pipeline has room: once per turn, so that all of a turn travel together.
    package mutating func fillPipeline(now: Instant) {
        guard self.state == .ready else { return }
        var written = 0
        while self.inFlight.count < self.settings.pipelineMax, let command = self.takeNext() {
            RedisCommand.write(command.arguments, into: &self.output)
            self.track(.lookup(command), now: now)
            written += 1
        }
        if written > 0 {
            self.counters.commands += UInt64(written)
            self.counters.pipelines += 1
            self.counters.pipelineLargest = max(self.counters.pipelineLargest, UInt64(written))
        }
    }

    /// Clients come first; what waits in the background has its share all the same.
    private mutating func takeNext() -> Command? {
        let isItsTurn = self.writtenSinceBackground >= AuthLimits.backgroundShare - 1 || self.queue.isEmpty
        if isItsTurn, !self.leadsNext, self.backgroundInFlight < self.settings.backgroundInFlightMax,
            let command = self.background.popFirst()
        {
            self.writtenSinceBackground = 0
            self.backgroundInFlight += 1
            return command
        }
        guard let command = self.queue.popFirst()?.command else { return nil }
        self.writtenSinceBackground += 1
        self.leadsNext = command.leadsNext
        return command
    }

    private mutating func track(_ purpose: Purpose, now: Instant) {
        let deadline = now &- self.excusedNanoseconds &+ self.settings.queryTimeoutNanoseconds
        self.inFlight.append(InFlight(purpose: purpose, deadline: deadline))
        self.lastTraffic = now
    }

    // MARK: Events of the connection

    package mutating func connected(now: Instant) {
        guard case .connecting = self.state else { return }
        self.isExcused = false
        self.state = .handshaking(deadline: now &+ self.settings.queryTimeoutNanoseconds)
        self.reader = RedisReplyReader(passesOverLong: true)
        for command in RedisGreeting.commands(self.settings, name: self.settings.clientName) {
            self.sendHandshake(.greeting(command.step), command.arguments, now: now)
        }
        if self.settings.needsMaster { self.sendHandshake(.role, [Array("ROLE".utf8)], now: now) }
        self.sendHandshake(.ping, [Array("PING".utf8)], now: now)
    }

    private mutating func sendHandshake(_ step: HandshakeStep, _ arguments: [[UInt8]], now: Instant) {
        RedisCommand.write(arguments, into: &self.output)
        self.track(.handshake(step), now: now)
    }

    /// Bytes from the server.
    package mutating func received(_ bytes: UnsafeRawBufferPointer, now: Instant) {
        switch self.state {
        case .handshaking, .ready: break
        case .waiting, .connecting, .stopped: return
        }
        self.lastTraffic = now
        self.isExcused = false
        do throws(RedisFailure) {
            let passedOver = self.reader.passedOver
            self.reader.feed(bytes)
            self.counters.tooLong += self.reader.passedOver - passedOver
            while let reply = try self.reader.next() { try self.take(reply, now: now) }
        } catch {
            self.failed(error, now: now)
        }
    }

    private mutating func take(_ reply: RedisReply, now: Instant) throws(RedisFailure) {
        guard let answered = self.inFlight.popFirst() else {
            throw .protocolError("an answer came that nothing was asked for")
        }
        switch answered.purpose {
        case .lookup(let command):
            self.counters.answers += 1
            if command.urgency == .background { self.backgroundInFlight -= 1 }
            let sentAt = answered.deadline &- self.settings.queryTimeoutNanoseconds &+ self.excusedNanoseconds
            self.counters.latency.record(now > sentAt ? now - sentAt : 0)
            if case .error = reply { self.counters.errors += 1 }
            self.actions.append(.answered(token: command.token, reply))
        case .ping:
            break
        case .role:
            try Self.checkRole(reply)
        case .handshake(let step):
            try self.takeHandshake(step, reply, now: now)
        }
    }

    private mutating func takeHandshake(
        _ step: HandshakeStep,
        _ reply: RedisReply,
        now: Instant
    ) throws(RedisFailure) {
        switch step {
        case .greeting(let step):
            try RedisGreeting.check(reply, to: step)
        case .role:
            try Self.checkRole(reply)
        case .ping:
            // A user without the right to PING is told so by a server that works.
            if let text = reply.errorText, !text.hasPrefix("NOPERM") { throw .refused(text) }
            self.state = .ready
            self.readySince = now
            self.outage = nil
            self.reasonsTold = []
            self.counters.connections += 1
            self.nextRoleCheck = now &+ AuthLimits.roleCheckNanoseconds
            self.actions.append(.back(downNanoseconds: now &- self.downSince))
        }
    }

    /// ROLE answers `master`, or `slave` and where its master is. A user without the right to ask is believed.
    private static func checkRole(_ reply: RedisReply) throws(RedisFailure) {
        guard case .array(let elements) = reply, case .bulk(let role)? = elements.first else { return }
        guard role == Array("master".utf8) else { throw .refused("the server is no master (any more)") }
    }

    /// Another password from the next connection on.
    package mutating func setPassword(_ password: [UInt8]?) {
        self.settings.password = password
    }

    /// Another server is to be used, or the same one is said to be back: the next attempt is made at once.
    package mutating func reconnect(_ reason: RedisFailure, now: Instant) {
        self.failed(reason, now: now)
        guard case .waiting = self.state else { return }
        self.backoff.reset()
        self.shortLived = 0
        self.state = .waiting(until: now)
    }

    /// Nobody can say which server is to be used, and none is: look-ups are refused until `reconnect` has worked.
    package mutating func serverNotFound(_ failure: RedisFailure) {
        guard self.state == .waiting(until: .max), self.outage == nil else { return }
        self.outage = failure
        self.reasonsTold.append(failure)
        self.actions.append(.lost(failure))
        self.abandonCommands(failure)
    }

    /// The connection could not be made or broke; also called by the machine itself.
    package mutating func failed(_ failure: RedisFailure, now: Instant) {
        switch self.state {
        case .waiting, .stopped: return
        case .connecting, .handshaking, .ready: break
        }
        if self.state == .ready {
            self.downSince = now
            self.lastBreak = failure
            if self.isSettled(now: now) {
                self.backoff.reset()
                self.shortLived = 0
            } else {
                self.shortLived += 1
            }
            let wasInUse = now &- self.readySince >= AuthLimits.reconnectInitialNanoseconds
            let mayBeChance = self.shortLived < AuthLimits.connectionsShortLivedMax
            if wasInUse, mayBeChance, failure.isBrokenConnection { return self.tryAgainAtOnce(failure, now: now) }
        }
        let isNews = self.reasonsTold.count < Self.reasonsToldMax && !self.reasonsTold.contains(failure)
        self.outage = failure
        self.disconnect(until: now &+ self.nextDelay())
        if isNews {
            self.reasonsTold.append(failure)
            self.actions.append(.lost(failure))
        }
        self.abandonCommands(failure)
    }

    /// The connection there is, or that breaks now, has shown that it is of use.
    private func isSettled(now: Instant) -> Bool {
        self.state == .ready
            && now &- self.readySince >= AuthLimits.connectionSettledNanoseconds
                &+ self.settings.queryTimeoutNanoseconds
    }

    /// Why connections break, one after the other, soon after they were made; nil: they do not, or no more.
    package func breaksAgainAndAgain(now: Instant) -> RedisFailure? {
        guard self.shortLived >= AuthLimits.connectionsShortLivedMax, !self.isSettled(now: now) else { return nil }
        return self.lastBreak
    }

    private mutating func disconnect(until next: Instant) {
        self.counters.failures += 1
        self.state = .waiting(until: next)
        self.leadsNext = false
        self.output.clear()
        self.actions.append(.close)
    }

    private mutating func tryAgainAtOnce(_ failure: RedisFailure, now: Instant) {
        self.disconnect(until: now)
        var waiting = FirstInFirstOut<Queued>()
        var background = FirstInFirstOut<Command>()
        while let sent = self.inFlight.popFirst() {
            guard case .lookup(var command) = sent.purpose else { continue }
            if command.isRepeated {
                self.actions.append(.notAnswered(token: command.token, failure))
            } else {
                command.isRepeated = true
                self.counters.repeated += 1
                switch command.urgency {
                case .client: waiting.append(Queued(command: command, deadline: sent.deadline))
                case .background: background.append(command)
                }
            }
        }
        while let queued = self.queue.popFirst() { waiting.append(queued) }
        while let command = self.background.popFirst() { background.append(command) }
        self.queue = waiting
        self.background = background
        self.backgroundInFlight = 0
    }

    private mutating func nextDelay() -> UInt64 {
        self.backoff.next(using: &self.random)
    }

    private mutating func abandonCommands(_ failure: RedisFailure) {
        while let command = self.inFlight.popFirst() {
            guard case .lookup(let lookup) = command.purpose else { continue }
            self.actions.append(.notAnswered(token: lookup.token, failure))
        }
        while let queued = self.queue.popFirst() {
            self.actions.append(.notAnswered(token: queued.command.token, failure))
        }
        while let command = self.background.popFirst() {
            self.actions.append(.notAnswered(token: command.token, failure))
        }
        self.backgroundInFlight = 0
    }

    // MARK: Time

    /// Does what is due. What has come is to be handed in before, as far as `isOverdue` says so.
    package mutating func advance(now: Instant) {
        self.excuseLateness(now: now)
        switch self.state {
        case .waiting(let until):
            if now >= until {
                self.state = .connecting(deadline: now &+ self.settings.connectTimeoutNanoseconds)
                self.actions.append(.connect)
            }
        case .connecting(let deadline):
            if now >= deadline { self.failed(.connectTimedOut, now: now) }
        case .handshaking(let deadline):
            if now >= deadline { self.failed(.queryTimedOut, now: now) }
        case .ready:
            if let first = self.inFlight.first, now >= first.deadline &+ self.excusedNanoseconds {
                self.counters.timeouts += 1
                self.failed(.queryTimedOut, now: now)
            } else if self.inFlight.isEmpty, now >= self.lastTraffic &+ AuthLimits.idlePingNanoseconds {
                RedisCommand.write([Array("PING".utf8)], into: &self.output)
                self.track(.ping, now: now)
            }
            if self.state == .ready, self.settings.needsMaster, now >= self.nextRoleCheck {
                self.nextRoleCheck = now &+ AuthLimits.roleCheckNanoseconds
                RedisCommand.write([Array("ROLE".utf8)], into: &self.output)
                self.track(.role, now: now)
            }
        case .stopped:
            return
        }
        let attentive = now &- self.excusedNanoseconds
        while let first = self.queue.first, attentive >= first.deadline, let queued = self.queue.popFirst() {
            self.counters.timeouts += 1
            let reason: RedisFailure = self.state == .ready ? .overloaded : .queryTimedOut
            self.actions.append(.notAnswered(token: queued.command.token, reason))
        }
    }

    /// A loop that comes long after a deadline was busy, or did not run, and has not sent and not read meanwhile: that is no time that the
    /// server took, and it has the query time-out from now on. Once until something comes, so that one that is silent is found out on a
    /// busy host too.
    private mutating func excuseLateness(now: Instant) {
        var deadlines = [self.commandDeadline]
        if case .connecting(let deadline) = self.state { deadlines.append(deadline) }
        if case .handshaking(let deadline) = self.state { deadlines.append(deadline) }
        guard let due = deadlines.compactMap({ $0 }).min(), !self.isExcused,
            now >= due &+ AuthLimits.lateTurnNanoseconds
        else { return }
        let excused = now &- due &+ self.settings.queryTimeoutNanoseconds
        self.isExcused = true
        self.excusedNanoseconds &+= excused
        switch self.state {
        case .connecting(let deadline): self.state = .connecting(deadline: deadline &+ excused)
        case .handshaking(let deadline): self.state = .handshaking(deadline: deadline &+ excused)
        case .waiting, .ready, .stopped: break
        }
    }

    /// Ends it for good.
    package mutating func stop() {
        guard self.state != .stopped else { return }
        self.state = .stopped
        self.output.clear()
        self.actions.append(.close)
        self.abandonCommands(.stopped)
    }
}

package struct RedisCounters: Equatable, Sendable {
    /// Look-ups written to the connection.
    package var commands: UInt64 = 0
    /// Turns in which at least one look-up was written.
    package var pipelines: UInt64 = 0
    package var answers: UInt64 = 0
    /// Error replies among the answers.
    package var errors: UInt64 = 0
    /// Of these, replies that were too long: see `AuthLimits.replyBytesMax`.
    package var tooLong: UInt64 = 0
    package var timeouts: UInt64 = 0
    /// Look-ups asked again because the connection broke before their answers.
    package var repeated: UInt64 = 0
    /// Connections that came into use.
    package var connections: UInt64 = 0
    /// Attempts and connections that failed.
    package var failures: UInt64 = 0
    /// The most commands that one turn wrote.
    package var pipelineLargest: UInt64 = 0
    /// From writing a command to its answer.
    package var latency = LatencyHistogram()

    /// Adds another connection's.
    mutating func add(_ other: RedisCounters) {
        self.commands += other.commands
        self.pipelines += other.pipelines
        self.answers += other.answers
        self.errors += other.errors
        self.tooLong += other.tooLong
        self.timeouts += other.timeouts
        self.repeated += other.repeated
        self.connections += other.connections
        self.failures += other.failures
        self.pipelineLargest = max(self.pipelineLargest, other.pipelineLargest)
        self.latency.add(other.latency)
    }
}
