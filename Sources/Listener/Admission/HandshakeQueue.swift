/// Who is next of the connections that wait for their TLS handshake. Each rank gets a share of the turns while others wait too, so that
/// the many of one rank cannot keep out those of another, and nobody waits for ever.
struct HandshakeQueue {
    enum Rank: Int, CaseIterable {
        /// Its client has shown a ticket: it was let in before, and its handshake costs a third.
        case ticket
        /// From an address from which devices were let in.
        case known
        /// From an address that nothing is known of.
        case new
        /// From an address from which came what was refused.
        case refused

        /// Of 36 turns.
        var share: Int {
            switch self {
            case .ticket: 27
            case .known: 6
            case .new: 2
            case .refused: 1
            }
        }
    }

    private var waiting: [[Int32]] = Array(repeating: [], count: Rank.allCases.count)
    /// Turns that each rank has had, as parts of its share (stride scheduling): the one that has had the least is next.
    private var passes = Array(repeating: 0, count: Rank.allCases.count)
    private var passOfLastTurn = 0

    /// 27 × 2: all shares divide it.
    private static let whole = 54

    mutating func append(_ connection: Int32, _ rank: Rank) {
        if self.waiting[rank.rawValue].isEmpty {
            // For the time in which none of it waited it gets nothing.
            self.passes[rank.rawValue] = max(self.passes[rank.rawValue], self.passOfLastTurn)
        }
        self.waiting[rank.rawValue].append(connection)
    }

    /// The next one, which leaves the queue; it may have gone meanwhile.
    /// - Parameter withRefused: otherwise it is not the turn of those from addresses from which came what was refused.
    mutating func next(withRefused: Bool = true) -> Int32? {
        var best: Rank?
        for rank in Rank.allCases where !self.waiting[rank.rawValue].isEmpty && (withRefused || rank != .refused) {
            if let other = best, self.passes[other.rawValue] <= self.passes[rank.rawValue] { continue }
            best = rank
        }
        guard let rank = best else { return nil }
        self.passOfLastTurn = self.passes[rank.rawValue]
        self.passes[rank.rawValue] += Self.whole / rank.share
        return self.waiting[rank.rawValue].removeFirst()
    }

    var firstNew: Int32? { self.waiting[Rank.new.rawValue].first }

    /// Its rank has had no turn for it.
    mutating func moveFirstNewToRefused() {
        guard self.firstNew != nil else { return }
        self.append(self.waiting[Rank.new.rawValue].removeFirst(), .refused)
    }

    /// The one that has waited longest of those from addresses from which came what was refused; it leaves the queue.
    mutating func removeRefused() -> Int32? {
        let rank = Rank.refused.rawValue
        return self.waiting[rank].isEmpty ? nil : self.waiting[rank].removeFirst()
    }
}
