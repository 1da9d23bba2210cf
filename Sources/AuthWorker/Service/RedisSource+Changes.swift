import Common
import Logging

/// Changes of rows: learned from Redis, told to the caches and to all listeners.
extension RedisSource {
    func startFeeds() throws(SystemError) {
        let redis = self.configuration.redis
        guard redis.invalidation != .off else { return }
        self.feeds = [
            try InvalidationFeed(
                loop: self.loop,
                server: redis.url.server,
                settings: self.settings.redis,
                mode: redis.invalidation,
                prefixes: self.settings.command.keyPrefixes
            )
        ]
        self.schedulePoll()
    }

    func stopFeeds() {
        if let timer = self.pollTimer { self.loop.cancel(timer) }
        self.pollTimer = nil
        for feed in self.feeds { feed.stop() }
    }

    var feedDescription: String {
        guard !self.feeds.isEmpty else { return "nothing" }
        let methods = self.feeds.map { $0.method?.rawValue ?? "connecting" }
        return Set(methods).sorted().joined(separator: ", ")
    }

    func takeChanges() {
        for feed in self.feeds {
            for event in feed.endTurn() { self.perform(event) }
        }
    }

    private func perform(_ event: InvalidationSubscriber.Action) {
        switch event {
        case .connect, .close:
            break
        case .active(let method, let refused):
            self.logActive(method, refused)
            // What changed before is not told.
            self.doubtAll()
        case .changed(let keys):
            let affected = self.authenticator.changed(keys, now: self.time)
            self.service.announce(affected.map { LookupKey(redisKey: $0).hash })
        case .flushed:
            self.logger.warning("Redis was emptied", metadata: ["server": "\(self.serverDescription)"])
            self.authenticator.flushed(now: self.time)
            self.noticeSuspension()
            self.doubtAll()
        case .lost(let failure):
            self.logger.warning(
                "changes of rows are not told at the moment",
                metadata: ["server": "\(self.serverDescription)", "reason": "\(failure)"]
            )
        // Everything is doubted when changes are told again: most often Redis is away altogether, and rows that nobody can
        // fetch must not cost their devices a time-out each.
        }
    }

    private func logActive(_ method: InvalidationSubscriber.Method, _ refused: [String]) {
        var metadata: Logger.Metadata = ["server": "\(self.serverDescription)", "method": "\(method.rawValue)"]
        if !refused.isEmpty { metadata["refused"] = "\(refused.joined(separator: "; "))" }
        if method == .poll, self.configuration.redis.invalidation != .poll {
            self.logger.warning("Redis tells no changes: revoked devices are noticed by polling", metadata: metadata)
        } else {
            self.logger.notice("changes of rows are told by Redis", metadata: metadata)
        }
    }

    /// Nobody knows which rows have changed.
    func doubtAll() {
        self.authenticator.allChanged(now: self.time)
        self.service.announce(AuthChanged(all: true))
    }

    /// Where changes are not told, everything live is asked about again from time to time.
    private func schedulePoll() {
        let interval = self.configuration.redis.pollIntervalNanoseconds
        self.pollTimer = self.loop.schedule(afterNanoseconds: interval) { [weak self] in
            guard let self, !self.isStopped else { return }
            let isTold = self.feeds.allSatisfy {
                $0.method == .tracking || $0.method == .keyspace || $0.method == .channel
            }
            if !isTold, self.redis.state == .ready { self.doubtAll() }
            self.schedulePoll()
        }
    }
}
