import Common

/// What became of the last connections from an address: where many wait for their handshake, those go first from whose address devices
/// came that were let in, and last those from which came what was refused.
///
/// Bounded: addresses of which nothing was heard for long are forgotten when there are many others.
struct SourceHistory {
    /// Many devices may share an address, and one among them that is refused must not cost the others their place.
    private static let successWeight = 8
    private static let scoreMax = 64

    private let generationMax: Int
    private var recent: [ConnectionSource: Int8] = [:]
    private var former: [ConnectionSource: Int8] = [:]

    /// - Parameter sourcesMax: addresses that it remembers at most.
    init(sourcesMax: Int = 65_536) {
        self.generationMax = sourcesMax / 2
    }

    var count: Int { self.recent.count + self.former.count }

    /// Of a connection from there whose client has shown no ticket.
    func rank(of source: ConnectionSource) -> HandshakeQueue.Rank {
        guard let score = self.recent[source] ?? self.former[source], score != 0 else { return .new }
        return score > 0 ? .known : .refused
    }

    /// A device from there was let in.
    mutating func letIn(_ source: ConnectionSource) {
        self.add(Self.successWeight, source)
    }

    /// Something from there was refused for what it is, or did not say what it is.
    mutating func refused(_ source: ConnectionSource) {
        self.add(-1, source)
    }

    private mutating func add(_ points: Int, _ source: ConnectionSource) {
        let score = Int(self.recent[source] ?? self.former[source] ?? 0) + points
        self.recent[source] = Int8(max(-Self.scoreMax, min(Self.scoreMax, score)))
        guard self.recent.count >= self.generationMax else { return }
        self.former = self.recent
        self.recent = [:]
    }
}
