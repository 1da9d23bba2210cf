import Common

/// What a session that ends with its connection has to do with QoS 2 messages that listeners keep: see docs/adr/0014.
final class SessionExchanges {
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
    /// In the store, as this router left it.
    private var stored = CompletedExchanges()

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
        self.stored.leaveAll(turn: turn)
    }

    // MARK: Stored

    var allStored: [UInt64] { self.stored.all + self.restored.sorted() }

    func restore(_ exchange: UInt64) {
        self.restored.insert(exchange)
    }

    func store(_ exchange: UInt64) {
        self.stored.append(exchange)
    }

    /// The PUBCOMPs of the next ones leave in this turn.
    func left(_ count: Int, turn: UInt64) {
        self.stored.left(count, turn: turn)
    }

    /// PUBCOMPs leave later than they were said to.
    func leaveLater(turn: UInt64) {
        self.stored.leaveLater(turn: turn)
    }

    /// The oldest one if the listener has its PUBCOMP by now; it is none of ours then.
    func takeOldest(handedTurn: UInt64) -> UInt64? {
        self.stored.takeOldest(leftUpTo: handedTurn)
    }
}
