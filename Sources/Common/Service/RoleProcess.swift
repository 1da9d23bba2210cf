import Glibc
import Logging

/// The skeleton of each role's process: log, signals, control socket, readiness, loop.
public enum RoleProcess {
    /// Runs until SIGTERM or SIGINT; returns the exit code. Trouble at start-up is one line on stderr, and 1.
    ///
    /// - Parameters:
    ///   - file: the configuration's, for messages.
    ///   - reload: reads the configuration again, for SIGHUP.
    ///   - isNumbered: the role may have several processes, so that its name carries the instance.
    ///   - makeRole: nothing is opened yet when it is called.
    public static func run(
        role linkRole: LinkHello.Role,
        instance: Int = 1,
        isNumbered: Bool,
        configuration: Configuration,
        file: String,
        reload: @escaping () throws -> Configuration,
        makeRole: (RoleContext) throws -> any Role
    ) -> Int32 {
        let label = Self.label(of: linkRole)
        let name = isNumbered ? "\(label)-\(instance)" : label
        let environment = ProcessEnvironment.current()
        StandardErrorLogHandler.bootstrap(process: name, level: configuration.log.level)
        let logger = Logger(label: name)
        do {
            try Self.checkRuntimeDirectory(configuration)
            let loop = try EventLoop()
            let context = RoleContext(
                loop: loop,
                logger: logger,
                configuration: configuration,
                name: name,
                instance: instance,
                environment: environment
            )
            let role = try makeRole(context)
            var isStopping = false
            let signals = try SignalSource(loop: loop) { signal in
                if signal == SIGHUP, !isStopping { Self.reload(role, linkRole, context, reload) }
                guard signal == SIGTERM || signal == SIGINT else { return }
                if isStopping { return role.stopAtOnce() }
                isStopping = true
                ServiceNotifier(environment: environment).stopping()
                role.stop()
            }
            try role.start()
            let surplus = SurplusInstance.problem(
                role: linkRole,
                instance: instance,
                configuration: configuration,
                file: file
            )
            if let surplus { logger.warning("\(surplus)") }
            let trimmer = HeapTrimmer()
            trimmer.start(on: loop, logger: logger)
            let control = try Self.makeControlServer(context, linkRole, role, trimmer, alarm: surplus)
            logger.notice("ready")
            Watchdog.start(on: loop, environment: environment)
            ServiceNotifier(environment: environment).ready(status: "ready")
            try loop.run()
            withExtendedLifetime((signals, role)) { control.close() }
            logger.notice("stopped")
            return 0
        } catch {
            logger.critical("cannot go on: \(error)")
            return 1
        }
    }

    /// Why the process cannot go on, in a sentence.
    private struct StartProblem: Error, CustomStringConvertible {
        var description: String
    }

    /// All that a role puts there would say no more than a file's name.
    private static func checkRuntimeDirectory(_ configuration: Configuration) throws(StartProblem) {
        let path = configuration.runtimeDirectory
        guard access(path, F_OK) != 0, errno == ENOENT else { return }
        throw StartProblem(
            description:
                "there is no folder \(path) (runtime_directory); make it so that the users of all roles can write there, "
                + "as systemd-tmpfiles --create does for the package's, or name one that is there"
        )
    }

    private static func reload(
        _ role: any Role,
        _ linkRole: LinkHello.Role,
        _ context: RoleContext,
        _ load: () throws -> Configuration
    ) {
        let notifier = ServiceNotifier(environment: context.environment)
        notifier.reloading()
        do {
            let configuration = try load()
            StandardErrorLogHandler.setLevel(configuration.log.level)
            role.reload(configuration)
            context.logger.notice("configuration read again")
            let before = context.configuration.written
            let waiting = ConfigurationUse.waitingKeys(of: linkRole, before, configuration.written)
            if !waiting.isEmpty {
                context.logger.warning(
                    "changes that wait for a restart",
                    metadata: ["keys": "\(Self.listed(waiting))"]
                )
            }
        } catch {
            context.logger.error(
                "configuration not usable, the one read before stays in force",
                metadata: ["reason": "\(error)"]
            )
        }
        notifier.ready(status: "ready")
    }

    private static func listed(_ keys: [String]) -> String {
        let shown = keys.prefix(20).map(ConfigurationText.shown).joined(separator: ", ")
        return keys.count > 20 ? "\(shown) and \(keys.count - 20) more" : shown
    }

    /// 16 random bytes, new with every start.
    public static func makeBootID() -> [UInt8] {
        var random = SystemRandomNumberGenerator()
        return (0..<16).map { _ in UInt8.random(in: UInt8.min...UInt8.max, using: &random) }
    }

    /// The role's name in socket paths and logs.
    public static func label(of role: LinkHello.Role) -> String {
        switch role {
        case .listener: "listener"
        case .router: "router"
        case .authWorker: "authworker"
        case .tool: "tool"
        }
    }

    private static func makeControlServer(
        _ context: RoleContext,
        _ linkRole: LinkHello.Role,
        _ role: any Role,
        _ trimmer: HeapTrimmer,
        alarm: String?
    ) throws(SystemError) -> ControlServer {
        let started = context.loop.now
        return try ControlServer(
            loop: context.loop,
            path: context.configuration.controlSocketPath(role: Self.label(of: linkRole), instance: context.instance),
            folderMode: 0o750,
            hello: LinkHello(role: linkRole, bootID: Self.makeBootID(), name: Array(context.name.utf8)),
            refused: { context.logger.warning("control connection refused: \($0)") },
            changed: { $0.log(to: context.logger) },
            report: { [unowned role] in
                var report = StatusReport()
                report.add("process", context.name)
                report.add("pid", getpid())
                report.add("uptime_seconds", (context.loop.now - started) / Nanoseconds.perSecond)
                if let alarm { report.add("alarm", alarm) }
                report.lines += role.status().lines
                report.add("heap_trims", trimmer.trims)
                return report
            },
            command: { [unowned role] in role.perform($0) }
        )
    }
}
