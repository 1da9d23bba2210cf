import Common
import Glibc
import TLS

/// `martlet run`: all roles of a configuration on this host, under one supervisor in the foreground.
package enum LocalRun {
    /// Until SIGINT or SIGTERM.
    package static func run(file: String, settings: [String]) throws {
        let file = try Folder.resolve(file)
        let configuration = try Self.load(file: file, settings: settings)
        try Self.makeDirectories(configuration)
        let lock = try FolderLock(
            file: "\(configuration.runtimeDirectory)/run.lock",
            what: "the runtime directory \(configuration.runtimeDirectory)"
        )
        let sockets = try ListeningSockets(configuration.listeners)
        let runner = SupervisorRunner(
            loop: try EventLoop(),
            programs: try RolePrograms.make(configuration, file: file, settings: settings, firstStage: 0),
            sockets: sockets.sockets,
            runtimeDirectory: configuration.runtimeDirectory,
            environment: ProcessEnvironment.current()
        )
        let notifier = ServiceNotifier(environment: ProcessEnvironment.current())
        runner.onReady = {
            let addresses = sockets.sockets.map { Self.url(of: $0, configuration) }
            Terminal.say("martlet: ready, \(addresses.joined(separator: ", "))")
            notifier.ready(status: "ready")
        }
        try withExtendedLifetime(lock) { try runner.run() }
    }

    /// The configuration; a failure lists all mistakes in it, or else in what it names.
    ///
    /// - Parameter checksFiles: also looks whether the files that it names can be read.
    static func load(
        file: String,
        settings: [String],
        checksFiles: Bool = true
    ) throws(CommandFailure) -> Configuration {
        let configuration: Configuration
        do {
            configuration = try Configuration.load(file: file, settings: settings)
        } catch {
            throw CommandFailure(mistakes: error.lines)
        }
        var problems = checksFiles ? configuration.check() : []
        // Files that are not there have been named.
        if checksFiles, problems.isEmpty { problems = Self.checkCertificates(configuration) }
        guard problems.isEmpty else {
            throw CommandFailure(mistakes: ConfigurationError(file: file, problems: problems).lines)
        }
        return configuration
    }

    /// What a listener would refuse to start with, and lists that it would not take.
    private static func checkCertificates(_ configuration: Configuration) -> [ConfigurationError.Problem] {
        var problems: [ConfigurationError.Problem] = []
        for (index, listener) in configuration.listeners.enumerated() {
            guard let tls = listener.tls else { continue }
            do throws(TLSError) {
                _ = try TLSServerContext(TLSServerConfiguration(listener, tls))
            } catch {
                problems.append(configuration.problem("\(error)", ofListener: index))
                continue
            }
            for error in ConfiguredRevocation.read(tls).problems where !error.isOfStranger {
                problems.append(configuration.problem("\(error)", ofListener: index))
            }
        }
        return problems
    }

    static func makeDirectories(_ configuration: Configuration) throws(CommandFailure) {
        try Folder.make(configuration.runtimeDirectory, mode: 0o700)
        try Folder.make(configuration.stateDirectory, mode: 0o700)
    }

    private static func url(of socket: ListeningSockets.Socket, _ configuration: Configuration) -> String {
        let isTLS = configuration.listeners.contains { $0.name == socket.name && $0.transport == .tls }
        return "\(isTLS ? "mqtts" : "mqtt")://\(socket.address)"
    }
}
