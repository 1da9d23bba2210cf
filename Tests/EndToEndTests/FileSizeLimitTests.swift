import Common
import Glibc
import TestSupport
import Testing

/// Files that must not grow, as of LimitFSIZE= in a systemd unit: the kernel's signal for it (SIGXFSZ) would end a process that writes more.
@Suite struct FileSizeLimitTests {
    /// How large files may get that this process writes.
    private static func limitFiles(of process: ChildProcess, to bytes: String) throws {
        let arguments = ["--pid", "\(process.processID)", "--fsize=\(bytes):unlimited"]
        #expect(try runProcess("prlimit", arguments: arguments).status == 0)
    }

    @Test func `a router whose store may not grow refuses what it would have to store, and goes on`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.parkClient(loop)
        let publisher = try broker.plainClient(loop, "publisher")
        publisher.publish("t", Array("stored".utf8), qos: .atLeastOnce, packetIdentifier: 1)
        #expect(try publisher.next("PUBACK") == .puback(AcknowledgementPacket(packetIdentifier: 1)))

        try Self.limitFiles(of: broker.router, to: "4096")
        var identifier: UInt16 = 1
        try loop.wait("the alarm", seconds: 60) {
            identifier += 1
            if identifier < 100 { publisher.publish("t", [0], qos: .atLeastOnce, packetIdentifier: identifier) }
            return (try? broker.figure("alarm_store", of: "router")) == 1
        }
        let newcomer = try broker.plainClient(loop, "newcomer")
        try broker.expectRefusal(newcomer)
        #expect(broker.router.isRunning)

        try Self.limitFiles(of: broker.router, to: "unlimited")
        try loop.wait("the alarm's end", seconds: 60) { (try? broker.figure("alarm_store", of: "router")) == 0 }
        newcomer.publish("t", Array("stored too".utf8), qos: .atLeastOnce, packetIdentifier: 10)
        #expect(try newcomer.next("PUBACK") == .puback(AcknowledgementPacket(packetIdentifier: 10)))
        let back = try broker.plainClient(loop, "parked", lasts: true)
        #expect(try back.nextMessage("what was stored").payload == Array("stored".utf8))
        #expect(broker.router.isRunning)
    }

    /// It starts by folding its log, which has no room.
    @Test func `a router starts though its store may not grow, with what was acknowledged`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.parkClient(loop)
        let publisher = try broker.plainClient(loop, "publisher")
        publisher.publish("t", [UInt8](repeating: 1, count: 60_000), qos: .atLeastOnce, packetIdentifier: 1)
        #expect(try publisher.next("PUBACK") == .puback(AcknowledgementPacket(packetIdentifier: 1)))
        broker.killRouter()
        // Room for the index of the database's own log, and for nothing else.
        try broker.startRouter(under: "prlimit", ["--fsize=40000:unlimited"])
        let newcomer = try broker.plainClient(loop, "newcomer")
        newcomer.publish("t", [2], qos: .atLeastOnce, packetIdentifier: 1)
        try loop.wait("the alarm", seconds: 60) { (try? broker.figure("alarm_store", of: "router")) == 1 }
        let back = try broker.plainClient(loop, "parked", lasts: true)
        #expect(try back.nextMessage("what was stored").payload.count == 60_000)
        try Self.limitFiles(of: broker.router, to: "unlimited")
        #expect(try newcomer.next("PUBACK") == .puback(AcknowledgementPacket(packetIdentifier: 1)))
    }

    @Test func `an auth worker whose cache file may not grow lets devices in`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        func connect(_ device: String) throws -> UInt8 {
            let tls = try broker.tlsContext(try broker.pki.device(device))
            let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
            return try client.connect(clientIdentifier: device, userName: "u", password: "secret").returnCode
        }
        for device in ["known", "new", "later"] { try broker.provision(device, password: "secret") }
        #expect(try connect("known") == 0)
        try waitUntil("the row is written") {
            try (broker.figure("cache_rows_written", of: "authworker") ?? 0) > 0
        }
        try Self.limitFiles(of: broker.authWorkers[0], to: "4096")
        #expect(try connect("new") == 0)
        try waitUntil("a write has failed") {
            try (broker.figure("cache_write_failures", of: "authworker") ?? 0) > 0
        }
        #expect(try connect("later") == 0)
        #expect(try connect("known") == 0)
        #expect(try broker.status(of: "authworker").contains("cache is not usable"))
        try Self.limitFiles(of: broker.authWorkers[0], to: "unlimited")
        try waitUntil("the alarm's end") { try !broker.status(of: "authworker").contains("cache is not usable") }
        #expect(broker.authWorkers[0].isRunning)
    }
}
