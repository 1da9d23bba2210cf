import CLinux
import Glibc

/// Listens on a Unix socket and makes a link of each connection from an allowed user.
///
/// A socket without its name in the file system is as good as none: whoever is connected does not notice, and nobody else gets there. So
/// the name is looked at every second, and a socket that is gone, or replaced by something that nobody answers at, is made again.
public final class LinkAcceptor: EventHandler {
    /// What became of the socket's name while this listened.
    public enum Change: Equatable {
        /// It was gone, and is there again. Connections that were made before stay.
        case madeAgain(path: String)
        /// Nobody can connect; the sentence says why. Told once, until another reason or `madeAgain` comes.
        case unreachable(String)
    }

    /// How often the name is looked at.
    public static let lookNanoseconds = Nanoseconds.perSecond

    public let path: String
    /// Why nobody can connect at the moment; nil: they can.
    public private(set) var problem: String?
    private let loop: EventLoop
    private let folderMode: mode_t?
    private var fileDescriptor: Int32
    /// What the name stood for when the socket was bound.
    private var bound: FileStamp?
    private var look: EventLoop.Timer?
    private let allowedUsers: Set<uid_t>
    private let makeLink: (Int32, String) -> Void
    private let refused: (String) -> Void
    private let changed: (Change) -> Void
    private var registration: EventLoop.Registration?
    private var rest: EventLoop.Timer?
    /// How long accepting rests when no descriptor or memory is left.
    private static let restNanoseconds = 500 * Nanoseconds.perMillisecond

    /// - Parameters:
    ///   - folderMode: the folder that the socket is in is made with these permissions when it is not there; nil: it must be.
    ///   - allowedUsers: besides root and the process's own user; others are refused (SO_PEERCRED).
    ///   - refused: gets a sentence for the log.
    ///   - changed: the socket was removed, or made again.
    ///   - makeLink: takes the connected descriptor over; the text describes the peer.
    public init(
        loop: EventLoop,
        path: String,
        folderMode: mode_t? = nil,
        allowedUsers: Set<uid_t>,
        refused: @escaping (String) -> Void,
        changed: @escaping (Change) -> Void = { _ in },
        makeLink: @escaping (Int32, String) -> Void
    ) throws(SystemError) {
        self.loop = loop
        self.path = path
        self.folderMode = folderMode
        self.allowedUsers = allowedUsers.union([0, geteuid()])
        self.makeLink = makeLink
        self.refused = refused
        self.changed = changed
        self.fileDescriptor = try Self.listen(path, folderMode)
        self.bound = FileStamp(path)
        self.registration = try loop.register(self.fileDescriptor, for: .readable, handler: self)
        self.scheduleLook()
    }

    private static func listen(_ path: String, _ folderMode: mode_t?) throws(SystemError) -> Int32 {
        if let folderMode {
            let folder = PathText.folder(of: path)
            if mkdir(folder, folderMode) != 0, errno != EEXIST { throw SystemError("create \(folder)") }
        }
        return try UnixSocket.listen(path: path)
    }

    /// Stops listening and removes the socket file, unless it is somebody else's by now. Links that were made stay.
    public func close() {
        guard self.registration != nil || self.rest != nil else { return }
        if let look = self.look { self.loop.cancel(look) }
        self.look = nil
        if let rest = self.rest { self.loop.cancel(rest) }
        self.rest = nil
        if let registration = self.registration { self.loop.deregister(registration) }
        self.registration = nil
        if self.isReachable { unlink(self.path) }
        Glibc.close(self.fileDescriptor)
    }

    // MARK: The name

    /// Nothing else can have the same inode: the socket keeps its own until it is closed.
    private var isReachable: Bool {
        guard let bound = self.bound, let now = FileStamp(self.path) else { return false }
        return now.isOfSameFile(as: bound)
    }

    private func scheduleLook() {
        self.look = self.loop.schedule(afterNanoseconds: Self.lookNanoseconds) { [weak self] in
            guard let self else { return }
            self.scheduleLook()
            self.lookAtName()
        }
    }

    private func lookAtName() {
        if self.isReachable {
            // Somebody has moved it away and back.
            if self.problem.take() != nil { self.changed(.madeAgain(path: self.path)) }
            return
        }
        // Those that connected before it was gone. Without a descriptor for them there is none for another socket either.
        self.handle(.readable)
        guard self.registration != nil else { return }
        do throws(SystemError) {
            try self.listenAnew()
            self.problem = nil
            self.changed(.madeAgain(path: self.path))
        } catch {
            let problem =
                error.code == EADDRINUSE
                ? "\(self.path) was removed, and another process answers there now: end one of the two"
                : "\(self.path) is gone, and cannot be made again: \(error)"
            guard problem != self.problem else { return }
            self.problem = problem
            self.changed(.unreachable(problem))
        }
    }

    private func listenAnew() throws(SystemError) {
        let fileDescriptor = try Self.listen(self.path, self.folderMode)
        let registration: EventLoop.Registration
        do throws(SystemError) {
            registration = try self.loop.register(fileDescriptor, for: .readable, handler: self)
        } catch {
            unlink(self.path)
            Glibc.close(fileDescriptor)
            throw error
        }
        if let former = self.registration { self.loop.deregister(former) }
        Glibc.close(self.fileDescriptor)
        self.fileDescriptor = fileDescriptor
        self.registration = registration
        self.bound = FileStamp(self.path)
    }

    // MARK: Connections

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
