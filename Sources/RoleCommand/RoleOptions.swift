package import ArgumentParser
package import Common
import Glibc

/// The command line that the three roles share.
package struct RoleOptions: ParsableArguments {
    @Option(name: .long, help: "The configuration file.")
    package var config = "/etc/martlet/martlet.yaml"

    @Option(name: .long, help: ArgumentHelp("Overrides a key of the file.", valueName: "key=value"))
    package var set: [String] = []

    package init() {}

    /// The configuration; what is wrong with it goes to stderr, and the process ends with exit code 1.
    package func loadConfiguration() -> Configuration {
        do throws(ConfigurationError) {
            return try Configuration.load(file: self.config, settings: self.set)
        } catch {
            let bytes = Array("\(error)\n".utf8)
            _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
            Glibc.exit(1)
        }
    }

    /// The same for a process that runs already: mistakes are thrown.
    package func reloadConfiguration() throws -> Configuration {
        try Configuration.load(file: self.config, settings: self.set)
    }
}

/// Of roles that have several processes.
package struct InstanceOptions: ParsableArguments {
    @Option(help: "Which of the host's processes of this role this is, from 1.")
    package var instance = 1

    package init() {}

    package func validate() throws {
        guard (1...Configuration.processesMax).contains(self.instance) else {
            throw ValidationError(
                "--instance \(self.instance): they are counted from 1, and there can be \(Configuration.processesMax)."
            )
        }
    }
}
