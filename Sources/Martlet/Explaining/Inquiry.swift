import Common

/// One command to all processes of some roles.
enum Inquiry {
    struct Answer {
        var process: String
        var reply: ControlReply
    }

    static func ask(
        _ command: ControlCommand,
        _ roles: [LinkHello.Role],
        _ configuration: Configuration
    ) throws -> [Answer] {
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
        }
        return answers
    }
}
