/// Keeps one link to a peer up: connects, and connects again with back-off and jitter when it is lost.
public final class LinkConnector: LinkDelegate {
    public let path: String
    /// The link in use; nil while there is none, or before the peer's hello.
    public private(set) var link: Link?

    private let loop: EventLoop
    private let hello: LinkHello
    private let peerRole: LinkHello.Role
    /// It owns this connector.
    private unowned let delegate: any LinkDelegate
    private var pending: Link?
    private var backoff: Backoff
    private var random = SystemRandomNumberGenerator()
    private var retry: EventLoop.Timer?
    private var isStopped = false
    /// Why the last attempt failed, for status and logs.
    public private(set) var lastFailure: String?

    /// - Parameter retryNanosecondsMax: between two attempts to connect.
    public init(
        loop: EventLoop,
        path: String,
        hello: LinkHello,
        peerRole: LinkHello.Role,
        retryNanosecondsMax: UInt64 = Nanoseconds.perSecond,
        delegate: any LinkDelegate
    ) {
        self.loop = loop
        self.path = path
        self.hello = hello
        self.peerRole = peerRole
        self.backoff = Backoff(
            initialNanoseconds: 20 * Nanoseconds.perMillisecond,
            maximumNanoseconds: retryNanosecondsMax
        )
        self.delegate = delegate
    }

    public func start() {
        do throws(SystemError) {
            let fileDescriptor = try UnixSocket.connect(path: self.path)
            self.pending = try Link(
                loop: self.loop,
                fileDescriptor: fileDescriptor,
                peerDescription: self.path,
                hello: self.hello,
                expectedRoles: [self.peerRole],
                delegate: self
            )
        } catch {
            self.lastFailure = error.description
            self.retryLater()
        }
    }

    public func stop() {
        self.isStopped = true
        if let retry = self.retry { self.loop.cancel(retry) }
        self.pending?.close()
        self.pending = nil
        self.link?.close()
        self.link = nil
    }

    private func retryLater() {
        guard !self.isStopped else { return }
        let delay = self.backoff.next(using: &self.random)
        self.retry = self.loop.schedule(afterNanoseconds: delay) { [weak self] in self?.start() }
    }

    public func linkUp(_ link: Link, peer: LinkHello) {
        self.pending = nil
        self.link = link
        self.lastFailure = nil
        self.backoff.reset()
        self.delegate.linkUp(link, peer: peer)
    }

    public func link(_ link: Link, received frame: Frame) {
        self.delegate.link(link, received: frame)
    }

    public func linkFinishedReading(_ link: Link) {
        if self.link === link { self.delegate.linkFinishedReading(link) }
    }

    public func linkDown(_ link: Link, reason: String) {
        self.lastFailure = reason
        let wasUp = self.link === link
        self.link = nil
        self.pending = nil
        self.retryLater()
        if wasUp { self.delegate.linkDown(link, reason: reason) }
    }
}
