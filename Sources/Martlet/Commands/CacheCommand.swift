internal import ArgumentParser
import Common

struct CacheCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cache",
        abstract: "Looks into the auth workers' cache, and has rows fetched again.",
        subcommands: [CacheShowCommand.self, CacheDropCommand.self]
    )
}

struct CacheShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Counts what is cached, or shows what is known of one device; never a password or hash."
    )

    @Argument(help: "A common name, user name, client id, or Redis key.")
    var device: String?

    @Flag(help: "Prints JSON for programs.")
    var json = false

    @OptionGroup var file: ConfigurationFile

    func run() throws {
        try MartletCommand.perform {
            let command = ControlCommand(["cache", "show"] + [self.device].compactMap { $0 })
            let answers = try Inquiry.ask(command, [.authWorker], try self.file.load())
            for answer in answers where !answer.reply.isDone {
                Terminal.complain("\(answer.process): \(answer.reply.text)")
            }
            let blocks = answers.filter(\.reply.isDone).flatMap { Report(text: $0.reply.text).blocks }
            Terminal.say(
                self.json
                    ? ReportText.json(blocks) : blocks.map { ReportText.people($0) }.joined(separator: "\n\n")
            )
            if answers.contains(where: { !$0.reply.isDone }) { throw ExitCode(1) }
        }
    }
}

struct CacheDropCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drop",
        abstract: "Has a device's row, or all, fetched from Redis again before it counts.",
        discussion: "Also while Redis is away: until it is back, such devices are answered \"server unavailable\"."
    )

    @Argument(help: "A common name, user name, client id, or Redis key.")
    var device: String?

    @Flag(help: "All rows.")
    var all = false

    @OptionGroup var file: ConfigurationFile

    func validate() throws {
        guard (self.device != nil) != self.all else { throw ValidationError("Name a device, or --all.") }
    }

    func run() throws {
        try MartletCommand.perform {
            let words = self.device.map { ["cache", "drop", $0] } ?? ["cache", "drop-all"]
            let answers = try Inquiry.ask(ControlCommand(words), [.authWorker], try self.file.load())
            for answer in answers { Terminal.say("\(answer.process): \(answer.reply.text)") }
            if answers.contains(where: { !$0.reply.isDone }) { throw ExitCode(1) }
        }
    }
}
