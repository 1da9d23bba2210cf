import Common
import TestSupport
import Testing

/// Several sources of authentication with real processes and a real Redis.
@Suite struct SourceChainTests {
    /// Devices by certificate; applications by user name and password, in another database; and at last, for one listener, any
    /// good certificate.
    private static func broker(onFailure: String = "stop") throws -> TestBroker {
        try TestBroker { text in
            text.replacing(
                "  command: HMGET tls_domain:%C password\n  redis: {",
                with: """
                      sources:
                        - name: devices
                          on_failure: \(onFailure)
                          redis: {url: "unix:///nowhere"}
                        - name: applications
                          command: HMGET mqtt_user:%u password
                          redis: {
                    """
            )
        }
    }

    /// Two databases of one Redis, and any good certificate.
    /// - Parameter last: what follows about the last source, or about authentication.
    private static func threeSources(_ last: String) throws -> TestBroker {
        try TestBroker { text in
            let url = text.split(separator: "redis: {url: \"")[1].split(separator: "\"")[0]
            return text.replacing(
                "  command: HMGET tls_domain:%C password\n  redis: {url: \"\(url)\"}\n",
                with: """
                      sources:
                        - name: devices
                          redis: {url: "\(url)"}
                        - name: applications
                          command: HMGET mqtt_user:%u password
                          redis: {url: "\(url)?db=3"}
                        - name: anybody
                          source: certificate
                    \(last)
                    """
            )
        }
    }

    private func connect(
        _ broker: TestBroker,
        _ loop: EventLoop,
        _ device: String?,
        user: String? = nil,
        password: String?,
        port: UInt16? = nil
    ) throws -> (client: TestClient, code: UInt8) {
        let tls = try broker.tlsContext(try device.map { try broker.pki.device($0) })
        let client = try TestClient(loop: loop, port: port ?? broker.tlsPort, version: .v5_0, tls: tls)
        let connack = try client.connect(clientIdentifier: "", userName: user, password: password)
        return (client, connack.returnCode)
    }

    /// It said that no source with a cache is configured.
    @Test("Regression: a source that there is not is told with those that there are")
    func sourceOfCache() throws {
        let broker = try Self.threeSources("")
        let result = try runProcess(
            TestBroker.executable("martlet"),
            arguments: ["cache", "import", "x", "--source", "nope", "--config", broker.directory.file("martlet.yaml")]
        )
        #expect(result.status == 1 && result.output.contains("there are: devices, applications"), "\(result.output)")
    }

    @Test("the source that knows the client decides, and a wrong password is not tried elsewhere")
    func theSourceThatKnowsTheClientDecides() throws {
        let broker = try Self.threeSources("      listeners: [applications]\n")
        let loop = try EventLoop()
        try broker.provision("chain-device", password: "one")
        _ = try broker.redisCommand("-n", "3", "HSET", "mqtt_user:fred", "password", "two")
        _ = try broker.redisCommand("-n", "3", "HSET", "mqtt_user:both", "password", "two")
        try broker.provision("chain-both", password: "one")

        #expect(try self.connect(broker, loop, "chain-device", password: "one").code == 0)
        // The device is not known to the first source, its user name is to the second.
        #expect(try self.connect(broker, loop, "chain-stranger", user: "fred", password: "two").code == 0)
        #expect(try self.connect(broker, loop, "chain-stranger", user: "fred", password: "no").code == 0x86)
        // The first source knows it: its password decides.
        #expect(try self.connect(broker, loop, "chain-both", user: "both", password: "two").code == 0x86)
        #expect(try self.connect(broker, loop, "chain-stranger", user: "who", password: "two").code == 0x87)
        // No password: not for the first two, which want one; the third is asked for the other listener only.
        #expect(try self.connect(broker, loop, "chain-stranger", password: nil).code != 0)
        let third = try self.connect(broker, loop, "chain-stranger", password: nil, port: broker.optionalPort)
        #expect(third.code == 0)
        // Without a certificate: user name and password, where the listener takes that.
        let application = try self.connect(
            broker,
            loop,
            nil,
            user: "fred",
            password: "two",
            port: broker.optionalPort
        )
        #expect(application.code == 0)
        #expect(
            try self.connect(broker, loop, nil, user: "fred", password: "no", port: broker.optionalPort).code == 0x86
        )
        let status = try broker.status(of: "authworker")
        #expect(status.contains("devices.denied{reason=\"no-such-device\"}"))
        #expect(status.contains("applications.allowed_by_redis"))
        #expect(status.contains("anybody.allowed_by_certificate 1"))

        // A row that goes ends the session that it let in, whichever source it is in.
        let (client, code) = try self.connect(broker, loop, "chain-stranger", user: "fred", password: "two")
        try #require(code == 0)
        _ = try broker.redisCommand("-n", "3", "DEL", "mqtt_user:fred")
        guard case .disconnect(let packet) = try client.next("DISCONNECT") else {
            throw ProcessError(description: "the session was not ended")
        }
        #expect(packet.reasonCode.rawValue == 0x87)
    }

    /// Redis tells of rows that are new; a session that a later source has let in belongs to them from then on.
    @Test("a row that appears in an earlier source decides about the sessions that a later one let in")
    func aRowInAnEarlierSourceIsNoticed() throws {
        let broker = try Self.threeSources("  password_changed: close\n")
        let loop = try EventLoop()
        _ = try broker.redisCommand("-n", "3", "HSET", "mqtt_user:fred", "password", "two")
        let (fred, code) = try self.connect(broker, loop, "chain-fred", user: "fred", password: "two")
        let (anybody, other) = try self.connect(broker, loop, "chain-anybody", user: "who", password: "x")
        let (stays, third) = try self.connect(broker, loop, "chain-stays", password: nil)
        try #require(code == 0 && other == 0 && third == 0)
        for (device, client) in [("chain-fred", fred), ("chain-anybody", anybody)] {
            let before = Clock.monotonic()
            try broker.provision(device, password: "one")
            guard case .disconnect(let packet) = try client.next("DISCONNECT") else {
                throw ProcessError(description: "the session of \(device) was not ended")
            }
            #expect(packet.reasonCode.rawValue == 0x87)
            print("a new row in an earlier source ended a session after \((Clock.monotonic() - before) / 1_000_000) ms")
        }
        stays.send(.pingreq)
        guard case .pingresp = try stays.next("PINGRESP") else {
            throw ProcessError(description: "a session was ended whose rows are as before")
        }
    }

    @Test("a source out of reach stops the others by default: server unavailable")
    func aSourceOutOfReachStops() throws {
        let broker = try Self.broker()
        _ = try broker.redisCommand("HSET", "mqtt_user:fred", "password", "two")
        let loop = try EventLoop()
        #expect(try self.connect(broker, loop, "chain-device", user: "fred", password: "two").code == 0x88)
    }

    @Test("with on_failure: next it is passed over, and who is known nowhere is told that it is unavailable")
    func aSourceOutOfReachIsPassedOver() throws {
        let broker = try Self.broker(onFailure: "next")
        _ = try broker.redisCommand("HSET", "mqtt_user:fred", "password", "two")
        let loop = try EventLoop()
        #expect(try self.connect(broker, loop, "chain-device", user: "fred", password: "two").code == 0)
        #expect(try self.connect(broker, loop, "chain-device", user: "fred", password: "no").code == 0x86)
        #expect(try self.connect(broker, loop, "chain-device", user: "who", password: "two").code == 0x88)
    }

    /// They were closed only when Redis was back. Rows of Redis may have the very names of the devices in the file.
    @Test(
        "Regression: devices of the file that are removed while Redis is away are out at once",
        arguments: ["stop", "next"],
        ["tls_domain:", ""]
    )
    func removedWhileTheFirstSourceIsAway(_ onFailure: String, keyPrefix: String) throws {
        let broker = try TestBroker { text in
            text.replacing(
                "  command: HMGET tls_domain:%C password\n  redis: {",
                with: """
                      sources:
                        - name: rows
                          on_failure: \(onFailure)
                          command: HMGET \(keyPrefix)%C password
                          redis: {
                    """
            )
            .replacing("authorization:\n", with: "    - {name: file, source: embedded}\nauthorization:\n")
        }
        let loop = try EventLoop()
        let device = { (words: [String]) throws -> String in
            let file = broker.directory.file("martlet.yaml")
            let martlet = try TestBroker.executable("martlet")
            let result = try runProcess(martlet, arguments: ["device"] + words + ["--config", file])
            #expect(result.status == 0, "\(result.output)")
            return result.output.split(separator: "\n").last?.split(separator: " ").last.map(String.init) ?? ""
        }
        let names = ["chain-disabled", "chain-removed", "chain-rules"]
        var passwords = try names.map { try device(["add", $0, "--password-random", "--acl", "publish:own/#"]) }
        // This one is known to both, and came in by its row.
        _ = try device(["add", "chain-both", "--password-random"])
        _ = try broker.redisCommand("HSET", "\(keyPrefix)chain-both", "password", "row")
        passwords.append("row")
        try broker.authWorkers[0].waitForLog("file of devices in use")
        let clients = try zip(names + ["chain-both"], passwords).map { name, password in
            let (client, code) = try self.connect(broker, loop, name, password: password)
            try #require(code == 0, "\(name)")
            return client
        }
        broker.stopRedis()
        try broker.authWorkers[0].waitForLog("Redis lost")

        _ = try device(["disable", "chain-both"])
        _ = try device(["disable", "chain-disabled"])
        _ = try device(["remove", "chain-removed"])
        for client in clients.prefix(2) {
            guard case .disconnect(let packet) = try client.next("DISCONNECT") else {
                throw ProcessError(description: "the session was not ended")
            }
            #expect(packet.reasonCode.rawValue == 0x87)
        }
        _ = try device(["set-acl", "chain-rules", "publish:other/#"])
        try waitUntil("other rules apply to the live session") {
            clients[2].publish("own/x", [1], qos: .atLeastOnce, packetIdentifier: 2)
            guard case .puback(let packet) = try clients[2].next("PUBACK") else { return false }
            return packet.reasonCode == .notAuthorized
        }
        // The file has no say about who came in by a row.
        clients[3].send(.pingreq)
        guard case .pingresp = try clients[3].next("PINGRESP") else {
            throw ProcessError(description: "the file ended a session that Redis had let in")
        }
        try broker.startRedis()
        clients[2].send(.pingreq)
        guard case .pingresp = try clients[2].next("PINGRESP") else {
            throw ProcessError(description: "a session was ended whose device is as before")
        }
    }
}
