import Common
import Logging

// SWAPDB exchanges all rows of two databases, and Redis tells nobody: no key of them counts as changed. But it counts its commands.
extension RedisSource {
    static let swapsToken: UInt64 = 1 << 63 | 3

    /// Together with the question for eviction. In a cluster there is one database.
    func askForSwaps() {
        guard self.redis.isReady, !self.redis.isCluster else { return }
        let command = ["INFO", "commandstats"].map { Array($0.utf8) }
        // What is not answered is asked for again.
        try? self.redis.submit(command, key: [], token: Self.swapsToken)
    }

    func learnedSwaps(_ count: UInt64?) {
        guard let count else { return }
        let former = self.swapCount
        self.swapCount = count
        // Fewer than before: the count began anew, as another server's or by CONFIG RESETSTAT. None since then is no swap.
        guard let former, count != former, count > 0 else { return }
        self.logger.warning(
            "databases of Redis were exchanged (SWAPDB): everything live is asked about",
            metadata: ["server": "\(self.serverDescription)"]
        )
        self.lostSightOfRows()
    }
}
