import CLinux
import Glibc

/// Listens on a Unix socket and makes a link of each connection from an allowed user.
public final class LinkAcceptor: EventHandler {
    public let path: String
    private let loop: EventLoop
    private let fileDescriptor: Int32
    private let allowedUsers: Set<uid_t>
    private let makeLink: (Int32, String) -> Void
    private let refused: (String) -> Void
    private var registration: EventLoop.Registration?
    private var rest: EventLoop.Timer?
    /// How long accepting rests when no descriptor or memory is left.
    private static let restNanoseconds = 500 * Nanoseconds.perMillisecond

    /// - Parameters:
    ///   - allowedUsers: besides root and the process's own user; others are refused (SO_PEERCRED).
    ///   - refused: gets a sentence for the log.
    ///   - makeLink: takes the connected descriptor over; the text describes the peer.
    public init(
        loop: EventLoop,
        path: String,
        allowedUsers: Set<uid_t>,
        refused: @escaping (String) -> Void,
        makeLink: @escaping (Int32, String) -> Void
    ) throws(SystemError) {
        self.loop = loop
        self.path = path
        self.allowedUsers = allowedUsers.union([0, geteuid()])
        self.makeLink = makeLink
        self.refused = refused
        self.fileDescriptor = try UnixSocket.listen(path: path)
        self.registration = try loop.register(self.fileDescriptor, for: .readable, handler: self)
    }

    /// Stops listening and removes the socket file. Links that were made stay.
    public func close() {
        guard self.registration != nil || self.rest != nil else { return }
        if let rest = self.rest { self.loop.cancel(rest) }
        self.rest = nil
        if let registration = self.registration { self.loop.deregister(registration) }
        self.registration = nil
        Glibc.close(self.fileDescriptor)
        unlink(self.path)
    }

    public func handle(_ events: IOEvents) {
        var address = sockaddr_storage()
        while true {
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let client = martlet_accept(self.fileDescriptor, &address, &length)
            guard client >= 0 else {
                if [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(errno) { self.takeRest(SystemError("accept")) }
                return
            }
            var user: uid_t = 0
            var group: gid_t = 0
            var process: pid_t = 0
            guard martlet_peer_credentials(client, &user, &group, &process) == 0 else {
                self.refused("\(self.path): the kernel does not say whose connection it is")
                Glibc.close(client)
                continue
            }
            if let sentence = self.refusal(user: user, process: process) {
                self.refused(sentence)
                Glibc.close(client)
                continue
            }
            self.makeLink(client, "pid \(process)")
        }
    }

    /// Without a free descriptor the socket stays readable and the loop would turn for nothing.
    private func takeRest(_ error: SystemError) {
        guard let registration = self.registration else { return }
        self.loop.deregister(registration)
        self.registration = nil
        self.refused("\(self.path): \(error)")
        self.scheduleResumption()
    }

    private func scheduleResumption() {
        self.rest = self.loop.schedule(afterNanoseconds: Self.restNanoseconds) { [weak self] in
            guard let self else { return }
            self.rest = nil
            self.registration = try? self.loop.register(self.fileDescriptor, for: .readable, handler: self)
            if self.registration == nil { self.scheduleResumption() }
        }
    }

    /// Why a process of that user may not connect; nil if it may.
    public func refusal(user: uid_t, process: pid_t) -> String? {
        if self.allowedUsers.contains(user) { return nil }
        return "\(self.path): process \(process) of user \(user) is not allowed to connect"
    }
}
