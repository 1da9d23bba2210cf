import Common
import Glibc
import TLS

/// `martlet run`: all roles of a configuration on this host, under one supervisor in the foreground.
package enum LocalRun {
    /// Until SIGINT or SIGTERM.
    package static func run(file: String, settings: [String]) throws {
        let file = try Folder.resolve(file)
        let configuration = try Self.load(file: file, settings: settings, startsWithoutSources: true) {
            Terminal.complain(mistakes: $0)
        }
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
    /// - Parameters:
    ///   - checksFiles: also looks whether the files that it names can be read, and are what they have to be.
    ///   - startsWithoutSources: as the roles do: what they lack for a source of authentication is a warning.
    ///   - warn: is given lines about what the roles would run with, and say in their logs; they are among the mistakes, too.
    static func load(
        file: String,
        settings: [String],
        checksFiles: Bool = true,
        startsWithoutSources: Bool = false,
        warn: ([String]) -> Void = { _ in }
    ) throws(CommandFailure) -> Configuration {
        let configuration: Configuration
        do {
            configuration = try Configuration.load(file: file, settings: settings)
        } catch {
            throw CommandFailure(mistakes: error.lines)
        }
        guard checksFiles else { return configuration }
        func judged(_ problems: [ConfigurationError.Problem]) -> [ConfigurationError.Problem] {
            problems.map { problem in
                var problem = problem
                if startsWithoutSources, problem.isOutageOfSource { problem.isWarning = true }
                return problem
            }
        }
        let found = configuration.check() + Self.checkDeviceFiles(configuration)
        var problems = judged(found)
        // Files that are not there have been named.
        if problems.allSatisfy(\.isWarning) { problems += Self.checkListeners(configuration) }
        if found.allSatisfy(\.isWarning) { problems += judged(Self.checkRedis(configuration)) }
        let lines = ConfigurationError(file: file, problems: problems).lines
        guard problems.allSatisfy(\.isWarning) else { throw CommandFailure(mistakes: lines) }
        if !lines.isEmpty { warn(lines) }
        return configuration
    }

    /// What a listener would refuse to start with or warn of, and lists that it would not take.
    private static func checkListeners(_ configuration: Configuration) -> [ConfigurationError.Problem] {
        var problems: [ConfigurationError.Problem] = []
        for (index, listener) in configuration.listeners.enumerated() {
            guard let tls = listener.tls else { continue }
            do throws(TLSError) {
                for warning in try TLSServerContext(TLSServerConfiguration(listener, tls)).warnings {
                    let setting = warning.setting
                    problems.append(
                        configuration.problem("\(warning)", ofListener: index, setting: setting, isWarning: true)
                    )
                }
            } catch {
                problems.append(configuration.problem("\(error)", ofListener: index, setting: error.setting))
                continue
            }
            problems += Self.checkRevocation(tls, ofListener: index, configuration)
        }
        return problems
    }

    /// What an auth worker would make nothing of; what is not there, or cannot be read, has been named.
    private static func checkDeviceFiles(_ configuration: Configuration) -> [ConfigurationError.Problem] {
        var problems: [ConfigurationError.Problem] = []
        for (index, source) in configuration.authentication.sources.enumerated()
        where source.kind == .embedded && Glibc.access(source.file, R_OK) == 0 {
            guard let damage = DeviceStore(path: source.file).damage() else { continue }
            problems.append(configuration.problem(damage, ofDevicesOfSource: index))
        }
        return problems
    }

    /// What an auth worker would go without Redis for, or warn of.
    private static func checkRedis(_ configuration: Configuration) -> [ConfigurationError.Problem] {
        var problems: [ConfigurationError.Problem] = []
        for (index, source) in configuration.authentication.sources.enumerated()
        where source.kind == .redis && source.redis.url.usesTLS {
            do throws(TLSError) {
                for warning in try TLSClientContext(TLSClientConfiguration(source.redis.tls)).warnings {
                    let setting = warning.setting
                    problems.append(
                        configuration.problem("\(warning)", ofSource: index, setting: setting, isWarning: true)
                    )
                }
            } catch {
                problems.append(configuration.problem("\(error)", ofSource: index, setting: error.setting))
            }
        }
        return problems
    }

    /// Lists that a listener would not take, and what they would do to all devices.
    private static func checkRevocation(
        _ tls: Configuration.Listener.TLS,
        ofListener index: Int,
        _ configuration: Configuration
    ) -> [ConfigurationError.Problem] {
        let (list, errors) = ConfiguredRevocation.read(tls)
        var problems: [ConfigurationError.Problem] = []
        // A folder may hold lists for others.
        for error in errors where !error.isOfStranger || error.setting == "crl_files" {
            let isWarning = error.isOfStranger
            let text = isWarning ? "\(error): nothing of it is in force" : "\(error)"
            problems.append(
                configuration.problem(text, ofListener: index, setting: error.setting, isWarning: isWarning)
            )
        }
        if tls.crlOverdue == .hard {
            for part in list.overdue(now: RevocationList.now) {
                let text =
                    "the revocation list of \(part.issuerName) is overdue: whoever it issued is refused (crl_overdue: hard)"
                problems.append(
                    configuration.problem(text, ofListener: index, setting: "crl_overdue", isWarning: true)
                )
            }
        }
        if tls.crlMissing == .refuse, list.parts.isEmpty {
            let text =
                "no revocation list is in force: all certificates are refused until there is one (crl_missing: refuse)"
            problems.append(configuration.problem(text, ofListener: index, setting: "crl_missing", isWarning: true))
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
