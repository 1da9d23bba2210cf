import Common
import Glibc
import TestSupport
import Testing

@Suite struct LinkConnectorTests {
    private final class Server {
        let delegate = RecordingDelegate()
        var links: [Link] = []
        var refused: [String] = []
        var acceptor: LinkAcceptor?

        init(_ loop: EventLoop, _ path: String, role: LinkHello.Role = .router) throws {
            self.acceptor = try LinkAcceptor(
                loop: loop,
                path: path,
                allowedUsers: [],
                refused: { [unowned self] in self.refused.append($0) },
                makeLink: { [unowned self] fileDescriptor, peer in
                    let link = try? Link(
                        loop: loop,
                        fileDescriptor: fileDescriptor,
                        peerDescription: peer,
                        hello: makeHello(role),
                        expectedRoles: [.listener],
                        delegate: self.delegate
                    )
                    if let link { self.links.append(link) }
                }
            )
        }

        func close() {
            self.acceptor?.close()
            for link in self.links { link.close() }
        }
    }

    @Test("Connects when the peer comes up, and again each time it is lost")
    func reconnects() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("router.sock")
        let loop = try EventLoop()
        let delegate = RecordingDelegate()
        let connector = LinkConnector(
            loop: loop,
            path: path,
            hello: makeHello(.listener),
            peerRole: .router,
            delegate: delegate
        )
        connector.start()
        #expect(connector.link == nil)
        #expect(connector.lastFailure == "connect to \(path): No such file or directory")
        for round in 1...3 {
            let server = try Server(loop, path)
            #expect(try loop.turn { connector.link != nil && server.delegate.peers.count == 1 })
            #expect(delegate.peers.count == round)
            #expect(connector.lastFailure == nil)
            #expect(server.links[0].peerDescription == "pid \(getpid())")
            connector.link?.output.write(
                WireSamples.bytes { $0.writeFrameHeader(.statusRequest, handle: 1, bodyBytes: 0) }
            )
            connector.link?.flush()
            #expect(try loop.turn { server.delegate.frames.count == 1 })
            server.close()
            #expect(try loop.turn { delegate.downReasons.count == round })
            #expect(connector.link == nil)
            #expect(connector.lastFailure == "closed by the peer")
        }
        connector.stop()
        let late = try Server(loop, path)
        try loop.turnUntilQuiet()
        #expect(late.links.isEmpty)
        late.close()
    }

    @Test("A peer of another role never counts as connected, and is tried again")
    func wrongRole() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("router.sock")
        let loop = try EventLoop()
        let delegate = RecordingDelegate()
        let server = try Server(loop, path, role: .authWorker)
        let connector = LinkConnector(
            loop: loop,
            path: path,
            hello: makeHello(.listener),
            peerRole: .router,
            delegate: delegate
        )
        connector.start()
        #expect(try loop.turn { server.links.count >= 2 && connector.lastFailure != nil })
        #expect(connector.lastFailure == "the peer has the role authworker, which is not expected here")
        #expect(connector.link == nil)
        #expect(delegate.peers.isEmpty)
        #expect(delegate.downReasons.isEmpty)
        connector.stop()
        server.close()
    }

    @Test("Only root, the process's own user and the users that the configuration names may connect")
    func users() throws {
        let directory = try TemporaryDirectory()
        let loop = try EventLoop()
        let acceptor = try LinkAcceptor(
            loop: loop,
            path: directory.file("a.sock"),
            allowedUsers: [4711],
            refused: { _ in },
            makeLink: { _, _ in }
        )
        #expect(acceptor.refusal(user: 0, process: 1) == nil)
        #expect(acceptor.refusal(user: geteuid(), process: 1) == nil)
        #expect(acceptor.refusal(user: 4711, process: 1) == nil)
        let sentence = "\(directory.path)/a.sock: process 99 of user 4712 is not allowed to connect"
        #expect(acceptor.refusal(user: 4712, process: 99) == sentence)
        acceptor.close()
    }

    @Test("Closing an acceptor removes its socket file and leaves its links")
    func closeAcceptor() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("router.sock")
        let loop = try EventLoop()
        let server = try Server(loop, path)
        let delegate = RecordingDelegate()
        let connector = LinkConnector(
            loop: loop,
            path: path,
            hello: makeHello(.listener),
            peerRole: .router,
            delegate: delegate
        )
        connector.start()
        #expect(try loop.turn { connector.link != nil })
        server.acceptor?.close()
        server.acceptor?.close()
        #expect(access(path, F_OK) != 0)
        try loop.turnUntilQuiet()
        #expect(delegate.downReasons.isEmpty)
        connector.stop()
        server.close()
    }
}
