/// A range of IP addresses: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
public struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    /// 4 or 16, in network order; those behind the prefix are 0.
    public var bytes: [UInt8]
    public var prefixBits: Int

    /// - Throws: what is wrong with the text. Bits behind the prefix must be 0: `10.1.2.3/8` may well be a mistake.
    public init(_ text: String) throws(ValueError) {
        let shown = ConfigurationText.shown(text)
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let host = parts.first, let bytes = ListenAddress.numeric(String(host)) else {
            throw ValueError("\"\(shown)\" is neither an IP address nor a range such as 192.0.2.0/24")
        }
        self.bytes = bytes
        self.prefixBits = self.bytes.count * 8
        if parts.count == 2 {
            guard let bits = NumberText.parse(String(parts[1])), bits >= 0, bits <= self.prefixBits else {
                throw ValueError(
                    "\"\(shown)\" is not a range: behind the slash is a number from 0 to \(self.prefixBits)"
                )
            }
            self.prefixBits = Int(bits)
        }
        let mapped = ListenAddress(bytes: self.bytes, port: 0).unmapped.bytes
        if mapped.count < self.bytes.count, self.prefixBits >= 96 {
            // ::ffff:192.0.2.0/120 is 192.0.2.0/24: that is what such clients count as.
            self.bytes = mapped
            self.prefixBits -= 96
        }
        let range = AddressRange(around: self.bytes, prefixBits: self.prefixBits)
        guard range == self else {
            throw ValueError("\"\(shown)\" is an address in the range \(range); write one or the other")
        }
    }

    /// The range of this length that an address lies in.
    public init(around bytes: [UInt8], prefixBits: Int) {
        self.bytes = Self.masked(bytes, prefixBits)
        self.prefixBits = prefixBits
    }

    /// IPv4 addresses that came through an IPv6 socket count as IPv4.
    public func contains(_ address: ListenAddress) -> Bool {
        let bytes = self.bytes.count == 4 ? address.unmapped.bytes : address.bytes
        return bytes.count == self.bytes.count && Self.masked(bytes, self.prefixBits) == self.bytes
    }

    private static func masked(_ bytes: [UInt8], _ bits: Int) -> [UInt8] {
        bytes.enumerated().map { index, byte in
            let kept = max(0, min(8, bits - 8 * index))
            return kept == 0 ? 0 : byte & (0xFF << UInt8(8 - kept))
        }
    }

    public var description: String {
        "\(ListenAddress(bytes: self.bytes, port: 0).host)/\(self.prefixBits)"
    }
}
