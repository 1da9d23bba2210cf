import Common
import Glibc

/// Asks an auth worker what a listener would ask it.
final class AuthTestClient: LinkDelegate {
    private static let timeoutNanoseconds = 10 * Nanoseconds.perSecond

    /// Who gave a verdict, and what others had to say before it.
    struct Answer {
        var verdict: AuthVerdict
        var instance: Int
        /// A sentence for each worker that runs and does not answer.
        var silent: [String] = []
    }

    private let query: AuthQuery
    private var verdict: AuthVerdict?
    private var problem: String?
    /// It has answered a ping: it is at work, as where many passwords wait for being compared, and another one would not be asked.
    private var isAlive = false

    private init(_ query: AuthQuery) {
        self.query = query
    }

    /// Asks one auth worker after the other, until one answers: listeners, too, ask another one when one is gone or hangs.
    static func ask(_ query: AuthQuery, _ configuration: Configuration) throws -> Answer {
        var (unreachable, silent): ([String], [String]) = ([], [])
        for instance in 1...configuration.processes.authWorkers {
            let path = configuration.authWorkerSocketPath(instance)
            let fileDescriptor: Int32
            do throws(SystemError) {
                fileDescriptor = try UnixSocket.connect(path: path)
            } catch {
                let text = UnreachableRole.describe(error, .authWorker, instance: instance, path: path)
                unreachable.append("authworker-\(instance): \(text)")
                continue
            }
            // Who is the last to be asked is given the time that an answer may take.
            let isLast = instance == configuration.processes.authWorkers
            let timeout = isLast ? Self.timeoutNanoseconds : configuration.authentication.workerTimeoutNanoseconds
            let client = AuthTestClient(query)
            if let verdict = try client.verdict(from: fileDescriptor, path, timeout) {
                return Answer(verdict: verdict, instance: instance, silent: silent)
            }
            let waited =
                client.isAlive
                ? "answers, and does not decide within \(Self.timeoutNanoseconds / Nanoseconds.perMillisecond) ms"
                : "does not answer within \(timeout / Nanoseconds.perMillisecond) ms; see its log, or restart it"
            silent.append("authworker-\(instance), \(path): \(client.problem ?? waited)")
        }
        if let missing = UnreachableRole.missingDirectory(configuration) { throw CommandFailure(missing) }
        throw CommandFailure("no auth worker can be asked: \((silent + unreachable).prefix(2).joined(separator: "; "))")
    }

    /// Takes the descriptor.
    /// - Returns: nil when there is none within the time, or `problem` says why.
    private func verdict(from fileDescriptor: Int32, _ path: String, _ timeout: UInt64) throws -> AuthVerdict? {
        let loop = try EventLoop()
        let link = try Link(
            loop: loop,
            fileDescriptor: fileDescriptor,
            peerDescription: path,
            hello: LinkHello(role: .tool, bootID: RoleProcess.makeBootID(), name: Array("martlet".utf8)),
            expectedRoles: [.authWorker],
            delegate: self
        )
        defer { link.close() }
        let start = Clock.monotonic()
        while self.verdict == nil, self.problem == nil {
            let deadline = start &+ (self.isAlive ? max(timeout, Self.timeoutNanoseconds) : timeout)
            let now = Clock.monotonic()
            guard now < deadline else { break }
            try loop.turn(maximumWaitNanoseconds: deadline &- now)
        }
        return self.verdict
    }

    func linkUp(_ link: Link, peer: LinkHello) {
        self.query.encode(into: &link.output, request: 1)
        link.output.writeFrameHeader(.authPing, handle: 0, bodyBytes: 0)
        link.flush()
    }

    func link(_ link: Link, received frame: Frame) {
        if frame.kind == .authPong { self.isAlive = true }
        guard frame.kind == .authVerdict else { return }
        self.verdict = AuthVerdict.decode(frame.body)
        if self.verdict == nil { self.problem = "a broken answer" }
    }

    func linkFinishedReading(_ link: Link) {}

    func linkDown(_ link: Link, reason: String) {
        self.problem = reason
    }
}
