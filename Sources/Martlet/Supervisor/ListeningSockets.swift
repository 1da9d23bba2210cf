import CLinux
import Common
import Glibc

/// The sockets of all configured listeners, opened once and shared by all listener processes.
package final class ListeningSockets {
    package struct Socket {
        package var fileDescriptor: Int32
        /// The listener's name, for LISTEN_FDNAMES.
        package var name: String
        /// As bound: with the port that the kernel chose for port 0.
        package var address: ListenAddress
    }

    package let sockets: [Socket]
    /// Connections that wait to be accepted; the kernel lowers it to net.core.somaxconn.
    private static let backlog: Int32 = 4096

    package init(_ listeners: [Configuration.Listener]) throws(CommandFailure) {
        var sockets: [Socket] = []
        for listener in listeners {
            for address in listener.addresses {
                do {
                    sockets.append(try Self.open(address, name: listener.name))
                } catch {
                    for socket in sockets { close(socket.fileDescriptor) }
                    throw error
                }
            }
        }
        self.sockets = sockets
    }

    deinit {
        for socket in self.sockets { close(socket.fileDescriptor) }
    }

    private static func open(_ address: ListenAddress, name: String) throws(CommandFailure) -> Socket {
        let family = address.isIPv6 ? AF_INET6 : AF_INET
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let fileDescriptor = socket(family, type, 0)
        guard fileDescriptor >= 0 else { throw Self.failure(address, name, errno) }
        Self.set(fileDescriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        if address.isIPv6 { Self.set(fileDescriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
        let bound = address.withSocketAddress { bind(fileDescriptor, $0, $1) }
        guard bound == 0, listen(fileDescriptor, Self.backlog) == 0 else {
            let code = errno
            close(fileDescriptor)
            throw Self.failure(address, name, code)
        }
        var actual = address
        actual.port = Self.port(of: fileDescriptor) ?? address.port
        return Socket(fileDescriptor: fileDescriptor, name: name, address: actual)
    }

    private static func set(_ fileDescriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        setsockopt(fileDescriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func port(of fileDescriptor: Int32) -> UInt16? {
        var address = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(fileDescriptor, $0, &length) }
        }
        // The port lies at the same place in sockaddr_in.
        return result == 0 ? UInt16(bigEndian: address.sin6_port) : nil
    }

    private static func failure(_ address: ListenAddress, _ name: String, _ code: Int32) -> CommandFailure {
        let reason: String
        switch code {
        case EADDRINUSE:
            reason = "port \(address.port) is in use by another program"
        case EACCES:
            reason = "not allowed; ports below 1024 need root or CAP_NET_BIND_SERVICE"
        case EADDRNOTAVAIL:
            reason = "this host does not have that address"
        case EAFNOSUPPORT:
            reason = "this host has no IPv6; listen on 0.0.0.0:\(address.port) instead"
        default:
            reason = Configuration.describe(code)
        }
        return CommandFailure("cannot listen on \(address) (listener \(name)): \(reason)")
    }
}
