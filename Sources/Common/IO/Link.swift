import CLinux
import Glibc

public protocol LinkDelegate: AnyObject {
    /// The peer's hello came, the link is in use from here on.
    func linkUp(_ link: Link, peer: LinkHello)
    /// The body is valid until the call returns.
    func link(_ link: Link, received frame: Frame)
    /// All frames that could be read in this turn were delivered.
    func linkFinishedReading(_ link: Link)
    /// The link is closed; nothing more comes. Called once, not for links that the owner closes itself.
    func linkDown(_ link: Link, reason: String)
}

/// A Unix stream socket between two roles that carries frames.
///
/// Frames to send are written into `output`, and leave with `flush`, once per turn. Nobody ever stops reading a link: two peers
/// that both stop would wait for each other for ever. What bounds the bytes under way is credit, which the roles keep.
public final class Link: EventHandler {
    public let peerDescription: String
    /// Frames that wait for `flush`.
    public var output = ByteBuffer()
    /// The peer's hello; nil until it came.
    public private(set) var peer: LinkHello?
    /// The same as `peer != nil`, without a copy of it for each frame.
    private var isUp = false
    public private(set) var isOpen = true
    /// For the owner: which of its links this is.
    public var index = 0
    /// Bytes waiting in `output` at which the peer counts as one that does not read, and the link is closed.
    public var outputBytesMax = Limits.linkOutputBytesMax

    private let loop: EventLoop
    private let fileDescriptor: Int32
    private let ownHello: LinkHello
    private let expectedRoles: [LinkHello.Role]
    private weak var delegate: (any LinkDelegate)?
    private var registration: EventLoop.Registration?
    private var input = ByteBuffer()
    private var waitsForWritable = false
    private var helloTimer: EventLoop.Timer?

    /// Takes the descriptor over, and sends `hello`.
    public init(
        loop: EventLoop,
        fileDescriptor: Int32,
        peerDescription: String,
        hello: LinkHello,
        expectedRoles: [LinkHello.Role],
        delegate: any LinkDelegate
    ) throws(SystemError) {
        self.loop = loop
        self.fileDescriptor = fileDescriptor
        self.peerDescription = peerDescription
        self.ownHello = hello
        self.expectedRoles = expectedRoles
        self.delegate = delegate
        UnixSocket.setBufferBytes(fileDescriptor, 1 << 20)
        self.registration = try loop.register(fileDescriptor, for: .readable, handler: self)
        self.helloTimer = loop.schedule(afterNanoseconds: Limits.helloNanoseconds) { [weak self] in
            self?.helloTimer = nil
            self?.fail("the peer has not said hello")
        }
        hello.encode(into: &self.output)
        self.flush()
    }

    deinit {
        precondition(self.registration == nil, "a link was dropped without close()")
    }

    /// Ends the link without telling the delegate.
    public func close() {
        guard self.isOpen else { return }
        self.isOpen = false
        self.stopHelloTimer()
        if let registration = self.registration { self.loop.deregister(registration) }
        self.registration = nil
        Glibc.close(self.fileDescriptor)
        self.output.clear()
        self.output.releaseIfEmpty()
    }

    private func stopHelloTimer() {
        if let timer = self.helloTimer { self.loop.cancel(timer) }
        self.helloTimer = nil
    }

    private func fail(_ reason: String) {
        guard self.isOpen else { return }
        self.close()
        self.delegate?.linkDown(self, reason: reason)
    }

    // MARK: Writing

    /// Bytes that were sent and that the peer has not read, as the kernel counts them; 0: it has read everything.
    public var unreadBytes: Int { self.isOpen ? Int(max(0, martlet_unread_bytes(self.fileDescriptor))) : 0 }

    /// Sends what `output` holds; what the socket does not take goes when it is writable again.
    public func flush() {
        while self.isOpen, !self.output.isEmpty {
            let bytes = self.output.readable
            let sent = send(self.fileDescriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if sent > 0 {
                self.output.consume(sent)
            } else if errno == EAGAIN {
                self.setWaitsForWritable(true)
                if self.output.readableBytes > self.outputBytesMax { self.fail("the peer does not read") }
                return
            } else if errno != EINTR {
                // What the peer sent before it died is still readable: the read side ends the link.
                self.output.clear()
                return
            }
        }
        self.setWaitsForWritable(false)
        if self.output.capacity > 1 << 20 { self.output.releaseIfEmpty() }
    }

    private func setWaitsForWritable(_ waits: Bool) {
        guard self.waitsForWritable != waits, let registration = self.registration else { return }
        self.waitsForWritable = waits
        self.loop.modify(registration, for: waits ? [.readable, .writable] : .readable)
    }

    // MARK: Reading

    public func handle(_ events: IOEvents) {
        if events.contains(.writable) { self.flush() }
        guard self.isOpen, !events.isDisjoint(with: [.readable, .error, .hangUp]) else { return }
        var budget = Limits.readBytesPerTurn
        var end: String?
        while budget > 0, end == nil {
            let space = self.input.writable(minimum: 64 << 10)
            let count = recv(self.fileDescriptor, space.baseAddress, space.count, 0)
            if count > 0 {
                self.input.commit(count)
                budget -= count
                self.deliverFrames()
                guard self.isOpen else { return }
                if count < space.count { break }
            } else if count == 0 {
                end = "closed by the peer"
            } else if errno == EAGAIN {
                break
            } else if errno != EINTR {
                end = SystemError("recv").reason
            }
        }
        self.delegate?.linkFinishedReading(self)
        if let end { self.fail(end) }
    }

    private func deliverFrames() {
        var offset = 0
        let bytes = self.input.readable
        let delegate = self.delegate
        reading: while self.isOpen {
            switch FrameReader.frame(in: bytes, at: offset) {
            case .needMore:
                break reading
            case .invalid(let reason):
                return self.fail("\(reason)")
            case .frame(let frame):
                offset += FrameHeader.byteCount + frame.header.bodyBytes
                if self.isUp {
                    delegate?.link(self, received: frame)
                } else if let problem = self.takeHello(frame) {
                    return self.fail(problem)
                }
            }
        }
        guard self.isOpen else { return }
        self.input.consume(offset)
        if self.input.isEmpty, self.input.capacity > 256 << 10 { self.input.releaseIfEmpty() }
    }

    /// What is wrong with the first frame; nil when the link is up.
    private func takeHello(_ frame: Frame) -> String? {
        guard let hello = LinkHello.decode(frame) else { return "the peer's first frame is no hello" }
        guard self.expectedRoles.contains(hello.role) else {
            return "the peer has the role \(RoleProcess.label(of: hello.role)), which is not expected here"
        }
        guard self.ownHello.commonVersion(with: hello) != nil else {
            let theirs = "\(hello.wireVersionMin) to \(hello.wireVersionMax)"
            let ours = "\(self.ownHello.wireVersionMin) to \(self.ownHello.wireVersionMax)"
            return "the peer speaks wire versions \(theirs), this program \(ours): upgrade one of them"
        }
        self.peer = hello
        self.isUp = true
        self.stopHelloTimer()
        self.delegate?.linkUp(self, peer: hello)
        return nil
    }
}
