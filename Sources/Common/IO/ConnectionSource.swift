/// Where a connection comes from, as far as that tells one client's place from another's: an IPv4 address, or the /64 of an IPv6 one, for
/// of the rest devices choose another from time to time.
public struct ConnectionSource: Hashable, Sendable {
    private var bits: UInt64

    /// All connections of which nothing is known.
    public static let unknown = ConnectionSource(bits: 0)

    private init(bits: UInt64) {
        self.bits = bits
    }

    /// Nil for other families.
    public init?(_ address: SocketAddress) {
        guard let address = address.listenAddress else { return nil }
        self.init(address)
    }

    public init(_ address: ListenAddress) {
        // No IPv6 network that is routed begins with 32 zero bits.
        self.bits = address.unmapped.bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// - Parameter peerAddress: with its port, as links carry it: `192.0.2.7:40112`, `[2001:db8::1]:40112`.
    public init(peerAddress: [UInt8]) {
        var host = peerAddress.prefix(peerAddress.lastIndex(of: UInt8(ascii: ":")) ?? 0)
        if host.first == UInt8(ascii: "[") { host = host.dropFirst().dropLast() }
        let bytes = ListenAddress.numeric(String(decoding: host, as: UTF8.self))
        self = bytes.map { ConnectionSource(ListenAddress(bytes: $0, port: 0)) } ?? .unknown
    }
}
