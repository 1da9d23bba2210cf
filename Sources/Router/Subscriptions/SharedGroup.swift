import Common

/// The sessions that share one subscription: `$share/NAME/FILTER` (MQTT 5.0, section 4.8.2).
///
/// ```
///  members:  had their turn ┃ wait for it       A member that goes leaves a hole, which the last one of its part takes.
///                           ┗━ next
/// ```
struct SharedGroup {
    /// Lists longer than this are searched through `places`.
    private static let longList = 16

    private(set) var members: [Subscriber] = []
    /// The member whose turn is next.
    private var next = 0
    /// Where in a long list each session stands.
    private var places: [UInt32: UInt32] = [:]

    func options(of session: UInt32) -> Subscriber.Options? {
        var lookedAt = 0
        return self.place(of: session, &lookedAt).map { self.members[$0].options }
    }

    /// Adds or replaces a member.
    /// - Parameter lookedAt: counts members that were looked at.
    /// - Returns: whether it is new.
    mutating func add(_ subscriber: Subscriber, _ lookedAt: inout Int) -> Bool {
        if let place = self.place(of: subscriber.session, &lookedAt) {
            self.members[place] = subscriber
            return false
        }
        self.members.append(subscriber)
        let count = self.members.count
        guard count > Self.longList else { return true }
        for place in (count == Self.longList + 1 ? 0 : count - 1)..<count { self.notePlace(place) }
        return true
    }

    /// - Parameter lookedAt: as of `add`.
    /// - Returns: whether it was a member.
    mutating func remove(_ session: UInt32, _ lookedAt: inout Int) -> Bool {
        guard let place = self.place(of: session, &lookedAt) else { return false }
        self.places[session] = nil
        var hole = place
        if hole < self.next {
            self.next -= 1
            self.move(self.next, to: hole)
            hole = self.next
        }
        self.move(self.members.count - 1, to: hole)
        self.members.removeLast()
        if self.members.count == Self.longList { self.places = [:] }
        return true
    }

    private mutating func move(_ place: Int, to hole: Int) {
        guard place != hole else { return }
        self.members[hole] = self.members[place]
        if self.members.count > Self.longList { self.notePlace(hole) }
    }

    private mutating func notePlace(_ place: Int) {
        self.places[self.members[place].session] = UInt32(truncatingIfNeeded: place)
    }

    private func place(of session: UInt32, _ lookedAt: inout Int) -> Int? {
        if self.members.count > Self.longList {
            lookedAt += 1
            return self.places[session].map { Int($0) }
        }
        let place = self.members.firstIndex { $0.session == session }
        lookedAt += place.map { $0 + 1 } ?? self.members.count
        return place
    }

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
