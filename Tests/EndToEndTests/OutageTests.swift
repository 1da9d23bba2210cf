import Common
import Glibc
import TestSupport
import Testing

/// Redis goes away: devices seen before get in, unknown ones are told that the server is unavailable.
@Suite struct OutageTests {
    private static func connect(
        _ broker: TestBroker,
        _ device: String,
        password: String = "secret",
        version: ProtocolVersion = .v5_0
    ) throws -> UInt8 {
        let loop = try EventLoop()
        let tls = try broker.tlsContext(try broker.pki.device(device))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: version, tls: tls)
        return try client.connect(clientIdentifier: device, userName: "u", password: password).returnCode
    }

    @Test func `with Redis killed, known devices get in and new ones do not, also after a restart of the worker`()
        throws
    {
        let broker = try TestBroker()
        try broker.provision("known", password: "secret")
        try broker.provision("new", password: "secret")
        #expect(try Self.connect(broker, "known") == 0)

        broker.stopRedis()
        #expect(try Self.connect(broker, "known") == 0)
        #expect(try Self.connect(broker, "new") == 0x88)
        #expect(try Self.connect(broker, "new", version: .v3_1_1) == 3)
        #expect(try Self.connect(broker, "known", password: "wrong") != 0)

        try broker.restartAuthWorker()
        #expect(try Self.connect(broker, "known") == 0)
        #expect(try Self.connect(broker, "new") == 0x88)
        #expect(try Self.connect(broker, "known", password: "wrong") != 0)

        try broker.startRedis()
        try waitUntil("the new device gets in once Redis is back") { try Self.connect(broker, "new") == 0 }
    }

    @Test func `with Redis hanging, known devices still get in quickly`() throws {
        let broker = try TestBroker()
        try broker.provision("known", password: "secret")
        #expect(try Self.connect(broker, "known") == 0)
        broker.redis?.signal(SIGSTOP)
        defer { broker.redis?.signal(SIGCONT) }
        #expect(try Self.connect(broker, "new") == 0x88)
        #expect(try Self.connect(broker, "known") == 0)
    }

    @Test func `a killed auth worker comes back and nobody is refused meanwhile`() throws {
        let broker = try TestBroker(authWorkers: 2)
        try broker.provision("known", password: "secret")
        broker.authWorkers[1].killNow()
        for _ in 0..<4 { #expect(try Self.connect(broker, "known") == 0) }
    }

    /// The file refused rows that both workers had been told of, and their devices were not let in.
    @Test(arguments: [1, 2])
    func `devices whose rows changed get in when Redis is killed, also after their caches were dropped`(
        _ workers: Int
    )
        throws
    {
        let broker = try TestBroker(authWorkers: workers)
        for worker in broker.authWorkers { try worker.waitForLog("changes of rows are told by Redis") }
        let devices = (0..<6).map { "changed-\($0)" }
        for device in devices {
            try broker.provision(device, password: "secret")
            #expect(try Self.connect(broker, device) == 0)
        }
        for device in devices { _ = try broker.redisCommand("HSET", "tls_domain:\(device)", "last_seen", "1") }
        for device in devices { #expect(try Self.connect(broker, device) == 0) }
        try self.waitForFile(broker, rows: devices.count)
        broker.stopRedis()
        for device in devices + devices { #expect(try Self.connect(broker, device) == 0) }

        try broker.startRedis()
        for device in devices { try broker.provision(device, password: "secret") }
        try waitUntil("all workers use Redis again") {
            try (0..<10).allSatisfy { try Self.connect(broker, "stranger-\($0)") == 0x87 }
        }
        let (status, output) = try runProcess(
            TestBroker.executable("martlet"),
            arguments: ["cache", "drop", "--all", "--config", broker.directory.file("martlet.yaml")]
        )
        #expect(status == 0, "\(output)")
        for device in devices { #expect(try Self.connect(broker, device) == 0) }
        try self.waitForFile(broker, rows: devices.count)
        broker.stopRedis()
        for device in devices + devices { #expect(try Self.connect(broker, device) == 0) }
    }

    /// Until that many rows of the cache file are as good as Redis.
    private func waitForFile(_ broker: TestBroker, rows: Int) throws {
        let file = broker.directory.file("martlet.yaml")
        var attempt = 0
        try waitUntil("all rows are in the file") {
            attempt += 1
            let (_, output) = try runProcess(
                TestBroker.executable("martlet"),
                arguments: [
                    "cache", "export", broker.directory.file("export-\(rows)-\(attempt)-\(Clock.monotonic())"),
                    "--config", file,
                ]
            )
            return output.hasPrefix("\(rows) rows")
        }
    }
}
