import CLinux
import Common
import Glibc

/// Accepts connections for one address of a listener. Several listener processes wait on the same socket; the kernel wakes one
/// of them per connection (EPOLLEXCLUSIVE).
final class ListeningSocket: EventHandler {
    /// Connections accepted in one turn before others get theirs.
    private static let acceptsPerTurn = 32
    /// How long accepting rests when no descriptor or memory is left.
    private static let restNanoseconds = 500 * Nanoseconds.perMillisecond

    let policy: ListenerPolicy
    private let loop: EventLoop
    private let fileDescriptor: Int32
    private let accepted: (Int32, SocketAddress, ListenerPolicy) -> Void
    private let exhausted: (SystemError) -> Void
    private let blockedUntil: (ListenerPolicy) -> Instant?
    private var registration: EventLoop.Registration?
    private var rest: EventLoop.Timer?

    /// Takes the descriptor over.
    init(
        loop: EventLoop,
        fileDescriptor: Int32,
        policy: ListenerPolicy,
        exhausted: @escaping (SystemError) -> Void,
        blockedUntil: @escaping (ListenerPolicy) -> Instant?,
        accepted: @escaping (Int32, SocketAddress, ListenerPolicy) -> Void
    ) throws(SystemError) {
        self.loop = loop
        self.fileDescriptor = fileDescriptor
        self.policy = policy
        self.accepted = accepted
        self.exhausted = exhausted
        self.blockedUntil = blockedUntil
        self.boundUnsent()
        try self.resume()
    }

    var boundAddress: ListenAddress? { SocketAddress.local(of: self.fileDescriptor)?.listenAddress }

    func close() {
        if let rest = self.rest { self.loop.cancel(rest) }
        if let registration = self.registration { self.loop.deregister(registration) }
        self.registration = nil
        Glibc.close(self.fileDescriptor)
    }

    private func resume() throws(SystemError) {
        self.rest = nil
        self.registration = try self.loop.register(self.fileDescriptor, for: [.readable, .exclusive], handler: self)
    }

    func handle(_ events: IOEvents) {
        for _ in 0..<Self.acceptsPerTurn {
            // Those that wait stay in the kernel's queue, where another process can take them.
            if let instant = self.blockedUntil(self.policy) { return self.takeRest(until: instant) }
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let client = martlet_accept(self.fileDescriptor, &storage, &length)
            if client >= 0 {
                self.accepted(client, SocketAddress(storage), self.policy)
                continue
            }
            switch errno {
            case EAGAIN: return
            case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                self.exhausted(SystemError("accept"))
                return self.takeRest(until: self.loop.now + Self.restNanoseconds)
            default: continue  // The client was faster in leaving.
            }
        }
    }

    /// The socket stays readable while nothing may be accepted, and the loop would turn for nothing.
    private func takeRest(until instant: Instant) {
        guard let registration = self.registration else { return }
        self.loop.deregister(registration)
        self.registration = nil
        self.rest = self.loop.schedule(at: instant) { [weak self] in
            try? self?.resume()
        }
    }

    /// A client that does not read must not fill the kernel's memory: of what is written to it the kernel keeps this much beside what is on
    /// its way, where it would keep 4 MB. Connections have it from the socket that they were accepted on.
    private static let unsentBytesMax: Int32 = 128 << 10

    private func boundUnsent() {
        var bytes = Self.unsentBytesMax
        let size = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(self.fileDescriptor, Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, &bytes, size)
    }

    /// A TCP socket that listens at `address`.
    static func open(_ address: ListenAddress) throws(SystemError) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let fileDescriptor = socket(address.isIPv6 ? AF_INET6 : AF_INET, type, 0)
        guard fileDescriptor >= 0 else { throw SystemError("listen on \(address)") }
        var on: Int32 = 1
        var off: Int32 = 0
        let size = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(fileDescriptor, SOL_SOCKET, SO_REUSEADDR, &on, size)
        if address.isIPv6 { setsockopt(fileDescriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &off, size) }
        guard address.withSocketAddress({ bind(fileDescriptor, $0, $1) }) == 0, listen(fileDescriptor, 4096) == 0 else {
            let error = SystemError("listen on \(address)")
            Glibc.close(fileDescriptor)
            throw error
        }
        return fileDescriptor
    }
}
