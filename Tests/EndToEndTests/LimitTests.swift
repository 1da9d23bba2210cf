import Common
import TestSupport
import Testing

/// Limits and policies of a running broker, as clients meet them.
@Suite struct LimitTests {
    @Test func `a client id bound to the certificate is the session's, whoever says otherwise`() throws {
        let broker = try TestBroker(deviceListener: "client_id: from_cn")
        let loop = try EventLoop()
        func device(_ name: String, _ clientIdentifier: String) throws -> TestClient {
            try broker.provision(name, password: "p")
            let tls = try broker.tlsContext(try broker.pki.device(name))
            let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
            let connack = try client.connect(clientIdentifier: clientIdentifier, userName: "u", password: "p")
            #expect(connack.returnCode == 0)
            return client
        }
        let victim = try device("device-1", "anything")
        // Another device that claims the first one's name gets a session of its own.
        let thief = try device("device-2", "device-1")
        #expect(try thief.subscribe("devices/device-1/#", qos: .atMostOnce) == [0x87])
        #expect(!victim.hasEnded)
        let again = try device("device-1", "")
        try victim.wait("the takeover") { victim.hasEnded }
        #expect(!again.hasEnded && !thief.hasEnded)
    }

    @Test func `what only the handshake needed takes no memory after it`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.provision("device-1", password: "p")
        let alone = try broker.pki.device("device-1")
        var whole = alone
        whole.certificateFile = broker.directory.file("whole.crt")
        try writeFile(whole.certificateFile, try readFile(alone.certificateFile) + readFile(broker.pki.caFile))
        func heapBytes() throws -> Int { try #require(try broker.figure("heap_bytes", of: "listener")) }
        var clients: [TestClient] = []
        func bytesPerConnection(_ credentials: TestPKI.Credentials, _ count: Int) throws -> Int {
            let before = try heapBytes()
            for _ in 0..<count {
                let tls = try broker.tlsContext(credentials)
                let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
                let identifier = "client-\(clients.count)"
                #expect(try client.connect(clientIdentifier: identifier, userName: "u", password: "p").returnCode == 0)
                clients.append(client)
            }
            return (try heapBytes() - before) / count
        }
        // What comes once, and what grows by doubling.
        for credentials in [alone, whole] { _ = try bytesPerConnection(credentials, 70) }
        let withoutAuthority = try bytesPerConnection(alone, 50)
        let withAuthority = try bytesPerConnection(whole, 50)
        #expect(withAuthority - withoutAuthority < 500, "\(withoutAuthority) without, \(withAuthority) with it")
        // With the keys of the handshake it would be 21,900.
        #expect(withoutAuthority < 21_000)
    }

    @Test func `what the broker says of itself is read where a rule names it`() throws {
        let broker = try TestBroker(settings: "mqtt: {sys_interval: 1s}\n")
        let loop = try EventLoop()
        let monitor = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try monitor.connect(clientIdentifier: "monitor")
        #expect(try monitor.subscribe("$SYS/broker/version", qos: .atMostOnce) == [0])
        guard case .publish(let version) = try monitor.next("the version") else {
            Issue.record("no PUBLISH")
            return
        }
        #expect(version.payload == Array("Martlet \(ProgramVersion.text)".utf8))
        #expect(version.retain)
        #expect(try monitor.subscribe("$SYS/broker/uptime", qos: .atMostOnce, packetIdentifier: 2) == [0])
        _ = try monitor.next("the uptime")
        guard case .publish(let uptime) = try monitor.next("the next uptime") else {
            Issue.record("no PUBLISH")
            return
        }
        #expect(String(decoding: uptime.payload, as: UTF8.self).hasSuffix(" seconds"))
        #expect(!uptime.retain)
        try broker.provision("device-1", password: "p")
        let tls = try broker.tlsContext(try broker.pki.device("device-1"))
        let device = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        _ = try device.connect(clientIdentifier: "d", userName: "u", password: "p")
        #expect(try device.subscribe("$SYS/#", qos: .atMostOnce) == [0x87])
    }

    @Test func `a full queue keeps the newest messages and the status tells how many went`() throws {
        let broker = try TestBroker(settings: "mqtt: {session: {max_queued_messages: 10}}\n")
        let loop = try EventLoop()
        let publisher = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try publisher.connect(clientIdentifier: "publisher")
        func subscriber() throws -> TestClient {
            let client = try TestClient(loop: loop, port: broker.plainPort, version: .v3_1_1)
            _ = try client.connect(clientIdentifier: "subscriber", cleanStart: false)
            return client
        }
        let first = try subscriber()
        #expect(try first.subscribe("t", qos: .atLeastOnce) == [1])
        first.cut()
        try waitUntil("the session waits") { try broker.status(of: "router").contains("sessions_connected 1\n") }
        for index in 0..<15 as Range<UInt8> {
            publisher.publish("t", [index], qos: .atLeastOnce, packetIdentifier: UInt16(index) + 1)
            #expect(try publisher.next("PUBACK").type == .puback)
        }
        let status = try broker.status(of: "router")
        #expect(status.contains("queued_messages 10\n"))
        #expect(status.contains("dropped_queue_full 5\n"))
        let second = try subscriber()
        for index in 5..<15 as Range<UInt8> {
            guard case .publish(let publish) = try second.next("message \(index)") else {
                Issue.record("no PUBLISH")
                return
            }
            #expect(publish.payload == [index])
        }
    }
}
