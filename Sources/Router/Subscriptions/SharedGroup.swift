import Common

/// The sessions that share one subscription: `$share/NAME/FILTER` (MQTT 5.0, section 4.8.2).
struct SharedGroup {
    var name: [UInt8]
    var node: UInt32
    /// Tells groups apart that had the same number one after the other.
    var stamp: UInt32
    var members: [Subscriber] = []
    /// The member whose turn is next.
    var next = 0

    /// What a member could do with a message now.
    enum Member {
        /// Connected, but its client does not take packets that large.
        case unable
        /// Its client is not connected.
        case away
        /// Connected, but it would have to wait.
        case busy(waiting: Int)
        /// Would get it at once; `waiting` counts unacknowledged messages.
        case free(waiting: Int)

        /// Lower is better.
        var rank: Int {
            switch self {
            case .free: 0
            case .busy: 1
            case .away: 2
            case .unable: 4
            }
        }

        var waiting: Int {
            switch self {
            case .away, .unable: 0
            case .busy(let waiting), .free(let waiting): waiting
            }
        }
    }

    /// Members looked at, as long as one is connected: in larger groups the best of the next so many, so that a message to a large group
    /// whose members have all they take costs no more than one to a small group.
    static let compared = 64

    /// The member that gets a message: one that is connected, and takes packets that large, if there is any, and among these the next one
    /// that can take it at once, or the one with the least to do; if none is, one for which messages wait, as they do not at QoS 0.
    /// - Parameter state: of a member, for the message.
    mutating func choose(
        _ spread: Configuration.MQTT.SharedSpread,
        _ state: (Subscriber) -> Member
    ) -> Subscriber? {
        guard !self.members.isEmpty else { return nil }
        var best = self.next % self.members.count
        var bestState = state(self.members[best])
        func rank(_ position: Int, _ state: Member) -> Int {
            guard case .away = state, !self.members[position].options.qos.isAcknowledged else { return state.rank }
            return state.rank + 1
        }
        for step in 1..<max(1, self.members.count) {
            if bestState.rank == 0, spread == .roundRobin || bestState.waiting == 0 { break }
            if bestState.rank <= 1, step >= Self.compared { break }
            let position = (self.next + step) % self.members.count
            let candidate = state(self.members[position])
            let isLess = spread == .leastInflight && candidate.waiting < bestState.waiting
            let (rank, bestRank) = (rank(position, candidate), rank(best, bestState))
            if rank < bestRank || (rank == bestRank && isLess) {
                best = position
                bestState = candidate
            }
        }
        self.next = (best + 1) % self.members.count
        return self.members[best]
    }
}
