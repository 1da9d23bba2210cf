import Common
import Glibc

/// Asks an auth worker what a listener would ask it.
final class AuthTestClient: LinkDelegate {
    private static let timeoutNanoseconds = 10 * Nanoseconds.perSecond

    private let query: AuthQuery
    private var verdict: AuthVerdict?
    private var problem: String?

    private init(_ query: AuthQuery) {
        self.query = query
    }

    /// The number of the first auth worker that runs; listeners, too, ask another one when one is gone.
    static func firstRunning(_ configuration: Configuration) throws(CommandFailure) -> Int {
        var problems: [String] = []
        for instance in 1...configuration.processes.authWorkers {
            let path = configuration.authWorkerSocketPath(instance)
            do throws(SystemError) {
                close(try UnixSocket.connect(path: path))
                return instance
            } catch {
                let text = UnreachableRole.describe(error, .authWorker, instance: instance, path: path)
                problems.append("no auth worker can be asked: authworker-\(instance): \(text)")
            }
        }
        throw CommandFailure(UnreachableRole.missingDirectory(configuration) ?? problems[0])
    }

    static func ask(_ query: AuthQuery, instance: Int, _ configuration: Configuration) throws -> AuthVerdict {
        let loop = try EventLoop()
        let client = AuthTestClient(query)
        let path = configuration.authWorkerSocketPath(instance)
        let link = try Link(
            loop: loop,
            fileDescriptor: try UnixSocket.connect(path: path),
            peerDescription: path,
            hello: LinkHello(role: .tool, bootID: RoleProcess.makeBootID(), name: Array("martlet".utf8)),
            expectedRoles: [.authWorker],
            delegate: client
        )
        defer { link.close() }
        let deadline = Clock.monotonic() &+ Self.timeoutNanoseconds
        while client.verdict == nil, client.problem == nil, Clock.monotonic() < deadline {
            try loop.turn(maximumWaitNanoseconds: deadline &- Clock.monotonic())
        }
        guard let verdict = client.verdict else { throw CommandFailure("\(path): \(client.problem ?? "no answer")") }
        return verdict
    }

    func linkUp(_ link: Link, peer: LinkHello) {
        self.query.encode(into: &link.output, request: 1)
        link.flush()
    }

    func link(_ link: Link, received frame: Frame) {
        guard frame.kind == .authVerdict else { return }
        self.verdict = AuthVerdict.decode(frame.body)
        if self.verdict == nil { self.problem = "a broken answer" }
    }

    func linkFinishedReading(_ link: Link) {}

    func linkDown(_ link: Link, reason: String) {
        self.problem = reason
    }
}
