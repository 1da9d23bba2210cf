import Glibc
import Logging

/// A role's Unix socket: takes links from allowed users, waits for their hello, and hands those that said it to the role.
///
/// What connects and says nothing useful costs a bounded number of descriptors, a bounded time, and a line of log every ten
/// seconds.
public final class LinkServer: LinkDelegate {
    private let loop: EventLoop
    private let hello: LinkHello
    private let expectedRoles: [LinkHello.Role]
    private let logger: Logger
    private weak var delegate: (any LinkDelegate)?
    private var acceptor: LinkAcceptor?
    /// Connected, oldest first, but their hello has not come.
    private var greeting: [Link] = []
    /// Handed to the role and not closed yet. A role that closes a link itself says so with `forget`.
    private var established: Set<ObjectIdentifier> = []
    private var log = ErrorLogLimiter()

    /// - Parameters:
    ///   - allowedUsers: names of users besides root and the process's own; unknown ones are logged.
    ///   - delegate: gets the links whose hello has come, from `linkUp` on.
    public init(
        loop: EventLoop,
        path: String,
        allowedUsers: [String],
        hello: LinkHello,
        expectedRoles: [LinkHello.Role],
        logger: Logger,
        delegate: any LinkDelegate
    ) throws(SystemError) {
        self.loop = loop
        self.hello = hello
        self.expectedRoles = expectedRoles
        self.logger = logger
        self.delegate = delegate
        self.acceptor = try LinkAcceptor(
            loop: loop,
            path: path,
            allowedUsers: Self.users(allowedUsers, logger),
            refused: { [weak self] in self?.warn("link refused: \($0)") },
            changed: { $0.log(to: logger) },
            makeLink: { [weak self] in self?.accept($0, $1) }
        )
    }

    /// Some are connected, and their hello has not come. They have ours, and what they sent after it may be on its way.
    public var isGreeting: Bool { !self.greeting.isEmpty }

    /// Why nobody can connect at the moment, for an alarm; nil: they can.
    public var problem: String? { self.acceptor?.problem }

    /// Stops listening. Who is connected may still say hello.
    public func stopAccepting() {
        self.acceptor?.close()
        self.acceptor = nil
    }

    /// Stops listening, and closes the links that have not said hello. The others stay.
    public func close() {
        self.stopAccepting()
        for link in self.greeting { link.close() }
        self.greeting = []
    }

    /// To be called when the role has closed a link itself.
    public func forget(_ link: Link) {
        self.established.remove(ObjectIdentifier(link))
    }

    private func accept(_ fileDescriptor: Int32, _ peer: String) {
        if self.greeting.count >= Limits.greetingLinksMax {
            // One that means well says hello at once.
            self.greeting.removeFirst().close()
            self.warn("link closed: too many have not said hello")
        }
        do throws(SystemError) {
            let link = try Link(
                loop: self.loop,
                fileDescriptor: fileDescriptor,
                peerDescription: peer,
                hello: self.hello,
                expectedRoles: self.expectedRoles,
                delegate: self
            )
            self.greeting.append(link)
        } catch {
            Glibc.close(fileDescriptor)
            self.warn("cannot take a link: \(error)")
        }
    }

    /// At most a line every ten seconds: whoever connects in a loop must not fill the disk.
    private func warn(_ text: String) {
        guard let leftOut = self.log.admit(now: self.loop.now) else { return }
        self.logger.warning("\(text)", metadata: leftOut == 0 ? [:] : ["not_logged_before": "\(leftOut)"])
    }

    private static func users(_ names: [String], _ logger: Logger) -> Set<uid_t> {
        var users: Set<uid_t> = []
        for name in names {
            if let entry = getpwnam(name) {
                users.insert(entry.pointee.pw_uid)
            } else {
                logger.warning("link_users names a user that this host does not have", metadata: ["user": "\(name)"])
            }
        }
        return users
    }

    // MARK: Links

    public func linkUp(_ link: Link, peer: LinkHello) {
        self.greeting.removeAll { $0 === link }
        guard self.established.count < Limits.linksMax else {
            self.warn("link closed: there are \(Limits.linksMax) already")
            return link.close()
        }
        self.established.insert(ObjectIdentifier(link))
        self.delegate?.linkUp(link, peer: peer)
    }

    public func link(_ link: Link, received frame: Frame) {
        self.delegate?.link(link, received: frame)
    }

    public func linkFinishedReading(_ link: Link) {
        if self.established.contains(ObjectIdentifier(link)) { self.delegate?.linkFinishedReading(link) }
    }

    public func linkDown(_ link: Link, reason: String) {
        guard self.established.remove(ObjectIdentifier(link)) != nil else {
            self.greeting.removeAll { $0 === link }
            return self.warn("link without hello ended: \(reason), \(link.peerDescription)")
        }
        self.delegate?.linkDown(link, reason: reason)
    }
}
