import Common
import Glibc
import TLS
import TestSupport

/// A whole Martlet of its own in a temporary folder: redis-server, router, listeners, auth workers as real processes.
///
/// The listening sockets are made here on ports that the kernel chooses, and passed to the listeners.
final class TestBroker {
    let directory: TemporaryDirectory
    let pki = TestPKI.shared
    /// Mutual TLS, as for devices.
    let tlsPort: UInt16
    /// Plain TCP, anonymous, everything allowed.
    let plainPort: UInt16
    /// TLS with an optional certificate, as for back-end applications.
    let optionalPort: UInt16
    private(set) var redis: ChildProcess?
    private(set) var router: ChildProcess
    private(set) var listeners: [ChildProcess] = []
    private(set) var authWorkers: [ChildProcess] = []
    private var sockets: [Int32] = []

    init(
        listeners: Int = 1,
        authWorkers: Int = 1,
        settings: String = "",
        deviceListener: String = "",
        log: String = "{level: debug, refused_per_second: 1000}",
        connectTimeout: String = "15s",
        authentication: String = "",
        edit: (String) -> String = { $0 }
    ) throws {
        // The programs inherit it.
        _ = descriptorLimit
        self.directory = try TemporaryDirectory("martlet-e2e")
        var sockets: [Int32] = []
        let ports = try (0..<3).map { _ in try Self.makeListeningSocket(&sockets) }
        self.sockets = sockets
        self.tlsPort = ports[0]
        self.plainPort = ports[1]
        self.optionalPort = ports[2]
        for name in ["run", "state"] { mkdir(self.directory.file(name), 0o700) }
        let text =
            Self.configuration(self.directory, self.pki, ports, listeners, authWorkers, log, connectTimeout)
            .replacing("  - name: devices\n", with: "  - name: devices\n    \(deviceListener)\n")
            .replacing("\nauthentication:\n", with: "\nauthentication:\n  \(authentication)\n") + settings
        try writeFile(self.directory.file("martlet.yaml"), Array(edit(text).utf8))
        self.redis = try Self.startRedis(self.directory)
        self.router = try Self.start("martlet-router", in: self.directory, instance: nil)
        try self.router.waitForLog(" ready")
        for instance in 1...authWorkers { try self.startAuthWorker(instance) }
        for instance in 1...listeners { try self.startListener(instance) }
        for listener in self.listeners {
            try listener.waitForLog("router connected")
            try listener.waitForLog("auth worker connected", count: authWorkers)
        }
    }

    deinit {
        for socket in self.sockets { close(socket) }
    }

    // MARK: Processes

    private func startListener(_ instance: Int) throws {
        let listener = try self.makeListener(instance)
        self.listeners.append(listener)
        try listener.waitForLog(" ready")
    }

    private func makeListener(_ instance: Int) throws -> ChildProcess {
        try Self.start(
            "martlet-listener",
            in: self.directory,
            instance: instance,
            sockets: self.sockets,
            socketNames: ["devices", "plain", "applications"]
        )
    }

    /// kill -9 and a new start, of the one at this place; waits until it is ready.
    func restartListener(_ place: Int) throws {
        self.listeners[place].killNow()
        self.listeners[place] = try self.makeListener(place + 1)
        try self.listeners[place].waitForLog(" ready")
    }

    /// kill -9 and a new start, of the one at this place; waits until it is ready.
    func replaceAuthWorker(_ place: Int) throws {
        self.authWorkers[place].killNow()
        self.authWorkers[place] = try Self.start("martlet-authworker", in: self.directory, instance: place + 1)
        try self.authWorkers[place].waitForLog(" ready")
    }

    func startAuthWorker(_ instance: Int) throws {
        let worker = try Self.start("martlet-authworker", in: self.directory, instance: instance)
        self.authWorkers.append(worker)
        try worker.waitForLog(" ready")
    }

    /// kill -9 and a new start; waits until the listeners use it again.
    func restartAuthWorker() throws {
        let connected = self.listeners[0].log.split(separator: "\n").count { $0.contains("auth worker connected") }
        self.authWorkers[0].killNow()
        self.authWorkers.remove(at: 0)
        try self.startAuthWorker(1)
        try self.listeners[0].waitForLog("auth worker connected", count: connected + 1)
    }

    /// kill -9.
    func killRouter() {
        self.router.killNow()
    }

    /// Starts it and does not wait.
    func startRouterAgain() throws -> ChildProcess {
        self.router = try Self.start("martlet-router", in: self.directory, instance: nil)
        return self.router
    }

    /// Starts one with another `runtime_directory`, on the same store; waits until it is ready.
    func startRouter(runtimeDirectory: String) throws {
        let text = String(decoding: try readFile(self.directory.file("martlet.yaml")), as: UTF8.self)
        let file = self.directory.file("other.yaml")
        let former = "runtime_directory: \(self.directory.file("run"))\n"
        try writeFile(file, Array(text.replacing(former, with: "runtime_directory: \(runtimeDirectory)\n").utf8))
        self.router = try ChildProcess(
            Self.executable("martlet-router"),
            arguments: ["--config", file],
            name: "martlet-router",
            logFile: self.directory.file("other-router.log")
        )
        try self.router.waitForLog(" ready")
    }

    /// Starts it by another program, which gets its command line behind its own arguments; waits until the listeners use it.
    func startRouter(under program: String, _ arguments: [String]) throws {
        let connected = self.listeners.map { $0.log.split(separator: "\n").count { $0.contains("router connected") } }
        self.router = try ChildProcess(
            "/usr/bin/\(program)",
            arguments: arguments + [
                try Self.executable("martlet-router"), "--config", self.directory.file("martlet.yaml"),
            ],
            name: "martlet-router",
            logFile: self.directory.file("started-router.log")
        )
        try self.router.waitForLog(" ready")
        for (listener, before) in zip(self.listeners, connected) {
            try listener.waitForLog("router connected", count: before + 1)
        }
    }

    /// kill -9 and a new start; waits until the listeners use it again.
    func restartRouter() throws {
        let connected = self.listeners.map { $0.log.split(separator: "\n").count { $0.contains("router connected") } }
        self.killRouter()
        try self.startRouterAgain().waitForLog(" ready")
        for (listener, before) in zip(self.listeners, connected) {
            try listener.waitForLog("router connected", count: before + 1)
        }
    }

    /// kill -9 of all roles, and a new start.
    func restartEverything() throws {
        let (listeners, workers) = (self.listeners.count, self.authWorkers.count)
        for process in self.processes { process.killNow() }
        self.listeners = []
        self.authWorkers = []
        try self.startRouterAgain().waitForLog(" ready")
        for instance in 1...workers { try self.startAuthWorker(instance) }
        for instance in 1...listeners { try self.startListener(instance) }
        for listener in self.listeners {
            try listener.waitForLog("router connected")
            try listener.waitForLog("auth worker connected", count: workers)
        }
    }

    func stopRedis() {
        self.redis?.killNow()
        self.redis = nil
    }

    func startRedis() throws {
        self.redis = try Self.startRedis(self.directory)
    }

    var processes: [ChildProcess] { self.listeners + self.authWorkers + [self.router] }

    private static func start(
        _ executable: String,
        in directory: TemporaryDirectory,
        instance: Int?,
        sockets: [Int32] = [],
        socketNames: [String] = []
    ) throws -> ChildProcess {
        let name = instance.map { "\(executable)-\($0)" } ?? executable
        return try ChildProcess(
            Self.executable(executable),
            arguments: ["--config", directory.file("martlet.yaml")] + (instance.map { ["--instance", "\($0)"] } ?? []),
            sockets: sockets,
            socketNames: socketNames,
            name: name,
            logFile: directory.file("\(name).log")
        )
    }

    /// The executables are built beside the test bundle.
    ///
    /// MARTLET_EXECUTABLES names another folder: to test a release build.
    static func executable(_ name: String) throws -> String {
        if let folder = ProcessEnvironment.current()["MARTLET_EXECUTABLES"] { return "\(folder)/\(name)" }
        return try builtProgram(name)
    }

    static func executablesFolder() throws -> String {
        let program = try Self.executable("martlet")
        return String(program.prefix(upTo: program.lastIndex(of: "/") ?? program.endIndex))
    }

    /// What a role says of itself at its control socket: lines of `name value`.
    func status(of role: String, instance: Int = 1) throws -> String {
        try askStatus(self.directory.file("run") + "/control/\(role)-\(instance).sock")
    }

    /// A number of the status; nil: it has no such line, as for counters that are 0.
    func figure(_ name: String, of role: String, instance: Int = 1) throws -> Int? {
        let line = try self.status(of: role, instance: instance).split(separator: "\n").first {
            $0.hasPrefix("\(name) ")
        }
        return line.flatMap { Int($0.dropFirst(name.count + 1)) }
    }

    // MARK: Redis

    func redisCommand(_ arguments: String...) throws -> String {
        try self.redisCommand(arguments)
    }

    func redisCommand(_ arguments: [String]) throws -> String {
        let socket = self.directory.file("redis.sock")
        let (status, output) = try runProcess("redis-cli", arguments: ["-s", socket] + arguments)
        guard status == 0 else { throw ProcessError(description: "redis-cli: \(output)") }
        return output
    }

    /// Gives a device its row.
    func provision(_ device: String, password: String) throws {
        _ = try self.redisCommand("HSET", "tls_domain:\(device)", "password", password)
    }

    private static func startRedis(_ directory: TemporaryDirectory) throws -> ChildProcess {
        let socket = directory.file("redis.sock")
        unlink(socket)
        let redis = try ChildProcess(
            "/usr/bin/redis-server",
            arguments: [
                "--port", "0", "--unixsocket", socket, "--dir", directory.path, "--save", "", "--appendonly", "yes",
                "--daemonize", "no",
            ],
            name: "redis-server",
            logFile: directory.file("redis.log")
        )
        try waitUntil("redis-server answers") {
            try runProcess("redis-cli", arguments: ["-s", socket, "PING"]).output.contains("PONG")
        }
        return redis
    }

    // MARK: Clients

    func tlsContext(_ credentials: TestPKI.Credentials?) throws -> TLSClientContext {
        try TLSClientContext(
            TLSClientConfiguration(
                caFile: self.pki.caFile,
                certificateFile: credentials?.certificateFile,
                keyFile: credentials?.keyFile,
                serverName: "localhost"
            )
        )
    }

    /// The options of mosquitto_pub and mosquitto_sub for a device.
    func mosquittoOptions(_ credentials: TestPKI.Credentials?, port: UInt16? = nil) -> [String] {
        var options = ["-h", "localhost", "-p", "\(port ?? self.tlsPort)", "--cafile", self.pki.caFile]
        if let credentials { options += ["--cert", credentials.certificateFile, "--key", credentials.keyFile] }
        return options
    }

    // MARK: Set-up

    private static func makeListeningSocket(_ sockets: inout [Int32]) throws -> UInt16 {
        let fileDescriptor = try makeSocket(AF_INET6)
        var off: Int32 = 0
        setsockopt(fileDescriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &off, socklen_t(MemoryLayout<Int32>.size))
        let address = ListenAddress.anyAddress(port: 0)
        guard address.withSocketAddress({ bind(fileDescriptor, $0, $1) }) == 0, listen(fileDescriptor, 1024) == 0,
            let bound = SocketAddress.local(of: fileDescriptor)?.listenAddress
        else { throw SystemError("listen") }
        sockets.append(fileDescriptor)
        return bound.port
    }

    private static func configuration(
        _ directory: TemporaryDirectory,
        _ pki: TestPKI,
        _ ports: [UInt16],
        _ listeners: Int,
        _ authWorkers: Int,
        _ log: String,
        _ connectTimeout: String
    ) -> String {
        """
        runtime_directory: \(directory.file("run"))
        state_directory: \(directory.file("state"))
        processes: {listeners: \(listeners), auth_workers: \(authWorkers)}
        log: \(log)
        listeners:
          - name: devices
            addresses: ["[::]:\(ports[0])"]
            handshake_timeout: \(connectTimeout)
            connect_timeout: \(connectTimeout)
            tls:
              certificate_file: \(pki.server.certificateFile)
              key_file: \(pki.server.keyFile)
              client_ca_file: \(pki.caFile)
          - name: plain
            addresses: ["[::]:\(ports[1])"]
            connect_timeout: \(connectTimeout)
            transport: tcp
            allow_insecure_network: true
            anonymous: true
            rules: everything
            client_certificate: none
          - name: applications
            addresses: ["[::]:\(ports[2])"]
            client_certificate: optional
            tls:
              certificate_file: \(pki.server.certificateFile)
              key_file: \(pki.server.keyFile)
              client_ca_file: \(pki.caFile)
        authentication:
          command: HMGET tls_domain:%C password
          redis: {url: "unix://\(directory.file("redis.sock"))"}
        authorization:
          rules:
            default:
              - {allow: all, topics: ["devices/%C/#", "shared/#"]}
            everything:
              - {allow: all, topics: ["#", "$SYS/#"]}

        """
    }
}

extension String {
    /// The configuration of a `TestBroker` with other lines in place of those that say how Redis is asked.
    func replacingRedis(with lines: String) -> String {
        var rest = self.split(separator: "\n", omittingEmptySubsequences: false)
        rest.removeAll { $0.hasPrefix("  redis: {url:") }
        return rest.joined(separator: "\n").replacing("  command: HMGET tls_domain:%C password\n", with: lines)
    }
}
