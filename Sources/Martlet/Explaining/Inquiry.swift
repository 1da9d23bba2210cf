import Common
import Glibc

/// One command to all processes of some roles.
enum Inquiry {
    struct Answer {
        var process: String
        var reply: ControlReply
    }

    /// - Throws: when no source is Redis: auth workers have no rows of it then, cached or lost.
    static func checkRedis(_ configuration: Configuration) throws(CommandFailure) {
        let kinds = configuration.authentication.sources.map(\.kind)
        guard !kinds.contains(.redis) else { return }
        let shown = kinds.map(\.rawValue).joined(separator: ", ")
        throw CommandFailure(
            "this is about rows of Redis, which the configuration does not use: its source is \(shown)"
        )
    }

    static func ask(
        _ command: ControlCommand,
        _ roles: [LinkHello.Role],
        _ configuration: Configuration
    ) throws -> [Answer] {
        if let missing = UnreachableRole.missingDirectory(configuration) { throw CommandFailure(missing) }
        var answers: [Answer] = []
        for role in roles {
            let count =
                switch role {
                case .listener: configuration.processes.listeners
                case .authWorker: configuration.authentication.usesWorkers ? configuration.processes.authWorkers : 0
                case .router, .tool: 1
                }
            for instance in 0..<count {
                let reply = try ControlClient.send(command, to: role, instance: instance + 1, configuration)
                answers.append(Answer(process: "\(RoleProcess.label(of: role))-\(instance + 1)", reply: reply))
            }
            for instance in SurplusInstance.found(role, configuration) {
                let path = configuration.controlSocketPath(role: RoleProcess.label(of: role), instance: instance)
                guard let connection = try? UnixSocket.connect(path: path) else { continue }
                close(connection)
                let reply = try ControlClient.send(command, to: role, instance: instance, configuration)
                answers.append(Answer(process: "\(RoleProcess.label(of: role))-\(instance)", reply: reply))
            }
        }
        return answers
    }
}
