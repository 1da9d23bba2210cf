internal import ArgumentParser
import Common

struct WhyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "Tells why a device was let in, or was not.",
        discussion: """
            The last attempts to connect and the last decisions of the auth workers about a device, the newest first: what its \
            certificate says, which look-up was made, what of the row is known (never a value), and how long it took; and what its \
            rules did not allow it to publish or subscribe to lately. The device is named by its common name, client id, user name, address, or its \
            certificate's serial number or first digits of the fingerprint.
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
            let denials = try self.askRouter(blocks, configuration)
            // Each for itself: who publishes where it may not does so often.
            let newest = Self.newest(
                Self.newest(blocks, self.last) + Self.newest(denials.blocks, self.last),
                2 * self.last
            )
            if self.json {
                Terminal.give(ReportText.json(newest))
            } else if newest.isEmpty {
                let device = ReadableText.escaped(self.device)
                Terminal.say("nothing is known of \(device): nobody of that name has tried to connect lately")
            } else {
                Terminal.say(newest.map { ReportText.people($0 + Advice.lines(for: $0)) }.joined(separator: "\n\n"))
            }
            if denials.isMissing || answers.contains(where: { !$0.reply.isDone }) { throw ExitCode(1) }
        }
    }

    private static func newest(_ blocks: [Report.Block], _ count: Int) -> [Report.Block] {
        Array(blocks.sorted { ($0.value("time") ?? "") > ($1.value("time") ?? "") }.prefix(count))
    }

    /// What the router did not allow. It knows clients by their identifiers, which listeners and auth workers have told just now.
    private func askRouter(
        _ found: [Report.Block],
        _ configuration: Configuration
    ) throws -> (blocks: [Report.Block], isMissing: Bool) {
        var names = [self.device]
        var bytes = self.device.utf8.count
        for identifier in found.compactMap({ $0.value("client_id") }) where !identifier.isEmpty {
            bytes += identifier.utf8.count
            guard names.count < Self.namesMax, bytes < ControlCommand.bytesMax / 2 else { break }
            if !names.contains(identifier) { names.append(identifier) }
        }
        let answers = try Inquiry.ask(ControlCommand(["why"] + names), [.router], configuration)
        for answer in answers where !answer.reply.isDone {
            Terminal.complain("\(answer.process): \(answer.reply.text)")
        }
        let done = answers.filter(\.reply.isDone)
        return (done.flatMap { Report(text: $0.reply.text).blocks }, done.count < answers.count)
    }

    private static let namesMax = 16
}
