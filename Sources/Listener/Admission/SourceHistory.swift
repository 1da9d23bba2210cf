import Common

/// What became of the last connections from an address: where many wait for their handshake, those go first from whose address devices
/// came that were let in, and last those from which came what was refused.
///
/// Bounded: addresses of which nothing was heard for long are forgotten when there are many others.
struct SourceHistory {
    /// An IPv4 address, or the /64 of an IPv6 one: of the rest devices choose another from time to time.
    private struct Source: Hashable {
        var bits: UInt64

        init?(_ address: SocketAddress) {
            guard let bytes = address.listenAddress?.unmapped.bytes, bytes.count >= 4 else { return nil }
            // No IPv6 network that is routed begins with 32 zero bits.
            self.bits = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    /// Many devices may share an address, and one among them that is refused must not cost the others their place.
    private static let successWeight = 8
    private static let scoreMax = 64

    private let generationMax: Int
    private var recent: [Source: Int8] = [:]
    private var former: [Source: Int8] = [:]

    /// - Parameter sourcesMax: addresses that it remembers at most.
    init(sourcesMax: Int = 65_536) {
        self.generationMax = sourcesMax / 2
    }

    var count: Int { self.recent.count + self.former.count }

    /// Of a connection from there whose client has shown no ticket.
    func rank(of address: SocketAddress) -> HandshakeQueue.Rank {
        guard let source = Source(address), let score = self.recent[source] ?? self.former[source], score != 0 else {
            return .new
        }
        return score > 0 ? .known : .refused
    }

    /// A device from there was let in.
    mutating func letIn(_ address: SocketAddress) {
        self.add(Self.successWeight, address)
    }

    /// Something from there was refused for what it is, or did not say what it is.
    mutating func refused(_ address: SocketAddress) {
        self.add(-1, address)
    }

    private mutating func add(_ points: Int, _ address: SocketAddress) {
        guard let source = Source(address) else { return }
        let score = Int(self.recent[source] ?? self.former[source] ?? 0) + points
        self.recent[source] = Int8(max(-Self.scoreMax, min(Self.scoreMax, score)))
        guard self.recent.count >= self.generationMax else { return }
        self.former = self.recent
        self.recent = [:]
    }
}
