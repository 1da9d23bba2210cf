import Common

/// What a session that ends with its connection has to do with QoS 2 messages that listeners keep: see docs/adr/0014.
final class SessionExchanges {
    /// A message of the client whose copies are stored.
    struct Completed {
        var exchange: UInt64
        /// Its PUBCOMP left in this turn; 0: it has not left.
        var turn: UInt64 = 0
    }

    // As a publisher.
    var identity: ExchangeIdentity
    /// The next QoS 2 PUBLISH is this one, which the listener sends again; the router has its beginning at most.
    var incoming: RouterCore.Exchange?
    /// Sent again by the listener, and passed on by this router: it may come once more, on another link. Those of the connection to the
    /// listener before this one are in `completedBefore`.
    private var completed: Set<UInt64> = []
    private var completedBefore: Set<UInt64> = []
    /// In the store, as a former router left it.
    private var restored: Set<UInt64> = []
    /// In the store, oldest first.
    private var stored: [Completed] = []

    // As a subscriber.
    /// What the client got from former routers, and from this one while listeners may send something again.
    var delivered: Set<UInt64> = []

    init(identity: ExchangeIdentity) {
        self.identity = identity
    }

    // MARK: Passed on already

    /// Whether a message that is sent again has been passed on.
    func isCompleted(_ exchange: UInt64) -> Bool {
        if self.completed.contains(exchange) || self.restored.contains(exchange) { return true }
        guard self.completedBefore.contains(exchange) else { return false }
        self.completed.insert(exchange)
        return true
    }

    /// A message that was sent again is passed on.
    func complete(repeated exchange: UInt64) {
        self.completed.insert(exchange)
    }

    /// The listener is about to send again what it has no answer for.
    func attached(turn: UInt64) {
        self.completedBefore = self.completed
        self.completed = []
        for position in self.stored.indices { self.stored[position].turn = turn }
    }

    // MARK: Stored

    var allStored: [UInt64] { self.stored.map(\.exchange) + self.restored.sorted() }

    func restore(_ exchange: UInt64) {
        self.restored.insert(exchange)
    }

    func store(_ exchange: UInt64) {
        self.stored.append(Completed(exchange: exchange))
    }

    /// The PUBCOMPs of the next ones leave in this turn.
    func left(_ count: Int, turn: UInt64) {
        var rest = count
        for position in self.stored.indices where self.stored[position].turn == 0 && rest > 0 {
            self.stored[position].turn = turn
            rest -= 1
        }
    }

    /// PUBCOMPs leave later than they were said to.
    func leaveLater(turn: UInt64) {
        for position in self.stored.indices where self.stored[position].turn != 0 { self.stored[position].turn = turn }
    }

    /// The oldest one if the listener has its PUBCOMP by now; it is none of ours then.
    func takeOldest(handedTurn: UInt64) -> UInt64? {
        guard let oldest = self.stored.first, oldest.turn != 0, oldest.turn <= handedTurn else { return nil }
        self.stored.removeFirst()
        return oldest.exchange
    }
}
