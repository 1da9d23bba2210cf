import Common
import Glibc

/// Listening sockets passed by systemd or `martlet run`: the protocol of sd_listen_fds(3).
///
/// Each socket is used by the listener whose name it carries (FileDescriptorName=), or else by the one configured for the
/// address it is bound to.
struct InheritedSockets {
    struct Socket: Equatable {
        var fileDescriptor: Int32
        var name: String
    }

    private(set) var sockets: [Socket]
    private static let socketsMax: Int32 = 256

    /// - Parameter firstDescriptor: SD_LISTEN_FDS_START.
    init(environment: [String: String], processID: pid_t = getpid(), firstDescriptor: Int32 = 3) {
        self.sockets = []
        guard environment["LISTEN_PID"].flatMap({ pid_t($0) }) == processID,
            let count = environment["LISTEN_FDS"].flatMap({ Int32($0) }), count > 0, count <= Self.socketsMax
        else { return }
        let names = (environment["LISTEN_FDNAMES"] ?? "").split(separator: ":", omittingEmptySubsequences: false)
        for index in 0..<count {
            let fileDescriptor = firstDescriptor + index
            let flags = fcntl(fileDescriptor, F_GETFD)
            guard flags >= 0 else { continue }
            _ = fcntl(fileDescriptor, F_SETFD, flags | FD_CLOEXEC)
            _ = fcntl(fileDescriptor, F_SETFL, fcntl(fileDescriptor, F_GETFL) | O_NONBLOCK)
            let name = Int(index) < names.count ? String(names[Int(index)]) : ""
            self.sockets.append(Socket(fileDescriptor: fileDescriptor, name: name))
        }
    }

    /// Takes out the socket for one address of a listener: by the listener's name and the address, then by the name alone,
    /// then by the address alone.
    mutating func take(name: String, address: ListenAddress) -> Int32? {
        func isBound(_ socket: Socket) -> Bool {
            SocketAddress.local(of: socket.fileDescriptor)?.listenAddress == address
        }
        let choice =
            self.sockets.firstIndex { $0.name == name && isBound($0) }
            ?? self.sockets.firstIndex { $0.name == name }
            ?? self.sockets.firstIndex { isBound($0) }
        return choice.map { self.sockets.remove(at: $0).fileDescriptor }
    }

    /// Takes out another socket with the listener's name, of a unit with more of them than the listener has addresses.
    mutating func takeFurther(name: String) -> Int32? {
        self.sockets.firstIndex { $0.name == name }.map { self.sockets.remove(at: $0).fileDescriptor }
    }
}
