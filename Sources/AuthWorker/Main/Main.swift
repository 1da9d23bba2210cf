import ArgumentParser
import AuthWorker
import Common
import Glibc

@main
struct AuthWorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet-authworker",
        abstract: "Answers Martlet's listeners whether a client may come in, from Redis and a cache on disk."
    )

    @Option(help: "The configuration file.")
    var config: String

    @Option(help: "The number of this process among the auth workers, from 1.")
    var instance = 1

    @Option(name: .customLong("set"), help: "Overrides a key: log.level=debug. May be given several times.")
    var settings: [String] = []

    func run() throws {
        let configuration: Configuration
        do {
            configuration = try Configuration.load(file: self.config, settings: self.settings)
        } catch {
            let text = Array("\(error)\n".utf8)
            _ = write(STDERR_FILENO, text, text.count)
            throw ExitCode(1)
        }
        let code = RoleProcess.run(
            role: .authWorker,
            instance: self.instance,
            isNumbered: true,
            configuration: configuration,
            reload: { try Configuration.load(file: self.config, settings: self.settings) },
            makeRole: { try AuthWorkerService($0) }
        )
        throw ExitCode(code)
    }
}
