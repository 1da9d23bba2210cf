/// Messages of a client whose copies are stored, and that its listener keeps until it has their PUBCOMPs: oldest first. What is done with
/// one costs the same however many there are.
struct CompletedExchanges {
    private struct Entry {
        var exchange: UInt64
        /// Its PUBCOMP left in this turn, if it has left.
        var turn: UInt64 = 0
    }

    private var entries: [Entry] = []
    /// Those before it are gone.
    private var first = 0
    /// PUBCOMPs of those before it have left.
    private var leftEnd = 0
    /// And not before this turn.
    private var leftNotBefore: UInt64 = 0

    var all: [UInt64] { self.entries[self.first...].map(\.exchange) }

    /// Entries in memory, those that are gone among them.
    var held: Int { self.entries.count }

    mutating func append(_ exchange: UInt64) {
        self.entries.append(Entry(exchange: exchange))
    }

    /// The PUBCOMPs of the next ones leave in this turn.
    mutating func left(_ count: Int, turn: UInt64) {
        let end = min(self.leftEnd + count, self.entries.count)
        for position in self.leftEnd..<end { self.entries[position].turn = turn }
        self.leftEnd = end
    }

    /// All that have left leave later than they were said to.
    mutating func leaveLater(turn: UInt64) {
        self.leftNotBefore = max(self.leftNotBefore, turn)
    }

    /// All leave in this turn.
    mutating func leaveAll(turn: UInt64) {
        self.leftEnd = self.entries.count
        self.leaveLater(turn: turn)
    }

    /// The oldest one if its PUBCOMP left in that turn or before.
    mutating func takeOldest(leftUpTo turn: UInt64) -> UInt64? {
        guard self.first < self.leftEnd else { return nil }
        let oldest = self.entries[self.first]
        guard max(oldest.turn, self.leftNotBefore) <= turn else { return nil }
        self.first += 1
        if self.first * 2 > self.entries.count {
            self.entries.removeFirst(self.first)
            self.leftEnd -= self.first
            self.first = 0
        }
        return oldest.exchange
    }
}
