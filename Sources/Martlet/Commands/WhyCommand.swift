internal import ArgumentParser
import Common

struct WhyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "Tells why a device was let in, or was not.",
        discussion: """
            The last attempts to connect and the last decisions of the auth workers about a device, the newest first: what its \
            certificate says, which look-up was made, what of the row is known (never a value), and how long it took. The device \
            is named by its common name, client id, user name, address, or the first digits of its certificate's fingerprint.
            """
    )

    @Argument(help: "The device.")
    var device: String

    @Option(help: "How many attempts and decisions are shown.")
    var last = 6

    @Flag(help: "Prints JSON for programs.")
    var json = false

    @OptionGroup var file: ConfigurationFile

    func validate() throws {
        guard self.last >= 1 else { throw ValidationError("--last is a number of at least 1.") }
    }

    func run() throws {
        try MartletCommand.perform {
            let configuration = try self.file.load()
            let command = ControlCommand(["why", self.device])
            let answers = try Inquiry.ask(command, [.listener, .authWorker], configuration)
            for answer in answers where !answer.reply.isDone {
                Terminal.complain("\(answer.process): \(answer.reply.text)")
            }
            let blocks = answers.filter(\.reply.isDone).flatMap { Report(text: $0.reply.text).blocks }
            let newest = blocks.sorted { ($0.value("time") ?? "") > ($1.value("time") ?? "") }.prefix(self.last)
            if self.json {
                Terminal.give(ReportText.json(Array(newest)))
            } else if newest.isEmpty {
                Terminal.say("nothing is known of \(self.device): nobody of that name has tried to connect lately")
            } else {
                Terminal.say(newest.map { ReportText.people($0 + Advice.lines(for: $0)) }.joined(separator: "\n\n"))
            }
            if answers.contains(where: { !$0.reply.isDone }) { throw ExitCode(1) }
        }
    }
}
