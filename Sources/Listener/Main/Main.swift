import ArgumentParser
import Common
import Glibc
import Listener
import RoleCommand

@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet-listener",
        abstract: "Terminates TLS, authenticates devices and forwards their sessions to the router."
    )

    @OptionGroup var options: RoleOptions
    @OptionGroup var number: InstanceOptions

    func run() {
        let configuration = self.options.loadConfiguration()
        let code = RoleProcess.run(
            role: .listener,
            instance: self.number.instance,
            isNumbered: true,
            configuration: configuration,
            file: self.options.config,
            reload: self.options.reloadConfiguration
        ) { ListenerService($0) }
        Glibc.exit(code)
    }
}
