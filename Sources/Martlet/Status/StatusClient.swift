import Common
import Glibc

/// Asks every role of a configuration how it is.
package final class StatusClient: LinkDelegate {
    package enum Answer: Equatable {
        case report([StatusReport.Line])
        /// Why there is none.
        case silent(String)
    }

    package struct Process: Equatable {
        package var name: String
        package var answer: Answer
        /// Nobody is at its socket; otherwise one that is silent may be at work.
        package var isAbsent = false

        package init(name: String, answer: Answer) {
            self.name = name
            self.answer = answer
        }

        package var isUp: Bool {
            if case .report = self.answer { return true }
            return false
        }
    }

    package static let timeoutNanoseconds = 2 * Nanoseconds.perSecond

    private let loop: EventLoop
    private var processes: [Process] = []
    private var links: [Link] = []

    private init(loop: EventLoop) {
        self.loop = loop
    }

    /// One answer per process that the configuration wants, and per further one that runs, in the order router, auth workers, listeners.
    package static func ask(_ configuration: Configuration) throws -> [Process] {
        let client = StatusClient(loop: try EventLoop())
        client.connect(configuration, role: .router, name: "router", instance: 1)
        if configuration.authentication.usesWorkers {
            client.connect(configuration, role: .authWorker, count: configuration.processes.authWorkers)
        }
        client.connect(configuration, role: .listener, count: configuration.processes.listeners)
        return try client.wait()
    }

    /// The same of the listeners alone.
    static func askListeners(_ configuration: Configuration) throws -> [Process] {
        let client = StatusClient(loop: try EventLoop())
        client.connect(configuration, role: .listener, count: configuration.processes.listeners)
        return try client.wait()
    }

    private func wait() throws -> [Process] {
        let deadline = Clock.monotonic() &+ Self.timeoutNanoseconds
        while self.links.contains(where: \.isOpen) {
            let now = Clock.monotonic()
            guard now < deadline else { break }
            try self.loop.turn(maximumWaitNanoseconds: deadline - now)
        }
        for link in self.links { link.close() }
        return self.processes
    }

    private func connect(_ configuration: Configuration, role: LinkHello.Role, count: Int) {
        let label = RoleProcess.label(of: role)
        for instance in 1...count {
            self.connect(configuration, role: role, name: "\(label)-\(instance)", instance: instance)
        }
        for instance in SurplusInstance.found(role, configuration) {
            self.connect(configuration, role: role, name: "\(label)-\(instance)", instance: instance, isWanted: false)
        }
    }

    /// - Parameter isWanted: one that does not run is told of.
    private func connect(
        _ configuration: Configuration,
        role: LinkHello.Role,
        name: String,
        instance: Int,
        isWanted: Bool = true
    ) {
        let path = configuration.controlSocketPath(role: RoleProcess.label(of: role), instance: instance)
        var process = Process(name: name, answer: .silent("no answer within 2 s"))
        do throws(SystemError) {
            let link = try Link(
                loop: self.loop,
                fileDescriptor: try UnixSocket.connect(path: path),
                peerDescription: name,
                hello: LinkHello(role: .tool, bootID: RoleProcess.makeBootID(), name: Array("martlet".utf8)),
                expectedRoles: [role],
                delegate: self
            )
            link.index = self.processes.count
            self.links.append(link)
        } catch {
            guard isWanted else { return }
            process.answer = .silent(UnreachableRole.describe(error, role, instance: instance, path: path))
            process.isAbsent = UnreachableRole.isAbsent(error)
        }
        self.processes.append(process)
    }

    package func linkUp(_ link: Link, peer: LinkHello) {
        let position = link.output.beginFrame(.statusRequest)
        link.output.endFrame(at: position)
        link.flush()
    }

    package func link(_ link: Link, received frame: Frame) {
        guard frame.kind == .statusReport else { return }
        self.processes[link.index].answer = .report(StatusReport.decode(frame.body).lines)
        link.close()
    }

    package func linkFinishedReading(_ link: Link) {}

    package func linkDown(_ link: Link, reason: String) {
        self.processes[link.index].answer = .silent(reason)
    }
}
