internal import ArgumentParser
import Common

struct BanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ban",
        abstract: "Keeps devices and addresses out, whatever else speaks for them.",
        discussion: """
            Bans are lines of bans_file, which listeners look at every second: who is banned is refused, and disconnected if he is \
            there. A ban is of a kind and a value: cn, serial, fingerprint (of the certificate), client_id, address (or a range).
            """,
        subcommands: [BanAddCommand.self, BanRemoveCommand.self, BanListCommand.self]
    )
}

extension BanFile {
    /// The one of a configuration, whose listeners are asked where the file is not there.
    fileprivate init(_ configuration: Configuration, advice: String) {
        let lost = LostBans(configuration: configuration, advice: advice)
        self.init(path: configuration.bansFile, checkAbsence: { try lost.check() })
    }

    fileprivate static let adviceToChange =
        "Nothing is written. Restore the file from a backup; or begin a new one, which lifts the bans of the former one, with martlet "
        + "ban add --new-file"
}

/// What is banned.
struct BanSubject: ParsableArguments {
    @Argument(help: "cn, serial, fingerprint, client_id or address.")
    var kind: String

    @Argument(
        help: "The common name, the number in hexadecimal digits, the client id, or an address such as 192.0.2.0/24."
    )
    var value: String

    func subject() throws -> Ban.Subject {
        do throws(ValueError) {
            return try Ban.subject(kind: self.kind, value: Array(self.value.utf8))
        } catch {
            throw CommandFailure(error.message)
        }
    }
}

struct BanAddCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Bans; a ban of the same kind and value is replaced."
    )

    @OptionGroup var what: BanSubject

    @Option(name: .customLong("for"), help: "How long, such as 12h or 7d; without it, for good.")
    var duration: String?

    @Option(help: "Why, for the log and for whoever asks.")
    var reason = ""

    @Flag(help: "Begins a new file where bans_file is lost, which lifts the bans that listeners still have in force.")
    var newFile = false

    @OptionGroup var file: ConfigurationFile

    func run() throws {
        try MartletCommand.perform {
            var ban = Ban(try self.what.subject(), reason: self.reason)
            if let duration = self.duration {
                let seconds = try Self.seconds(duration)
                ban.until = Int64(Clock.wall() / Nanoseconds.perSecond) + Int64(seconds)
            }
            let configuration = try self.file.load()
            let path = configuration.bansFile
            let file =
                self.newFile ? BanFile(path: path) : BanFile(configuration, advice: BanFile.adviceToChange)
            try file.add(ban)
            let end = ban.until.map { " until \(Ban.timestamp($0))" } ?? ""
            Terminal.say("\(ban.title) is banned\(end); written to \(path), in force within a second")
        }
    }

    private static func seconds(_ duration: String) throws(CommandFailure) -> UInt64 {
        let seconds: UInt64
        do throws(ValueError) {
            seconds = try DurationText.parse(duration) / Nanoseconds.perSecond
        } catch {
            throw CommandFailure("--for: \(error.message)")
        }
        guard seconds > 0 else {
            throw CommandFailure("--for: \"\(duration)\" is less than 1s: the ban would be over at once")
        }
        return seconds
    }
}

struct BanRemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Lifts a ban.")

    @OptionGroup var what: BanSubject
    @OptionGroup var file: ConfigurationFile

    func run() throws {
        try MartletCommand.perform {
            let ban = Ban(try self.what.subject())
            let file = BanFile(try self.file.load(), advice: BanFile.adviceToChange)
            guard try file.remove(ban.subject) else {
                throw CommandFailure("\(ban.title) is not banned")
            }
            Terminal.say("\(ban.title) is no longer banned")
        }
    }
}

struct BanListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Shows all bans.")

    @Flag(help: "Prints JSON for programs.")
    var json = false

    @OptionGroup var file: ConfigurationFile

    func run() throws {
        try MartletCommand.perform {
            let bans = try BanFile(try self.file.load(), advice: "Restore the file from a backup").load().bans
            let now = Int64(Clock.wall() / Nanoseconds.perSecond)
            if self.json {
                Terminal.give(ReportText.json(bans.map { Self.block($0, now) }))
            } else {
                Terminal.say(
                    bans.isEmpty ? "nobody is banned" : bans.map { Self.line($0, now) }.joined(separator: "\n")
                )
            }
        }
    }

    private static func line(_ ban: Ban, _ now: Int64) -> String {
        ban.line + (ban.isInForce(at: now) ? "" : "   (over)")
    }

    private static func block(_ ban: Ban, _ now: Int64) -> Report.Block {
        var block: Report.Block = []
        block.add("kind", ban.kind.rawValue)
        block.add("value", ban.value)
        if let until = ban.until { block.add("until", Ban.timestamp(until)) }
        if !ban.reason.isEmpty { block.add("reason", ban.reason) }
        block.add("in_force", ban.isInForce(at: now))
        return block
    }
}
