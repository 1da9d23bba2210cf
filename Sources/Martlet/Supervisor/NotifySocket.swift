import CLinux
import Common
import Glibc

/// The receiving end of the sd_notify(3) protocol: a datagram socket that one child is told in NOTIFY_SOCKET.
final class NotifySocket: EventHandler {
    let path: String
    private let loop: EventLoop
    private let fileDescriptor: Int32
    private let ready: () -> Void
    private var registration: EventLoop.Registration?

    /// - Parameter ready: called for each READY=1.
    init(loop: EventLoop, path: String, ready: @escaping () -> Void) throws(SystemError) {
        self.path = path
        self.loop = loop
        self.ready = ready
        let type = Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        self.fileDescriptor = socket(AF_UNIX, type, 0)
        guard self.fileDescriptor >= 0 else { throw SystemError("socket") }
        do throws(SystemError) {
            try Self.bind(self.fileDescriptor, path)
            self.registration = try loop.register(self.fileDescriptor, for: .readable, handler: self)
        } catch {
            Glibc.close(self.fileDescriptor)
            throw error
        }
    }

    private static func bind(_ fileDescriptor: Int32, _ path: String) throws(SystemError) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count <= UnixSocket.pathBytesMax else { throw SystemError("bind \(path)", code: ENAMETOOLONG) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        unlink(path)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(fileDescriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw SystemError("bind \(path)") }
    }

    func close() {
        guard let registration = self.registration else { return }
        self.registration = nil
        self.loop.deregister(registration)
        Glibc.close(self.fileDescriptor)
        unlink(self.path)
    }

    func handle(_ events: IOEvents) {
        var bytes = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(self.fileDescriptor, &bytes, bytes.count, 0)
            guard count >= 0 else { return }
            let lines = bytes.prefix(count).split(separator: UInt8(ascii: "\n"))
            if lines.contains(where: { $0.elementsEqual("READY=1".utf8) }) { self.ready() }
        }
    }
}
