import Common

/// An IPv4 or IPv6 address as certificates hold it: 4 or 16 bytes.
struct IPAddress: Equatable {
    let bytes: [UInt8]

    /// From "192.0.2.1" or "2001:db8::1"; nil for anything else.
    init?(_ text: String) {
        guard let bytes = ListenAddress.numeric(text) else { return nil }
        self.bytes = bytes
    }

    /// From 4 or 16 bytes; nil for any other count.
    init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// As inet_ntop(3) writes it.
    var text: [UInt8] {
        Array(ListenAddress(bytes: self.bytes, port: 0).host.utf8)
    }
}
