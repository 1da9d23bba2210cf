import CLinux
import Common
import Glibc
import TestSupport
import Testing

/// The units with systemd's own tools, and a role under what systemd gives it.
@Suite struct SystemdTests {
    private static let made = [
        "martlet-router.service", "martlet-listener@.service", "martlet-authworker@.service",
        "martlet-crl-refresh.service",
    ]
    private static let plain = ["martlet.target", "martlet-listener.socket", "martlet-crl-refresh.timer"]

    /// The repository's folder.
    private static var root: String {
        "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    }

    private func make(_ target: String, _ destination: String) throws -> (status: Int32, output: String) {
        let folder = try TestBroker.executablesFolder()
        return try runProcess(
            "make",
            arguments: ["-C", Self.root, target, "DESTDIR=\(destination)", "PREFIX=/usr", "RELEASE=\(folder)"]
        )
    }

    /// Installs everything into the folder, as the units have it too.
    /// - Returns: the folder of the units.
    private func installUnits(_ directory: TemporaryDirectory) throws -> String {
        #expect(try self.make("install", directory.path).status == 0)
        let units = "\(directory.path)/usr/lib/systemd/system"
        for unit in Self.made {
            let text = String(decoding: try readFile("\(units)/\(unit)"), as: UTF8.self)
            let moved = text.replacing("/usr/bin/", with: "\(directory.path)/usr/bin/")
            try writeFile("\(units)/\(unit)", Array(moved.utf8))
        }
        return units
    }

    private func expectSound(_ names: [String], in units: String) throws {
        let verified = try runProcess(
            "systemd-analyze",
            arguments: ["verify", "--man=no"] + names.map { "\(units)/\($0)" },
            environment: ["SYSTEMD_UNIT_PATH": "\(units):/usr/lib/systemd/system"]
        )
        #expect(verified.status == 0 && verified.output.isEmpty, "\(verified.output)")
    }

    private func files(_ folder: String) throws -> [String] {
        try runProcess("find", arguments: [folder, "-type", "f"]).output.split(separator: "\n").map(String.init)
            .sorted()
    }

    @Test func `what is installed goes away again, and the configuration stays`() throws {
        let directory = try TemporaryDirectory()
        let installed = try self.make("install", directory.path)
        #expect(installed.status == 0, "\(installed.output)")
        let there = try self.files(directory.path)
        for unit in Self.made + Self.plain {
            #expect(there.contains("\(directory.path)/usr/lib/systemd/system/\(unit)"), "\(unit)")
        }
        for file in [
            "usr/bin/martlet-listener", "usr/lib/sysusers.d/martlet.conf", "usr/lib/tmpfiles.d/martlet.conf",
            "etc/martlet/martlet.yaml.example", "usr/share/man/man1/martlet.1", "usr/share/man/man8/martlet-router.8",
        ] {
            #expect(there.contains("\(directory.path)/\(file)"), "\(file)")
        }
        for unit in Self.made {
            let text = String(decoding: try readFile("\(directory.path)/usr/lib/systemd/system/\(unit)"), as: UTF8.self)
            #expect(
                !text.contains("@bindir@") && !text.contains("@sysconfdir@") && !text.contains("@docdir@"),
                "\(unit)"
            )
        }
        // Links between documents lead somewhere; the source is not installed.
        let documents = there.filter { $0.hasSuffix(".md") }
        #expect(documents.count > 20)
        for document in documents {
            let folder = document.prefix(upTo: document.lastIndex(of: "/") ?? document.startIndex)
            for match in String(decoding: try readFile(document), as: UTF8.self).matches(of: /\]\(([^)#]+)/) {
                guard !match.1.contains("://"), !match.1.contains("Sources/") else { continue }
                #expect(access("\(folder)/\(match.1)", F_OK) == 0, "\(document): \(match.1)")
            }
        }
        // What a program can do is in its page, told once.
        let page = String(decoding: try readFile(directory.file("usr/share/man/man1/martlet.1")), as: UTF8.self)
        #expect(page.contains(".SS \"store backup\"") && page.contains(".SS \"cache drop\""))
        #expect(page.matches(of: /Overrides a key of the file/).count == 1)
        let own = directory.file("etc/martlet/martlet.yaml")
        try writeFile(own, Array("mine".utf8))
        #expect(try self.make("uninstall", directory.path).status == 0)
        #expect(try self.files(directory.path) == [own])
    }

    @Test func `systemd finds nothing wrong with the units, and little that they expose`() throws {
        let directory = try TemporaryDirectory()
        let units = try self.installUnits(directory)
        let named = [
            "martlet-router.service", "martlet-listener@1.service", "martlet-authworker@2.service",
            "martlet-crl-refresh.service",
        ]
        try self.expectSound(named + Self.plain, in: units)
        for unit in Self.made {
            let output = try runProcess(
                "systemd-analyze",
                arguments: ["security", "--offline=true", "--no-pager", "\(units)/\(unit)"]
            ).output
            let words = output.split(whereSeparator: { " \n".contains($0) })
            let place = try #require(words.lastIndex(of: "level"), "\(output)")
            let exposure = try #require(Double(words[place + 3]), "\(words[place...])")
            #expect(exposure < 2, "\(unit): \(exposure)")
        }
    }

    @Test func `a loop that hangs no longer feeds the watchdog`() throws {
        let directory = try TemporaryDirectory()
        let notify = try NotifyReceiver(directory.file("notify"))
        let file = directory.file("martlet.yaml")
        let text = """
            runtime_directory: \(directory.path)
            state_directory: \(directory.path)
            listeners: [{name: plain, addresses: ["127.0.0.1:1"], transport: tcp, anonymous: true}]
            authorization: {rules: {default: [{allow: all, topics: ["#"]}]}}
            """
        try writeFile(file, Array(text.utf8))
        let router = try ChildProcess(
            TestBroker.executable("martlet-router"),
            arguments: ["--config", file],
            environment: ["NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "200000"],
            name: "martlet-router",
            logFile: directory.file("log")
        )
        try notify.wait(for: "READY=1")
        try notify.wait(for: "WATCHDOG=1", count: 4)
        router.signal(SIGSTOP)
        try notify.wait(for: "READY=1")
        let before = notify.told.count
        // Five times the interval in which it would have been fed twice.
        var wait = timespec(tv_sec: 1, tv_nsec: 0)
        nanosleep(&wait, nil)
        try notify.wait(for: "READY=1")
        // One may have been on its way.
        #expect(notify.told.count <= before + 1)
        router.signal(SIGCONT)
        try notify.wait(for: "WATCHDOG=1", count: notify.told.count { $0 == "WATCHDOG=1" } + 2)
        router.signal(SIGTERM)
        #expect(try router.waitForExit() == 0)
    }

    @Test func `the examples for more cores are drop-ins that systemd takes`() throws {
        let directory = try TemporaryDirectory()
        let units = try self.installUnits(directory)
        let examples = "\(directory.path)/usr/share/doc/martlet/examples"
        for (unit, example) in [
            ("martlet.target", "martlet.target.4-cores"), ("martlet.target", "martlet.target.16-cores"),
            ("martlet-listener@.service", "martlet-listener@.memory"),
            ("martlet-listener@.service", "martlet-listener@.key-password"),
            ("martlet-authworker@.service", "martlet-authworker@.password"),
        ] {
            mkdir("\(units)/\(unit).d", 0o755)
            let name = example.split(separator: ".").last ?? ""
            try writeFile("\(units)/\(unit).d/\(name).conf", readFile("\(examples)/\(example).conf"))
        }
        try self.expectSound(
            ["martlet.target", "martlet-listener@13.service", "martlet-authworker@2.service"],
            in: units
        )
    }
}
