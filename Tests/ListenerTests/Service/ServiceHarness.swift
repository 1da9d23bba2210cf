import Common
import Glibc
import TestSupport

@testable import Listener

/// A listener with one plain TCP listener on a free port, and the far ends of its links, all in one event loop.
final class ServiceHarness {
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    let loop: EventLoop
    let directory: TemporaryDirectory
    let configuration: Configuration
    let service: ListenerService
    let log = LogRecorder()
    let router: PeerServer
    private(set) var workers: [PeerServer] = []
    private(set) var address = ListenAddress.loopback(port: 0)

    /// - Parameters:
    ///   - isAnonymous: otherwise auth workers are asked.
    ///   - startsRouter: otherwise the test opens `router` itself.
    init(
        isAnonymous: Bool = true,
        sessionCredit: UInt32 = 1 << 20,
        linkCredit: UInt32 = 1 << 30,
        workers: Int = 0,
        startsRouter: Bool = true,
        _ change: (inout Configuration) -> Void = { _ in }
    ) throws {
        self.loop = try EventLoop()
        self.directory = try TemporaryDirectory()
        var configuration = Configuration()
        configuration.runtimeDirectory = self.directory.path
        configuration.processes.authWorkers = max(1, workers)
        // Ends within one turn, as the harness does.
        configuration.processes.drainRate = 0
        configuration.authorization.ruleSets = [
            .init(name: "default", rules: [.init(permission: .allow, actions: .all, topics: [.init("clients/%c/#")])])
        ]
        var listener = Configuration.Listener(name: "plain")
        listener.addresses = [.loopback(port: 0)]
        listener.transport = .tcp
        listener.clientCertificate = .none
        listener.anonymous = isAnonymous
        configuration.listeners = [listener]
        if isAnonymous { configuration.authentication.source = .none }
        change(&configuration)
        self.configuration = configuration
        self.router = try PeerServer(
            self.loop,
            path: configuration.routerSocketPath,
            hello: Self.hello(.router, session: sessionCredit, link: linkCredit)
        )
        if !startsRouter { self.router.close() }
        self.service = ListenerService(
            RoleContext(
                loop: self.loop,
                logger: self.log.makeLogger(),
                configuration: configuration,
                name: "listener-1"
            )
        )
        for worker in 0..<workers {
            let path = configuration.authWorkerSocketPath(worker + 1)
            self.workers.append(try PeerServer(self.loop, path: path, hello: Self.hello(.authWorker)))
        }
        try self.service.start()
        self.address = self.service.boundAddresses[0]
        if startsRouter { try self.wait("the router's link") { self.router.link != nil && self.isRouterUp } }
        if workers > 0 { try self.wait("the workers' links") { self.service.auth.workersUp == workers } }
    }

    deinit {
        self.service.stop()
        self.service.router.stop()
        self.service.auth.stop()
        self.router.close()
        for worker in self.workers { worker.close() }
    }

    var isRouterUp: Bool { self.service.router.link != nil }

    private static func hello(_ role: LinkHello.Role, session: UInt32 = 0, link: UInt32 = 0) -> LinkHello {
        LinkHello(
            role: role,
            bootID: RoleProcess.makeBootID(),
            name: Array("\(role)".utf8),
            sessionCreditBytes: session,
            linkCreditBytes: link
        )
    }

    /// Turns the loop until the condition holds; throws what was waited for if it never does.
    func wait(_ what: String, _ condition: () -> Bool) throws {
        guard try self.loop.turn(until: condition) else { throw Failure(description: "waited in vain for \(what)") }
    }

    func client(receiveBufferBytes: Int32? = nil) throws -> TCPClient {
        try TCPClient(self.address, receiveBufferBytes: receiveBufferBytes)
    }

    /// Sends CONNECT and waits for `sessionOpen`.
    func open(_ client: TCPClient, _ connect: ConnectPacket) throws -> (handle: UInt64, open: SessionOpen) {
        let before = self.router.frames(.sessionOpen).count
        client.send(Packet.connect(connect), connect.version)
        try self.wait("sessionOpen") { self.router.frames(.sessionOpen).count > before }
        guard let frame = self.router.frames(.sessionOpen).last,
            let open = frame.body.withUnsafeBytes({ SessionOpen.decode($0) })
        else { throw Failure(description: "sessionOpen cannot be decoded") }
        return (frame.handle, open)
    }

    /// A client whose session is open, and its handle.
    func connected(
        _ name: String,
        _ version: ProtocolVersion = .v3_1_1,
        keepAliveSeconds: UInt16 = 0,
        receiveBufferBytes: Int32? = nil,
        number: UInt64 = 0
    ) throws -> (client: TCPClient, handle: UInt64) {
        let client = try self.client(receiveBufferBytes: receiveBufferBytes)
        let connect = ConnectPacket(version: version, clientIdentifier: Array(name.utf8))
        let handle = try self.open(client, connect).handle
        self.router.accept(handle, version, keepAliveSeconds: keepAliveSeconds, number: number)
        try self.wait("CONNACK") { client.packets(version)?.count == 1 }
        return (client, handle)
    }

    /// Causes of the sessions that were closed, by handle.
    func closeCauses(_ handle: UInt64) -> [SessionCloseCause?] {
        self.router.frames(.sessionClosed).filter { $0.handle == handle }
            .map { frame in frame.body.withUnsafeBytes { SessionCloseCause.decode($0)?.cause } }
    }

    func publish(_ payloadBytes: Int, qos: QoS = .atMostOnce, packetIdentifier: UInt16 = 0) -> [UInt8] {
        Packet.publish(
            PublishPacket(
                qos: qos,
                topic: Array("clients/a".utf8),
                packetIdentifier: packetIdentifier,
                payload: [UInt8](repeating: 0x70, count: payloadBytes)
            )
        ).bytes(.v3_1_1)
    }
}
