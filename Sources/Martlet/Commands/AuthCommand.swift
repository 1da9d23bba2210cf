internal import ArgumentParser
import Common

struct AuthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "auth",
        abstract: "Acts on the auth workers.",
        subcommands: [ConfirmMassRevokeCommand.self]
    )
}

struct ConfirmMassRevokeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "confirm-mass-revoke",
        abstract: "Lets Redis' word count again after it lost the rows of many devices.",
        discussion: """
            When many known devices lose their rows at once, or Redis comes back empty, the auth workers take it for an \
            accident: the devices stay. This command says that it was meant; devices without a row are then refused and \
            their sessions closed.
            """
    )

    @OptionGroup var file: ConfigurationFile

    func run() throws {
        try MartletCommand.perform {
            let configuration = try self.file.load()
            let command = ControlCommand(["auth", "confirm-mass-revoke"])
            var areDone = true
            for instance in 1...configuration.processes.authWorkers {
                let reply = try ControlClient.send(command, to: .authWorker, instance: instance, configuration)
                Terminal.say("authworker-\(instance): \(reply.text)")
                areDone = areDone && reply.isDone
            }
            if !areDone { throw ExitCode(1) }
        }
    }
}
