import ArgumentParser
import Common
import Glibc
import RoleCommand
import Router

@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet-router",
        abstract: "Keeps sessions, subscriptions and retained messages, and routes messages between listeners."
    )

    @OptionGroup var options: RoleOptions

    func run() {
        let configuration = self.options.loadConfiguration()
        let code = RoleProcess.run(
            role: .router,
            isNumbered: false,
            configuration: configuration,
            file: self.options.config,
            reload: self.options.reloadConfiguration
        ) { RouterService($0) }
        Glibc.exit(code)
    }
}
