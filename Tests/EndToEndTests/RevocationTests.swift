import Common
import Glibc
import TestSupport
import Testing

/// What changes in Redis reaches live sessions.
@Suite struct RevocationTests {
    private struct Setup {
        let broker: TestBroker
        let loop: EventLoop

        init(authWorkers: Int = 1, authentication: String = "") throws {
            self.broker = try TestBroker(authWorkers: authWorkers, authentication: authentication)
            self.loop = try EventLoop()
            for worker in self.broker.authWorkers { try worker.waitForLog("changes of rows are told by Redis") }
        }

        func connect(_ device: String, password: String = "secret") throws -> TestClient {
            let tls = try self.broker.tlsContext(try self.broker.pki.device(device))
            let client = try TestClient(loop: self.loop, port: self.broker.tlsPort, version: .v5_0, tls: tls)
            #expect(try client.connect(clientIdentifier: device, userName: "u", password: password).returnCode == 0)
            return client
        }

        /// Waits for DISCONNECT; returns its reason.
        func reasonOfEnd(_ client: TestClient, seconds: Double = 30) throws -> UInt8 {
            guard case .disconnect(let packet) = try client.next("DISCONNECT", seconds: seconds) else {
                throw ProcessError(description: "the packet is no DISCONNECT")
            }
            return packet.reasonCode.rawValue
        }

        func isAlive(_ client: TestClient) throws -> Bool {
            client.send(.pingreq)
            return try client.next("PINGRESP") == .pingresp
        }
    }

    @Test(arguments: [1, 2]) func `a removed row ends the session within a second`(_ workers: Int) throws {
        let setup = try Setup(authWorkers: workers)
        for device in ["gone", "stays"] { try setup.broker.provision(device, password: "secret") }
        let gone = try setup.connect("gone")
        let stays = try setup.connect("stays")
        let before = Clock.monotonic()
        _ = try setup.broker.redisCommand("DEL", "tls_domain:gone")
        #expect(try setup.reasonOfEnd(gone) == 0x87)
        #expect(Clock.monotonic() - before < 3 * Nanoseconds.perSecond)
        #expect(try setup.isAlive(stays))
    }

    /// It stayed until it expired, and who was provisioned under the name next got what had come for it.
    @Test func `Regression: nobody finds the session of a device that was removed`() throws {
        let setup = try Setup()
        func connack(_ client: TestClient) throws -> ConnackPacket {
            var properties = Properties()
            properties.sessionExpiryInterval = 3600
            return try client.connect(
                clientIdentifier: "removed",
                userName: "u",
                password: "secret",
                cleanStart: false,
                properties: properties
            )
        }
        let tls = try setup.broker.tlsContext(try setup.broker.pki.device("removed"))
        for _ in 0..<2 {
            try setup.broker.provision("removed", password: "secret")
            let client = try TestClient(loop: setup.loop, port: setup.broker.tlsPort, version: .v5_0, tls: tls)
            let connack = try connack(client)
            #expect(connack.returnCode == 0 && !connack.sessionPresent)
            _ = try setup.broker.redisCommand("DEL", "tls_domain:removed")
            #expect(try setup.reasonOfEnd(client) == 0x87)
        }
    }

    @Test func `a row that expires ends the session`() throws {
        let setup = try Setup()
        try setup.broker.provision("short", password: "secret")
        let client = try setup.connect("short")
        _ = try setup.broker.redisCommand("PEXPIRE", "tls_domain:short", "100")
        #expect(try setup.reasonOfEnd(client) == 0x87)
    }

    @Test func `a removed row ends the session also when nobody was listening`() throws {
        let setup = try Setup()
        try setup.broker.provision("gone", password: "secret")
        let client = try setup.connect("gone")
        // In one transaction, so that the change happens between the loss of the subscription and its return.
        let socket = setup.broker.directory.file("redis.sock")
        let script =
            "local clients = redis.call('CLIENT', 'LIST', 'TYPE', 'PUBSUB')"
            + " for id in string.gmatch(clients, 'id=(%d+)') do redis.call('CLIENT', 'KILL', 'ID', id) end"
            + " return redis.call('DEL', 'tls_domain:gone')"
        let (_, output) = try runProcess("redis-cli", arguments: ["-s", socket, "EVAL", script, "0"])
        if output.contains("not allowed") {
            _ = try setup.broker.redisCommand("CLIENT", "KILL", "TYPE", "PUBSUB")
            _ = try setup.broker.redisCommand("DEL", "tls_domain:gone")
        }
        #expect(try setup.reasonOfEnd(client) == 0x87)
    }

    @Test func `a row removed while Redis could not be heard ends the session after its return`() throws {
        let setup = try Setup()
        for device in ["gone", "stays"] { try setup.broker.provision(device, password: "secret") }
        let gone = try setup.connect("gone")
        let stays = try setup.connect("stays")
        let lost = "changes of rows are not told at the moment"
        setup.broker.redis?.signal(SIGSTOP)
        try setup.broker.authWorkers[0].waitForLog(lost)
        setup.broker.redis?.signal(SIGCONT)
        _ = try setup.broker.redisCommand("DEL", "tls_domain:gone")
        #expect(try setup.reasonOfEnd(gone) == 0x87)
        #expect(try setup.isAlive(stays))
    }

    @Test func `a superuser's mark that goes is noticed though the worker has forgotten the row`() throws {
        let setup = try Setup(authentication: "super_command: GET super:%C\n  cache: {memory_entries: 1}")
        for device in ["chief", "other"] { try setup.broker.provision(device, password: "secret") }
        _ = try setup.broker.redisCommand("SET", "super:chief", "1")
        let chief = try setup.connect("chief")
        _ = try setup.connect("other")
        func publish() throws -> UInt8 {
            chief.publish("anywhere", [1], qos: .atLeastOnce, packetIdentifier: 7)
            guard case .puback(let packet) = try chief.next("PUBACK") else { return 0xFF }
            return packet.reasonCode.rawValue
        }
        #expect(try publish() < 0x80)
        _ = try setup.broker.redisCommand("DEL", "super:chief")
        try waitUntil("the right is gone") { try publish() == 0x87 }
    }

    @Test func `a changed password closes the session where the configuration says so`() throws {
        let keeping = try Setup()
        try keeping.broker.provision("device", password: "secret")
        let kept = try keeping.connect("device")
        try keeping.broker.provision("device", password: "new")
        // The next change shows that the first was looked at.
        try keeping.broker.provision("other", password: "secret")
        let other = try keeping.connect("other")
        _ = try keeping.broker.redisCommand("DEL", "tls_domain:other")
        #expect(try keeping.reasonOfEnd(other) == 0x87)
        #expect(try keeping.isAlive(kept))

        let closing = try Setup(authentication: "password_changed: close")
        try closing.broker.provision("device", password: "secret")
        let closed = try closing.connect("device")
        try closing.broker.provision("device", password: "new")
        #expect(try closing.reasonOfEnd(closed) == 0x87)
    }
}
