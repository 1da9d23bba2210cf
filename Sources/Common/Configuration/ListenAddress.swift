import CLinux
import Glibc

/// A numeric address and port to listen on: `127.0.0.1:1883`, `[::1]:1883`, `[::]:8883`.
///
/// Names are not looked up: a listener must come up while the resolver is away.
public struct ListenAddress: Equatable, Hashable, Sendable {
    /// 4 bytes for IPv4, 16 for IPv6, in network order.
    public var bytes: [UInt8]
    public var port: UInt16

    /// `::`, which takes IPv4 connections too.
    public static func anyAddress(port: UInt16) -> ListenAddress {
        ListenAddress(bytes: [UInt8](repeating: 0, count: 16), port: port)
    }

    /// `127.0.0.1`.
    public static func loopback(port: UInt16) -> ListenAddress {
        ListenAddress(bytes: [127, 0, 0, 1], port: port)
    }

    public init(bytes: [UInt8], port: UInt16) {
        precondition(bytes.count == 4 || bytes.count == 16, "an IP address has 4 or 16 bytes")
        self.bytes = bytes
        self.port = port
    }

    public var isIPv6: Bool { self.bytes.count == 16 }

    /// In 127.0.0.0/8, `::1`, or the former mapped into IPv6.
    public var isLoopback: Bool {
        let bytes = self.unmapped.bytes
        if bytes.count == 4 { return bytes[0] == 127 }
        return bytes.dropLast().allSatisfy { $0 == 0 } && bytes[15] == 1
    }

    /// An IPv4 address mapped into IPv6 (`::ffff:192.0.2.7`), as it comes through an IPv6 socket, as the IPv4 address; others as they
    /// are.
    public var unmapped: ListenAddress {
        let mappedPrefix: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
        guard self.isIPv6, self.bytes.starts(with: mappedPrefix) else { return self }
        return ListenAddress(bytes: Array(self.bytes[12...]), port: self.port)
    }

    /// Whether a socket at `bound` is where this says: port 0 stands for whichever the kernel chose.
    public func allows(_ bound: ListenAddress) -> Bool {
        self.bytes == bound.bytes && (self.port == bound.port || self.port == 0)
    }

    /// The numeric address without brackets.
    public var host: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = self.isIPv6 ? AF_INET6 : AF_INET
        let written = self.bytes.withUnsafeBytes { bytes in
            inet_ntop(family, bytes.baseAddress, &text, socklen_t(text.count)) != nil
        }
        guard written else { return "" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Calls `body` with the address in the kernel's form.
    public func withSocketAddress<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Result
    ) rethrows -> Result {
        var storage = sockaddr_storage()
        let length = withUnsafeMutableBytes(of: &storage) { raw -> Int in
            if self.isIPv6 {
                raw.withMemoryRebound(to: sockaddr_in6.self) { address in
                    address[0].sin6_family = sa_family_t(AF_INET6)
                    address[0].sin6_port = self.port.bigEndian
                    withUnsafeMutableBytes(of: &address[0].sin6_addr) { $0.copyBytes(from: self.bytes) }
                }
                return MemoryLayout<sockaddr_in6>.size
            }
            raw.withMemoryRebound(to: sockaddr_in.self) { address in
                address[0].sin_family = sa_family_t(AF_INET)
                address[0].sin_port = self.port.bigEndian
                withUnsafeMutableBytes(of: &address[0].sin_addr) { $0.copyBytes(from: self.bytes) }
            }
            return MemoryLayout<sockaddr_in>.size
        }
        return try withUnsafePointer(to: &storage) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { try body($0, socklen_t(length)) }
        }
    }
}

extension ListenAddress: CustomStringConvertible {
    public var description: String {
        self.isIPv6 ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)"
    }
}
