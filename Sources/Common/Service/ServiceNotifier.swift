import CLinux
import Glibc

/// Tells the service manager how the process is doing: the sd_notify(3) protocol, a datagram to `$NOTIFY_SOCKET`.
/// Without that variable nothing is sent.
public struct ServiceNotifier: Sendable {
    private let path: String?

    public init(environment: [String: String]) {
        self.path = environment["NOTIFY_SOCKET"].flatMap { $0.isEmpty ? nil : $0 }
    }

    public func ready(status: String) { self.send("READY=1\nSTATUS=\(status)") }
    /// SIGHUP came; `ready` follows.
    public func reloading() {
        self.send("RELOADING=1\nMONOTONIC_USEC=\(Clock.monotonic() / 1000)")
    }
    public func status(_ text: String) { self.send("STATUS=\(text)", mayWait: false) }
    /// The stop goes on, however long it takes: without such a word for `seconds` it is taken for hung, once the unit's TimeoutStopSec= is over.
    public func stopGoesOn(_ text: String, seconds: UInt64) {
        self.send("STATUS=\(text)\nEXTEND_TIMEOUT_USEC=\(seconds * 1_000_000)", mayWait: false)
    }
    /// The loop still turns.
    public func alive() { self.send("WATCHDOG=1", mayWait: false) }
    public func stopping() { self.send("STOPPING=1") }

    /// A manager that does not read for a moment must not stop the loop: what it would only miss is left out, for the rest there is
    /// a time.
    private func send(_ message: String, mayWait: Bool = true) {
        guard let path = self.path else { return }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        guard bytes.count <= UnixSocket.pathBytesMax else { return }
        // A leading @ stands for the abstract namespace.
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        let type = SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | (mayWait ? 0 : SOCK_NONBLOCK.rawValue)
        let fileDescriptor = socket(AF_UNIX, Int32(type), 0)
        guard fileDescriptor >= 0 else { return }
        defer { close(fileDescriptor) }
        var patience = timeval(tv_sec: 0, tv_usec: 500_000)
        setsockopt(fileDescriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        let payload = Array(message.utf8)
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { socketAddress in
                _ = payload.withUnsafeBytes {
                    sendto(fileDescriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL), socketAddress, length)
                }
            }
        }
    }
}
