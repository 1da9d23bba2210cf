import Common
import Glibc
import TestSupport

/// The far end of a listener's links: a router or an auth worker that does what the test says, in the same event loop.
final class PeerServer: LinkDelegate {
    let path: String
    private let loop: EventLoop
    private var hello: LinkHello
    private var acceptor: LinkAcceptor?
    private var links: [Link] = []
    /// The newest link on which the listener has said hello.
    private(set) var link: Link?
    private(set) var frames: [PlainFrame] = []
    /// Called for each frame after it was written down.
    var onFrame: ((PlainFrame) -> Void)?

    init(_ loop: EventLoop, path: String, hello: LinkHello) throws {
        self.loop = loop
        self.path = path
        self.hello = hello
        try self.open()
    }

    deinit { self.close() }

    func open() throws {
        self.acceptor = try LinkAcceptor(
            loop: self.loop,
            path: self.path,
            allowedUsers: [],
            refused: { _ in },
            makeLink: { [unowned self] fileDescriptor, peer in
                let link = try? Link(
                    loop: self.loop,
                    fileDescriptor: fileDescriptor,
                    peerDescription: peer,
                    hello: self.hello,
                    expectedRoles: [.listener],
                    delegate: self
                )
                if let link { self.links.append(link) }
            }
        )
    }

    /// Another process in its place.
    func openAsAnother() throws {
        self.hello.bootID = RoleProcess.makeBootID()
        try self.open()
    }

    /// As if the process were killed.
    func close() {
        self.acceptor?.close()
        self.acceptor = nil
        for link in self.links { link.close() }
        self.links.removeAll()
        self.link = nil
    }

    func forgetFrames() { self.frames.removeAll() }

    /// Frames of one kind.
    func frames(_ kind: FrameKind) -> [PlainFrame] { self.frames.filter { $0.frameKind == kind } }

    /// All packets that a session's client has sent, as one stream.
    func packetBytes(of handle: UInt64) -> [UInt8] {
        self.frames(.sessionPackets).filter { $0.handle == handle }.flatMap(\.body)
    }

    func linkUp(_ link: Link, peer: LinkHello) { self.link = link }

    func link(_ link: Link, received frame: Frame) {
        let plain = PlainFrame(frame)
        self.frames.append(plain)
        self.onFrame?(plain)
    }

    func linkFinishedReading(_ link: Link) { link.flush() }

    func linkDown(_ link: Link, reason: String) {
        if self.link === link { self.link = nil }
    }

    // MARK: What a router sends

    /// - Parameter number: the session's in the router's store; 0: it ends with the router.
    func accept(
        _ handle: UInt64,
        _ version: ProtocolVersion = .v3_1_1,
        keepAliveSeconds: UInt16 = 0,
        number: UInt64 = 0
    ) {
        let connack = Packet.connack(ConnackPacket(sessionPresent: false, returnCode: 0)).bytes(version)
        self.send { buffer in
            connack.withUnsafeBytes { connack in
                Array("a".utf8).withUnsafeBytes { identifier in
                    SessionAccepted(
                        sessionNumber: number,
                        keepAliveSeconds: keepAliveSeconds,
                        clientIdentifier: identifier,
                        connack: connack
                    ).encode(into: &buffer, handle: handle)
                }
            }
        }
    }

    func pong() {
        self.send { $0.writeFrameHeader(.authPong, handle: 0, bodyBytes: 0) }
    }

    func announceStop() {
        self.send { $0.writeFrameHeader(.linkClosing, handle: 0, bodyBytes: 0) }
    }

    func confirmGone(_ handle: UInt64) {
        self.send { $0.writeFrameHeader(.sessionGone, handle: handle, bodyBytes: 0) }
    }

    func end(_ kind: FrameKind, _ handle: UInt64, _ reason: ReasonCode, packet: [UInt8]) {
        self.send { buffer in
            packet.withUnsafeBytes {
                SessionEnd.encode(kind, into: &buffer, handle: handle, reason: reason, packet: $0)
            }
        }
    }

    func deliver(_ handle: UInt64, _ bytes: [UInt8], flags: UInt8 = 0) {
        self.send { buffer in
            buffer.writeFrameHeader(.sessionDeliver, flags: flags, handle: handle, bodyBytes: bytes.count)
            buffer.write(bytes)
        }
    }

    func tellUnstored(_ handle: UInt64, _ isUnstored: Bool) {
        self.send { SessionUnstored.encode(isUnstored, into: &$0, handle: handle) }
    }

    func multicast(_ packet: [UInt8], offset: UInt32, to entries: [(handle: UInt64, packetIdentifier: UInt16)]) {
        self.send { buffer in
            let position = buffer.beginFrame(.sessionMulticast)
            buffer.writeLittleEndian(offset)
            buffer.writeLittleEndian(UInt32(entries.count))
            for entry in entries {
                buffer.writeLittleEndian(entry.handle)
                buffer.writeLittleEndian(entry.packetIdentifier)
            }
            buffer.write(packet)
            buffer.endFrame(at: position)
        }
    }

    func grant(link: UInt32, sessions: [(handle: UInt64, bytes: UInt32)]) {
        self.send { CreditFrame.encode(.publishCredit, into: &$0, linkBytes: link, sessions: sessions[...]) }
    }

    /// Credit that the listener has given back: link and session bytes.
    func creditReturned(to handle: UInt64? = nil) -> (link: Int, session: Int) {
        var link = 0
        var session = 0
        for frame in self.frames(.deliveryCredit) {
            frame.body.withUnsafeBytes { body in
                guard let credit = CreditFrame(body) else { return }
                link += Int(credit.linkBytes)
                for index in 0..<credit.count where handle == nil || credit.handle(at: index) == handle {
                    session += Int(credit.bytes(at: index))
                }
            }
        }
        return (link, session)
    }

    // MARK: What an auth worker sends

    func answer(_ request: UInt64, _ verdict: AuthVerdict) {
        self.send { verdict.encode(into: &$0, request: request) }
    }

    /// Rows may have changed: all live sessions are asked about.
    func doubtAll() {
        self.send { AuthChanged(all: true).encode(into: &$0) }
    }

    private func send(_ write: (inout ByteBuffer) -> Void) {
        guard let link = self.link else { return }
        write(&link.output)
        link.flush()
    }
}
