internal import ArgumentParser
import Common

struct AuthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "auth",
        abstract: "Acts on the auth workers.",
        subcommands: [AuthTestCommand.self, ConfirmMassRevokeCommand.self]
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
            try Inquiry.checkRedis(configuration)
            let command = ControlCommand(["auth", "confirm-mass-revoke"])
            let answers = try Inquiry.ask(command, [.authWorker], configuration)
            for answer in answers {
                let text = "\(answer.process): \(answer.reply.text)"
                if answer.reply.isDone { Terminal.say(text) } else { Terminal.complain(text) }
            }
            if answers.contains(where: { !$0.reply.isDone }) { throw ExitCode(1) }
        }
    }
}

struct AuthTestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Tells what would become of a client that connected now.",
        discussion: """
            The certificate is verified as the listener would, and a running auth worker is asked as a listener would ask it. \
            Exits with 0 when the client would be let in, 1 when not, 2 when nobody can say at the moment, 3 when the test could \
            not be made.
            """
    )

    @Option(help: "The client's certificate, PEM.")
    var cert: String?

    @Option(help: "The user name in CONNECT.")
    var user: String?

    @Option(
        help: "The client id in CONNECT; without it martlet-auth-test, or, where it has to be that, the common name."
    )
    var clientId: String?

    @Option(help: "The password in CONNECT. Others on this host can see it while the command runs.")
    var password: String?

    @Flag(help: "Reads the password from standard input, one line.")
    var passwordStdin = false

    func validate() throws {
        guard self.password == nil || !self.passwordStdin else {
            throw ValidationError("Choose one of --password and --password-stdin.")
        }
    }

    @Flag(help: "Has the row fetched from Redis first, however fresh the cached one is.")
    var noCache = false

    @Option(help: "Where the client would come from; bans of addresses are looked at.")
    var address: String?

    @Option(help: "The listener's name; without it the first one.")
    var listener: String?

    @Flag(help: "Prints JSON for programs.")
    var json = false

    @OptionGroup var file: ConfigurationFile

    func run() throws {
        let outcome: AuthTest.Outcome
        do {
            let configuration = try self.file.load()
            let found = configuration.listeners.first { $0.name == self.listener ?? $0.name }
            guard let found else { throw CommandFailure("there is no listener \(self.listener ?? "")") }
            let test = AuthTest(
                certificateFile: self.cert,
                userName: self.user,
                clientIdentifier: self.clientId,
                password: self.passwordStdin ? StandardInput.line() : self.password.map { Array($0.utf8) },
                address: try self.address.map { text in
                    guard let bytes = ListenAddress.numeric(text) else {
                        throw CommandFailure("--address \(text): not an IP address")
                    }
                    return ListenAddress(bytes: bytes, port: 0)
                },
                fetchesFirst: self.noCache,
                configuration: configuration,
                listener: found
            )
            let (result, block) = try test.run()
            if self.json {
                Terminal.give(ReportText.json([block]))
            } else {
                Terminal.say(ReportText.people(block))
            }
            try Terminal.checkOutput()
            outcome = result
        } catch {
            Terminal.complain("\(error)")
            throw ExitCode(3)
        }
        if outcome != .allowed { throw ExitCode(outcome.rawValue) }
    }
}
