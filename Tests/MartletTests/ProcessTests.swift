import Common
import Glibc
import TestSupport
import Testing

@testable import Martlet

/// The tool as people run it: a process, its output and its exit code.
@Suite struct ProcessTests {
    private func martlet(_ arguments: [String], environment: [String: String] = [:]) throws -> (Int32, String) {
        try runProcess(builtProgram("martlet"), arguments: arguments, environment: environment)
    }

    /// A folder with a copy of martlet, and scripts in place of the roles.
    private struct FakeRoles {
        let directory: TemporaryDirectory
        var martlet: String { self.directory.file("bin/martlet") }

        /// Waits for a signal; ready at once. Debian's redis-server speaks sd_notify(3).
        static let serving = """
            echo "$0 $* fds=$LISTEN_FDS names=$LISTEN_FDNAMES" >&2
            exec redis-server --port 0 --unixsocket "$0.$$.sock" --supervised systemd --daemonize no --save '' --logfile '' --loglevel warning
            """

        init(router: String = Self.serving, listener: String = Self.serving) throws {
            self.directory = try TemporaryDirectory("martlet-run")
            try Folder.make(self.directory.file("bin"))
            // Hard links keep /proc/self/exe in our folder; another file system takes a copy.
            let original = try builtProgram("martlet")
            if link(original, self.martlet) != 0 {
                let copied = try runProcess("cp", arguments: [original, self.martlet])
                guard copied.status == 0 else { throw CommandFailure(copied.output) }
            }
            for (name, script) in [("martlet-router", router), ("martlet-listener", listener)] {
                let path = self.directory.file("bin/\(name)")
                try Folder.writeFile(path, "#!/bin/sh\n\(script)\n")
                guard chmod(path, 0o755) == 0 else { throw CommandFailure("chmod") }
            }
            try Folder.writeFile(
                self.directory.file("martlet.yaml"),
                """
                runtime_directory: run
                state_directory: state
                processes: {listeners: 2}
                listeners:
                  - {name: plain, transport: tcp, anonymous: true, addresses: ["127.0.0.1:0", "127.0.0.2:0"]}
                authentication: {source: none}
                authorization: {rules: {default: []}}
                """
            )
        }

        func run(_ arguments: [String] = []) throws -> ChildProcess {
            try ChildProcess(
                self.martlet,
                arguments: ["run", "--config", self.directory.file("martlet.yaml")] + arguments,
                name: "martlet",
                logFile: self.directory.file("log")
            )
        }
    }

    /// It ended with a usage error.
    @Test(arguments: [["--password="], ["--password=", "--user=", "--client-id="], ["--user=", "--password", ""]])
    func `regression: an option for what CONNECT says may be empty`(_ options: [String]) throws {
        let (status, output) = try self.martlet(["auth", "test"] + options + ["--config", "/nowhere/martlet.yaml"])
        #expect(status == 3 && output.contains("/nowhere/martlet.yaml"), "\(output)")
    }

    @Test func onlyEmptyValuesOfThoseOptionsAreSplit() {
        let arguments = ["auth", "test", "--password==", "--set=", "--set=a=", "--password=x"]
        #expect(CommandLineText.split(arguments) == arguments)
        #expect(
            CommandLineText.split(["--password=", "--", "--password="]) == ["--password", "", "--", "--password="]
        )
    }

    @Test(arguments: ["martlet-authworker", "martlet-listener"])
    func `regression: roles have one default configuration, and are counted from 1`(role: String) throws {
        let zero = try runProcess(builtProgram(role), arguments: ["--instance", "0"])
        #expect(zero.status == 64 && zero.output.contains("--instance 0: they are counted from 1"), "\(zero.output)")
        let many = try runProcess(builtProgram(role), arguments: ["--instance", "257"])
        #expect(
            many.status == 64 && many.output.contains("--instance 257: they are counted from 1, and there can be 256")
        )
        let help = try runProcess(builtProgram(role), arguments: ["--help"]).output
        #expect(help.contains("[--config <config>]") && help.contains("/etc/martlet/martlet.yaml)"), "\(help)")
    }

    @Test func configCheckSaysWhatIsWrong() throws {
        let directory = try TemporaryDirectory()
        let file = directory.file("m.yaml")
        let text = "log: {level: loud}\nlisteners: [{name: a, tls: {}}]\nauthorization: {rules: {default: []}}\n"
        try Folder.writeFile(file, text)
        let mistaken = try self.martlet(["config", "check", file])
        #expect(mistaken.0 == 1)
        let line = "\(file):1:14: log.level: \"loud\" is not trace, debug, info, notice, warning, error or critical\n"
        #expect(mistaken.1 == line)

        let overridden = try self.martlet(["config", "check", file, "--set", "log.level=debug"])
        #expect(overridden.0 == 1)
        let missing = "not readable: No such file or directory"
        let path = directory.path
        #expect(
            overridden.1 == """
                \(file):2:28: listeners.a.tls.certificate_file: \(path)/server.crt: \(missing)
                \(file):2:28: listeners.a.tls.key_file: \(path)/server.key: \(missing)
                \(file):2:28: listeners.a.tls.client_ca_file: \(path)/client-ca.crt: \(missing)

                """
        )

        let environment = ["MARTLET_LOG__LEVEL": "debug"]
        for name in ["server.crt", "server.key", "client-ca.crt"] { try Folder.writeFile(directory.file(name), "x") }
        let senseless = try self.martlet(["config", "check", file], environment: environment)
        #expect(senseless.0 == 1)
        #expect(
            senseless.1.hasPrefix("\(file):2:28: listener a: certificate_file \(path)/server.crt holds no certificate")
        )
        let pki = TestPKI.shared
        let other = try pki.device("another-key")
        for (from, to) in [
            (pki.server.certificateFile, "server.crt"), (other.keyFile, "server.key"), (pki.caFile, "client-ca.crt"),
        ] {
            unlink(directory.file(to))
            #expect(symlink(from, directory.file(to)) == 0)
        }
        let mismatched = try self.martlet(["config", "check", file], environment: environment)
        #expect(mismatched.0 == 1)
        #expect(
            mismatched.1.hasPrefix("\(file):2:28: listener a: ") && mismatched.1.contains("they must be made together")
        )
        let unknown = try self.martlet(
            ["config", "check", file, "--set", "listeners=[{name: a, tls: {groups: NOWHERE}}]"],
            environment: environment
        )
        #expect(unknown.0 == 1 && unknown.1.contains("groups"), "\(unknown.1)")
        unlink(directory.file("server.key"))
        #expect(symlink(pki.server.keyFile, directory.file("server.key")) == 0)
        let good = try self.martlet(["config", "check", file], environment: ["MARTLET_LOG__LEVEL": "debug"])
        #expect(good.1 == "\(file): no mistakes found\n")
        #expect(good.0 == 0)
    }

    @Test func failuresAreOneSentence() throws {
        let directory = try TemporaryDirectory()
        let missing = try self.martlet(["run", "--config", directory.file("none.yaml")])
        #expect(missing.0 == 1)
        #expect(missing.1 == "martlet: \(directory.file("none.yaml")): No such file or directory\n")

        let port = try self.martlet(["run", "--quick-start", directory.file("v")], environment: ["MARTLET_PORT": "x"])
        #expect(port.0 == 1)
        #expect(port.1 == "martlet: MARTLET_PORT=x is not a port; write a number from 0 to 65535\n")

        let redis = try self.martlet(
            ["run", "--quick-start", directory.file("v")],
            environment: ["MARTLET_PORT": "0", "REDIS_URL": "redis://127.0.0.1:1"]
        )
        #expect(redis.0 == 1)
        #expect(redis.1 == "martlet: cannot connect to Redis at redis://127.0.0.1:1/0: Connection refused\n")
    }

    @Test func aMissingRoleIsNamed() throws {
        let roles = try FakeRoles()
        unlink(roles.directory.file("bin/martlet-listener"))
        let process = try roles.run()
        #expect(try process.waitForExit() == 1)
        let bin = roles.directory.file("bin")
        let sentence =
            "martlet: martlet-listener is neither in \(bin), where martlet is, nor in PATH; build it with `make build`\n"
        #expect(process.log == sentence)
    }

    @Test func aRoleThatEndsAtStartUpEndsEverything() throws {
        let roles = try FakeRoles(router: "echo 'cannot go on: no luck' >&2; exit 3")
        let process = try roles.run()
        #expect(try process.waitForExit() == 1)
        #expect(
            process.log == """
                router     | cannot go on: no luck
                martlet: router ended with exit code 3 at start-up; its last words: cannot go on: no luck

                """
        )
    }

    @Test func aBusyPortIsOneSentence() throws {
        let roles = try FakeRoles()
        var listener = Configuration.Listener(name: "other")
        listener.addresses = [.loopback(port: 0)]
        let taken = try ListeningSockets([listener])
        let address = try #require(taken.sockets.first?.address)
        let process = try roles.run(["--set", "listeners.plain.addresses=\(address)"])
        #expect(try process.waitForExit() == 1)
        let reason = "port \(address.port) is in use by another program"
        #expect(process.log == "martlet: cannot listen on \(address) (listener plain): \(reason)\n")
        withExtendedLifetime(taken) {}
    }

    @Test func rolesGetTheSocketsComeBackAndStopInOrder() throws {
        let roles = try FakeRoles()
        let process = try roles.run(["--set", "log.level=debug"])
        try process.waitForLog("martlet: ready, mqtt://127.0.0.1:")
        let file = try Folder.resolve(roles.directory.file("martlet.yaml"))
        let arguments = "--config \(file) --set log.level=debug"
        for instance in 1...2 {
            #expect(process.log.contains("\(arguments) --instance \(instance) fds=2 names=plain:plain\n"))
        }
        #expect(process.log.contains("martlet-router \(arguments) fds= names=\n"))

        let second = try roles.run()
        #expect(try second.waitForExit() == 1)
        #expect(second.log.contains("uses the runtime directory"))

        let child = try #require(Self.children(of: process.processID).last)
        kill(child, SIGKILL)
        try process.waitForLog("martlet: listener-2 was ended by signal 9; it is started again in 100ms\n")
        try process.waitForLog("--instance 2 fds=2", count: 2)

        let asked = Clock.monotonic()
        process.signal(SIGTERM)
        #expect(try process.waitForExit() == 0)
        #expect(Clock.monotonic() - asked < 5 * Nanoseconds.perSecond)
    }

    @Test func aRoleThatDoesNotStopIsKilled() throws {
        let stubborn = """
            trap '' TERM
            redis-server --port 0 --unixsocket "$0.$$.sock" --supervised systemd --daemonize no --save '' --logfile '' --loglevel warning &
            while :; do sleep 1; done
            """
        let roles = try FakeRoles(listener: stubborn)
        let process = try roles.run(["--set", "processes.listeners=1"])
        try process.waitForLog("martlet: ready")
        let asked = Clock.monotonic()
        process.signal(SIGINT)
        #expect(try process.waitForExit() == 0)
        #expect(process.log.contains("martlet: listener-1 did not stop in time and is killed\n"))
        #expect(Clock.monotonic() - asked < 5 * Nanoseconds.perSecond)
    }

    @Test func statusOfRolesThatDoNotRun() throws {
        let roles = try FakeRoles()
        let status = try self.martlet(["status", "--config", roles.directory.file("martlet.yaml")])
        #expect(status.0 == 1)
        let lines = status.1.split(separator: "\n").map(String.init)
        #expect(lines.first == "PROCESS     STATE  PID  UPTIME")
        #expect(lines.filter { $0.contains(" down ") }.count == 3)
        #expect(lines.contains { $0.hasPrefix("    not running (nobody answers at ") })
    }

    /// Everything real, in a folder whose path is too long for Unix sockets; then again, with the state that was kept.
    @Test func theQuickStartInADeepFolder() throws {
        let outer = try TemporaryDirectory("martlet-quick")
        let deep = outer.file((0..<12).map { "deep-folder-\($0)" }.joined(separator: "/"))
        let layout = QuickStartLayout(directory: deep, userRuntimeDirectory: nil, userID: geteuid())
        defer { _ = try? runProcess("rm", arguments: ["-rf", "--", layout.runtimeDirectory]) }
        let environment = ["MARTLET_PORT": "0", "XDG_RUNTIME_DIR": "", "REDIS_URL": ""]
        let arguments = ["run", "--quick-start", deep]
        var certificate: [UInt8] = []
        for start in 1...2 {
            let process = try ChildProcess(
                builtProgram("martlet"),
                arguments: arguments,
                environment: environment,
                name: "martlet",
                logFile: outer.file("log-\(start)")
            )
            try process.waitForLog("martlet: ready, mqtts://localhost:", seconds: 60)
            #expect(process.log.contains("mosquitto_sub -h localhost -p "))
            #expect(process.log.contains("so they are in \(layout.runtimeDirectory)\n"))
            #expect(try self.martlet(["status", "--config", "\(deep)/martlet.yaml"]).0 == 0)

            let second = try self.martlet(arguments, environment: environment)
            #expect(second.0 == 1)
            let folder = try Folder.resolve(deep)
            #expect(second.1.hasPrefix("martlet: another martlet run uses the folder \(folder) already (process "))

            process.signal(start == 1 ? SIGINT : SIGTERM)
            #expect(try process.waitForExit() == 0)
            #expect(!process.log.contains("killed"))
            let now = try Configuration.readFile("\(deep)/device.crt", bytesMax: 1 << 16)
            #expect(start == 1 || now == certificate)
            certificate = now
        }
        #expect(try self.martlet(["status", "--config", "\(deep)/martlet.yaml"]).0 == 1)
    }

    /// Children in the order in which they were started.
    private static func children(of process: pid_t) throws -> [pid_t] {
        let path = "/proc/\(process)/task/\(process)/children"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw CommandFailure("open \(path)") }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: " ").compactMap {
            pid_t($0)
        }
    }
}
