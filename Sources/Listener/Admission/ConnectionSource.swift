import Common

/// Where a connection comes from, as far as that tells one client's place from another's: an IPv4 address, or the /64 of an IPv6 one, for
/// of the rest devices choose another from time to time.
struct ConnectionSource: Hashable {
    private var bits: UInt64

    /// Nil for other families.
    init?(_ address: SocketAddress) {
        guard let bytes = address.listenAddress?.unmapped.bytes, bytes.count >= 4 else { return nil }
        // No IPv6 network that is routed begins with 32 zero bits.
        self.bits = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }
}
