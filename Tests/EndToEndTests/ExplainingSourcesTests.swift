import Common
import TestSupport
import Testing

/// What is told of a refusal where several sources were asked.
@Suite struct ExplainingSourcesTests {
    /// Devices in Redis, devices in a file, applications in another database.
    private static func broker() throws -> TestBroker {
        let broker = try TestBroker { text in
            let url = text.split(separator: "redis: {url: \"")[1].split(separator: "\"")[0]
            return text.replacingRedis(
                with: """
                      sources:
                        - {name: devices, redis: {url: "\(url)"}}
                        - {name: files, source: embedded}
                        - name: applications
                          command: HMGET mqtt_user:%u password_hash salt
                          password_hash: salt,sha256
                          redis: {url: "\(url)?db=3"}

                    """
            )
        }
        // The file is there from now on.
        _ = try Self.martlet(broker, "device", "add", "somebody")
        try waitUntil("the file is in use") { try broker.status(of: "authworker").contains("files.devices in use") }
        return broker
    }

    @discardableResult
    private static func martlet(_ broker: TestBroker, _ arguments: String...) throws -> (status: Int32, output: String)
    {
        let file = broker.directory.file("martlet.yaml")
        return try runProcess(TestBroker.executable("martlet"), arguments: arguments + ["--config", file])
    }

    /// Columns or not.
    private static func why(_ broker: TestBroker, _ device: String) throws -> String {
        let lines = try Self.martlet(broker, "why", device).output.split(separator: "\n")
        return lines.map { $0.split(separator: " ").joined(separator: " ") + "\n" }.joined()
    }

    private func connect(
        _ broker: TestBroker,
        _ loop: EventLoop,
        _ device: String,
        user: String? = nil,
        password: String? = nil
    ) throws -> (client: TestClient, code: UInt8) {
        let tls = try broker.tlsContext(try broker.pki.device(device))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        return (client, try client.connect(clientIdentifier: "", userName: user, password: password).returnCode)
    }

    /// It told of the last source alone: that it needs a user name.
    @Test("Regression: a device that sends no password is told of as that, with what each source said")
    func passwordMissing() throws {
        let broker = try Self.broker()
        let loop = try EventLoop()
        try broker.provision("asked-1", password: "secret")
        #expect(try self.connect(broker, loop, "asked-1").code == 0x86)
        let account =
            "devices: password-missing; files: no-such-device; applications: field-missing, the look-up needs a user name"
        let log = broker.listeners[0].log
        #expect(log.contains("reason=password-missing") && log.contains(account), "\(log)")

        let why = try Self.why(broker, "asked-1")
        for text in [
            "source devices\n", "reason password-missing\n",
            "command HMGET tls_domain:asked-1 password\n",
            "asked devices: deny, password-missing\n", "asked files: deny, no-such-device; file: ",
            "asked applications: deny, field-missing, the look-up needs a user name; cannot be filled in: ",
            "the device sends no password, which the source devices asks for", "detail \(account)\n",
        ] { #expect(why.contains(text), "\(text) is missing in\n\(why)") }
        #expect(!why.contains("HSET") && !why.contains("martlet device"), "\(why)")

        let certificate = try broker.pki.device("asked-1").certificateFile
        let test = try Self.martlet(broker, "auth", "test", "--cert", certificate)
        #expect(test.status == 1 && test.output.contains("password-missing"), "\(test.output)")
        #expect(test.output.contains("files: deny, no-such-device"), "\(test.output)")
        #expect(test.output.contains("which the source devices asks for"), "\(test.output)")
        let json = try Self.martlet(broker, "auth", "test", "--cert", certificate, "--json").output
        let devices =
            #""asked":[{"source":"devices","verdict":"deny","reason":"password-missing","command":"HMGET tls_domain:asked-1 password","key":"tls_domain:asked-1","in_memory":"nothing","#
        #expect(json.contains(devices), "\(json)")
        #expect(json.contains(#"{"source":"files","verdict":"deny","reason":"no-such-device","file":""#), "\(json)")
        #expect(json.contains(#"{"source":"applications","verdict":"deny","reason":"field-missing","#), "\(json)")
    }

    /// It said: make one with HSET mqtt_user:any password.
    @Test("Regression: the row that went is the one that why tells how to make again")
    func rowGone() throws {
        let broker = try Self.broker()
        let loop = try EventLoop()
        try broker.provision("asked-2", password: "secret")
        let (client, code) = try self.connect(broker, loop, "asked-2", user: "any", password: "secret")
        try #require(code == 0)
        _ = try broker.redisCommand("DEL", "tls_domain:asked-2")
        guard case .disconnect = try client.next("DISCONNECT") else {
            throw ProcessError(description: "the session was not ended")
        }
        let why = try Self.why(broker, "asked-2")
        let advice =
            "what_to_do Redis has no such row; look with redis-cli: HMGET tls_domain:asked-2 password; make one with: "
            + "HSET tls_domain:asked-2 password …; or, if it belongs to files: martlet device add asked-2; "
            + "or, if it belongs to applications: HSET mqtt_user:any password_hash … salt …\n"
        #expect(why.contains(advice), "\(why)")
        #expect(why.contains("asked applications: deny, no-such-device; HMGET mqtt_user:any"), "\(why)")
    }

    @Test("A password that is wrong in the last source is told of as its, and nothing is to be made anywhere")
    func wrongInTheLast() throws {
        let broker = try Self.broker()
        let loop = try EventLoop()
        let hash = String(repeating: "00", count: 32)
        _ = try broker.redisCommand("-n", "3", "HSET", "mqtt_user:fred", "password_hash", hash, "salt", "s")
        #expect(try self.connect(broker, loop, "asked-3", user: "fred", password: "x").code == 0x86)
        let why = try Self.why(broker, "asked-3")
        #expect(why.contains("source applications\n") && why.contains("reason wrong-password\n"), "\(why)")
        #expect(why.contains("is not the one in mqtt_user:fred") && !why.contains("HSET"), "\(why)")
    }
}
