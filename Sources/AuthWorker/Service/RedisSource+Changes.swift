import Common
import Logging

/// Changes of rows: learned from Redis, told to the caches and to all listeners.
extension RedisSource {
    /// One for each server that has rows; called again when those are others.
    func startFeeds() {
        let redis = self.configuration.redis
        guard redis.invalidation != .off else { return }
        let masters = self.redis.masters
        // A key may be on its way from one that tells to one that does not yet.
        self.endTold()
        let former = self.feeds.filter { !masters.contains($0.key) }
        for (server, feed) in former {
            feed.stop()
            self.feeds[server] = nil
            self.methodsLogged[server] = nil
        }
        let new = masters.filter { self.feeds[$0] == nil }
        for server in new { self.startFeed(of: server) }
        // What a new one answers may change unheard until it tells.
        if !new.isEmpty, self.hasBeenTold { self.authenticator.changesLost() }
        if self.pollTimer == nil { self.schedulePoll() }
        self.followFeeds()
        // Nobody tells what became of the rows of those that are gone. A new one says when it tells, and then everything is doubted.
        if !former.isEmpty, new.isEmpty { self.doubtAll() }
        self.beginTold()
    }

    private func startFeed(of server: RedisURL.Server) {
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

    /// All servers tell what changes, as well as the configuration and their rights let them. One that has never told, and cannot, is no
    /// loss.
    private var areFeedsActive: Bool {
        self.redis.masters.allSatisfy { self.feeds[$0] != nil }
            && self.feeds.values.allSatisfy { $0.method != nil && ($0.method != .poll || !self.hasBeenTold) }
    }

    /// A server has begun to tell changes, or has stopped, or is another one.
    private func followFeeds() {
        guard self.areFeedsActive else {
            if self.feedLoss == nil { self.feedLoss = FeedLoss(since: self.loop.now) }
            return self.scheduleFeedLossCheck()
        }
        if self.feedLoss?.isTold == true {
            self.logger.notice("changes of rows are told again", metadata: ["server": "\(self.serverDescription)"])
        }
        self.feedLoss = nil
        self.authenticator.changesTold()
    }

    /// Where Redis answers, and only its word of changes is missing, everything live is asked about again and again: a session whose
    /// turn has not come in the last round is among the first of the next one. Where Redis is away nobody could say anything.
    private func scheduleFeedLossCheck() {
        guard self.feedLossTimer == nil, !self.isStopped else { return }
        self.feedLossTimer = self.loop.schedule(afterNanoseconds: AuthLimits.subscriptionSilenceNanoseconds) {
            [weak self] in
            guard let self, !self.isStopped else { return }
            self.feedLossTimer = nil
            guard var loss = self.feedLoss else { return }
            let now = self.loop.now
            if self.redis.isReady {
                self.authenticator.changesLost()
                if now &- loss.askedAt >= AuthLimits.feedLossRoundNanoseconds {
                    loss.askedAt = now
                    for server in self.redis.masters where self.feeds[server] == nil { self.startFeed(of: server) }
                    self.doubtAll()
                }
                if !loss.isTold, now &- loss.since >= AuthLimits.feedLossAlarmNanoseconds {
                    loss.isTold = true
                    self.logger.error(
                        "Redis answers, but tells no changes: each CONNECT asks it, and live sessions are asked about in turn",
                        metadata: ["server": "\(self.serverDescription)"]
                    )
                }
            }
            self.feedLoss = loss
            self.scheduleFeedLossCheck()
        }
    }

    func stopFeeds() {
        if let timer = self.feedLossTimer { self.loop.cancel(timer) }
        self.feedLossTimer = nil
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
        // After a time in which the process did not run, or with more than one turn reads, the loop has not seen all that has come.
        let now = Clock.monotonic()
        if now &- self.changesTakenAt >= AuthLimits.lateTurnNanoseconds {
            for feed in self.feeds.values { feed.receiveAll() }
        }
        self.changesTakenAt = now
        for (server, feed) in self.feeds {
            for event in feed.endTurn() { self.perform(event, of: server) }
        }
        self.proveTold()
    }

    private func perform(_ event: InvalidationSubscriber.Action, of server: RedisURL.Server) {
        switch event {
        case .connect, .close:
            break
        case .active(let method, let refused):
            if self.methodsLogged[server] != event { self.logActive(method, refused, of: server) }
            self.methodsLogged[server] = event
            if method != .poll { self.hasBeenTold = true }
            self.followFeeds()
            // What changed before is not told.
            self.doubtAll()
            self.beginTold()
        case .changed(let keys):
            self.authenticator.changed(keys, now: self.time)
            self.service.announce(keys.map(LookupKey.hash), of: self.index)
        case .flushed:
            self.logger.warning(
                "Redis was emptied, or one of its databases, or it has loaded its data anew",
                metadata: ["server": "\(self.serverDescription)"]
            )
            self.lostSightOfRows()
        case .lost(let failure):
            self.methodsLogged[server] = nil
            self.logger.warning(
                "changes of rows are not told at the moment",
                metadata: ["server": "\(self.description(of: server))", "reason": "\(failure)"]
            )
            // Most often Redis is away altogether: a CONNECT then waits for `stale_after` at most, and listeners are not told to ask
            // about all their sessions before it has turned out that Redis answers.
            self.endTold()
            self.authenticator.changesLost()
            self.followFeeds()
        }
    }

    /// All rows may be others, and none was named as changed.
    func lostSightOfRows() {
        self.beginFlushCheck()
        // Rows are good as they were before, and current no longer.
        self.endTold()
        self.doubtAll()
        self.beginTold()
    }

    /// Of a cluster, which of its masters.
    private func description(of server: RedisURL.Server) -> String {
        self.redis.isCluster ? server.description : self.serverDescription
    }

    private func logActive(
        _ method: InvalidationSubscriber.Method,
        _ refused: [String],
        of server: RedisURL.Server
    ) {
        var metadata: Logger.Metadata = ["server": "\(self.description(of: server))", "method": "\(method.rawValue)"]
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
        self.hasDecidedAlone = false
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
