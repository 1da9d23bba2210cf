import Common
import Glibc
import TLS

/// A TLS connection before its handshake: until its client has said something, and then until it is its turn. Nothing is kept for it but
/// its socket, and nothing is read off that.
final class WaitingConnection: EventHandler {
    enum State: Equatable {
        /// Its client's first message has not come, or not all of it.
        case silent
        /// Whether that shows a ticket of ours.
        case spoke(hasTicket: Bool)
        /// The client has gone.
        case ended
    }

    /// A ClientHello with a ticket takes some 500 bytes; one with keys for quantum computers 2,000. Of a longer one this much is waited
    /// for.
    private static let peekBytes = 8192

    let fileDescriptor: Int32
    let address: SocketAddress
    let source: ConnectionSource
    let policy: ListenerPolicy
    let accepted: Instant
    private let loop: EventLoop
    private var registration: EventLoop.Registration?
    private(set) var state = State.silent
    /// Bytes without which the kernel does not wake us.
    private var wakingBytes = 1
    /// Called once, when it is silent no more.
    private var changed: ((WaitingConnection) -> Void)?

    init(loop: EventLoop, fileDescriptor: Int32, address: SocketAddress, policy: ListenerPolicy) {
        self.loop = loop
        self.fileDescriptor = fileDescriptor
        self.address = address
        self.source = ConnectionSource(address) ?? .unknown
        self.policy = policy
        self.accepted = loop.now
        self.look()
    }

    /// When it has waited long enough.
    var deadline: Instant { self.accepted &+ self.policy.configuration.handshakeTimeoutNanoseconds }

    /// Tells when it is silent no more.
    func watch(_ changed: @escaping (WaitingConnection) -> Void) throws(SystemError) {
        self.changed = changed
        self.registration = try self.loop.register(self.fileDescriptor, for: .readable, handler: self)
    }

    func handle(_ events: IOEvents) {
        self.look()
        guard self.state != .silent else { return }
        self.cancel()
        let changed = self.changed
        self.changed = nil
        changed?(self)
    }

    private func look() {
        self.state = withUnsafeTemporaryAllocation(byteCount: Self.peekBytes, alignment: 16) { space in
            let count = recv(self.fileDescriptor, space.baseAddress, space.count, Int32(MSG_PEEK))
            if count < 0, errno == EAGAIN || errno == EINTR { return .silent }
            guard count > 0 else { return .ended }
            let hello = UnsafeRawBufferPointer(rebasing: space[..<count])
            let wanted = min(TLSServerContext.firstMessageBytes(hello), Self.peekBytes)
            // Woken with less than it asked for, it does not ask again: the kernel has no room for more.
            if wanted > count, wanted > self.wakingBytes {
                self.setWakingBytes(wanted)
                return .silent
            }
            if self.wakingBytes > 1 { self.setWakingBytes(1) }
            return .spoke(hasTicket: self.policy.tls?.showsOwnTicket(hello) ?? false)
        }
    }

    private func setWakingBytes(_ count: Int) {
        self.wakingBytes = count
        var bytes = Int32(count)
        setsockopt(self.fileDescriptor, SOL_SOCKET, SO_RCVLOWAT, &bytes, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Lets go of the descriptor.
    func cancel() {
        if let registration = self.registration { self.loop.deregister(registration) }
        self.registration = nil
    }
}
