import AuthWorker
import Common
import Glibc
import Logging
import TestSupport

/// An auth worker and a link to it, on one event loop that the test itself turns.
final class WorkerHarness {
    final class Answers: LinkDelegate {
        var verdicts: [UInt64: AuthVerdict] = [:]
        var changes: [AuthChanged] = []
        /// What came, in its order.
        var kinds: [FrameKind] = []
        var isUp = false
        var isDown = false

        func linkUp(_ link: Link, peer: LinkHello) { self.isUp = true }
        func link(_ link: Link, received frame: Frame) {
            if let kind = frame.kind { self.kinds.append(kind) }
            if frame.kind == .authChanged, let changed = AuthChanged.decode(frame.body) { self.changes.append(changed) }
            guard frame.kind == .authVerdict else { return }
            self.verdicts[frame.handle] = AuthVerdict.decode(frame.body)
        }
        func linkFinishedReading(_ link: Link) {}
        func linkDown(_ link: Link, reason: String) { self.isDown = true }
    }

    let loop: EventLoop
    let service: AuthWorkerService
    let answers = Answers()
    private let directory: TemporaryDirectory
    private let configuration: Configuration
    private var link: Link?
    private var nextRequest: UInt64 = 1

    init(
        _ configuration: Configuration,
        directory: TemporaryDirectory? = nil,
        logHandler: any LogHandler = SwiftLogNoOpLogHandler()
    ) throws {
        let directory = try directory ?? TemporaryDirectory("martlet-worker")
        self.directory = directory
        var configuration = configuration
        configuration.runtimeDirectory = directory.path
        self.configuration = configuration
        self.loop = try EventLoop()
        let context = RoleContext(
            loop: self.loop,
            logger: Logger(label: "test", factory: { _ in logHandler }),
            configuration: configuration,
            name: "authworker-1"
        )
        self.service = try AuthWorkerService(context)
        try self.service.start()
        try self.connectAgain()
    }

    /// A new link in place of the one there is.
    func connectAgain() throws {
        self.link?.close()
        let link = try Link(
            loop: self.loop,
            fileDescriptor: UnixSocket.connect(path: self.configuration.authWorkerSocketPath(1)),
            peerDescription: "worker",
            hello: LinkHello(role: .listener, bootID: RoleProcess.makeBootID(), name: Array("listener-1".utf8)),
            expectedRoles: [.authWorker],
            delegate: self.answers
        )
        self.link = link
        try self.turn { self.answers.isUp }
    }

    deinit {
        self.stop()
    }

    func stop() {
        self.link?.close()
        self.link = nil
        self.service.stop()
    }

    /// Turns the loop until the condition holds; throws after ten seconds.
    func turn(_ condition: () throws -> Bool) throws {
        let deadline = Clock.monotonic() + 10 * Nanoseconds.perSecond
        while try !condition() {
            guard Clock.monotonic() < deadline else { throw ProcessError(description: "nothing happened in 10 s") }
            try self.loop.turn(maximumWaitNanoseconds: 10 * Nanoseconds.perMillisecond)
        }
    }

    /// Turns until status reports the value.
    func waitForStatus(_ name: String, _ condition: (String) -> Bool) throws {
        try self.turn { condition(self.status(name)) }
    }

    func status(_ name: String) -> String {
        self.service.status().lines.first { $0.name == name }?.value ?? "0"
    }

    /// Sends all queries in one write and waits for all verdicts.
    func ask(_ queries: [AuthQuery]) throws -> [AuthVerdict] {
        let requests = self.send(queries)
        try self.turn { requests.allSatisfy { self.answers.verdicts[$0] != nil } }
        return requests.compactMap { self.answers.verdicts[$0] }
    }

    /// - Returns: the numbers of the requests.
    func send(_ queries: [AuthQuery]) -> Range<UInt64> {
        guard let link = self.link else { return 0..<0 }
        let first = self.nextRequest
        for query in queries {
            query.encode(into: &link.output, request: self.nextRequest)
            self.nextRequest += 1
        }
        link.flush()
        return first..<self.nextRequest
    }

    func ask(_ commonName: String, password: String?) throws -> AuthVerdict {
        try self.ask([AuthQuery.device(commonName, password: password)])[0]
    }
}

extension AuthQuery {
    static func device(_ commonName: String?, password: String?, clientID: String = "client") -> AuthQuery {
        AuthQuery(
            listenerName: Array("devices".utf8),
            rulesName: Array("default".utf8),
            peerAddress: Array("192.0.2.1:40000".utf8),
            version: .v5_0,
            identity: commonName.map { .test(commonName: $0) },
            clientIdentifier: Array(clientID.utf8),
            userName: nil,
            password: password.map { Array($0.utf8) }
        )
    }
}

extension CertificateIdentity {
    static func test(commonName: String) -> CertificateIdentity {
        CertificateIdentity(
            commonName: Array(commonName.utf8),
            subject: Array("CN=\(commonName),O=Fleet".utf8),
            issuer: Array("CN=Fleet CA".utf8),
            serialNumber: Array("0A1B".utf8),
            fingerprint: [UInt8](repeating: 0xAB, count: 32),
            notAfter: 4_000_000_000
        )
    }
}

extension Configuration {
    /// Redis at a Unix socket, the cache in a folder, clients confined to `devices/<common name>/#`.
    static func test(redis: RedisURL, cache: String?) -> Configuration {
        var configuration = Configuration()
        configuration.authentication.redis.url = redis
        configuration.authentication.cache.enabled = cache != nil
        if let cache { configuration.authentication.cache.directory = cache }
        configuration.authorization.ruleSets = [
            .init(
                name: "default",
                rules: [.init(permission: .allow, actions: .all, topics: [.init("devices/%C/#")])]
            )
        ]
        return configuration
    }
}
