internal import ArgumentParser
import Common

struct CacheCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cache",
        abstract: "Looks into the auth workers' cache, and has rows fetched again.",
        subcommands: [
            CacheShowCommand.self, CacheDropCommand.self, CacheExportCommand.self, CacheImportCommand.self,
        ]
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
            let configuration = try self.file.load()
            try Inquiry.checkRedis(configuration)
            let command = ControlCommand(["cache", "show"] + [self.device].compactMap { $0 })
            let answers = try Inquiry.ask(command, [.authWorker], configuration)
            for answer in answers where !answer.reply.isDone {
                Terminal.complain("\(answer.process): \(answer.reply.text)")
            }
            let blocks = answers.filter(\.reply.isDone).flatMap { Report(text: $0.reply.text).blocks }
            if self.json {
                Terminal.give(ReportText.json(blocks))
            } else {
                Terminal.say(blocks.map { ReportText.people($0) }.joined(separator: "\n\n"))
            }
            if answers.contains(where: { !$0.reply.isDone }) { throw ExitCode(1) }
        }
    }
}

struct CacheDropCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drop",
        abstract: "Has a device's row, or all, fetched from Redis again before it counts.",
        discussion: """
            Also while Redis is away: until it is back, such devices are answered "server unavailable". Exits with 1 when no auth \
            worker has anything cached of the device, or one could not be told.
            """
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
            let configuration = try self.file.load()
            try Inquiry.checkRedis(configuration)
            let words = self.device.map { ["cache", "drop", $0] } ?? ["cache", "drop-all"]
            let answers = try Inquiry.ask(ControlCommand(words), [.authWorker], configuration)
            let dropped = answers.filter(\.reply.isDone)
            if self.all, !dropped.isEmpty { Terminal.say("no row is used before it was fetched from Redis again") }
            // Each worker tells what it knew of: together it is what was dropped.
            let blocks = self.all ? [] : dropped.flatMap { Report(text: $0.reply.text).blocks }
            let keys = Set(blocks.flatMap { $0.map(\.value) }).sorted()
            for key in keys { Terminal.say("\(key): not used before it was fetched from Redis again") }
            let silent = answers.filter { !$0.reply.isDone && $0.reply != .notCached }
            for answer in silent { Terminal.complain("\(answer.process): \(answer.reply.text)") }
            if let device = self.device, keys.isEmpty, silent.count < answers.count {
                throw CommandFailure(
                    "nothing is cached of \(ReadableText.escaped(device)): name it by its common name, user name, client id or Redis key"
                )
            }
            if !silent.isEmpty { throw ExitCode(1) }
        }
    }
}

/// Which of several sources' caches is meant.
struct CacheFolder: ParsableArguments {
    @Option(help: "The source's name, where the configuration has several with caches of their own.")
    var source: String?

    /// The cache, and all sources whose rows are in its folder.
    func find(
        _ configuration: Configuration
    ) throws -> (cache: Configuration.Authentication.Cache, sources: [Configuration.Authentication.Source]) {
        let cached = configuration.authentication.sources.filter { $0.kind == .redis && $0.cache.enabled }
        guard !cached.isEmpty else { throw CommandFailure("no source with a cache is configured") }
        let sources = cached.filter { $0.name == self.source ?? $0.name }
        guard let first = sources.first else {
            let names = cached.map(\.name).filter { !$0.isEmpty }.joined(separator: ", ")
            throw CommandFailure(
                "--source \(self.source ?? ""): there is no such source with a cache; "
                    + (names.isEmpty
                        ? "the configuration has one without a name: leave --source out" : "there are: \(names)")
            )
        }
        guard sources.allSatisfy({ $0.cache.directory == first.cache.directory }) else {
            let names = sources.map(\.name).joined(separator: ", ")
            throw CommandFailure("the sources have caches of their own; name one with --source: \(names)")
        }
        return (first.cache, cached.filter { $0.cache.directory == first.cache.directory })
    }
}

struct CacheExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Copies the cached rows into a file, for another host.",
        discussion: """
            While auth workers go on. The file holds the host's key, without which codes of plain passwords are worth nothing: \
            keep it like a secret. Rows that are waiting to be fetched again are left out, and so are those that no auth worker uses \
            any more, because they were made under an earlier key or for another command.
            """
    )

    @Argument(help: "The file to be made.")
    var path: String

    @OptionGroup var folder: CacheFolder
    @OptionGroup var file: ConfigurationFile

    func run() throws {
        try MartletCommand.perform {
            let (cache, sources) = try self.folder.find(try self.file.load())
            let exported = try CacheTransfer(directory: cache.directory).export(of: sources, to: self.path)
            Terminal.say(
                "\(exported.rows) rows written to \(self.path), with the key of this host: keep the file secret"
            )
            guard exported.unused > 0 else { return }
            Terminal.say(
                "\(exported.unused) rows left out, which nobody uses any more: they were made under another key of this host, or for "
                    + "another command, password_hash or database than \(sources.count == 1 ? "the source has" : "the sources have")"
            )
        }
    }
}

struct CacheImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Takes rows that another host has exported, so that its devices connect here while Redis is away.",
        discussion: """
            Rows that are known here from a later moment, or named as changed, stay as they are. As long as Redis answers, no \
            imported row is used before it was fetched; without Redis it is good until stale_max after its last confirmation. A \
            host without a key of its own takes the file's, with --replace-key every host does. Auth workers that run go on with the \
            key and the rows that they have until they are restarted.
            """
    )

    @Argument(help: "A file that `martlet cache export` has made.")
    var path: String

    @Flag(help: "Takes the file's key although this host has another: the rows that are cached here are lost.")
    var replaceKey = false

    @OptionGroup var folder: CacheFolder
    @OptionGroup var file: ConfigurationFile

    func run() throws {
        try MartletCommand.perform {
            let cache = try self.folder.find(try self.file.load()).cache
            let result = try CacheTransfer(directory: cache.directory).import(
                from: self.path,
                freshNanoseconds: cache.positiveTTLNanoseconds,
                replacesKey: self.replaceKey
            )
            if !result.isChecked {
                Terminal.complain(
                    "\(self.path) was exported by an earlier release, without a digest: whether it is damaged is not known"
                )
            }
            Terminal.say("\(result.taken) of \(result.rows) rows taken")
            if result.kept > 0 {
                Terminal.say("\(result.kept) left as they are here: known from a later moment, or named as changed")
            }
            if result.unusable > 0 {
                Terminal.say("\(result.unusable) not taken: by the file Redis had no such row, or had changed it")
            }
            if result.keyIsNew { Terminal.say("this host has the file's key now: restart its auth workers") }
        }
    }
}
