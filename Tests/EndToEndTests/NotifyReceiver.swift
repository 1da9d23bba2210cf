import CLinux
import Common
import Glibc
import TestSupport

/// What a service manager has behind NOTIFY_SOCKET: a datagram socket, and all that came.
final class NotifyReceiver {
    let path: String
    private let fileDescriptor: Int32
    /// Each datagram as it came.
    private(set) var told: [String] = []

    init(_ path: String) throws {
        self.path = path
        self.fileDescriptor = try makeSocket(AF_UNIX, .datagram)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(self.fileDescriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw SystemError("bind \(path)") }
    }

    deinit { close(self.fileDescriptor) }

    /// Waits until `count` datagrams with the text have come since the start.
    func wait(for text: String, count: Int = 1) throws {
        try waitUntil("\(text) is told \(count) times") {
            self.receive()
            return self.told.count { $0.contains(text) } >= count
        }
    }

    private func receive() {
        var buffer = [UInt8](repeating: 0, count: 1024)
        while case let count = recv(self.fileDescriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT)), count > 0 {
            self.told.append(String(decoding: buffer[..<count], as: UTF8.self))
        }
    }
}
