/// The QoS 2 messages that a client was given lately, by `ExchangeIdentity`: all those that may be sent again to the next router.
struct DeliveredExchanges {
    /// Of what an idle session keeps for the next messages.
    private static var keptCapacityMax: Int { 32 }

    private var current: [UInt64] = []
    private var previous: [UInt64] = []
    /// How often the router had said by then that earlier ones are settled.
    private var marks: UInt64 = 0

    mutating func add(_ exchange: UInt64, marks: UInt64) {
        self.forget(marks: marks)
        self.current.append(exchange)
    }

    /// Those that are not settled.
    mutating func all(marks: UInt64) -> [UInt64] {
        self.forget(marks: marks)
        return self.previous + self.current
    }

    /// What came before the last mark but one is settled.
    private mutating func forget(marks: UInt64) {
        guard self.marks != marks else { return }
        if marks == self.marks &+ 1 { swap(&self.previous, &self.current) } else { self.previous = [] }
        self.current.removeAll(keepingCapacity: self.current.capacity <= Self.keptCapacityMax)
        self.marks = marks
    }
}
