import Common
import TestSupport
import Testing

@testable import Martlet

@Suite struct AuthTestClientTests {
    /// An auth worker that answers pings at once, and what it is asked later than `worker_timeout`.
    private final class BusyWorker: LinkDelegate {
        private let loop: EventLoop
        private var acceptor: LinkAcceptor?
        private var links: [Link] = []

        init(_ loop: EventLoop, path: String) throws {
            self.loop = loop
            let hello = LinkHello(role: .authWorker, bootID: RoleProcess.makeBootID(), name: Array("busy".utf8))
            self.acceptor = try LinkAcceptor(
                loop: loop,
                path: path,
                allowedUsers: [],
                refused: { _ in },
                makeLink: { [unowned self] fileDescriptor, peer in
                    let link = try? Link(
                        loop: loop,
                        fileDescriptor: fileDescriptor,
                        peerDescription: peer,
                        hello: hello,
                        expectedRoles: [.tool],
                        delegate: self
                    )
                    if let link { self.links.append(link) }
                }
            )
        }

        func close() {
            self.acceptor?.close()
            for link in self.links { link.close() }
        }

        func linkUp(_ link: Link, peer: LinkHello) {}

        func link(_ link: Link, received frame: Frame) {
            switch frame.kind {
            case .authPing:
                link.output.writeFrameHeader(.authPong, handle: 0, bodyBytes: 0)
                link.flush()
            case .authQuery:
                let handle = frame.handle
                self.loop.schedule(afterNanoseconds: 2200 * Nanoseconds.perMillisecond) {
                    AuthVerdict(outcome: .deny, reason: .wrongPassword).encode(into: &link.output, request: handle)
                    link.flush()
                }
            default: break
            }
        }

        func linkFinishedReading(_ link: Link) {}
        func linkDown(_ link: Link, reason: String) {}
    }

    private final class Outcome: @unchecked Sendable {
        private let monitor = Monitor()
        private var result: Result<AuthTestClient.Answer, any Error>?

        func set(_ result: Result<AuthTestClient.Answer, any Error>) { self.monitor.locked { self.result = result } }
        func get() -> Result<AuthTestClient.Answer, any Error>? { self.monitor.locked { self.result } }
    }

    /// It was said not to answer, with the advice to restart it, and the next one was asked, which a listener would not have done.
    @Test func `Regression: auth test waits for a worker that is at work`() throws {
        let folder = try TemporaryDirectory("martlet-auth-test")
        var settings = Configuration()
        settings.runtimeDirectory = folder.path
        settings.processes.authWorkers = 2
        let configuration = settings
        let loop = try EventLoop()
        let worker = try BusyWorker(loop, path: configuration.authWorkerSocketPath(1))
        defer { worker.close() }
        let query = AuthQuery(
            listenerName: [],
            rulesName: [],
            peerAddress: [],
            version: .v5_0,
            identity: nil,
            clientIdentifier: Array("a".utf8),
            userName: nil,
            password: nil
        )
        let outcome = Outcome()
        let thread = try JoinableThread {
            outcome.set(Result { try AuthTestClient.ask(query, configuration) })
        }
        defer { thread.join() }
        while outcome.get() == nil { try loop.turn(maximumWaitNanoseconds: 10 * Nanoseconds.perMillisecond) }
        let answer = try #require(outcome.get()).get()
        #expect(answer.verdict.reason == .wrongPassword && answer.instance == 1)
        #expect(answer.silent.isEmpty)
    }
}
