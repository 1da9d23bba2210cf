import Common

/// `InvalidationSubscriber` with its socket.
final class InvalidationFeed: RedisTransportDelegate {
    private let loop: EventLoop
    private var subscriber: InvalidationSubscriber
    private var transport: RedisTransport?
    private var secret: RedisSecret
    /// What is to be told: all but connecting and closing.
    private var events: [InvalidationSubscriber.Action] = []

    init(
        loop: EventLoop,
        server: RedisURL.Server,
        settings: RedisSourceSettings,
        tls: RedisTLS?
    ) throws(SystemError) {
        self.loop = loop
        self.secret = RedisSecret(
            file: settings.source.redis.passwordFile,
            isKnown: settings.redis.password != nil
        )
        self.subscriber = InvalidationSubscriber(
            settings: settings.redis,
            mode: settings.source.redis.invalidation,
            prefixes: settings.command.keyPrefixes,
            random: SystemRandomNumberGenerator(),
            now: loop.now
        )
        self.transport = try RedisTransport(loop: loop, server: server, tls: tls, delegate: self)
    }

    var nextDeadline: Instant? { self.subscriber.nextDeadline }
    var method: InvalidationSubscriber.Method? { self.subscriber.method }
    var provenAt: Instant { self.subscriber.provenAt }

    /// Takes in all that the server has sent so far.
    func receiveAll() {
        self.transport?.receiveAll()
    }

    /// Does what is due and tells what happened.
    func endTurn() -> [InvalidationSubscriber.Action] {
        self.subscriber.advance(now: self.loop.now)
        self.performActions()
        if let failure = self.transport?.send(&self.subscriber.output) {
            self.subscriber.failed(failure, now: self.loop.now)
            self.performActions()
        }
        defer { self.events = [] }
        return self.events
    }

    private func performActions() {
        while !self.subscriber.actions.isEmpty {
            let actions = self.subscriber.actions
            self.subscriber.actions = []
            for action in actions {
                switch action {
                case .connect: self.connect()
                case .close: self.transport?.close()
                case .active, .changed, .flushed, .lost: self.events.append(action)
                }
            }
        }
    }

    private func connect() {
        do throws(RedisFailure) {
            if let password = try self.secret.next() { self.subscriber.setPassword(password) }
            self.transport?.connect()
        } catch {
            self.subscriber.failed(error, now: self.loop.now)
        }
    }

    /// See `InvalidationSubscriber.tryAgain`.
    func tryAgain() -> Bool {
        self.subscriber.tryAgain(now: self.loop.now)
    }

    var asksForKeyspaceEvents: Bool { self.subscriber.asksForKeyspaceEvents }

    /// See `InvalidationSubscriber.learnedKeyspaceEvents`.
    func learnedKeyspaceEvents(_ reply: RedisReply, askedAt: Instant) -> Bool {
        self.subscriber.learnedKeyspaceEvents(reply, askedAt: askedAt, now: self.loop.now)
    }

    func stop() {
        self.subscriber.stop()
        self.transport?.invalidate()
    }

    func transportConnected() {
        self.subscriber.connected(now: self.loop.now)
    }

    func transport(received bytes: UnsafeRawBufferPointer) {
        self.subscriber.received(bytes, now: self.loop.now)
    }

    func transportFailed(_ failure: RedisFailure) {
        self.subscriber.failed(failure, now: self.loop.now)
    }
}
