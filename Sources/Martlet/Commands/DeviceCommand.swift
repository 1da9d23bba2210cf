internal import ArgumentParser
import Common
import Devices
import Glibc

struct DeviceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device",
        abstract: "Works on the devices of an embedded source.",
        discussion:
            "Running auth workers notice within a second; sessions of devices that are removed or disabled are closed.",
        subcommands: [
            DeviceAddCommand.self, DeviceShowCommand.self, DeviceListCommand.self, DeviceDisableCommand.self,
            DeviceEnableCommand.self, DeviceSetPasswordCommand.self, DeviceSetACLCommand.self, DeviceRemoveCommand.self,
            DeviceImportCSVCommand.self, DeviceImportCommand.self, DeviceExportCommand.self,
        ]
    )
}

/// Which file.
struct DeviceFileOptions: ParsableArguments {
    @Option(help: "The file; without it that of the configuration's embedded source.")
    var file: String?

    @OptionGroup var configuration: ConfigurationFile

    func store() throws -> DeviceStore {
        if let file = self.file { return DeviceStore(path: file) }
        let sources = try self.configuration.load().authentication.sources
        guard let source = sources.first(where: { $0.kind == .embedded }) else {
            throw CommandFailure("the configuration has no embedded source; name the file with --file")
        }
        return DeviceStore(path: source.file)
    }
}

/// Where a password comes from.
struct PasswordOptions: ParsableArguments {
    @Flag(help: "Reads the password from standard input, one line.")
    var passwordStdin = false

    @Flag(help: "Makes a random password and prints it.")
    var passwordRandom = false

    func validate() throws {
        guard !self.passwordStdin || !self.passwordRandom else {
            throw ValidationError("Choose one of --password-stdin and --password-random.")
        }
    }

    /// Nil: none was asked for.
    func password() throws -> [UInt8]? {
        if self.passwordRandom { return DeviceStore.randomPassword() }
        guard self.passwordStdin else { return nil }
        guard let line = StandardInput.line(), !line.isEmpty else {
            throw CommandFailure("there is no password on standard input")
        }
        return line
    }
}

struct DeviceAddCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Adds a device. Without a password its certificate is enough."
    )

    @Argument(help: "Its name: the certificate's common name, unless the configuration says otherwise.")
    var name: String

    @OptionGroup var password: PasswordOptions

    @Option(help: ArgumentHelp("What it may do, such as 'publish:up/%C/#'; several times.", valueName: "access:filter"))
    var acl: [String] = []

    @Flag(help: "It may do everything.")
    var superuser = false

    @Option(help: "For people.")
    var note = ""

    @OptionGroup var options: DeviceFileOptions

    func run() throws {
        try MartletCommand.perform {
            let store = try self.options.store()
            var device = Device(name: Array(self.name.utf8))
            device.isSuperuser = self.superuser
            device.note = self.note
            device.access = try self.acl.map { try DeviceStore.typedAccessRow($0) }
            let password = try self.password.password()
            if let password { try DeviceStore.set(password, of: &device) }
            try store.add(device)
            Terminal.say(ReportText.people(DeviceStore.describe(device)))
            if self.password.passwordRandom, let password {
                Terminal.give("password  \(String(decoding: password, as: UTF8.self))")
            }
        }
    }
}

struct DeviceShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Shows a device, without its hash.")

    @Argument(help: "Its name.")
    var name: String

    @Flag(help: "Prints JSON for programs.")
    var json = false

    @OptionGroup var options: DeviceFileOptions

    func run() throws {
        try MartletCommand.perform {
            let device = DeviceStore.describe(try self.options.store().device(self.name))
            if self.json { return Terminal.give(ReportText.json([device])) }
            Terminal.say(ReportText.people(device))
        }
    }
}

struct DeviceListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists all devices.")

    @Flag(help: "Prints JSON for programs.")
    var json = false

    @OptionGroup var options: DeviceFileOptions

    func run() throws {
        try MartletCommand.perform {
            let devices = try self.options.store().all()
            if self.json { return Terminal.give(ReportText.json(devices.map { DeviceStore.describe($0) })) }
            for device in devices {
                let marks = [
                    device.isDisabled ? "disabled" : nil, device.secret == nil ? "no password" : nil,
                    device.isSuperuser ? "superuser" : nil,
                ]
                let shown = marks.compactMap { $0 }.joined(separator: ", ")
                let name = ReadableText.escaped(String(decoding: device.name, as: UTF8.self))
                Terminal.say(name + (shown.isEmpty ? "" : "  (\(shown))"))
            }
        }
    }
}

struct DeviceDisableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable",
        abstract: "Keeps a device out, and closes its session, until it is enabled again."
    )

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var options: DeviceFileOptions

    func run() throws {
        try MartletCommand.perform { try self.options.store().change(self.name) { $0.isDisabled = true } }
    }
}

struct DeviceEnableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "enable", abstract: "Lets a disabled device in again.")

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var options: DeviceFileOptions

    func run() throws {
        try MartletCommand.perform { try self.options.store().change(self.name) { $0.isDisabled = false } }
    }
}

struct DeviceSetPasswordCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set-password",
        abstract: "Gives a device another password, or none."
    )

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var password: PasswordOptions

    @Flag(help: "No password: its certificate is enough.")
    var none = false

    @OptionGroup var options: DeviceFileOptions

    func validate() throws {
        guard [self.none, self.password.passwordStdin, self.password.passwordRandom].count(where: { $0 }) == 1 else {
            throw ValidationError("Choose one of --password-stdin, --password-random and --none.")
        }
    }

    func run() throws {
        try MartletCommand.perform {
            let password = try self.password.password()
            try self.options.store().change(self.name) { device throws(CommandFailure) in
                device.secret = nil
                device.salt = nil
                if let password { try DeviceStore.set(password, of: &device) }
            }
            if self.password.passwordRandom, let password { Terminal.give(String(decoding: password, as: UTF8.self)) }
        }
    }
}

struct DeviceSetACLCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set-acl",
        abstract: "Replaces what a device may do beside what the rules say."
    )

    @Argument(help: "Its name.")
    var name: String

    @Argument(help: "Such as publish:up/%C/# subscribe:down/%C/#; nothing: only the rules.")
    var acl: [String] = []

    @OptionGroup var options: DeviceFileOptions

    func run() throws {
        try MartletCommand.perform {
            let rows = try self.acl.map { try DeviceStore.typedAccessRow($0) }
            try self.options.store().change(self.name) { $0.access = rows }
        }
    }
}

struct DeviceRemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Removes a device, and closes its session."
    )

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var options: DeviceFileOptions

    func run() throws {
        try MartletCommand.perform { try self.options.store().remove(self.name) }
    }
}

struct DeviceImportCSVCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import-csv",
        abstract:
            "Adds devices, or changes their passwords, from lines of name,password; no password: the certificate is enough. All or none."
    )

    @Argument(help: "The file of devices, with one per line.")
    var csv: String

    @OptionGroup var options: DeviceFileOptions

    func run() throws {
        try MartletCommand.perform {
            let isShown = isatty(STDERR_FILENO) == 1
            var hasShown = false
            let count = try self.options.store().importCSV(self.csv) { done, all in
                guard isShown else { return }
                hasShown = true
                Terminal.write(Array("\r\(done) of \(all) passwords hashed".utf8), to: STDERR_FILENO)
            }
            if hasShown { Terminal.write(Array("\n".utf8), to: STDERR_FILENO) }
            Terminal.say("\(count) devices")
        }
    }
}

struct DeviceImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Adds devices, or replaces those of the same name, from what export has printed. All or none.",
        discussion: "Devices that the file does not name stay as they are."
    )

    @Argument(help: "A file that `martlet device export` has printed.")
    var json: String

    @OptionGroup var options: DeviceFileOptions

    func run() throws {
        try MartletCommand.perform {
            let count = try self.options.store().importExported(self.json)
            Terminal.say("\(count) devices")
        }
    }
}

struct DeviceExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Prints all devices as JSON, with hashes and salts, for import."
    )

    @OptionGroup var options: DeviceFileOptions

    func run() throws {
        try MartletCommand.perform {
            Terminal.give(ReportText.json(try self.options.store().all().map { DeviceStore.exported($0) }))
        }
    }
}
