import Common
import Logging

/// Changes of rows: learned from Redis, told to the caches and to all listeners.
extension RedisSource {
    /// One for each server that has rows; called again when those are others.
    func startFeeds() {
        let redis = self.configuration.redis
        guard redis.invalidation != .off else { return }
        let masters = self.redis.masters
        for (server, feed) in self.feeds where !masters.contains(server) {
            feed.stop()
            self.feeds[server] = nil
            self.methodsLogged[server] = nil
        }
        for server in masters where self.feeds[server] == nil {
            do throws(SystemError) {
                self.feeds[server] = try InvalidationFeed(
                    loop: self.loop,
                    server: server,
                    settings: self.settings,
                    tls: self.redis.tls
                )
            } catch {
                self.logger.error("changes of rows cannot be learned", metadata: ["reason": "\(error)"])
            }
        }
        if self.pollTimer == nil { self.schedulePoll() }
    }

    func stopFeeds() {
        if let timer = self.pollTimer { self.loop.cancel(timer) }
        self.pollTimer = nil
        for feed in self.feeds.values { feed.stop() }
    }

    var feedDescription: String {
        guard !self.feeds.isEmpty else { return "nothing" }
        let methods = self.feeds.values.map { $0.method?.rawValue ?? "connecting" }
        return Set(methods).sorted().joined(separator: ", ")
    }

    func takeChanges() {
        for (server, feed) in self.feeds {
            for event in feed.endTurn() { self.perform(event, of: server) }
        }
    }

    private func perform(_ event: InvalidationSubscriber.Action, of server: RedisURL.Server) {
        switch event {
        case .connect, .close:
            break
        case .active(let method, let refused):
            if self.methodsLogged[server] != event { self.logActive(method, refused) }
            self.methodsLogged[server] = event
            // What changed before is not told.
            self.doubtAll()
        case .changed(let keys):
            self.authenticator.changed(keys, now: self.time)
            self.service.announce(keys.map(LookupKey.hash))
        case .flushed:
            self.logger.warning("Redis was emptied", metadata: ["server": "\(self.serverDescription)"])
            self.authenticator.flushed(hasRowsOnDisk: self.hasRowsOnDisk, now: self.time)
            self.noticeSuspension()
            self.doubtAll()
        case .lost(let failure):
            self.methodsLogged[server] = nil
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
        // Verdicts made so far leave before: a listener that has let somebody in by one of them asks again then.
        self.performDecisions()
        self.hasServedStale = false
        self.authenticator.allChanged(now: self.time)
        self.service.announce(AuthChanged(all: true))
    }

    /// Where changes are not told, everything live is asked about again from time to time, and a better way is tried.
    private func schedulePoll() {
        let interval = self.configuration.redis.pollIntervalNanoseconds
        self.pollTimer = self.loop.schedule(afterNanoseconds: interval) { [weak self] in
            guard let self, !self.isStopped else { return }
            let isTold = self.feeds.values.allSatisfy {
                $0.method == .tracking || $0.method == .keyspace || $0.method == .channel
            }
            if !isTold, self.redis.isReady {
                let tried = self.feeds.values.count { $0.tryAgain() }
                // Those that tried say so when they are back, and then everything is doubted.
                if tried == 0 { self.doubtAll() }
            }
            self.schedulePoll()
        }
    }
}
