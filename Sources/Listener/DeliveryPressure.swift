import Common

/// How much of the link's credit for deliveries waits in this process for clients to read it, over all of them.
///
/// Clients that do not read, and do not go, keep what was sent to them for as long as they stay. From half of the credit on, `isHigh`,
/// sessions are told at once what their clients have taken, so that the router can tell who reads and give the others less
/// (`RouterLink.admits`). What is left is never nothing, but each client may have a packet under way: with large ones, or with thousands of
/// clients, little is left. When it is a sixty-fourth, `isCritical`, those go that have taken nothing for the longest time.
struct DeliveryPressure {
    /// A client that has taken something in this time is not ended for the others.
    static let patienceNanoseconds = 5 * Nanoseconds.perSecond

    /// The link's.
    var credit: Int
    /// PUBLISH bytes that were queued for clients and not written.
    private(set) var waiting = 0
    private(set) var isHigh = false
    private var isEnding = false

    init(credit: Int) {
        self.credit = credit
    }

    mutating func queued(_ bytes: Int) { self.waiting += bytes }

    /// Written, or given up with their connection.
    mutating func released(_ bytes: Int) { self.waiting -= bytes }

    /// To be called once in a turn.
    /// - Returns: whether sessions are told at once from now on, for the first time.
    mutating func hasRisen() -> Bool {
        if self.isHigh {
            self.isHigh = self.waiting > self.credit / 8 * 3
            return false
        }
        self.isHigh = self.waiting > self.credit / 2
        return self.isHigh
    }

    var isCritical: Bool { self.waiting > self.credit - self.credit / 64 }

    /// Whether clients are to be ended: from when it is critical until no more than `aim` waits.
    mutating func endsClients() -> Bool {
        self.isEnding = self.isCritical || (self.isEnding && self.waiting > self.aim)
        return self.isEnding
    }

    /// What may wait when clients are ended no more.
    var aim: Int { self.credit / 2 }
}
