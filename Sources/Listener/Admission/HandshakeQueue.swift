import Common

/// Who is next of the connections that wait for their TLS handshake. Each rank gets a share of the turns while others wait too, so that
/// the many of one rank cannot keep out those of another, and nobody waits for ever. Within a rank addresses take turns, so that the many of
/// one address cannot keep out those of another either.
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

    private var waiting = Rank.allCases.map { _ in SourceQueue() }
    /// Turns that each rank has had, as parts of its share (stride scheduling): the one that has had the least is next.
    private var passes = Array(repeating: 0, count: Rank.allCases.count)

    /// 27 × 2: all shares divide it.
    private static let whole = 54

    var count: Int { self.waiting.reduce(0) { $0 + $1.count } }

    mutating func append(_ connection: Int32, _ rank: Rank, from source: ConnectionSource) {
        self.waiting[rank.rawValue].append(connection, from: source)
    }

    /// The next one, which leaves the queue.
    /// - Parameters:
    ///   - withRefused: otherwise it is not the turn of those from addresses from which came what was refused.
    ///   - excluded: nor that of those from there, unless they have shown a ticket.
    mutating func next(withRefused: Bool = true, except excluded: ConnectionSource? = nil) -> Int32? {
        var best: Rank?
        for rank in Rank.allCases {
            guard withRefused || rank != .refused,
                self.waiting[rank.rawValue].hasNext(except: rank == .ticket ? nil : excluded)
            else { continue }
            if let other = best, self.passes[other.rawValue] <= self.passes[rank.rawValue] { continue }
            best = rank
        }
        guard let rank = best else { return nil }
        // For the time in which none of it waited or might be next, a rank gets nothing.
        let pass = self.passes[rank.rawValue]
        for other in self.passes.indices { self.passes[other] = max(self.passes[other], pass) }
        self.passes[rank.rawValue] += Self.whole / rank.share
        return self.waiting[rank.rawValue].next(except: rank == .ticket ? nil : excluded)
    }

    mutating func remove(_ connection: Int32, from source: ConnectionSource) {
        for rank in self.waiting.indices where self.waiting[rank].remove(connection, from: source) { return }
    }

    /// An address of which nothing was known turned out bad: those that wait from there do not go before others as new ones.
    mutating func isRefused(_ source: ConnectionSource) {
        for connection in self.waiting[Rank.new.rawValue].removeAll(from: source) {
            self.append(connection, .refused, from: source)
        }
    }

    /// The one that has waited longest of the address with the most of those from addresses from which came what was refused; it leaves the
    /// queue.
    mutating func removeRefused() -> Int32? {
        guard let source = self.waiting[Rank.refused.rawValue].largest?.source else { return nil }
        return self.waiting[Rank.refused.rawValue].removeFirst(from: source)
    }

    /// The address of which nothing is known with the most that wait, and how many those are.
    var largestNew: (source: ConnectionSource, count: Int)? { self.waiting[Rank.new.rawValue].largest }

    /// The one that came last of those; it leaves the queue.
    mutating func removeLastNew(from source: ConnectionSource) -> Int32? {
        self.waiting[Rank.new.rawValue].removeLast(from: source)
    }
}
