import Glibc

extension ListenAddress {
    /// `127.0.0.1:1883`, `[::1]:1883`. Port 0 lets the kernel choose.
    public static func parse(_ text: String) throws(ValueError) -> ListenAddress {
        let shown = "\"\(ConfigurationText.shown(text))\""
        let bytes = Array(text.utf8)
        guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")), !bytes.contains(0) else {
            throw ValueError("\(shown) has no port; write address:port, such as 127.0.0.1:1883 or \"[::]:8883\"")
        }
        let host = String(decoding: bytes[..<colon], as: UTF8.self)
        let digits = String(decoding: bytes[(colon + 1)...], as: UTF8.self)
        guard let number = NumberText.parse(digits), let port = UInt16(exactly: number) else {
            if bytes.last == UInt8(ascii: "]") || bytes.filter({ $0 == UInt8(ascii: ":") }).count > 1 {
                throw ValueError("\(shown) has no port; write \"[address]:port\", such as \"[::]:8883\"")
            }
            throw ValueError("\(shown): the port must be a number from 0 to 65535")
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            let inner = String(host.dropFirst().dropLast())
            guard let address = Self.numeric(inner, isIPv6: true) else {
                throw ValueError("\(shown): \"\(ConfigurationText.shown(inner))\" is not an IPv6 address")
            }
            return ListenAddress(bytes: address, port: port)
        }
        if let address = Self.numeric(host, isIPv6: false) { return ListenAddress(bytes: address, port: port) }
        if host == "localhost" {
            throw ValueError("\(shown) is a name; write 127.0.0.1:\(port), \"[::1]:\(port)\" or both")
        }
        if host.isEmpty || host == "*" {
            throw ValueError("\(shown) has no address; for all of the host's write \"[::]:\(port)\"")
        }
        if Self.numeric(host, isIPv6: true) != nil {
            throw ValueError("\(shown): an IPv6 address needs brackets; write \"[\(host)]:\(port)\"")
        }
        throw ValueError(
            "\(shown): \"\(ConfigurationText.shown(host))\" is not an IP address (names are not looked up)"
        )
    }

    /// The 4 or 16 bytes of a numeric address without brackets and port; nil for all else.
    public static func numeric(_ text: String, isIPv6: Bool) -> [UInt8]? {
        guard !text.utf8.contains(0) else { return nil }
        var bytes = [UInt8](repeating: 0, count: isIPv6 ? 16 : 4)
        return inet_pton(isIPv6 ? AF_INET6 : AF_INET, text, &bytes) == 1 ? bytes : nil
    }

    /// The same, of either family.
    public static func numeric(_ text: String) -> [UInt8]? {
        Self.numeric(text, isIPv6: false) ?? Self.numeric(text, isIPv6: true)
    }

    /// Both cannot be bound at once: the same, or one is all addresses of the host with the same port.
    public func overlaps(_ other: ListenAddress) -> Bool {
        guard self.port == other.port, self.port != 0 else { return false }
        if self.bytes == other.bytes { return true }
        let isAny = self.bytes.allSatisfy { $0 == 0 }
        let otherIsAny = other.bytes.allSatisfy { $0 == 0 }
        if isAny, self.isIPv6 { return true }
        if otherIsAny, other.isIPv6 { return true }
        return (isAny || otherIsAny) && self.isIPv6 == other.isIPv6
    }
}
