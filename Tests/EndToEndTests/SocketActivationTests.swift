import Common
import Glibc
import TestSupport
import Testing

/// Roles under systemd-socket-activate(1) and with a NOTIFY_SOCKET, as systemd starts them.
@Suite struct SocketActivationTests {
    private let directory: TemporaryDirectory
    private let configuration: String

    init() throws {
        self.directory = try TemporaryDirectory()
        self.configuration = self.directory.file("martlet.yaml")
        // The listener cannot open port 1 by itself unless it is root; what it has is the socket that is passed.
        let text = """
            runtime_directory: \(self.directory.path)
            state_directory: \(self.directory.path)
            listeners: [{name: plain, addresses: ["127.0.0.1:1"], transport: tcp, anonymous: true}]
            authentication: {redis: {url: "redis://127.0.0.1:1/0"}}
            authorization: {rules: {default: [{allow: all, topics: ["#"]}]}}
            """
        try writeFile(self.configuration, Array(text.utf8))
    }

    private func listeningSocket(_ host: UInt32 = 0x7F00_0001) throws -> (fileDescriptor: Int32, port: UInt16) {
        let fileDescriptor = try makeSocket(AF_INET)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = host.bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fileDescriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0, listen(fileDescriptor, 64) == 0,
            let bound = SocketAddress.local(of: fileDescriptor)?.listenAddress
        else { throw SystemError("listen") }
        return (fileDescriptor, bound.port)
    }

    @Test func `a reload names the changes that wait for a restart, and no others`() throws {
        let router = try ChildProcess(
            TestBroker.executable("martlet-router"),
            arguments: ["--config", self.configuration],
            name: "martlet-router",
            logFile: self.directory.file("router.log")
        )
        try router.waitForLog(" ready")
        let text = String(decoding: try readFile(self.configuration), as: UTF8.self)
        try writeFile(self.configuration, Array("log: {level: debug}\n\(text)".utf8))
        router.signal(SIGHUP)
        try router.waitForLog("configuration read again")
        // Of auth workers and of listeners.
        let changed = text.replacing("127.0.0.1:1/0", with: "127.0.0.1:2/0").replacing("allow: all", with: "deny: all")
        let settings = "log: {level: debug}\nprocesses: {drain_rate: 7}\nmqtt: {sys_interval: 7s}\ndurability: disk\n"
        try writeFile(self.configuration, Array("\(settings)\(changed)".utf8))
        router.signal(SIGHUP)
        try router.waitForLog("changes that wait for a restart")
        let keys = ["durability", "mqtt.sys_interval"]
        let lines = router.log.split(separator: "\n").filter { $0.contains("changes that wait") }
        #expect(lines.count == 1 && lines[0].contains("keys=\"\(keys.joined(separator: ", "))\""), "\(router.log)")
        router.signal(SIGTERM)
        #expect(try router.waitForExit() == 0)
    }

    @Test func `a passed socket is not served in plain text where the configuration does not allow that`() throws {
        let (fileDescriptor, _) = try self.listeningSocket(0)
        defer { close(fileDescriptor) }
        let listener = try ChildProcess(
            TestBroker.executable("martlet-listener"),
            arguments: ["--config", self.configuration],
            sockets: [fileDescriptor],
            socketNames: ["plain"],
            name: "martlet-listener",
            logFile: self.directory.file("listener.log")
        )
        #expect(try listener.waitForExit() == 1)
        #expect(listener.log.contains("allow_insecure_network"), "\(listener.log)")
    }

    @Test func `the connection that starts a listener is served by it`() throws {
        let router = try ChildProcess(
            TestBroker.executable("martlet-router"),
            arguments: ["--config", self.configuration],
            name: "martlet-router",
            logFile: self.directory.file("router.log")
        )
        try router.waitForLog(" ready")
        let notify = try NotifyReceiver(self.directory.file("notify"))
        let (fileDescriptor, port) = try self.listeningSocket()
        defer { close(fileDescriptor) }
        // It hands on what was passed to it, so that the kernel could choose the port.
        let listener = try ChildProcess(
            "/usr/bin/systemd-socket-activate",
            arguments: [
                "--fdname=plain", "--setenv=NOTIFY_SOCKET=\(notify.path)", "--setenv=WATCHDOG_USEC=200000",
                try TestBroker.executable("martlet-listener"), "--config", self.configuration, "--instance", "1",
            ],
            sockets: [fileDescriptor],
            socketNames: ["other"],
            name: "martlet-listener",
            logFile: self.directory.file("listener.log")
        )
        // Nothing runs before somebody connects.
        try listener.waitForLog("Received 1 descriptors via the environment")
        #expect(!listener.log.contains(" ready"), "\(listener.log)")
        let published = try runProcess(
            "mosquitto_pub",
            arguments: ["-h", "127.0.0.1", "-p", "\(port)", "-t", "a", "-m", "b", "-q", "1"]
        )
        #expect(published.status == 0, "\(published.output)\n\(listener.log)")
        try notify.wait(for: "READY=1\nSTATUS=ready")
        try notify.wait(for: "WATCHDOG=1", count: 3)
        let subscriber = try ChildProcess(
            "/usr/bin/stdbuf",
            arguments: ["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", "\(port)", "-t", "a", "-d"],
            name: "mosquitto_sub",
            logFile: self.directory.file("subscriber.log")
        )
        try subscriber.waitForLog("SUBACK")
        listener.signal(SIGTERM)
        try notify.wait(for: "STOPPING=1")
        // TimeoutStopSec= is no limit for how many clients there may be.
        try notify.wait(for: "STATUS=draining, 1 connections left\nEXTEND_TIMEOUT_USEC=30000000")
        #expect(try listener.waitForExit() == 0)
    }

    @Test(arguments: ["martlet-router", "martlet-listener", "martlet-authworker"])
    func `each role tells of its start, its life, its reloads and its end`(program: String) throws {
        let notify = try NotifyReceiver(self.directory.file("notify"))
        let (fileDescriptor, _) = try self.listeningSocket()
        defer { close(fileDescriptor) }
        let isListener = program == "martlet-listener"
        let role = try ChildProcess(
            TestBroker.executable(program),
            arguments: ["--config", self.configuration],
            environment: ["NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "200000"],
            sockets: isListener ? [fileDescriptor] : [],
            socketNames: isListener ? ["plain"] : [],
            name: program,
            logFile: self.directory.file("\(program).log")
        )
        try notify.wait(for: "READY=1\nSTATUS=ready")
        try notify.wait(for: "WATCHDOG=1", count: 3)
        role.signal(SIGHUP)
        try notify.wait(for: "RELOADING=1")
        try notify.wait(for: "READY=1", count: 2)
        let reloaded = notify.told.firstIndex { $0.contains("RELOADING=1") } ?? .max
        #expect(reloaded < notify.told.lastIndex { $0.contains("READY=1") } ?? 0, "\(notify.told)")
        role.signal(SIGTERM)
        try notify.wait(for: "STOPPING=1")
        #expect(try role.waitForExit() == 0, "\(role.log)")
    }

    /// It served all interfaces, where the configuration said 127.0.0.1.
    @Test func `regression: a passed socket at another address than the configuration says is told at the start`()
        throws
    {
        let (own, _) = try self.listeningSocket()
        defer { close(own) }
        let bound = try #require(SocketAddress.local(of: own)?.listenAddress)
        func start(_ addresses: String, _ log: String) throws -> ChildProcess {
            let text = String(decoding: try readFile(self.configuration), as: UTF8.self)
            try writeFile(self.configuration, Array(text.replacing("\"127.0.0.1:1\"", with: addresses).utf8))
            let listener = try ChildProcess(
                TestBroker.executable("martlet-listener"),
                arguments: ["--config", self.configuration],
                sockets: [own],
                socketNames: ["plain"],
                name: "martlet-listener",
                logFile: self.directory.file(log)
            )
            try listener.waitForLog(" ready")
            return listener
        }
        let listener = try start("\"127.0.0.1:1\"", "first.log")
        let lines = listener.log.split(separator: "\n").filter { $0.contains("the passed socket decides") }
        #expect(lines.count == 1, "\(listener.log)")
        let line = try #require(lines.first)
        for part in [" warning ", "listener=plain", "bound=\(bound)", "addresses=127.0.0.1:1", "socket unit"] {
            #expect(line.contains(part), "\(part) in \(line)")
        }
        listener.signal(SIGTERM)
        #expect(try listener.waitForExit() == 0)
        let other = try start("\"127.0.0.1:0\"", "other.log")
        #expect(!other.log.contains("the passed socket decides"), "\(other.log)")
    }
}
