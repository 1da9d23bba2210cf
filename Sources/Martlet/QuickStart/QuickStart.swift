import CLinux
import Common
import Glibc

/// `martlet run --quick-start DIR`: everything that a first device needs, in one folder, and then `martlet run`.
package final class QuickStart {
    private let layout: QuickStartLayout
    private let settings: [String]
    private let configuration: Configuration
    /// Ours, or the one that REDIS_URL or the configuration names.
    private let runsOwnRedis: Bool
    private let loop: EventLoop
    private let sockets: ListeningSockets
    private var password = QuickStartLayout.devicePassword
    private var selfTest: SelfTest?

    /// Until SIGINT or SIGTERM.
    ///
    /// - Parameter settings: of the command line, over ours.
    package static func run(directory: String, settings: [String]) throws {
        let environment = ProcessEnvironment.current()
        try Folder.make(directory)
        let layout = QuickStartLayout(
            directory: try Folder.resolve(directory),
            userRuntimeDirectory: environment["XDG_RUNTIME_DIR"],
            userID: geteuid()
        )
        let lock = try FolderLock(file: layout.lockFile, what: "the folder \(layout.directory)")
        let quickStart = try QuickStart(layout, environment: environment, settings: settings)
        try withExtendedLifetime(lock) { try quickStart.run(environment: environment) }
    }

    private init(_ layout: QuickStartLayout, environment: [String: String], settings: [String]) throws {
        self.layout = layout
        try QuickStartCertificates.make(layout)
        if !Folder.exists(layout.configurationFile) {
            try Folder.writeFile(layout.configurationFile, layout.configurationText())
        }
        var all = try Self.addressSettings(environment)
        if let url = environment["REDIS_URL"], !url.isEmpty {
            do { _ = try RedisURL.parse(url) } catch { throw CommandFailure("REDIS_URL: \(error.message)") }
            all.append("authentication.redis.url=\(url)")
        }
        all += settings
        var configuration = try LocalRun.load(file: layout.configurationFile, settings: all, checksFiles: false)
        let namesNoRedis = configuration.authentication.redis.url == Configuration().authentication.redis.url
        self.runsOwnRedis = namesNoRedis && (environment["REDIS_URL"] ?? "").isEmpty
        if self.runsOwnRedis {
            all.append("authentication.redis.url=unix://\(layout.redisSocket)")
        }
        configuration = try LocalRun.load(file: layout.configurationFile, settings: all)
        self.settings = all
        self.configuration = configuration
        if layout.usesRuntimeDirectoryElsewhere, configuration.runtimeDirectory == layout.runtimeDirectory {
            try Folder.makePrivate(layout.runtimeDirectory)
            let reason = "the path of \(layout.directory) is too long for Unix sockets"
            Terminal.complain("note: \(reason), so they are in \(layout.runtimeDirectory)")
        }
        try LocalRun.makeDirectories(configuration)
        if self.runsOwnRedis { try Folder.make(layout.redisDirectory, mode: 0o700) }
        self.sockets = try ListeningSockets(configuration.listeners)
        self.loop = try EventLoop()
    }

    /// MARTLET_PORT in place of 8883, and IPv4 alone on a host without IPv6.
    private static func addressSettings(_ environment: [String: String]) throws(CommandFailure) -> [String] {
        var port: UInt16?
        if let text = environment["MARTLET_PORT"], !text.isEmpty {
            guard let number = UInt16(text) else {
                throw CommandFailure("MARTLET_PORT=\(text) is not a port; write a number from 0 to 65535")
            }
            port = number
        }
        let probe = Glibc.socket(AF_INET6, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let hasIPv6 = probe >= 0
        if hasIPv6 { close(probe) }
        if port == nil, hasIPv6 { return [] }
        let address = hasIPv6 ? "[::]" : "0.0.0.0"
        return ["listeners.devices.addresses=[\"\(address):\(port ?? 8883)\"]"]
    }

    private func run(environment: [String: String]) throws {
        var programs: [ChildProgram] = []
        if self.runsOwnRedis { programs.append(try self.redisProgram()) } else { try self.provision() }
        programs += try RolePrograms.make(
            self.configuration,
            file: self.layout.configurationFile,
            settings: self.settings,
            firstStage: programs.isEmpty ? 0 : RolePrograms.redisStage + 1
        )
        let runner = SupervisorRunner(
            loop: self.loop,
            programs: programs,
            sockets: self.sockets.sockets,
            runtimeDirectory: self.configuration.runtimeDirectory,
            environment: environment
        )
        runner.onChildReady = { [weak self] program throws(CommandFailure) in
            if program.stage == RolePrograms.redisStage, self?.runsOwnRedis == true { try self?.provision() }
        }
        runner.onReady = { [weak self, weak runner] in
            guard let self, let runner else { return }
            self.startSelfTest(runner)
        }
        defer { self.selfTest?.cancel() }
        try runner.run()
    }

    // MARK: Redis

    private func redisProgram() throws(CommandFailure) -> ChildProgram {
        guard let path = Executable.find("redis-server") else {
            throw CommandFailure(
                "redis-server is not installed; run `make deps` or `apt-get install redis-server`, "
                    + "or name a Redis of yours with REDIS_URL=redis://host:port"
            )
        }
        let socket = self.layout.redisSocket
        return ChildProgram(
            name: "redis",
            path: path,
            arguments: [
                "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", self.layout.redisDirectory,
                "--appendonly", "yes", "--save", "", "--daemonize", "no", "--supervised", "no", "--logfile", "",
                "--loglevel", "warning", "--always-show-logo", "no", "--set-proc-title", "no",
            ],
            stage: RolePrograms.redisStage,
            readiness: .probe { RedisSetup.answers(atSocket: socket) }
        )
    }

    /// Puts the device's row into Redis, if it is not there.
    private func provision() throws(CommandFailure) {
        let settings = self.configuration.authentication.redis
        var password: [UInt8]?
        if let file = settings.passwordFile {
            do {
                let text = try Configuration.readFile(file, bytesMax: 4096)
                password = Array(text.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") })
            } catch {
                throw CommandFailure("authentication.redis.password_file: \(file): \(error.message)")
            }
        }
        let redis = try RedisSetup(settings.url, password: password)
        self.password = try redis.provision(
            deviceName: QuickStartLayout.deviceName,
            password: QuickStartLayout.devicePassword
        )
    }

    // MARK: Ready

    private var socket: ListeningSockets.Socket? {
        self.sockets.sockets.first { $0.name == "devices" } ?? self.sockets.sockets.first
    }

    private func startSelfTest(_ runner: SupervisorRunner) {
        guard let socket = self.socket else { return }
        var address = socket.address
        if address.bytes.allSatisfy({ $0 == 0 }) {
            address.bytes = address.isIPv6 ? [UInt8](repeating: 0, count: 15) + [1] : [127, 0, 0, 1]
        }
        let device = SelfTest.Device(name: QuickStartLayout.deviceName, password: self.password, address: address)
        do {
            let test = try SelfTest(loop: self.loop, layout: self.layout, device: device) { [weak self] failure in
                guard let self else { return }
                self.selfTest = nil
                if let failure { runner.fail(failure) } else { self.sayReady(port: socket.address.port) }
            }
            self.selfTest = test
            test.start()
        } catch {
            runner.fail(error)
        }
    }

    private func sayReady(port: UInt16) {
        ServiceNotifier(environment: ProcessEnvironment.current()).ready(status: "ready")
        let guide = QuickStartGuide(layout: self.layout, port: port, password: self.password)
        Terminal.say(guide.text)
    }
}
