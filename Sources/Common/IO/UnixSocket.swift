import CLinux
import Glibc

/// Unix stream sockets: non-blocking, close-on-exec.
public enum UnixSocket {
    /// A path's bytes that fit into `sockaddr_un`, with the terminating zero.
    public static let pathBytesMax = 107

    /// Listens at `path`. A socket file that nobody answers at is replaced; one that somebody answers at, and a
    /// file of another kind, is an error.
    public static func listen(path: String, mode: mode_t = 0o660) throws(SystemError) -> Int32 {
        var address = try Self.address(path)
        let fileDescriptor = try Self.make()
        let probe = try Self.make()
        defer { close(probe) }
        if Self.withAddress(&address, { Glibc.connect(probe, $0, $1) }) == 0 || errno == EAGAIN {
            close(fileDescriptor)
            throw SystemError("listen on \(path)", code: EADDRINUSE)
        }
        var information = stat()
        if lstat(path, &information) == 0, information.st_mode & S_IFMT != S_IFSOCK {
            close(fileDescriptor)
            throw SystemError("listen on \(path)", code: EEXIST)
        }
        unlink(path)
        guard Self.withAddress(&address, { bind(fileDescriptor, $0, $1) }) == 0,
            chmod(path, mode) == 0,
            Glibc.listen(fileDescriptor, 512) == 0
        else {
            let error = SystemError("listen on \(path)")
            close(fileDescriptor)
            throw error
        }
        return fileDescriptor
    }

    /// A connected socket. Connecting to a Unix socket never waits: EAGAIN means that the backlog is full.
    public static func connect(path: String) throws(SystemError) -> Int32 {
        var address = try Self.address(path)
        let fileDescriptor = try Self.make()
        guard Self.withAddress(&address, { Glibc.connect(fileDescriptor, $0, $1) }) == 0 else {
            let error = SystemError("connect to \(path)")
            close(fileDescriptor)
            throw error
        }
        return fileDescriptor
    }

    /// Sets send and receive buffers: the default holds 27 kB of small writes.
    public static func setBufferBytes(_ fileDescriptor: Int32, _ bytes: Int32) {
        var value = bytes
        setsockopt(fileDescriptor, SOL_SOCKET, SO_SNDBUF, &value, socklen_t(MemoryLayout<Int32>.size))
        setsockopt(fileDescriptor, SOL_SOCKET, SO_RCVBUF, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func make() throws(SystemError) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let fileDescriptor = socket(AF_UNIX, type, 0)
        guard fileDescriptor >= 0 else { throw SystemError("socket") }
        return fileDescriptor
    }

    private static func address(_ path: String) throws(SystemError) -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count <= Self.pathBytesMax, !bytes.isEmpty else {
            throw SystemError(
                "socket path \(path) has \(bytes.count) bytes, \(Self.pathBytesMax) are possible",
                code: ENAMETOOLONG
            )
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return address
    }

    private static func withAddress(
        _ address: inout sockaddr_un,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
