package import ArgumentParser
import Common
import Glibc

/// The command line of `martlet`.
package struct MartletCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "Runs and inspects the Martlet MQTT broker.",
        version: "\(ProgramVersion.text)",
        subcommands: [
            RunCommand.self, ConfigCommand.self, StatusCommand.self, WhyCommand.self, AuthCommand.self,
            CacheCommand.self, DeviceCommand.self, BanCommand.self,
            StoreCommand.self, CRLCommand.self, ImportCommand.self, BenchCommand.self,
        ]
    )

    package init() {}

    /// Runs a command's work; a failure is said on stderr, and the process ends with exit code 1.
    static func perform(_ work: () throws -> Void) throws {
        do {
            try work()
            try Terminal.checkOutput()
        } catch let exit as ExitCode {
            throw exit
        } catch let failure as CommandFailure {
            Terminal.complain(of: failure)
            throw ExitCode(1)
        } catch {
            Terminal.complain("\(error)")
            throw ExitCode(1)
        }
    }
}

/// The configuration file and what goes over it.
struct ConfigurationOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("Overrides a key of the file; may be repeated.", valueName: "key=value"))
    var set: [String] = []
}

/// The configuration of a running broker.
struct ConfigurationFile: ParsableArguments {
    @Option(help: "The configuration file; without it /etc/martlet/martlet.yaml, or else var/martlet.yaml.")
    var config: String?

    @OptionGroup var options: ConfigurationOptions

    func load() throws -> Configuration {
        let defaults = ["/etc/martlet/martlet.yaml", "var/martlet.yaml"]
        // Of one that may be there, and cannot be read, that is said.
        let file = self.config ?? defaults.first { Folder.exists($0) } ?? defaults.first { !Folder.isAbsent($0) }
        guard let file else {
            throw CommandFailure(
                "name a configuration with --config; there is no \(defaults.joined(separator: " and no "))"
            )
        }
        return try LocalRun.load(file: file, settings: self.options.set, checksFiles: false)
    }
}

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Runs all roles on this host, in the foreground, until Ctrl-C.",
        discussion: """
            The roles are started and, when one dies, started again; their log lines go to stderr with the role's name in \
            front. With --quick-start, a folder is filled with everything that a first device needs: certificates, a \
            configuration, a Redis of its own. REDIS_URL=redis://host:port uses another Redis, MARTLET_PORT another port \
            than 8883.
            """
    )

    @Option(help: "The configuration file.")
    var config: String?

    @Option(help: ArgumentHelp("Sets everything up in a folder, if it is not there yet.", valueName: "dir"))
    var quickStart: String?

    @OptionGroup var options: ConfigurationOptions

    func validate() throws {
        guard (self.config == nil) != (self.quickStart == nil) else {
            throw ValidationError("Name either a configuration with --config, or a folder with --quick-start.")
        }
    }

    func run() throws {
        try MartletCommand.perform {
            if let directory = self.quickStart {
                try QuickStart.run(directory: directory, settings: self.options.set)
            } else if let file = self.config {
                try LocalRun.run(file: file, settings: self.options.set)
            }
        }
    }
}

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Works on configuration files.",
        subcommands: [ConfigCheckCommand.self]
    )
}

struct ConfigCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Looks for mistakes in a configuration and in the files that it names.",
        discussion: """
            Prints one line for each mistake, with its place, and exits with 1 if there is any. Lines with "warning:" are about \
            what Martlet would run with.
            """
    )

    @Argument(help: "The configuration file.")
    var file: String

    @OptionGroup var options: ConfigurationOptions

    func run() throws {
        try MartletCommand.perform {
            _ = try LocalRun.load(file: self.file, settings: self.options.set) { Terminal.complain(mistakes: $0) }
            Terminal.say("\(self.file): no mistakes found")
        }
    }
}

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows how the roles on this host are.",
        discussion: "Exits with 0 when all roles of the configuration are up, with 1 otherwise."
    )

    @Flag(help: "Also shows counters that are 0.")
    var all = false

    @Flag(help: "Prints JSON for programs, with all counters.")
    var json = false

    @Flag(help: "Prints all counters in Prometheus' text format (0.0.4).")
    var prometheus = false

    @OptionGroup var file: ConfigurationFile

    func validate() throws {
        guard !self.json || !self.prometheus else { throw ValidationError("Choose one of --json and --prometheus.") }
    }

    func run() throws {
        try MartletCommand.perform {
            let configuration = try self.file.load()
            let sources = configuration.authentication.sources.map(\.name)
            let processes = try StatusClient.ask(configuration)
            if self.json {
                Terminal.give(StatusJSON.render(processes, sources: sources))
            } else if self.prometheus {
                Terminal.give(StatusMetrics.render(processes, sources: sources))
            } else {
                Terminal.say(StatusTable.render(processes, showsZeros: self.all))
            }
            guard processes.allSatisfy(\.isUp) else { throw ExitCode(1) }
        }
    }
}
