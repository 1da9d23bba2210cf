import Common
import Glibc
import TestSupport
import Testing

@Suite struct ServiceNotifierTests {
    /// A datagram socket bound to the address, as a service manager has it; `@` in front: the abstract namespace.
    private func makeManager(_ path: String) throws -> Int32 {
        let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let fileDescriptor = socket(AF_UNIX, type, 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(fileDescriptor, $0, length) }
        }
        guard result == 0 else { throw SystemError("bind \(path)") }
        return fileDescriptor
    }

    private func datagram(_ fileDescriptor: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = recv(fileDescriptor, &bytes, bytes.count, 0)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }

    @Test("Readiness and the end reach the service manager, by a path or an abstract name")
    func sends() throws {
        let directory = try TemporaryDirectory()
        for path in [directory.file("notify"), "@\(directory.path)/abstract"] {
            let manager = try self.makeManager(path)
            let notifier = ServiceNotifier(environment: ["NOTIFY_SOCKET": path])
            notifier.ready(status: "2 listeners")
            notifier.stopping()
            #expect(self.datagram(manager) == "READY=1\nSTATUS=2 listeners")
            #expect(self.datagram(manager) == "STOPPING=1")
            close(manager)
            // The manager is gone: that is not the service's trouble.
            notifier.stopping()
        }
    }

    @Test("Without a socket, or with an impossible one, nothing happens")
    func silent() {
        for environment in [
            [:], ["NOTIFY_SOCKET": ""], ["NOTIFY_SOCKET": "/" + String(repeating: "x", count: 200)],
            ["NOTIFY_SOCKET": "/nonexistent/notify"],
        ] {
            ServiceNotifier(environment: environment).ready(status: "ready")
        }
    }
}
