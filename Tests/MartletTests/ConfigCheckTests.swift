import Common
import Devices
import Glibc
import TLS
import TestSupport
import Testing

@testable import Martlet

/// `martlet config check` says of files what the roles say that start with them.
@Suite struct ConfigCheckTests {
    private let directory: TemporaryDirectory
    private let pki = TestPKI.shared
    private var file: String { self.directory.file("m.yaml") }

    init() throws {
        self.directory = try TemporaryDirectory("martlet-check")
        try Folder.make(self.directory.file("run"))
        try Folder.writeFile(self.directory.file("garbage"), "garbage\n")
        try Folder.writeFile(self.directory.file("empty-line"), "\nsecret\n")
        try Folder.writeFile(self.directory.file("long"), String(repeating: "x", count: 5000))
        try Folder.writeFile(self.directory.file("wrong-password"), "wrong\n")
        let encrypted = try runProcess(
            "openssl",
            arguments: [
                "pkey", "-in", self.pki.server.keyFile, "-aes256", "-passout", "pass:right", "-out",
                self.directory.file("encrypted.key"),
            ]
        )
        #expect(encrypted.status == 0, "\(encrypted.output)")
    }

    /// A listener on loopback, and authentication that asks a Redis which is not there.
    private func write(redis: String, sources: Bool = false) throws {
        let source = sources ? "  sources:\n    - name: fleet\n      redis:" : "  redis:"
        let indentation = sources ? "        " : "    "
        try Folder.writeFile(
            self.file,
            """
            runtime_directory: run
            state_directory: state
            listeners:
              - {name: plain, transport: tcp, anonymous: true, addresses: ["127.0.0.1:0"]}
            authorization: {rules: {default: []}}
            authentication:
            \(source)
            \(indentation)url: "rediss://127.0.0.1:1/0"
            \(indentation)\(redis)

            """
        )
    }

    private func write(tls: String, top: String = "", authentication: String = "{source: none}") throws {
        let tls = """
            certificate_file: \(self.pki.server.certificateFile), client_ca_file: \(self.pki.caFile)\(tls)
            """
        try Folder.writeFile(
            self.file,
            """
            runtime_directory: run
            state_directory: state
            listeners:
              - name: devices
                anonymous: true
                addresses: ["127.0.0.1:0"]
                tls: {\(tls)}
            authorization: {rules: {default: []}}
            authentication: \(authentication)
            \(top)

            """
        )
    }

    private func check() throws -> (status: Int32, output: String) {
        try runProcess(builtProgram("martlet"), arguments: ["config", "check", self.file])
    }

    /// A role that does not start.
    private func start(_ role: String) throws -> (status: Int32, output: String) {
        try runProcess("timeout", arguments: ["60", builtProgram(role), "--config", self.file])
    }

    /// Only whether they were there was looked at.
    @Test(
        "Regression: files named for Redis are read by the check as by the auth worker that goes without Redis for them",
        arguments: [
            ("tls: {ca_file: garbage}", 20, "ca_file DIR/garbage holds no certificate"),
            (
                "tls: {certificate_file: garbage, key_file: KEY}", 29,
                "certificate_file DIR/garbage holds no certificate"
            ),
            ("tls: {key_file: garbage, certificate_file: CRT}", 21, "key_file DIR/garbage holds no private key"),
            ("tls: {key_file: OTHER, certificate_file: CRT}", 21, "does not belong to the first certificate"),
            ("tls: {key_file: encrypted.key, certificate_file: CRT}", 21, "key_file DIR/encrypted.key is encrypted"),
            (
                "tls: {key_password_file: wrong-password, key_file: encrypted.key, certificate_file: CRT}", 30,
                "cannot decrypt key_file DIR/encrypted.key"
            ),
            ("password_file: empty-line", 20, "DIR/empty-line: has an empty first line"),
            ("password_file: long", 20, "DIR/long: larger than 4KiB"),
        ],
        [false, true]
    )
    func filesOfRedis(_ mistake: (redis: String, column: Int, text: String), isList: Bool) throws {
        let redis = mistake.redis.replacing("CRT", with: self.pki.server.certificateFile)
            .replacing("KEY", with: self.pki.server.keyFile)
            .replacing("OTHER", with: try self.pki.device("check-other").keyFile)
        try self.write(redis: redis, sources: isList)
        let text = mistake.text.replacing("DIR", with: self.directory.path)
        let (status, output) = try self.check()
        let place = isList ? "\(self.file):11:\(mistake.column + 4): " : "\(self.file):9:\(mistake.column): "
        let section = isList ? "authentication.sources.fleet.redis." : "authentication.redis."
        #expect(status == 1 && output.hasPrefix(place + section) && output.contains(text), "\(output)")
        #expect(output.split(separator: "\n").count == 1, "\(output)")
        let said = mistake.redis.hasPrefix("password") ? String(mistake.text.split(separator: ": ")[1]) : text
        let log = self.directory.file("authworker.log")
        let worker = try ChildProcess(
            builtProgram("martlet-authworker"),
            arguments: ["--config", self.file],
            name: "authworker",
            logFile: log
        )
        defer { worker.killNow() }
        try waitUntil("the worker says why it has no Redis") {
            String(decoding: try readFile(log), as: UTF8.self).contains(said)
        }
    }

    @Test func `files of Redis that are good, or that nobody reads, are no mistakes`() throws {
        let (certificate, key) = (self.pki.server.certificateFile, self.pki.server.keyFile)
        try self.write(redis: "tls: {ca_file: \(self.pki.caFile), certificate_file: \(certificate), key_file: \(key)}")
        #expect(try self.check() == (0, "\(self.file): no mistakes found\n"))
        try Folder.writeFile(self.directory.file("right-password"), "right\n")
        let encrypted = "key_file: encrypted.key, key_password_file: right-password"
        try self.write(redis: "tls: {certificate_file: \(certificate), \(encrypted)}")
        #expect(try self.check() == (0, "\(self.file): no mistakes found\n"))
        try self.write(
            tls: ", key_file: \(key)",
            authentication: "{redis: {cluster: {servers: [a]}, tls: {enabled: false, ca_file: none}}}"
        )
        #expect(try self.check() == (0, "\(self.file): no mistakes found\n"))
    }

    /// The check alone refused them; whoever has the secret makes tickets for any device.
    @Test("Regression: a listener does not start with ticket secrets that every user may read, as the check says")
    func ticketSecrets() throws {
        let (open, good) = (self.directory.file("open"), self.directory.file("good"))
        for path in [open, good] { try writeFile(path, SecureRandom.bytes(48)) }
        chmod(open, 0o644)
        chmod(good, 0o640)
        for (key, secrets) in [
            ("ticket_secret_file", "ticket_secret_file: open"),
            ("previous_ticket_secret_file", "ticket_secret_file: good, previous_ticket_secret_file: open"),
        ] {
            let reason = "\(open): every user of this host may use it; chmod o= \(open)"
            try self.expectRefusedSecret(secrets, key, reason)
        }
    }

    /// By the check, and by a listener at its start.
    private func expectRefusedSecret(_ secrets: String, _ key: String, _ reason: String) throws {
        try self.write(tls: ", key_file: \(self.pki.server.keyFile), \(secrets)")
        let (status, output) = try self.check()
        #expect(status == 1 && output.contains("listeners.devices.tls.\(key): \(reason)"), "\(output)")
        let listener = try self.start("martlet-listener")
        #expect(listener.status == 1 && listener.output.contains("ticket secret \(reason)"), "\(listener.output)")
    }

    /// Both took it.
    @Test(
        "Regression: a listener does not start with a ticket secret that holds one byte throughout, as the check says"
    )
    func constantTicketSecret() throws {
        let (secret, good) = (self.directory.file("secret"), self.directory.file("good"))
        try writeFile(good, SecureRandom.bytes(48))
        chmod(good, 0o600)
        for (byte, value) in [(UInt8(0), "zeros"), (UInt8(ascii: "A"), "the same byte again and again")] {
            try writeFile(secret, [UInt8](repeating: byte, count: 48))
            chmod(secret, 0o600)
            for (key, secrets) in [
                ("ticket_secret_file", "ticket_secret_file: secret"),
                ("previous_ticket_secret_file", "ticket_secret_file: good, previous_ticket_secret_file: secret"),
            ] {
                let reason = "\(secret): holds \(value), which anybody can guess; make random bytes with openssl rand"
                try self.expectRefusedSecret(secrets, key, reason)
            }
        }
    }

    /// The check found no mistakes, and the listener refused each client.
    @Test("Regression: a listener does not start with ciphers that do not go with its certificate, as the check says")
    func uselessCiphers() throws {
        let ciphers = "ciphers: ECDHE-RSA-AES128-GCM-SHA256"
        try self.write(tls: ", key_file: \(self.pki.server.keyFile), max_version: \"1.2\",\n        \(ciphers)")
        let (status, output) = try self.check()
        let reason =
            "listener devices: ciphers \"ECDHE-RSA-AES128-GCM-SHA256\" has none that works at TLS 1.2 with an EC key"
        #expect(status == 1 && output.hasPrefix("\(self.file):8:18: ") && output.contains(reason), "\(output)")
        let listener = try self.start("martlet-listener")
        #expect(listener.status == 1 && listener.output.contains(reason), "\(listener.output)")
    }

    /// The listener started, with an alarm about what was known before.
    @Test("Regression: a listener does not start with a crl_directory that is none, as the check says")
    func revocationDirectory() throws {
        try self.write(tls: ", key_file: \(self.pki.server.keyFile), crl_directory: garbage")
        let (status, output) = try self.check()
        let path = self.directory.file("garbage")
        #expect(status == 1 && output.contains("tls.crl_directory: \(path): is not a directory"), "\(output)")
        let listener = try self.start("martlet-listener")
        #expect(listener.status == 1 && listener.output.contains("crl_directory \(path): Not a directory"))
    }

    /// The fleet was thrown out by a reload, and the check had found no mistakes.
    @Test("Regression: a client_ca_file without an authority is a mistake, for the check and for the listener")
    func noAuthority() throws {
        let device = try self.pki.device("check-no-authority")
        try self.write(tls: ", key_file: \(self.pki.server.keyFile)")
        let text = try readFile(self.file)
        let changed = String(decoding: text, as: UTF8.self)
            .replacing(self.pki.caFile, with: device.certificateFile)
        try Folder.writeFile(self.file, changed)
        let (status, output) = try self.check()
        let reason = "client_ca_file \(device.certificateFile) holds no authority"
        #expect(status == 1 && output.contains(reason), "\(output)")
        let listener = try self.start("martlet-listener")
        #expect(listener.status == 1 && listener.output.contains(reason), "\(listener.output)")
    }

    /// All of these passed without a word, and let in nobody, or whom the list names.
    @Test("Regression: the check tells of revocation lists that let nobody in, or are not in force")
    func revocationThatShutsOut() throws {
        let key = "key_file: \(self.pki.server.keyFile)"
        try self.write(tls: ", \(key), crl_missing: refuse")
        var (status, output) = try self.check()
        #expect(status == 1 && output.contains("refuse needs crl_files or crl_directory"), "\(output)")

        _ = try self.pki.makeIntermediate("check-below")
        let below = self.directory.file("below.crl")
        try self.pki.revocationList(below, authority: "check-below", revoked: [])
        try self.write(tls: ", \(key), crl_files: [\(below)], crl_missing: refuse")
        (status, output) = try self.check()
        #expect(status == 0 && output.contains("nothing of it is in force"), "\(output)")
        #expect(output.contains("no revocation list is in force: all certificates are refused"), "\(output)")

        let overdue = self.directory.file("overdue.crl")
        try self.pki.revocationList(overdue, revoked: [], isOverdue: true)
        try self.write(tls: ", \(key), crl_files: [\(overdue)], crl_overdue: hard")
        (status, output) = try self.check()
        #expect(status == 0 && output.contains("is overdue: whoever it issued is refused"), "\(output)")

        // The place is that of the setting.
        try self.write(tls: ", \(key), crl_files: [\(self.directory.file("garbage"))]")
        (status, output) = try self.check()
        let written = String(decoding: try readFile(self.file), as: UTF8.self)
        let line = try #require(written.split(separator: "\n").first { $0.contains("crl_files: ") })
        let before = try #require(line.ranges(of: "crl_files: ").first?.lowerBound)
        let column = line.distance(from: line.startIndex, to: before) + 1
        let value = column + "crl_files: ".count
        #expect(status == 1 && (output.contains(":\(column): ") || output.contains(":\(value): ")), "\(output)")
    }

    /// Nothing at all was started.
    @Test(
        "Regression: what is missing for a source is a mistake for the check, and a warning of martlet run, which starts",
        arguments: [
            ("{source: embedded}", "authentication.file: there is no file "),
            ("{source: embedded, file: garbage}", "authentication.file: DIR/garbage: file is not a database"),
            (
                "{redis: {url: \"redis://127.0.0.1:1/0\", password_file: none}}",
                "authentication.redis.password_file: DIR/none: "
            ),
            (
                "{redis: {url: \"rediss://127.0.0.1:1/0\", tls: {ca_file: none}}}",
                "authentication.redis.tls.ca_file: DIR/none: "
            ),
            (
                "{redis: {url: \"rediss://127.0.0.1:1/0\", tls: {ca_file: garbage}}}",
                "authentication.redis.tls: ca_file DIR/garbage holds no certificate"
            ),
        ]
    )
    func sourcesThatAreAway(authentication: String, text: String) throws {
        try self.write(tls: ", key_file: \(self.pki.server.keyFile)", authentication: authentication)
        let text = text.replacing("DIR", with: self.directory.path)
        let (status, output) = try self.check()
        #expect(status == 1 && output.contains(": \(text)") && !output.contains("warning"), "\(output)")
        #expect(output.split(separator: "\n").count == 1, "\(output)")
        let run = try ChildProcess(
            builtProgram("martlet"),
            arguments: ["run", "--config", self.file],
            name: "martlet",
            logFile: self.directory.file("run.log")
        )
        try run.waitForLog("martlet: ready, ")
        run.signal(SIGTERM)
        #expect(try run.waitForExit() == 0, "\(run.log)")
        #expect(run.log.contains(": warning: \(text)"), "\(run.log)")
    }

    @Test func `what keeps a role from starting keeps martlet run from it, beside a source that is away`() throws {
        try self.write(tls: ", key_file: none", authentication: "{source: embedded}")
        let (status, output) = try runProcess(builtProgram("martlet"), arguments: ["run", "--config", self.file])
        #expect(
            status == 1 && output.contains("tls.key_file: \(self.directory.file("none")): not readable"),
            "\(output)"
        )
        #expect(output.contains(": warning: authentication.file: there is no file"), "\(output)")
    }

    /// Whether the file was there was all that the check looked at.
    @Test("Regression: a file of devices that the auth worker makes nothing of is a mistake, and stays as it is")
    func damagedDevices() throws {
        let devices = self.directory.file("state/devices.db")
        try Folder.make(self.directory.file("state"))
        try self.write(tls: ", key_file: \(self.pki.server.keyFile)", authentication: "{source: embedded}")
        let place = "authentication.file: \(devices): "
        func check(_ text: String?) throws {
            let bytes = try readFile(devices)
            let (status, output) = try self.check()
            let isExpected = text.map { status == 1 && output.contains(place + $0) } ?? (status == 0)
            #expect(isExpected, "\(text ?? "no mistake") in \(output)")
            #expect(try readFile(devices) == bytes)
            #expect(try runProcess("ls", arguments: ["-A", self.directory.file("state")]).output == "devices.db\n")
        }
        try writeFile(devices, [UInt8](repeating: 0xA5, count: 5000))
        try check("file is not a database")
        try writeFile(devices, [])
        try check("it is no file of devices; martlet device add makes one")
        unlink(devices)
        try DeviceDatabase(path: devices, use: .write).put([Device(name: Array("a".utf8))])
        try check(nil)
        let good = try readFile(devices)
        // The number of the schema is the header's bytes 60 to 63.
        try writeFile(devices, good[..<63] + [99] + good[64...])
        try check("it was made by a later release")
        // As a file that has a write-ahead log says in bytes 18 and 19; who opens that makes two files beside it.
        try writeFile(devices, good[..<18] + [2, 2] + good[20..<63] + [0] + good[64...])
        try check("it is no file of devices")
        unlink(devices)
        #expect(mkfifo(devices, 0o600) == 0)
        let (status, output) = try self.check()
        #expect(status == 1 && output.contains(place + "is not a file"), "\(output)")
    }

    /// The check said nothing of the key, and refused the others, with which the roles run.
    @Test("Regression: what the roles only warn of is a warning of the check")
    func warnings() throws {
        let key = self.directory.file("open.key")
        try writeFile(key, try readFile(self.pki.server.keyFile))
        chmod(key, 0o644)
        try self.write(
            tls: ", key_file: \(key)",
            top: "link_users: [no-such-user-here]",
            authentication: "{cache: {directory: \(self.directory.file("garbage"))}}"
        )
        let (status, output) = try self.check()
        #expect(status == 0, "\(output)")
        let lines = output.split(separator: "\n").map(String.init)
        let text = "\(key) can be read by every user of this machine; run: chmod 640 \(key)"
        for expected in [
            "warning: listener devices: key_file \(text)",
            "warning: link_users: this host has no user no-such-user-here",
            "is not a directory; auth workers would use memory only", "\(self.file): no mistakes found",
        ] {
            #expect(lines.contains { $0.contains(expected) }, "\(expected) in \(output)")
        }
        #expect(
            lines.count == 4
                && lines.dropLast().allSatisfy { $0.hasPrefix("\(self.file):") && $0.contains(": warning: ") }
        )
    }

    /// The check said nothing, and the listener reported an error.
    @Test(
        "Regression: a crl_directory that is not there yet is a warning of the check, as of the listener, which starts",
        arguments: [("", "accepted (crl_missing: accept)"), (", crl_missing: refuse", "refused (crl_missing: refuse)")]
    )
    func missingListDirectory(setting: String, effect: String) throws {
        try self.write(tls: ", key_file: \(self.pki.server.keyFile), crl_directory: later\(setting)")
        let (status, output) = try self.check()
        let path = self.directory.file("later")
        #expect(status == 0 && output.contains("no mistakes found"), "\(output)")
        #expect(output.contains("warning: listeners.devices.tls.crl_directory: \(path): is not there yet"), "\(output)")
        #expect(output.contains(effect), "\(output)")
        let log = self.directory.file("listener.log")
        let listener = try ChildProcess(
            builtProgram("martlet-listener"),
            arguments: ["--config", self.file],
            name: "martlet-listener",
            logFile: log
        )
        try listener.waitForLog(" ready")
        listener.signal(SIGHUP)
        try listener.waitForLog("configuration read again")
        listener.signal(SIGTERM)
        #expect(try listener.waitForExit() == 0, "\(listener.log)")
        let lines = listener.log.split(separator: "\n").filter { $0.contains("crl_directory is not there yet") }
        #expect(lines.count == 1 && lines[0].contains(" warning ") && lines[0].contains(effect), "\(listener.log)")
        #expect(!listener.log.contains(" error "), "\(listener.log)")
    }

    /// It named a file that nobody had asked for.
    @Test(
        "Regression: a role whose runtime_directory is not there names the key, and what to do",
        arguments: ["martlet-listener", "martlet-router", "martlet-authworker"]
    )
    func missingRuntimeDirectory(role: String) throws {
        try self.write(tls: ", key_file: \(self.pki.server.keyFile)")
        #expect(rmdir(self.directory.file("run")) == 0)
        let (status, output) = try self.start(role)
        let text = "there is no folder \(self.directory.file("run")) (runtime_directory); make it"
        #expect(status == 1 && output.contains(text), "\(output)")
    }
}
