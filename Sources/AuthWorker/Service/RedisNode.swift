import Common

/// One Redis server that look-ups go to: `RedisClient` with its socket.
final class RedisNode: RedisTransportDelegate {
    private(set) var server: RedisURL.Server?
    var client: RedisClient
    private var transport: RedisTransport?
    private let loop: EventLoop
    private var secret: RedisSecret

    init(
        loop: EventLoop,
        server: RedisURL.Server?,
        settings: RedisSourceSettings,
        tls: RedisTLS?
    )
        throws(SystemError)
    {
        self.loop = loop
        self.server = server
        self.secret = RedisSecret(
            file: settings.source.redis.passwordFile,
            isKnown: settings.redis.password != nil
        )
        self.client = RedisClient(
            settings: settings.redis,
            random: SystemRandomNumberGenerator(),
            knowsServer: server != nil,
            now: loop.now
        )
        self.transport = try RedisTransport(loop: loop, server: server, tls: tls, delegate: self)
    }

    /// Why look-ups are refused, and since when the server has not been in use; nil: they are taken.
    var outage: RedisAccess.Outage? {
        guard let failure = self.client.outage else { return nil }
        return RedisAccess.Outage(server: self.description, failure: failure, since: self.client.downSince)
    }

    /// See `RedisClient.breaksAgainAndAgain`.
    func breaksAgainAndAgain(now: Instant) -> RedisAccess.Outage? {
        guard let failure = self.client.breaksAgainAndAgain(now: now) else { return nil }
        return RedisAccess.Outage(server: self.description, failure: failure, since: self.client.downSince)
    }

    var description: String { self.server?.description ?? "the master" }

    /// Another server takes this one's place.
    func move(to server: RedisURL.Server) {
        self.server = server
        self.transport?.server = server
        self.client.reconnect(.refused("another server is the master now"), now: self.loop.now)
    }

    func connect() {
        do throws(RedisFailure) {
            if let password = try self.secret.next() { self.client.setPassword(password) }
            self.transport?.connect()
        } catch {
            self.client.failed(error, now: self.loop.now)
        }
    }

    func close() {
        self.transport?.close()
    }

    /// Does what is due. What has come counts before a deadline does.
    func advance() {
        let now = self.loop.now
        if self.client.isOverdue(now: now) { self.transport?.receiveAll() }
        self.client.advance(now: now)
    }

    /// Writes what waits. To be called once in a turn; what the turn has taken is not charged to the server.
    func flush() {
        self.client.fillPipeline(now: Clock.monotonic())
        if let failure = self.transport?.send(&self.client.output) {
            self.client.failed(failure, now: self.loop.now)
        }
    }

    /// Ends it for good. What is not answered yet is told as not answered.
    func stop() {
        self.client.stop()
    }

    func invalidate() {
        self.transport?.invalidate()
    }

    func transportConnected() {
        self.client.connected(now: Clock.monotonic())
    }

    func transport(received bytes: UnsafeRawBufferPointer) {
        self.client.received(bytes, now: self.loop.now)
        // A protocol error closes the connection at once: what follows in the socket is garbage too.
        if case .waiting = self.client.state { self.transport?.close() }
    }

    func transportFailed(_ failure: RedisFailure) {
        self.client.failed(failure, now: self.loop.now)
    }
}
