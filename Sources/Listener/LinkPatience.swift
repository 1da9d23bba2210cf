import Common

/// Bytes for the router that may wait a little for others: acknowledgements of clients that it can do without for now, and credit. On a
/// quiet machine each of them would cost a wake-up of the router, which is more than the message itself.
struct LinkPatience {
    static let nanoseconds = 5 * Nanoseconds.perMillisecond
    /// Credit of which most is still there is even less urgent.
    static let creditNanoseconds = 50 * Nanoseconds.perMillisecond

    private var bytes = 0
    private(set) var acknowledgements = 0
    /// When the first of them has waited long enough; nil: there are none.
    private(set) var deadline: Instant?

    mutating func add(_ bytes: Int, acknowledgements: Int, now: Instant) {
        self.bytes += bytes
        self.acknowledgements += acknowledgements
        self.deadline = min(self.deadline ?? .max, now &+ Self.nanoseconds)
    }

    /// There is some of the link's credit to return.
    mutating func hasCredit(now: Instant) {
        self.deadline = self.deadline ?? now &+ Self.creditNanoseconds
    }

    /// Whether nothing but these bytes is in an output of this size, and they may wait.
    func covers(_ outputBytes: Int, now: Instant) -> Bool {
        outputBytes == self.bytes && (self.deadline.map { now < $0 } ?? true)
    }

    /// Everything is sent.
    mutating func end() {
        self = LinkPatience()
    }
}
