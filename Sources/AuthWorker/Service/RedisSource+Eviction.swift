import Common
import Logging

// A row that Redis evicts is one that somebody deleted, for all that can be seen of it: its device is out. So a server that may do that
// is told of before it does.
extension RedisSource {
    static let evictionToken: UInt64 = 1 << 63 | 2

    /// Once, when the source starts: asks from time to time, as the server may be configured at any time.
    func scheduleEvictionCheck() {
        self.loop.schedule(afterNanoseconds: AuthLimits.evictionCheckNanoseconds) { [weak self] in
            guard let self, !self.isStopped else { return }
            self.askForEviction()
            self.askForSwaps()
            self.scheduleEvictionCheck()
        }
    }

    /// Of a cluster any master is asked.
    func askForEviction() {
        guard self.redis.isReady else { return }
        let command = ["INFO", "memory"].map { Array($0.utf8) }
        // What is not answered is asked for again.
        try? self.redis.submit(command, key: [], token: Self.evictionToken)
    }

    func learnedEviction(_ policy: EvictionPolicy?) {
        guard let policy, policy != self.evictionPolicy else { return }
        let mayHave = self.evictionPolicy?.takesAnyRow ?? false
        self.evictionPolicy = policy
        guard policy.takesAnyRow != mayHave else { return }
        if let alarm = self.evictionAlarm {
            self.logger.warning("\(alarm)", metadata: ["server": "\(self.serverDescription)"])
        } else {
            self.logger.notice(
                "Redis evicts no rows of devices any more",
                metadata: ["server": "\(self.serverDescription)", "maxmemory-policy": "\(policy.name)"]
            )
        }
    }

    /// nil: rows are safe, or nothing is known of it.
    var evictionAlarm: String? {
        guard let policy = self.evictionPolicy, policy.takesAnyRow else { return nil }
        return """
            Redis evicts rows when it has \(policy.maximumMemory) bytes (maxmemory-policy \(policy.name)), and the devices of \
            evicted rows are refused: set noeviction, or volatile-… if rows have no expiry
            """
    }
}
