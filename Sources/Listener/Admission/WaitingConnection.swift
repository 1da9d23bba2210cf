import Common
import Glibc
import TLS

/// A connection that waits for its TLS handshake. Nothing is kept for it but its socket, and nothing is read off that.
final class WaitingConnection: EventHandler {
    /// A ClientHello with a ticket takes some 500 bytes; one with keys for quantum computers 2,000.
    private static let peekBytes = 8192

    let fileDescriptor: Int32
    let address: SocketAddress
    let policy: ListenerPolicy
    /// When it has waited long enough.
    let deadline: Instant
    private let loop: EventLoop
    private var registration: EventLoop.Registration?
    /// Called once, when its client has said something: whether that shows a ticket of ours. Nil: the client has gone.
    private let spoke: (WaitingConnection, Bool?) -> Void

    init(
        loop: EventLoop,
        fileDescriptor: Int32,
        address: SocketAddress,
        policy: ListenerPolicy,
        spoke: @escaping (WaitingConnection, Bool?) -> Void
    ) throws(SystemError) {
        self.loop = loop
        self.fileDescriptor = fileDescriptor
        self.address = address
        self.policy = policy
        self.deadline = loop.now &+ policy.configuration.handshakeTimeoutNanoseconds
        self.spoke = spoke
        self.registration = try loop.register(fileDescriptor, for: .readable, handler: self)
    }

    var hasSpoken: Bool { self.registration == nil }

    func handle(_ events: IOEvents) {
        withUnsafeTemporaryAllocation(byteCount: Self.peekBytes, alignment: 16) { space in
            let count = recv(self.fileDescriptor, space.baseAddress, space.count, Int32(MSG_PEEK))
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            self.cancel()
            guard count > 0 else { return self.spoke(self, nil) }
            // One that comes in pieces is not waited for.
            let hello = UnsafeRawBufferPointer(rebasing: space[..<count])
            self.spoke(self, self.policy.tls?.showsOwnTicket(hello) ?? false)
        }
    }

    /// Lets go of the descriptor.
    func cancel() {
        if let registration = self.registration { self.loop.deregister(registration) }
        self.registration = nil
    }
}
