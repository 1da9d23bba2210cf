import Common
import Logging

// Keyspace events may be turned off in the server at any time, and nobody is told: the subscription stays and stays silent. So the server
// is asked for its setting from time to time, on the connection for look-ups, as one that is subscribed takes no other commands. Whoever
// learns changes by events was allowed to ask when that began.
extension RedisSource {
    private static let firstKeyspaceToken: UInt64 = 1 << 63 | 1 << 61

    static func isKeyspaceToken(_ token: UInt64) -> Bool { token & Self.firstKeyspaceToken == Self.firstKeyspaceToken }

    /// Once, when the source starts.
    func scheduleKeyspaceCheck() {
        self.loop.schedule(afterNanoseconds: AuthLimits.keyspaceCheckNanoseconds) { [weak self] in
            guard let self, !self.isStopped else { return }
            for (server, feed) in self.feeds where feed.asksForKeyspaceEvents { self.askForKeyspaceEvents(server) }
            self.scheduleKeyspaceCheck()
        }
    }

    private func askForKeyspaceEvents(_ server: RedisURL.Server) {
        guard !self.keyspaceChecks.values.contains(where: { $0.server == server }) else { return }
        self.keyspaceChecksBegun += 1
        let token = Self.firstKeyspaceToken | self.keyspaceChecksBegun
        let command = ["CONFIG", "GET", "notify-keyspace-events"].map { Array($0.utf8) }
        // What is not answered is asked again.
        guard (try? self.redis.submit(command, to: server, token: token)) == true else { return }
        self.keyspaceChecks[token] = (server, self.loop.now)
    }

    func keyspaceEventsNotAnswered(_ token: UInt64) {
        self.keyspaceChecks[token] = nil
    }

    func learnedKeyspaceEvents(_ token: UInt64, _ reply: RedisReply) {
        guard let check = self.keyspaceChecks.removeValue(forKey: token), let feed = self.feeds[check.server] else {
            return
        }
        guard !feed.learnedKeyspaceEvents(reply, askedAt: check.askedAt), !self.hasLoggedKeyspaceEvents else { return }
        self.hasLoggedKeyspaceEvents = true
        self.logger.warning(
            "Redis does not say any more whether it announces keyspace events: if it stops, nobody will notice",
            metadata: [
                "server": "\(check.server)", "command": "CONFIG GET notify-keyspace-events",
                "reason": "\(reply.errorText ?? "an unexpected answer")",
            ]
        )
    }
}
