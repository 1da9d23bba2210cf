import Common
import Glibc
import TestSupport
import Testing

/// `martlet store` on the file of a real router.
@Suite struct StoreCommandTests {
    private func store(_ broker: TestBroker, _ arguments: String...) throws -> (status: Int32, output: String) {
        let file = broker.directory.file("martlet.yaml")
        return try runProcess(
            TestBroker.executable("martlet"),
            arguments: ["store"] + arguments + ["--config", file]
        )
    }

    private func properties() -> Properties {
        var properties = Properties()
        properties.sessionExpiryInterval = 3600
        return properties
    }

    /// A parked session with `count` messages of 1 kB, and as many retained ones.
    private func fill(_ broker: TestBroker, _ loop: EventLoop, count: Int) throws {
        let device = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try device.connect(clientIdentifier: "parked", cleanStart: false, properties: self.properties())
        #expect(try device.subscribe("q/#", qos: .atLeastOnce) == [1])
        device.send(.disconnect(DisconnectPacket()))
        try device.wait("the end") { device.hasEnded }
        let publisher = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try publisher.connect(clientIdentifier: "publisher")
        for number in 1...count {
            publisher.publish(
                "q/\(number)",
                [UInt8](repeating: UInt8(number & 0xFF), count: 1024),
                qos: .atLeastOnce,
                retain: true,
                packetIdentifier: UInt16(number)
            )
            _ = try publisher.next("PUBACK")
        }
    }

    @Test func `a backup taken while the router runs brings everything back`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try self.fill(broker, loop, count: 20)
        let checked = try self.store(broker, "check")
        #expect(checked.status == 0, "\(checked.output)")
        for line in [
            "sessions           1", "queued messages    20", "retained messages  20", "distinct messages  20",
            "is sound",
        ] {
            #expect(checked.output.contains(line), "\(line) is missing in\n\(checked.output)")
        }
        let exported = try self.store(broker, "export").output.split(separator: "\n")
        try #require(exported.count == 41, "\(exported.count) lines")
        #expect(
            exported.first?.contains(
                #""session":"parked","expiry_seconds":3600,"connected":false,"subscriptions":["q/#"]"#
            ) == true
        )
        #expect(exported[1].contains(#""message_for":"parked","topic":"q/1","qos":1,"payload_hex":"0101"#))

        let backup = broker.directory.file("backup.db")
        #expect(try self.store(broker, "backup", backup).status == 0)
        #expect(try self.store(broker, "backup", backup).output.contains("is there already"))
        let refused = try self.store(broker, "restore", backup)
        #expect(refused.status == 1 && refused.output.contains("the router is running"), "\(refused.output)")

        broker.killRouter()
        let path = broker.directory.file("state") + "/router/store.db"
        for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
        let restored = try self.store(broker, "restore", backup)
        #expect(restored.status == 0, "\(restored.output)")
        try broker.restartRouter()
        #expect(try broker.figure("retained_messages", of: "router") == 20)
        let device = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        let connack = try device.connect(clientIdentifier: "parked", cleanStart: false, properties: self.properties())
        #expect(connack.sessionPresent)
        for number in 1...20 {
            guard case .publish(let publish) = try device.next("a PUBLISH") else { return }
            #expect(publish.payload == [UInt8](repeating: UInt8(number), count: 1024))
            device.send(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
        }
    }

    /// They were left out, and with them what a request has to be answered by.
    /// The store has marks of exchanges then that its publisher's listener may still send again.
    @Test func `regression: a store is sound while a publisher of QoS 2 is connected`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        let device = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try device.connect(clientIdentifier: "parked", cleanStart: false, properties: self.properties())
        #expect(try device.subscribe("q/#", qos: .exactlyOnce) == [2])
        device.cut()
        let publisher = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try publisher.connect(clientIdentifier: "publisher")
        publisher.publish("q/1", [1], qos: .exactlyOnce, packetIdentifier: 7)
        _ = try publisher.next("PUBREC")
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 7)))
        _ = try publisher.next("PUBCOMP")

        let checked = try self.store(broker, "check")
        #expect(checked.status == 0 && checked.output.contains("queued messages    1"), "\(checked.output)")
        let backup = broker.directory.file("backup.db")
        let copied = try self.store(broker, "backup", backup)
        #expect(copied.status == 0, "\(copied.output)")
        broker.killRouter()
        let restored = try self.store(broker, "restore", backup)
        #expect(restored.status == 0, "\(restored.output)")
        let repaired = try self.store(broker, "repair")
        #expect(repaired.status == 0 && repaired.output.contains(" 0 left out"), "\(repaired.output)")
    }

    /// As a release before this one left it.
    @Test func `a store of an earlier version is checked, copied and restored, a later one is not`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try self.fill(broker, loop, count: 3)
        broker.killRouter()
        let path = broker.directory.file("state") + "/router/store.db"
        func setVersion(_ number: Int) throws {
            let set = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA user_version = \(number)')"
            let (status, output) = try runProcess("/usr/bin/env", arguments: ["python3", "-c", set, path])
            try #require(status == 0, "\(output)")
        }
        try setVersion(1)
        #expect(try self.store(broker, "check").status == 0)
        let backup = broker.directory.file("backup.db")
        #expect(try self.store(broker, "backup", backup).status == 0)
        let restored = try self.store(broker, "restore", backup)
        #expect(restored.status == 0, "\(restored.output)")
        try broker.restartRouter()
        broker.killRouter()
        #expect(try self.store(broker, "check").output.contains("queued messages    3"))
        try setVersion(1000)
        let refused = try self.store(broker, "check")
        #expect(refused.status == 1 && refused.output.contains("written by a newer release"), "\(refused.output)")
    }

    @Test func `regression: the export has the properties of messages`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        let publisher = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try publisher.connect(clientIdentifier: "publisher")
        var properties = Properties()
        properties.payloadFormatIndicator = 1
        properties.contentType = Array("text/\"x\"".utf8)
        properties.responseTopic = Array("answers/1".utf8)
        properties.correlationData = [0, 0xFF]
        properties.messageExpiryInterval = 86_400
        properties.userProperties = [
            .init(name: Array("a".utf8), value: Array("1".utf8)),
            .init(name: Array("a".utf8), value: Array("2 x".utf8)),
        ]
        publisher.publish("r", [7], qos: .atLeastOnce, retain: true, packetIdentifier: 1, properties: properties)
        _ = try publisher.next("PUBACK")
        var line = ""
        try waitUntil("the message is stored") {
            line = try self.store(broker, "export").output
            return !line.isEmpty
        }
        let json = try #require(JSONValue(Array(line.utf8)), "\(line)")
        func text(_ text: String) -> JSONValue { .text(Array(text.utf8)) }
        #expect(json["retained"] == .flag(true) && json["payload_hex"] == text("07"))
        #expect(json["payload_format"] == .integer(1) && json["content_type"] == text("text/\"x\""))
        #expect(json["response_topic"] == text("answers/1") && json["correlation_data_hex"] == text("00ff"))
        #expect(
            json["user_properties"] == .list([.list([text("a"), text("1")]), .list([text("a"), text("2 x")])]),
            "\(line)"
        )
        guard case .integer(let expires)? = json["expires"] else { throw ProcessError(description: line) }
        let now = Int(Clock.wall() / Nanoseconds.perSecond)
        #expect((now + 86_000...now + 86_400).contains(expires))
    }

    /// Stops the router and has a damaged copy in the place of its store. A copy has no free pages, and the messages, which are most of
    /// it, behind each other: what is damaged is a few of them.
    private func damage(_ broker: TestBroker, _ change: (inout [UInt8]) -> Void) throws {
        // A clean end folds the log into the file.
        broker.processes.last?.signal(SIGTERM)
        #expect(try broker.processes.last?.waitForExit() == 0)
        let copy = broker.directory.file("copy.db")
        #expect(try self.store(broker, "backup", copy).status == 0)
        var bytes = try readFile(copy)
        change(&bytes)
        try writeFile(broker.directory.file("state") + "/router/store.db", bytes)
    }

    @Test func `a router that finds its store emptied says so`() throws {
        let broker = try TestBroker()
        broker.killRouter()
        let path = broker.directory.file("state") + "/router/store.db"
        for suffix in ["-wal", "-shm"] { unlink(path + suffix) }
        try writeFile(path, [])
        try broker.restartRouter()
        try broker.router.waitForLog("the store is an empty file")
    }

    @Test func `a store that lost its end is refused, and repaired as far as it goes`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try self.fill(broker, loop, count: 300)
        try self.damage(broker) { $0 = Array($0.prefix($0.count * 2 / 3)) }
        #expect(try self.store(broker, "check").status == 1)
        let router = try broker.startRouterAgain()
        #expect(try router.waitForExit() != 0)

        let repaired = try self.store(broker, "repair")
        #expect(repaired.status == 0 && repaired.output.contains("store.db.former-1"), "\(repaired.output)")
        #expect(try self.store(broker, "check").status == 0)
        try broker.restartRouter()
        let kept = try #require(try broker.figure("retained_messages", of: "router"))
        #expect(kept > 50 && kept < 300, "\(kept) of 300")
    }

    @Test func `a damaged store is refused, and repaired as far as it can be read`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try self.fill(broker, loop, count: 300)
        try self.damage(broker) { bytes in
            let middle = bytes.count / 2 / 4096 * 4096
            for offset in 0..<8192 { bytes[middle + offset] = 0xA5 }
        }
        let checked = try self.store(broker, "check")
        #expect(checked.status == 1 && checked.output.contains("martlet store repair"), "\(checked.output)")

        let router = try broker.startRouterAgain()
        #expect(try router.waitForExit() != 0)
        #expect(router.log.contains("martlet store"), "\(router.log)")

        let repaired = try self.store(broker, "repair")
        #expect(repaired.status == 0 && repaired.output.contains("store.db.former-1"), "\(repaired.output)")
        #expect(try self.store(broker, "check").status == 0)
        try broker.restartRouter()
        let kept = try #require(try broker.figure("retained_messages", of: "router"))
        #expect(kept > 200 && kept <= 300, "\(kept) of 300")
    }
}
