import Common

/// Sends one command to one role and waits for what came of it.
package final class ControlClient: LinkDelegate {
    private static let timeoutNanoseconds = 10 * Nanoseconds.perSecond

    private let command: ControlCommand
    private var reply: ControlReply?

    private init(_ command: ControlCommand) {
        self.command = command
    }

    /// A role that is not there is a reply too: `isDone` is false, and the text says why.
    package static func send(
        _ command: ControlCommand,
        to role: LinkHello.Role,
        instance: Int,
        _ configuration: Configuration
    ) throws -> ControlReply {
        let loop = try EventLoop()
        let client = ControlClient(command)
        let path = configuration.controlSocketPath(role: RoleProcess.label(of: role), instance: instance)
        let link: Link
        do throws(SystemError) {
            link = try Link(
                loop: loop,
                fileDescriptor: try UnixSocket.connect(path: path),
                peerDescription: path,
                hello: LinkHello(role: .tool, bootID: RoleProcess.makeBootID(), name: Array("martlet".utf8)),
                expectedRoles: [role],
                delegate: client
            )
        } catch {
            let text = UnreachableRole.describe(error, role, instance: instance, path: path)
            return ControlReply(isDone: false, text: text)
        }
        defer { link.close() }
        let deadline = Clock.monotonic() &+ Self.timeoutNanoseconds
        while client.reply == nil, Clock.monotonic() < deadline {
            try loop.turn(maximumWaitNanoseconds: deadline &- Clock.monotonic())
        }
        return client.reply ?? ControlReply(isDone: false, text: "no answer")
    }

    package func linkUp(_ link: Link, peer: LinkHello) {
        self.command.encode(into: &link.output)
        link.flush()
    }

    package func link(_ link: Link, received frame: Frame) {
        guard frame.kind == .controlReply else { return }
        self.reply = ControlReply.decode(frame.body) ?? ControlReply(isDone: false, text: "a broken answer")
    }

    package func linkFinishedReading(_ link: Link) {}

    package func linkDown(_ link: Link, reason: String) {
        if self.reply == nil { self.reply = ControlReply(isDone: false, text: reason) }
    }
}
