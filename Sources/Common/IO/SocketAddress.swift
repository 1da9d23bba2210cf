import CLinux
import Glibc

/// An IPv4 or IPv6 address and port as the kernel has it.
public struct SocketAddress: CustomStringConvertible {
    private var storage: sockaddr_storage

    public init(_ storage: sockaddr_storage) {
        self.storage = storage
    }

    public init(_ address: ListenAddress) {
        var storage = sockaddr_storage()
        address.withSocketAddress { source, length in
            withUnsafeMutableBytes(of: &storage) {
                $0.copyMemory(from: UnsafeRawBufferPointer(start: source, count: Int(length)))
            }
        }
        self.storage = storage
    }

    /// The address that a socket is bound to.
    public static func local(of fileDescriptor: Int32) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(fileDescriptor, $0, &length) }
        }
        return result == 0 ? SocketAddress(storage) : nil
    }

    /// Nil for other families.
    public var listenAddress: ListenAddress? {
        withUnsafePointer(to: self.storage) { pointer -> ListenAddress? in
            switch Int32(pointer.pointee.ss_family) {
            case AF_INET:
                return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    let bytes = withUnsafeBytes(of: $0.pointee.sin_addr) { [UInt8]($0) }
                    return ListenAddress(bytes: bytes, port: UInt16(bigEndian: $0.pointee.sin_port))
                }
            case AF_INET6:
                return pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    let bytes = withUnsafeBytes(of: $0.pointee.sin6_addr) { [UInt8]($0) }
                    return ListenAddress(bytes: bytes, port: UInt16(bigEndian: $0.pointee.sin6_port))
                }
            default:
                return nil
            }
        }
    }

    /// `192.0.2.7:40112`, `[2001:db8::1]:40112`. IPv4 addresses that came through an IPv6 socket are written as IPv4.
    public var description: String {
        self.listenAddress?.unmapped.description ?? "unknown"
    }
}
