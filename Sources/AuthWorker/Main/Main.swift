import ArgumentParser
import AuthWorker
import Common
import Glibc
import RoleCommand

@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet-authworker",
        abstract: "Answers Martlet's listeners whether a client may come in, from Redis and a cache on disk."
    )

    @OptionGroup var options: RoleOptions
    @OptionGroup var number: InstanceOptions

    func run() {
        let configuration = self.options.loadConfiguration()
        let code = RoleProcess.run(
            role: .authWorker,
            instance: self.number.instance,
            isNumbered: true,
            configuration: configuration,
            file: self.options.config,
            reload: self.options.reloadConfiguration
        ) { try AuthWorkerService($0) }
        Glibc.exit(code)
    }
}
