internal import ArgumentParser
import Common

struct StoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store",
        abstract: "Looks after what the router keeps: sessions, queued and retained messages.",
        subcommands: [
            StoreCheckCommand.self, StoreBackupCommand.self, StoreRestoreCommand.self, StoreRepairCommand.self,
            StoreExportCommand.self,
        ]
    )
}

/// Which file.
struct StoreFileOptions: ParsableArguments {
    @Option(help: "The file; without it that of the configuration.")
    var file: String?

    @OptionGroup var configuration: ConfigurationFile

    func maintenance() throws -> StoreMaintenance {
        StoreMaintenance(path: try self.file ?? self.configuration.load().routerStorePath)
    }
}

struct StoreCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Reads all of the store and says whether it is sound; the router may run.",
        discussion: "Exits with 1 when it is not."
    )

    @OptionGroup var options: StoreFileOptions

    func run() throws {
        try MartletCommand.perform {
            let (lines, isSound) = try self.options.maintenance().check()
            Terminal.say(lines.joined(separator: "\n"))
            if !isSound { throw ExitCode(1) }
        }
    }
}

struct StoreBackupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copies the store as it is at this moment; the router may run."
    )

    @Argument(help: "The file to be written; it must not be there yet.")
    var target: String

    @OptionGroup var options: StoreFileOptions

    func run() throws {
        try MartletCommand.perform {
            try self.options.maintenance().backup(to: self.target)
            Terminal.say("written: \(self.target)")
        }
    }
}

struct StoreRestoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Puts a backup in the place of the store; the router must be stopped.",
        discussion: "The former store is kept beside it."
    )

    @Argument(help: "The backup.")
    var backup: String

    @OptionGroup var options: StoreFileOptions

    func run() throws {
        try MartletCommand.perform {
            let maintenance = try self.options.maintenance()
            let former = try maintenance.restore(from: self.backup)
            Terminal.say("restored: \(maintenance.path)" + (former.map { "; the former store is \($0)" } ?? ""))
        }
    }
}

struct StoreRepairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Makes a new store of what can be read of a damaged one; the router must be stopped.",
        discussion:
            "What cannot be read is lost: a backup is better, if there is one. The damaged store is kept beside the new one."
    )

    @OptionGroup var options: StoreFileOptions

    func run() throws {
        try MartletCommand.perform {
            let (kept, left, former) = try self.options.maintenance().repair()
            Terminal.say(
                "\(kept) entries kept, \(left) left out because what they need is gone"
                    + (former.map { "; the former store is \($0)" } ?? "")
            )
        }
    }
}

struct StoreExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract:
            "Prints sessions, their messages and retained messages as JSON, one object a line; the router may run."
    )

    @OptionGroup var options: StoreFileOptions

    func run() throws {
        try MartletCommand.perform {
            try self.options.maintenance().export { Terminal.give($0) }
        }
    }
}
