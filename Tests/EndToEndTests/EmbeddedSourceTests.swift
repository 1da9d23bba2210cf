import Common
import Glibc
import TestSupport
import Testing

/// Devices in a file, by `martlet device`, with real processes.
@Suite struct EmbeddedSourceTests {
    private func broker() throws -> TestBroker {
        try TestBroker { text in
            text.replacingRedis(with: "  source: embedded\n")
        }
    }

    @discardableResult
    private func device(_ broker: TestBroker, _ arguments: String...) throws -> (status: Int32, output: String) {
        let file = broker.directory.file("martlet.yaml")
        return try runProcess(
            TestBroker.executable("martlet"),
            arguments: ["device"] + arguments + ["--config", file]
        )
    }

    private func connect(
        _ broker: TestBroker,
        _ loop: EventLoop,
        _ device: String,
        _ password: String?
    ) throws -> (client: TestClient, code: UInt8) {
        let tls = try broker.tlsContext(try broker.pki.device(device))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        return (client, try client.connect(clientIdentifier: "", userName: "u", password: password).returnCode)
    }

    @Test("devices come in by the file, and changes reach live sessions")
    func devices() throws {
        let broker = try self.broker()
        let loop = try EventLoop()
        // There is no file yet: nobody can say.
        #expect(try self.connect(broker, loop, "emb-a", "x").code == 0x88)
        let added = try self.device(broker, "add", "emb-a", "--password-random", "--acl", "publish:own/%C/#")
        #expect(added.status == 0, "\(added.output)")
        let password = try #require(
            added.output.split(separator: "\n").last?.split(separator: " ").last.map(String.init)
        )
        #expect(try self.device(broker, "add", "emb-a").output.contains("is there already"))
        #expect(try self.device(broker, "add", "emb-b").status == 0)
        try broker.authWorkers[0].waitForLog("file of devices in use")

        let (first, code) = try self.connect(broker, loop, "emb-a", password)
        try #require(code == 0)
        #expect(try self.connect(broker, loop, "emb-a", "wrong").code == 0x86)
        #expect(try self.connect(broker, loop, "emb-a", nil).code == 0x86)
        // No password is kept: the certificate is enough.
        let (second, bare) = try self.connect(broker, loop, "emb-b", nil)
        #expect(bare == 0)
        #expect(try self.connect(broker, loop, "emb-stranger", "x").code == 0x87)
        first.publish("own/emb-a/x", [1], qos: .atLeastOnce, packetIdentifier: 1)
        guard case .puback(let allowed) = try first.next("PUBACK") else { throw ProcessError(description: "no PUBACK") }
        #expect(allowed.reasonCode.rawValue < 0x80)

        #expect(try self.device(broker, "set-acl", "emb-a", "publish:other/#").status == 0)
        try waitUntil("other rules apply to the live session") {
            first.publish("own/emb-a/x", [1], qos: .atLeastOnce, packetIdentifier: 2)
            guard case .puback(let packet) = try first.next("PUBACK") else { return false }
            return packet.reasonCode == .notAuthorized
        }
        #expect(try self.device(broker, "disable", "emb-a").status == 0)
        guard case .disconnect = try first.next("DISCONNECT") else { throw ProcessError(description: "no DISCONNECT") }
        #expect(try self.connect(broker, loop, "emb-a", password).code == 0x87)
        try broker.listeners[0].waitForLog("reason=device-disabled")
        #expect(try self.device(broker, "enable", "emb-a").status == 0)
        #expect(try self.connect(broker, loop, "emb-a", password).code == 0)
        #expect(try self.device(broker, "remove", "emb-b").status == 0)
        guard case .disconnect = try second.next("DISCONNECT") else { throw ProcessError(description: "no DISCONNECT") }
        #expect(try self.device(broker, "show", "emb-b").status == 1)

        let export = try self.device(broker, "export").output
        #expect(export.contains("emb-a") && !export.contains(password))
    }

    /// They spoke of Redis.
    @Test("Regression: reasons and advice name the file of devices")
    func explanations() throws {
        let broker = try self.broker()
        let loop = try EventLoop()
        let config = ["--config", broker.directory.file("martlet.yaml")]
        func martlet(_ arguments: [String]) throws -> String {
            try runProcess(TestBroker.executable("martlet"), arguments: arguments + config).output
        }
        func expect(_ output: String, _ texts: [String]) {
            for text in texts { #expect(output.contains(text), "\(text) is missing in\n\(output)") }
            #expect(!output.lowercased().contains("redis"), "\(output)")
        }
        let certificate = try broker.pki.device("emb-why").certificateFile
        let test = ["auth", "test", "--cert", certificate, "--password", "wrong"]
        #expect(try self.connect(broker, loop, "emb-why", "x").code == 0x88)
        try broker.listeners[0].waitForLog("reason=device-file-unavailable")
        expect(try martlet(test), ["device-file-unavailable", "devices.db", "martlet device list"])
        #expect(try broker.status(of: "authworker").contains("unknown{reason=\"device-file-unavailable\"}"))
        #expect(try self.device(broker, "add", "emb-other").status == 0)
        try broker.authWorkers[0].waitForLog("file of devices in use")
        expect(try martlet(test), ["no-such-device", "martlet device add emb-why"])
        #expect(try self.device(broker, "add", "emb-why", "--password-random").status == 0)
        try waitUntil("the device is known") { try martlet(test).contains("wrong-password") }
        expect(try martlet(test), ["wrong-password", "martlet device set-password"])
        #expect(try self.connect(broker, loop, "emb-why", nil).code == 0x86)
        expect(try martlet(["why", "emb-why"]), ["password-missing", "set-password --none emb-why", "devices.db"])
        #expect(try self.device(broker, "disable", "emb-why").status == 0)
        try waitUntil("it is disabled") { try martlet(test).contains("device-disabled") }
        expect(try martlet(test), ["martlet device enable emb-why"])
    }

    /// A placeholder that there is not stood for itself, and bytes that are no UTF-8 became others.
    @Test("Regression: what is typed for a device is refused where it cannot mean what it says")
    func typed() throws {
        let folder = try TemporaryDirectory("martlet-typed")
        let file = folder.file("devices.db")
        let martlet = try TestBroker.executable("martlet")
        for words in [["add", "x", "--acl", "all:a/%Q"], ["add", "x", "--acl", "publish:a/${clientId}"]] {
            let result = try runProcess(martlet, arguments: ["device"] + words + ["--file", file])
            #expect(result.status == 1 && result.output.contains("there is no such placeholder; there are %u or"))
        }
        let empty = try runProcess(martlet, arguments: ["device", "add", "x", "--acl", "publish:", "--file", file])
        #expect(empty.status == 1 && empty.output.contains("publish:: the filter is empty"), "\(empty.output)")
        let good = ["device", "add", "x", "--acl", "all:a/%C/100%/#", "--file", file]
        #expect(try runProcess(martlet, arguments: good).status == 0)
        for line in [
            #"device add "$(printf 'caf\351')""#, #"device add y --note "$(printf '\377')""#,
            #"ban add cn "$(printf '\351')""#,
        ] {
            let result = try runProcess("sh", arguments: ["-c", "exec \"$0\" \(line) --file \"$1\"", martlet, file])
            #expect(result.status == 64 && result.output.contains("is not UTF-8"), "\(result.output)")
        }
        let list = try runProcess(martlet, arguments: ["device", "list", "--file", file]).output
        #expect(list == "x  (no password)\n", "\(list)")
        let shown = try runProcess(martlet, arguments: ["device", "show", "x", "--json", "--file", file]).output
        #expect(shown.hasPrefix(#"[{"device":"x""#) && shown.contains(#""acl":"all:a/%C/100%/#""#), "\(shown)")
    }

    @Test("devices come from a CSV file, all or none")
    func importCSV() throws {
        let broker = try self.broker()
        let loop = try EventLoop()
        let csv = broker.directory.file("fleet.csv")
        try writeFile(csv, Array("csv-a,\"secret,with comma\"\ncsv-b\n\u{1}bad,x\n".utf8))
        let broken = try self.device(broker, "import-csv", csv)
        #expect(broken.status == 1 && broken.output.contains("fleet.csv:3: "), "\(broken.output)")
        // Latin-1, in which nobody comes.
        try writeFile(csv, Array("csv-a,x\nM".utf8) + [0xFC] + Array("ller,pw\n".utf8))
        let latin = try self.device(broker, "import-csv", csv)
        #expect(latin.status == 1 && latin.output.contains("fleet.csv:2: is not UTF-8"), "\(latin.output)")
        try writeFile(csv, Array("csv-a,\"secret,with comma\"\r\ncsv-b\n".utf8))
        #expect(try self.device(broker, "import-csv", csv).output.contains("2 devices"))
        #expect(try self.device(broker, "list").output.contains("csv-b  (no password)"))
        try broker.authWorkers[0].waitForLog("file of devices in use")
        #expect(try self.connect(broker, loop, "csv-a", "secret,with comma").code == 0)
        #expect(try self.connect(broker, loop, "csv-b", nil).code == 0)
    }

    /// The line on top became a device with a password that everybody knows.
    @Test("a CSV file may come from a spreadsheet")
    func spreadsheet() throws {
        let broker = try self.broker()
        let loop = try EventLoop()
        let csv = broker.directory.file("fleet.csv")
        for broken in ["a,\"open", "\"a,b", "\"a\"x,b", "a,\"b\"x"] {
            try writeFile(csv, Array("Name,Password\n\(broken)\n".utf8))
            let result = try self.device(broker, "import-csv", csv)
            #expect(result.status == 1 && result.output.contains("fleet.csv:2: "), "\(result.output)")
        }
        try writeFile(
            csv,
            Array("\u{FEFF}Name,Password\r\n\"csv-q\",\"with \"\"quotes\"\", and more\"\r\nname,x\r\n".utf8)
        )
        #expect(try self.device(broker, "import-csv", csv).output.contains("2 devices"))
        try broker.authWorkers[0].waitForLog("file of devices in use")
        #expect(try self.connect(broker, loop, "csv-q", "with \"quotes\", and more").code == 0)
        #expect(try self.connect(broker, loop, "name", "password").code == 0x86)
        #expect(try self.connect(broker, loop, "name", "x").code == 0)
    }

    /// A disabled device came in again, and lost its rows, when the list that it is in was imported once more.
    @Test("a list that is imported again changes passwords, and nothing that it does not say")
    func importedAgain() throws {
        let broker = try self.broker()
        let csv = broker.directory.file("fleet.csv")
        try writeFile(csv, Array("again,first\n".utf8))
        #expect(try self.device(broker, "import-csv", csv).status == 0)
        #expect(try self.device(broker, "set-acl", "again", "publish:own/#").status == 0)
        #expect(try self.device(broker, "disable", "again").status == 0)
        try writeFile(csv, Array("again,second\n".utf8))
        #expect(try self.device(broker, "import-csv", csv).status == 0)
        let shown = try self.device(broker, "show", "again").output
        #expect(shown.contains("disabled") && shown.contains("publish:own/#"), "\(shown)")
        try broker.authWorkers[0].waitForLog("file of devices in use")
        let loop = try EventLoop()
        #expect(try self.connect(broker, loop, "again", "second").code == 0x87)
        #expect(try self.device(broker, "enable", "again").status == 0)
        #expect(try self.connect(broker, loop, "again", "second").code == 0)
        for (text, place) in [
            ("a,1\nb,2\na,3\n", ":3: the device is in line 1"), ("a,1\nb,2,3\n", ":2: more than a name and a password"),
            ("a;1\n", ":1: fields are separated"), ("device, Password\na,1\n", ":1: this looks like a header"),
        ] {
            try writeFile(csv, Array(text.utf8))
            let refused = try self.device(broker, "import-csv", csv)
            #expect(refused.status == 1 && refused.output.contains("fleet.csv\(place)"), "\(refused.output)")
        }
    }

    /// Nothing could read what export had written.
    @Test("Regression: what is exported is imported into a fresh file, and is the same there")
    func exportedAndImported() throws {
        let folder = try TemporaryDirectory("martlet-devices")
        func device(_ arguments: String..., file: String) throws -> (status: Int32, output: String) {
            try runProcess(
                TestBroker.executable("martlet"),
                arguments: ["device"] + arguments + ["--file", folder.file(file)]
            )
        }
        let csv = folder.file("fleet.csv")
        // A name that JSON has to escape, and one that is no UTF-8, as earlier releases took them.
        try writeFile(csv, Array("plain,secret\n\"with \"\"quotes\"\"\\\",x\n".utf8))
        #expect(try device("import-csv", csv, file: "one.db").output.contains("2 devices"))
        try writeFile(folder.file("odd.json"), Array(#"[{"device":"?A","name_hex":"ff41"}]"#.utf8))
        #expect(try device("import", folder.file("odd.json"), file: "one.db").output.contains("1 devices"))
        #expect(try device("disable", "plain", file: "one.db").status == 0)
        #expect(try device("set-acl", "plain", "publish:a:b/#", "all:c", file: "one.db").status == 0)
        let note = ["add", "noted", "--superuser", "--note", "two\nlines \"ü\"", "--acl", "subscribe:x/+"]
        let added = try runProcess(
            TestBroker.executable("martlet"),
            arguments: ["device"] + note + ["--file", folder.file("one.db")]
        )
        #expect(added.status == 0, "\(added.output)")

        let exported = try device("export", file: "one.db").output
        let json = folder.file("devices.json")
        try writeFile(json, Array(exported.utf8))
        for _ in 0..<2 {
            let imported = try device("import", json, file: "two.db")
            #expect(imported.status == 0 && imported.output.contains("4 devices"), "\(imported.output)")
            #expect(try device("export", file: "two.db").output == exported)
        }

        let broken: [(String, String)] = [
            ("{}", "is no list in JSON"), ("[{}]", "device 1 of 1: device: its name is missing"),
            (#"[{"device":"a"},{"device":"a"}]"#, "device 2 of 2: is device 1 again"),
            (#"[{"device":"a","secret":"00","salt":"x"}]"#, "secret: not 64 hexadecimal digits"),
            (#"[{"device":"a","logs_in_by":"password"}]"#, "logs_in_by"),
            (#"[{"device":"a","password":"b"}]"#, "password means nothing here"),
            (#"[{"device":"a","acl":"everything"}]"#, "is not ACCESS:FILTER"),
            (#"[{"device":"a","state":"off"}]"#, "state: neither enabled nor disabled"),
            (#"[{"device":7}]"#, "device: not a text"),
        ]
        for (text, complaint) in broken {
            try writeFile(json, Array(text.utf8))
            let refused = try device("import", json, file: "two.db")
            #expect(refused.status == 1 && refused.output.contains(complaint), "\(refused.output)")
        }
        #expect(try device("export", file: "two.db").output == exported)
    }

    @Test("a mistyped file is not made, and output that nobody takes is a failure")
    func mistypedFileAndFullDisk() throws {
        let broker = try self.broker()
        #expect(try self.device(broker, "add", "one").status == 0)
        let path = broker.directory.file("typo.db")
        for command in [["export"], ["list"], ["show", "one"], ["remove", "one"], ["disable", "one"]] {
            let result = try runProcess(
                TestBroker.executable("martlet"),
                arguments: ["device"] + command + ["--file", path]
            )
            #expect(result.status == 1 && result.output.contains("there is no file"), "\(command) \(result.output)")
        }
        #expect(access(path, F_OK) != 0)
        let martlet = try TestBroker.executable("martlet")
        let configuration = broker.directory.file("martlet.yaml")
        let full = try runProcess(
            "sh",
            arguments: ["-c", "'\(martlet)' device export --config '\(configuration)' > /dev/full"]
        )
        #expect(full.status == 1)
    }

    /// Of SQLite's words nobody knew what to do.
    @Test("a file that is not there is told in the same words by all who look for it")
    func missingFile() throws {
        let broker = try self.broker()
        let file = broker.directory.file("state") + "/devices.db"
        let words = "there is no file \(file); martlet device add makes the file of the configuration"
        unlink(file)
        try broker.replaceAuthWorker(0)
        #expect(broker.authWorkers[0].log.contains(words), "\(broker.authWorkers[0].log)")
        #expect(try self.device(broker, "list").output.contains(words))
        // Nobody gets in, and martlet status said nothing of it.
        let alarm = "alarm the file of devices cannot be read, nobody new is let in by it: "
        #expect(try broker.status(of: "authworker").contains(alarm + words))
        let check = try runProcess(
            TestBroker.executable("martlet"),
            arguments: ["config", "check", broker.directory.file("martlet.yaml")]
        )
        #expect(check.status == 1 && check.output.contains("authentication.file: \(words)"), "\(check.output)")
        #expect(try self.device(broker, "add", "emb-a").status == 0)
        try broker.authWorkers[0].waitForLog("file of devices in use")
        #expect(try !broker.status(of: "authworker").contains("alarm"))
        let good = try runProcess(
            TestBroker.executable("martlet"),
            arguments: ["config", "check", broker.directory.file("martlet.yaml")]
        )
        #expect(good.status == 0, "\(good.output)")
    }

    @Test("a broken file denies nobody for good")
    func brokenFile() throws {
        let broker = try self.broker()
        let loop = try EventLoop()
        let file = broker.directory.file("state") + "/devices.db"
        try writeFile(file, Array(String(repeating: "no database ", count: 1000).utf8))
        try broker.authWorkers[0].waitForLog("the file of devices cannot be read")
        try waitUntil("an alarm") { try broker.status(of: "authworker").contains("alarm the file of devices") }
        #expect(try self.connect(broker, loop, "emb-a", "x").code == 0x88)
        unlink(file)
        #expect(try self.device(broker, "add", "emb-a").status == 0)
        try broker.authWorkers[0].waitForLog("file of devices in use")
        #expect(try self.connect(broker, loop, "emb-a", nil).code == 0)
    }

    /// Whoever knew its name came in as a device that has no password.
    @Test("a device without a password needs the certificate of its name")
    func withoutPassword() throws {
        let broker = try TestBroker { text in
            text.replacingRedis(with: "  source: embedded\n  key: \"%u\"\n")
        }
        let loop = try EventLoop()
        #expect(try self.device(broker, "add", "emb-b").status == 0)
        let added = try self.device(broker, "add", "emb-c", "--password-random")
        let right = try #require(
            added.output.split(separator: "\n").last?.split(separator: " ").last.map(String.init)
        )
        try broker.authWorkers[0].waitForLog("file of devices in use")
        func code(_ certificate: String?, _ user: String, _ password: String?) throws -> UInt8 {
            let tls = try broker.tlsContext(try certificate.map { try broker.pki.device($0) })
            let client = try TestClient(loop: loop, port: broker.optionalPort, version: .v5_0, tls: tls)
            return try client.connect(clientIdentifier: "", userName: user, password: password).returnCode
        }
        #expect(try code("emb-b", "emb-b", nil) == 0)
        #expect(try code("emb-b", "emb-b", "whatever") == 0)
        for password in [nil, "", "x"] {
            #expect(try code(nil, "emb-b", password) == 0x86)
            #expect(try code("emb-other", "emb-b", password) == 0x86)
        }
        // They were told that a password was wrong, and to set one.
        let config = ["--listener", "applications", "--config", broker.directory.file("martlet.yaml")]
        for arguments in [["why", "emb-b"] + config.suffix(2), ["auth", "test", "--user", "emb-b"] + config] {
            let output = try runProcess(TestBroker.executable("martlet"), arguments: arguments).output
            #expect(output.contains("certificate-missing") && !output.contains("wrong-password"), "\(output)")
            #expect(output.contains("connect with the device's certificate"), "\(output)")
        }
        // One that has a password needs no certificate for it.
        #expect(try code(nil, "emb-c", right) == 0)
        #expect(try code("emb-other", "emb-c", right) == 0)
        #expect(try code("emb-c", "emb-c", nil) == 0x86)
    }

    /// The worker went on with the file that had been there: devices that were taken out came in.
    @Test("a file that is removed or replaced is noticed")
    func anotherFile() throws {
        let broker = try self.broker()
        let loop = try EventLoop()
        for device in ["emb-old", "emb-both"] { #expect(try self.device(broker, "add", device).status == 0) }
        try broker.authWorkers[0].waitForLog("file of devices in use")
        let (live, code) = try self.connect(broker, loop, "emb-old", nil)
        #expect(code == 0)
        let (_, stateText) = try runProcess("find", arguments: [broker.directory.path, "-name", "devices.db"])
        let file = String(stateText.split(separator: "\n").first ?? "")
        let other = broker.directory.file("other.db")
        for device in ["emb-both", "emb-new"] {
            #expect(try self.device(broker, "add", device, "--file", other).status == 0)
        }
        #expect(rename(file, file + ".away") == 0)
        try waitUntil("nobody can say without the file") {
            try self.connect(broker, loop, "emb-both", nil).code == 0x88
        }
        #expect(!live.hasEnded)
        #expect(rename(other, file) == 0)
        guard case .disconnect = try live.next("DISCONNECT") else { throw ProcessError(description: "no DISCONNECT") }
        #expect(try self.connect(broker, loop, "emb-old", nil).code == 0x87)
        for device in ["emb-both", "emb-new"] { #expect(try self.connect(broker, loop, device, nil).code == 0) }
    }
}
