internal import ArgumentParser
import Common

struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Makes a configuration from another broker's.",
        discussion: """
            The result goes to standard output, what was not understood or means something else here to standard error, with its \
            line. Passwords are not printed.
            """,
        subcommands: [ImportEMQX4Command.self, ImportEMQX5Command.self]
    )
}

struct ImportOptions: ParsableArguments {
    @Argument(help: "The configuration file.")
    var file: String

    @Option(help: "Where Redis' password goes; without it the file must be made by hand.")
    var passwordFile: String?

    /// - Parameter dialect: the file's; the other one is named where nothing in it is understood.
    func run(_ dialect: ImportedDialect, _ read: (String) throws -> ImportedConfiguration) throws {
        try MartletCommand.perform {
            let bytes: [UInt8]
            do throws(ValueError) {
                bytes = try Configuration.readFile(self.file, bytesMax: Configuration.fileBytesMax)
            } catch {
                throw CommandFailure("\(self.file): \(error.message)")
            }
            let imported: ImportedConfiguration
            let text = String(decoding: bytes, as: UTF8.self)
            do {
                imported = try read(text)
            } catch let failure as HOCONParser.Failure {
                let advice = dialect.advice(for: text, file: self.file).map { "; \($0)" } ?? ""
                throw CommandFailure(mistakes: ["\(self.file):\(failure.line): \(failure.text)\(advice)"])
            }
            if imported.isForeign {
                let advice = dialect.advice(for: text, file: self.file) ?? "name a file of \(dialect.title)"
                throw CommandFailure(mistakes: ["\(self.file): nothing in it is understood; \(advice)"])
            }
            for warning in imported.warnings {
                Terminal.complain(of: CommandFailure(mistakes: ["\(self.file):\(warning)"]))
            }
            let yaml = imported.yaml(passwordFiles: try self.keepPasswords(imported))
            for mistake in ImportedConfiguration.mistakes(in: yaml) {
                Terminal.complain("\(self.file): to be put right in what is written: \(mistake)")
            }
            Terminal.give(yaml)
        }
    }

    /// The name of each source's password file; nil: it has no password.
    private func keepPasswords(_ imported: ImportedConfiguration) throws -> [String?] {
        try imported.sources.enumerated().map { index, source in
            guard let password = source.password else { return nil }
            guard let path = self.passwordFile else {
                let name = index == 0 ? "redis.password" : "redis-\(index + 1).password"
                Terminal.complain(
                    "\(self.file): Redis' password is left out; put it into \(name), or use --password-file"
                )
                return name
            }
            let name = index == 0 ? path : "\(path)-\(index + 1)"
            let text = Array("\(password)\n".utf8)
            if Folder.exists(name), (try? Configuration.readFile(name, bytesMax: text.count)) != text {
                throw CommandFailure(
                    "\(name) is there already, with something else in it; name another --password-file"
                )
            }
            try AtomicFile.write(text, to: name, permissions: 0o600)
            return name
        }
    }
}

struct ImportEMQX4Command: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "emqx4",
        abstract: "From EMQX 4: emqx.conf, emqx_auth_redis.conf, or both in one file."
    )

    @OptionGroup var options: ImportOptions

    func run() throws { try self.options.run(.emqx4) { EMQX4Reader.read($0) } }
}

struct ImportEMQX5Command: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "emqx5",
        abstract: "From EMQX 5 and 6: emqx.conf or cluster.hocon."
    )

    @OptionGroup var options: ImportOptions

    func run() throws { try self.options.run(.emqx5) { try EMQX5Reader.read($0) } }
}
