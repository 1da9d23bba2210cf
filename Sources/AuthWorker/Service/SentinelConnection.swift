import Common

/// `SentinelWatcher` with its socket.
final class SentinelConnection: RedisTransportDelegate {
    private let loop: EventLoop
    private var watcher: SentinelWatcher
    private var transport: RedisTransport?
    private var secret: RedisSecret

    init(
        loop: EventLoop,
        sentinel: Configuration.Authentication.Redis.Sentinel,
        settings: RedisSourceSettings,
        tls: RedisTLS?
    ) throws(SystemError) {
        self.loop = loop
        self.secret = RedisSecret(file: sentinel.passwordFile, isKnown: settings.sentinel.password != nil)
        self.watcher = SentinelWatcher(
            servers: sentinel.servers,
            name: sentinel.master,
            settings: settings.sentinel,
            random: SystemRandomNumberGenerator(),
            now: loop.now
        )
        self.transport = try RedisTransport(loop: loop, server: nil, tls: tls, delegate: self)
    }

    var nextDeadline: Instant? { self.watcher.nextDeadline }
    var master: RedisURL.Server? { self.watcher.master }

    /// Does what is due and tells what happened: all but connecting and closing.
    func endTurn() -> [SentinelWatcher.Action] {
        self.watcher.advance(now: self.loop.now)
        var news = self.performActions()
        if let failure = self.transport?.send(&self.watcher.output) {
            self.watcher.failed(failure, now: self.loop.now)
            news += self.performActions()
        }
        return news
    }

    private func performActions() -> [SentinelWatcher.Action] {
        var news: [SentinelWatcher.Action] = []
        while !self.watcher.actions.isEmpty {
            let actions = self.watcher.actions
            self.watcher.actions = []
            for action in actions {
                switch action {
                case .connect(let server): self.connect(to: server)
                case .close:
                    self.transport?.close()
                case .master, .lost:
                    news.append(action)
                }
            }
        }
        return news
    }

    private func connect(to server: RedisURL.Server) {
        do throws(RedisFailure) {
            if let password = try self.secret.next() { self.watcher.setPassword(password) }
            self.transport?.server = server
            self.transport?.connect()
        } catch {
            self.watcher.failed(error, now: self.loop.now)
        }
    }

    /// The master that was named cannot be used.
    func masterFailed() {
        self.watcher.masterFailed(now: self.loop.now)
    }

    func stop() {
        self.watcher.stop()
        self.transport?.invalidate()
    }

    func transportConnected() {
        self.watcher.connected(now: self.loop.now)
    }

    func transport(received bytes: UnsafeRawBufferPointer) {
        self.watcher.received(bytes, now: self.loop.now)
    }

    func transportFailed(_ failure: RedisFailure) {
        self.watcher.failed(failure, now: self.loop.now)
    }
}
