import Common

// Since when changes have been told, and until when that is proven: rows that were fetched meanwhile are as good as fetched now. It is
// written down from time to time, one row for all of them.
extension RedisSource {
    /// All servers name each key that changes.
    private var areChangesNamed: Bool {
        let servers = self.redis.masters
        return !servers.isEmpty
            && servers.allSatisfy { server in
                let method = self.feeds[server]?.method
                return method == .tracking || method == .keyspace
            }
    }

    /// Changes are told from now on.
    func beginTold() {
        guard self.areChangesNamed, !self.authenticator.told.isOpen else { return }
        self.clockDoubt = nil
        self.authenticator.told.begin(at: Int64(clamping: self.loop.now))
        self.toldBeganMilliseconds = self.time.wallMilliseconds
        self.toldWrittenAt = self.loop.now
    }

    /// At the end of a turn: all that Redis has sent is taken in.
    func proveTold() {
        guard self.authenticator.told.isOpen, let proven = self.feeds.values.map(\.provenAt).min() else { return }
        self.authenticator.told.extend(until: Int64(clamping: proven))
    }

    /// Rows fetched so far are current no longer, or nobody knows.
    func endTold() {
        guard self.authenticator.told.isOpen else { return }
        self.authenticator.told.end()
        self.writeTold()
    }

    private func writeTold() {
        guard let cache = self.cache, let span = self.authenticator.told.spans.last else { return }
        self.toldWrittenAt = self.loop.now
        let now = self.time
        let age = (now.monotonic - span.until) / Int64(Nanoseconds.perMillisecond)
        let until = now.wallMilliseconds - age
        guard until > self.toldBeganMilliseconds else { return }
        cache.write(.told(beganMilliseconds: self.toldBeganMilliseconds, untilMilliseconds: until))
    }

    /// Once in a while: writes down until when changes were told, and reads what other workers have written.
    func tendTold() {
        guard let cache = self.cache else { return }
        let staleMax = UInt64(clamping: self.settings.authenticator.staleMaxNanoseconds)
        let interval = min(staleMax / 16, AuthLimits.toldIntervalNanoseconds)
        if self.authenticator.told.isOpen, self.loop.now &- self.toldWrittenAt >= interval { self.writeTold() }
        guard self.loop.now &- self.toldReadAt >= interval || self.toldReadAt == 0, let spans = cache.toldSpans() else {
            return
        }
        self.toldReadAt = self.loop.now
        self.authenticator.toldOnDisk = spans
    }
}
