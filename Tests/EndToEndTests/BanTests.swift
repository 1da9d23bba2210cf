import Common
import Glibc
import TestSupport
import Testing

/// `martlet ban` against real processes.
@Suite struct BanTests {
    private func martlet(_ broker: TestBroker, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let file = broker.directory.file("martlet.yaml")
        return try runProcess(TestBroker.executable("martlet"), arguments: arguments + ["--config", file])
    }

    private func client(
        _ broker: TestBroker,
        _ loop: EventLoop,
        _ device: String,
        _ credentials: TestPKI.Credentials? = nil
    ) throws -> (TestClient, UInt8) {
        let tls = try broker.tlsContext(try credentials ?? broker.pki.device(device))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        return (client, try client.connect(clientIdentifier: "id-\(device)", userName: nil, password: "pw").returnCode)
    }

    @Test(
        "Who is banned is disconnected and refused with 0x8A until the ban is lifted; others are not",
        arguments: ["cn", "client_id", "fingerprint", "serial"]
    )
    func bans(kind: String) throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        for device in ["ban-bad", "ban-good"] { try broker.provision(device, password: "pw") }
        let credentials = try broker.pki.device("ban-bad")
        let (bad, good) = (
            try self.client(broker, loop, "ban-bad", credentials), try self.client(broker, loop, "ban-good")
        )
        #expect(bad.1 == 0 && good.1 == 0)
        let certificate = credentials.certificateFile
        let values = [
            "cn": "ban-bad", "client_id": "id-ban-bad",
            "fingerprint": try self.openssl(certificate, "-fingerprint", "-sha256"),
            "serial": try self.openssl(certificate, "-serial"),
        ]
        let value = try #require(values[kind])

        let added = try self.martlet(broker, ["ban", "add", kind, value, "--for", "1h", "--reason", "stolen in Kiel"])
        #expect(added.status == 0, "\(added.output)")
        guard case .disconnect(let packet) = try bad.0.next("DISCONNECT") else {
            throw ProcessError(description: "the session was not ended")
        }
        #expect(packet.reasonCode == .administrativeAction)
        #expect(try self.client(broker, loop, "ban-bad", credentials).1 == 0x8A)
        try broker.listeners[0].waitForLog("reason=banned")
        let why = try self.martlet(broker, ["why", "ban-bad"]).output
        #expect(why.contains("banned: \(kind)") && why.contains("stolen in Kiel"), "\(why)")
        let test = try self.martlet(
            broker,
            ["auth", "test", "--cert", certificate, "--client-id", "id-ban-bad", "--password", "pw"]
        )
        #expect(test.status == 1 && test.output.contains("is banned"), "\(test.output)")
        // A word of docs/refusals.md, as everywhere; what the operator wrote stands beside it.
        let reasons = test.output.split(separator: "\n").filter { $0.contains("reason") }
        #expect(reasons.count == 2 && reasons[0].hasSuffix(" banned"), "\(test.output)")
        #expect(reasons.last?.hasPrefix("ban_reason ") == true, "\(test.output)")
        good.0.send(.pingreq)
        #expect(try good.0.next("PINGRESP") == .pingresp)
        #expect(try self.martlet(broker, ["ban", "list"]).output.contains("stolen in Kiel"))
        #expect(try broker.status(of: "listener").contains("bans 1"))

        #expect(try self.martlet(broker, ["ban", "remove", kind, value]).status == 0)
        try broker.listeners[0].waitForLog("bans in force", count: 2)
        #expect(try self.client(broker, loop, "ban-bad", credentials).1 == 0)
        #expect(try self.martlet(broker, ["ban", "remove", kind, value]).status == 1)
    }

    private func openssl(_ certificate: String, _ arguments: String...) throws -> String {
        let output = try runProcess("openssl", arguments: ["x509", "-noout", "-in", certificate] + arguments).output
        return String(output.split(separator: "=")[1].prefix { !$0.isNewline })
    }

    @Test("A banned address does not get as far as TLS, and loses what it has")
    func addresses() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.provision("ban-address", password: "pw")
        let (live, code) = try self.client(broker, loop, "ban-address")
        #expect(code == 0)
        #expect(try self.martlet(broker, ["ban", "add", "address", "127.0.0.0/8"]).status == 0)
        guard case .disconnect = try live.next("DISCONNECT") else {
            throw ProcessError(description: "the session was not ended")
        }
        let handshakes = try #require(try broker.figure("handshakes_total", of: "listener"))
        #expect(throws: (any Error).self) { try self.client(broker, loop, "ban-address") }
        try broker.listeners[0].waitForLog("banned: address 127.0.0.0/8")
        #expect(try broker.figure("handshakes_total", of: "listener") == handshakes)
    }

    /// A CONNACK of MQTT 3 came.
    @Test("Regression: a client that is banned before it has sent CONNECT gets no packet")
    func banBeforeConnect() throws {
        let broker = try TestBroker(connectTimeout: "60s")
        let loop = try EventLoop()
        let tls = try broker.tlsContext(try broker.pki.device("ban-silent"))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        client.keepsBytes = true
        try client.wait("the handshake") { client.state == .connected }
        try waitUntil("the listener has it") { try broker.figure("handshakes_total", of: "listener") == 1 }
        #expect(try self.martlet(broker, ["ban", "add", "cn", "ban-silent"]).status == 0)
        try client.wait("the end") { client.hasEnded }
        #expect(client.receivedBytes.isEmpty)
        try broker.listeners[0].waitForLog("reason=banned")
    }

    /// All lines of the file were counted.
    @Test("Regression: the status counts bans in force, and no expired ones")
    func count() throws {
        let broker = try TestBroker()
        try writeFile(
            broker.directory.file("bans"),
            Array("cn a\ncn b until=2020-01-01T00:00:00Z\ncn c until=2999-01-01T00:00:00Z\n".utf8)
        )
        try broker.listeners[0].waitForLog("bans in force")
        #expect(try broker.figure("bans", of: "listener") == 2)
    }

    @Test(
        "A file with a mistake is told with its line, and what it said before stays; a listener does not start with it"
    )
    func mistakes() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.provision("ban-kept", password: "pw")
        let file = broker.directory.file("bans")
        try writeFile(file, Array("cn ban-kept\n".utf8))
        try broker.listeners[0].waitForLog("bans in force")
        try writeFile(file, Array("# a comment\ncn\n".utf8))
        try broker.listeners[0].waitForLog("\(file):2: a ban has a kind and a value")
        #expect(try self.client(broker, loop, "ban-kept").1 == 0x8A)
        #expect(try broker.status(of: "listener").contains("alarm bans not usable"))
        let check = try runProcess(
            TestBroker.executable("martlet"),
            arguments: ["config", "check", broker.directory.file("martlet.yaml")]
        )
        #expect(check.status == 1 && check.output.contains("bans_file: \(file):2:"), "\(check.output)")
        let add = try self.martlet(broker, ["ban", "add", "cn", "x"])
        #expect(add.status == 1 && add.output.contains("\(file):2:"), "\(add.output)")
        broker.listeners[0].killNow()
        let again = try runProcess(
            TestBroker.executable("martlet-listener"),
            arguments: ["--config", broker.directory.file("martlet.yaml"), "--instance", "1"]
        )
        #expect(again.status != 0 && again.output.contains("\(file):2: a ban has"), "\(again.output)")
    }

    /// Who moved it away, or lost the disk that it is on, let everybody in.
    @Test("Regression: bans stay in force while their file is gone, with an alarm; an empty file lifts them")
    func fileGone() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.provision("ban-moved", password: "pw")
        let file = broker.directory.file("bans")
        #expect(try self.martlet(broker, ["ban", "add", "cn", "ban-moved"]).status == 0)
        try broker.listeners[0].waitForLog("bans in force")
        #expect(rename(file, file + ".away") == 0)
        try broker.listeners[0].waitForLog("\(file): it is gone; an empty file would lift all bans")
        #expect(try self.client(broker, loop, "ban-moved").1 == 0x8A)
        #expect(try broker.status(of: "listener").contains("alarm bans not usable: \(file): it is gone"))
        #expect(rename(file + ".away", file) == 0)
        try broker.listeners[0].waitForLog("bans in force", count: 2)
        #expect(try !broker.status(of: "listener").contains("alarm"))
        #expect(try self.client(broker, loop, "ban-moved").1 == 0x8A)
        try writeFile(file, [])
        try broker.listeners[0].waitForLog("bans in force", count: 3)
        #expect(try self.client(broker, loop, "ban-moved").1 == 0)
        #expect(unlink(file) == 0)
        #expect(try !broker.status(of: "listener").contains("alarm"))
    }

    /// `ban add` wrote a file with its one ban, and who had been banned was let in.
    @Test("Regression: martlet ban lifts no ban by taking a file that is lost for one that has never been there")
    func lostFile() throws {
        let broker = try TestBroker(listeners: 2)
        let file = broker.directory.file("bans")
        let none = try self.martlet(broker, ["ban", "list"])
        #expect(none.status == 0 && none.output == "nobody is banned\n")
        #expect(try self.martlet(broker, ["ban", "add", "cn", "lost-stolen"]).status == 0)
        for listener in broker.listeners { try listener.waitForLog("bans in force") }
        #expect(unlink(file) == 0)
        for words in [["add", "cn", "lost-other"], ["remove", "cn", "lost-stolen"], ["list"], ["list", "--json"]] {
            let refused = try self.martlet(broker, ["ban"] + words)
            let lost = "there is no \(file) (bans_file), but listener-1 has 1 ban in force: the file is lost"
            #expect(refused.status == 1 && refused.output.contains(lost), "\(words): \(refused.output)")
            #expect(refused.output.contains("Restore the file from a backup"), "\(words): \(refused.output)")
            #expect(access(file, F_OK) != 0, "\(words)")
        }
        // One that does not answer may have bans.
        broker.listeners[0].killNow()
        broker.listeners[1].signal(SIGSTOP)
        let silent = try self.martlet(broker, ["ban", "add", "cn", "lost-other"])
        broker.listeners[1].signal(SIGCONT)
        #expect(
            silent.status == 1 && silent.output.contains("cannot be told: listener-2: no answer"),
            "\(silent.output)"
        )
        let begun = try self.martlet(broker, ["ban", "add", "cn", "lost-other", "--new-file"])
        #expect(begun.status == 0, "\(begun.output)")
        #expect(try self.martlet(broker, ["ban", "list"]).output == "cn lost-other\n")
        // Where no listener runs, nobody knows of any.
        broker.listeners[1].killNow()
        #expect(unlink(file) == 0)
        #expect(try self.martlet(broker, ["ban", "list"]).output == "nobody is banned\n")
        #expect(try self.martlet(broker, ["ban", "add", "cn", "lost-first"]).status == 0)
    }

    /// It was said to be in force, and was over at once.
    @Test("Regression: a ban for less than a second is refused", arguments: ["0s", "500ms"])
    func tooShort(duration: String) throws {
        let folder = try TemporaryDirectory("martlet-bans")
        let configuration = folder.file("martlet.yaml")
        let result = try runProcess(
            TestBroker.executable("martlet"),
            arguments: ["ban", "add", "cn", "a", "--for", duration, "--config", configuration]
        )
        #expect(
            result.status == 1 && result.output.contains("--for: \"\(duration)\" is less than 1s"),
            "\(result.output)"
        )
    }
}
