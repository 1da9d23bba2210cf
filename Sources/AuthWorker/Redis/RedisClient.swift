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
/// The answers come in the order of the commands; a command that is not answered in time therefore ends the connection.
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

        package init(
            user: [UInt8]? = nil,
            password: [UInt8]? = nil,
            database: Int = 0,
            clientName: String = "martlet-authworker",
            connectTimeoutNanoseconds: UInt64 = Nanoseconds.perSecond,
            queryTimeoutNanoseconds: UInt64 = 500 * Nanoseconds.perMillisecond,
            pipelineMax: Int = 1000,
            queueMax: Int = 100_000
        ) {
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
        case lookup(token: UInt64)
        case handshake(HandshakeStep)
        case ping
    }

    private enum HandshakeStep {
        case authenticate
        case select
        case setName
        case ping
    }

    private struct InFlight {
        var purpose: Purpose
        var deadline: Instant
    }

    private struct Queued {
        var token: UInt64
        var arguments: [[UInt8]]
        var deadline: Instant
    }

    package private(set) var state: State
    /// Bytes for the server.
    package var output = ByteBuffer()
    /// To be taken and performed after each call, in this order.
    package var actions: [Action] = []
    /// Why look-ups are refused; nil while they are taken.
    package private(set) var outage: RedisFailure?

    private let settings: Settings
    private var random: any RandomNumberGenerator
    private var reader = RedisReplyReader()
    private var inFlight = FirstInFirstOut<InFlight>()
    private var queue = FirstInFirstOut<Queued>()
    private var backoff = Backoff(
        initialNanoseconds: AuthLimits.reconnectInitialNanoseconds,
        maximumNanoseconds: AuthLimits.reconnectMaximumNanoseconds
    )
    private static let reasonsToldMax = 8
    private var reasonsTold: [RedisFailure] = []
    private var downSince: Instant
    private var lastTraffic: Instant = 0
    package private(set) var counters = RedisCounters()

    package init(settings: Settings, random: any RandomNumberGenerator, now: Instant) {
        self.settings = settings
        self.random = random
        self.state = .waiting(until: now)
        self.downSince = now
    }

    package var commandsInFlight: Int { self.inFlight.count }
    package var commandsQueued: Int { self.queue.count }

    /// When `advance` has to be called at the latest.
    package var nextDeadline: Instant? {
        var earliest: Instant?
        func consider(_ instant: Instant) { earliest = min(earliest ?? instant, instant) }
        switch self.state {
        case .waiting(let until): consider(until)
        case .connecting(let deadline), .handshaking(let deadline): consider(deadline)
        case .ready: if self.inFlight.isEmpty { consider(self.lastTraffic &+ AuthLimits.idlePingNanoseconds) }
        case .stopped: return nil
        }
        if let first = self.inFlight.first { consider(first.deadline) }
        if let first = self.queue.first { consider(first.deadline) }
        return earliest
    }

    // MARK: Look-ups

    /// Takes a command, or says why not; the answer comes as an action with the token. It leaves with the next `fillPipeline`.
    package mutating func submit(_ arguments: [[UInt8]], token: UInt64, now: Instant) throws(RedisFailure) {
        if self.state == .stopped { throw .stopped }
        if let outage = self.outage { throw .unavailable(outage.description) }
        guard self.queue.count < self.settings.queueMax else { throw .overloaded }
        self.queue.append(
            Queued(token: token, arguments: arguments, deadline: now &+ 2 * self.settings.queryTimeoutNanoseconds)
        )
    }

    /// Writes waiting commands as far as the pipeline has room: once per turn, so that all of a turn travel together.
    package mutating func fillPipeline(now: Instant) {
        guard self.state == .ready else { return }
        var written = 0
        while self.inFlight.count < self.settings.pipelineMax, let command = self.queue.popFirst() {
            RedisCommand.write(command.arguments, into: &self.output)
            self.track(.lookup(token: command.token), now: now)
            written += 1
        }
        if written > 0 {
            self.counters.commands += UInt64(written)
            self.counters.pipelines += 1
        }
    }

    private mutating func track(_ purpose: Purpose, now: Instant) {
        self.inFlight.append(InFlight(purpose: purpose, deadline: now &+ self.settings.queryTimeoutNanoseconds))
        self.lastTraffic = now
    }

    // MARK: Events of the connection

    package mutating func connected(now: Instant) {
        guard case .connecting = self.state else { return }
        self.state = .handshaking(deadline: now &+ self.settings.queryTimeoutNanoseconds)
        self.reader = RedisReplyReader()
        if let password = self.settings.password {
            let name = self.settings.user.map { [$0] } ?? []
            self.sendHandshake(.authenticate, [Array("AUTH".utf8)] + name + [password], now: now)
        }
        if self.settings.database != 0 {
            self.sendHandshake(.select, ["SELECT", "\(self.settings.database)"].map { Array($0.utf8) }, now: now)
        }
        let setName = ["CLIENT", "SETNAME", self.settings.clientName].map { Array($0.utf8) }
        self.sendHandshake(.setName, setName, now: now)
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
        do throws(RedisFailure) {
            try self.reader.feed(bytes)
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
        case .lookup(let token):
            self.counters.answers += 1
            if case .error = reply { self.counters.errors += 1 } else { self.backoff.reset() }
            self.actions.append(.answered(token: token, reply))
        case .ping:
            break
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
        case .authenticate, .select:
            if let text = reply.errorText { throw .refused(text) }
        case .setName:
            // For people only; a user may lack the right to it.
            break
        case .ping:
            // A user without the right to PING is told so by a server that works.
            if let text = reply.errorText, !text.hasPrefix("NOPERM") { throw .refused(text) }
            self.state = .ready
            self.outage = nil
            self.reasonsTold = []
            self.counters.connections += 1
            self.actions.append(.back(downNanoseconds: now &- self.downSince))
        }
    }

    /// The connection could not be made or broke; also called by the machine itself.
    package mutating func failed(_ failure: RedisFailure, now: Instant) {
        switch self.state {
        case .waiting, .stopped: return
        case .connecting, .handshaking, .ready: break
        }
        if self.state == .ready { self.downSince = now }
        let isNews = self.reasonsTold.count < Self.reasonsToldMax && !self.reasonsTold.contains(failure)
        self.outage = failure
        self.counters.failures += 1
        self.state = .waiting(until: now &+ self.nextDelay())
        self.output.clear()
        self.actions.append(.close)
        if isNews {
            self.reasonsTold.append(failure)
            self.actions.append(.lost(failure))
        }
        self.abandonCommands(failure)
    }

    private mutating func nextDelay() -> UInt64 {
        self.backoff.next(using: &self.random)
    }

    private mutating func abandonCommands(_ failure: RedisFailure) {
        while let command = self.inFlight.popFirst() {
            guard case .lookup(let token) = command.purpose else { continue }
            self.actions.append(.notAnswered(token: token, failure))
        }
        while let command = self.queue.popFirst() {
            self.actions.append(.notAnswered(token: command.token, failure))
        }
    }

    // MARK: Time

    package mutating func advance(now: Instant) {
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
            if let first = self.inFlight.first, now >= first.deadline {
                self.counters.timeouts += 1
                self.failed(.queryTimedOut, now: now)
            } else if self.inFlight.isEmpty, now >= self.lastTraffic &+ AuthLimits.idlePingNanoseconds {
                RedisCommand.write([Array("PING".utf8)], into: &self.output)
                self.track(.ping, now: now)
            }
        case .stopped:
            return
        }
        while let first = self.queue.first, now >= first.deadline, let command = self.queue.popFirst() {
            self.counters.timeouts += 1
            let reason: RedisFailure = self.state == .ready ? .overloaded : .queryTimedOut
            self.actions.append(.notAnswered(token: command.token, reason))
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
    package var timeouts: UInt64 = 0
    /// Connections that came into use.
    package var connections: UInt64 = 0
    /// Attempts and connections that failed.
    package var failures: UInt64 = 0
}
