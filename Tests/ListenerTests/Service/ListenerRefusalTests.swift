import Common
import TestSupport
import Testing

@testable import Listener

/// Who does not get in: what it hears, and what the log says.
@Suite struct ListenerRefusalTests {
    private func waitForEnd(_ harness: ServiceHarness, _ client: TCPClient) throws {
        try harness.wait("the end") {
            client.read()
            return client.isEnded || client.isReset
        }
        #expect(!client.isReset)
    }

    @Test("A client that sends no CONNECT, or half of one, is closed in time")
    func connectTimeout() throws {
        let harness = try ServiceHarness {
            $0.listeners[0].connectTimeoutNanoseconds = 200 * Nanoseconds.perMillisecond
        }
        let silent = try harness.client()
        let half = try harness.client()
        let connect = Packet.connect(ConnectPacket(version: .v5_0, clientIdentifier: Array("abc".utf8))).bytes(.v5_0)
        half.send(Array(connect.dropLast()))
        let fine = try harness.connected("fine")
        try self.waitForEnd(harness, silent)
        try harness.wait("the half one's end") {
            half.read()
            return half.isEnded || half.isReset
        }
        #expect(silent.received.isEmpty && half.received.isEmpty)
        #expect(harness.service.counters.refused[.connectTimeout] == 2)
        #expect(harness.log.refusals.map { $0["reason"] } == ["connect-timeout", "connect-timeout"])
        #expect(harness.log.refusals.first?["listener"] == "plain")
        #expect(
            harness.log.refusals.compactMap { $0["address"] }.sorted() == [silent, half].map(\.localAddress).sorted()
        )
        #expect(harness.closeCauses(fine.handle).isEmpty)
    }

    @Test("Beyond max_connections the next one is closed at once; a place that gets free is used")
    func tooManyConnections() throws {
        let harness = try ServiceHarness { $0.listeners[0].maxConnections = 2 }
        let first = try harness.connected("1")
        let second = try harness.connected("2")
        let third = try harness.client()
        try self.waitForEnd(harness, third)
        #expect(harness.log.refusals.map { $0["reason"] } == ["too-many-connections"])
        first.client.finish()
        try harness.wait("the first one's end") { harness.closeCauses(first.handle).count == 1 }
        let fourth = try harness.connected("4")
        #expect(fourth.handle != first.handle)
        // Frames for the connection that had the place do not reach the one that has it now.
        harness.router.deliver(first.handle, [0xD0, 0x00])
        harness.router.deliver(fourth.handle, [0xD0, 0x00])
        harness.router.deliver(second.handle, [0xD0, 0x00])
        try harness.wait("the packets") { second.client.packets()?.count == 2 }
        #expect(fourth.client.packets()?.count == 2)
        #expect(harness.service.counters.framesWithoutConnection == 1)
    }

    @Test("Other protocols get no answer; a level from the future gets one, though more was sent behind it")
    func notMQTT() throws {
        let harness = try ServiceHarness()
        for (bytes, reason, detail) in [
            (Array("GET / HTTP/1.1\r\nHost: broker\r\n\r\n".utf8), "not-mqtt", "the first packet is no CONNECT"),
            ([0x16, 0x03, 0x01, 0x00, 0x05, 1, 2, 3, 4, 5], "not-mqtt", "a TLS handshake, but no TLS here"),
            ([0x10, 0x02, 0x00, 0x00], "malformed-connect", "protocol name is not MQTT"),
        ] as [([UInt8], String, String)] {
            let client = try harness.client()
            client.send(bytes)
            client.finish()
            try self.waitForEnd(harness, client)
            #expect(client.received.isEmpty)
            #expect(harness.log.refusals.last?["reason"] == reason)
            #expect(harness.log.refusals.last?["detail"] == detail)
        }
        let future = try harness.client()
        let connect: [UInt8] = [0x10, 0x0D, 0, 4, 0x4D, 0x51, 0x54, 0x54, 6, 2, 0, 60, 0, 0, 0]
        future.send(connect + [UInt8](repeating: 7, count: 300_000))
        try harness.wait("the answer") {
            future.send([UInt8](repeating: 7, count: 1000))
            future.read()
            return future.isEnded || future.isReset
        }
        #expect(!future.isReset)
        #expect(future.packets(.v5_0) == [.connack(ConnackPacket(sessionPresent: false, returnCode: 0x84))])
        #expect(harness.log.refusals.last?["reason"] == "protocol-version")
    }

    @Test("Enhanced authentication is refused as MQTT 5 has it ([MQTT-4.12.0-1])")
    func enhancedAuthentication() throws {
        let harness = try ServiceHarness()
        let client = try harness.client()
        var connect = ConnectPacket(version: .v5_0, clientIdentifier: Array("a".utf8))
        connect.properties.authenticationMethod = Array("SCRAM-SHA-1".utf8)
        client.send(.connect(connect), .v5_0)
        let connack = Packet.connack(ConnackPacket(sessionPresent: false, returnCode: 0x8C))
        try harness.wait("CONNACK") { client.packets(.v5_0) == [connack] }
        #expect(harness.log.refusals.last?["reason"] == "enhanced-authentication")
    }

    @Test("why finds by client id and user name what was refused before anybody was asked")
    func whyFindsWhatWasRefusedBeforeAuthentication() throws {
        let directory = try TemporaryDirectory()
        try writeFile(directory.file("bans"), Array("client_id banned\n".utf8))
        let harness = try ServiceHarness {
            $0.mqtt.maxWillSizeBytes = 100
            $0.bansFile = directory.file("bans")
            $0.listeners[0].offer.protocolVersions = .init(.v5_0)
        }
        for (name, version, reason) in [
            ("will", .v5_0, "will-too-large"), ("old", .v3_1_1, "protocol-version"),
            ("method", .v5_0, "enhanced-authentication"), ("banned", .v5_0, "banned"),
        ] as [(String, ProtocolVersion, String)] {
            var connect = ConnectPacket(version: version, clientIdentifier: Array(name.utf8))
            connect.userName = Array("user-\(name)".utf8)
            if name == "will" {
                connect.will = ConnectPacket.Will(
                    qos: .atMostOnce,
                    retain: false,
                    topic: [0x74],
                    payload: [UInt8](repeating: 1, count: 101)
                )
            } else if name == "method" {
                connect.properties.authenticationMethod = [0x53]
            }
            let client = try harness.client()
            client.send(.connect(connect), version)
            try self.waitForEnd(harness, client)
            for text in [name, "user-\(name)"] {
                let reply = harness.service.perform(ControlCommand(["why", text]))?.text ?? ""
                for part in [reason, "client_id", "user_name", "user-\(name)"] {
                    #expect(reply.contains(part), "\(text): \(reply)")
                }
            }
        }
    }

    @Test("why finds by address what was refused before anything was read, as far as the log tells of it")
    func whyFindsWhatWasRefusedAtOnce() throws {
        let directory = try TemporaryDirectory()
        let bans = directory.file("bans")
        try writeFile(bans, Array("address 127.0.0.0/8\n".utf8))
        let loopback = try AddressRange("127.0.0.0/8")
        for (reason, configure) in [
            ("banned", { $0.bansFile = bans }),
            ("too-many-connections", { $0.listeners[0].maxConnections = 0 }),
            ("proxy-header", { $0.listeners[0].proxyProtocolTrusted = [loopback] }),
        ] as [(String, (inout Configuration) -> Void)] {
            let harness = try ServiceHarness {
                configure(&$0)
                $0.log.refusedPerSecond = 3
            }
            let clients = try (0..<40).map { _ in try harness.client() }
            for client in clients {
                client.send([UInt8](repeating: 0x10, count: 20))
                try harness.wait("the end") {
                    client.read()
                    return client.isEnded || client.isReset
                }
            }
            let reply = harness.service.perform(ControlCommand(["why", "127.0.0.1"]))?.text ?? ""
            let found = reply.split(separator: "\n").count { $0.contains(reason) }
            #expect((3..<40).contains(found), "\(reason): \(reply)")
        }
    }

    @Test("A fleet that is refused fills no log: so many lines a second, and the count of the others")
    func logLimit() throws {
        let harness = try ServiceHarness { $0.log.refusedPerSecond = 3 }
        let clients = try (0..<40).map { _ in try harness.client() }
        for client in clients { client.send([0x30, 0x00]) }
        try harness.wait("all refusals") { harness.service.counters.refused[.notMQTT] == 40 }
        func omitted() -> Int {
            let lines = harness.log.lines.filter { $0.message == "refused connections not logged" }
            return lines.compactMap { $0.fields["count"].flatMap { Int($0) } }.reduce(0, +)
                + harness.log.refusals.compactMap { $0["not_logged_before"].flatMap { Int($0) } }.reduce(0, +)
        }
        // None is lost from the account.
        try harness.wait("the count") { harness.log.refusals.count + omitted() == 40 }
        #expect(harness.log.refusals.count >= 3 && harness.log.refusals.count <= 12)
    }

    @Test("Status names what an operator asks for")
    func status() throws {
        let harness = try ServiceHarness()
        let (client, _) = try harness.connected("a")
        let refused = try harness.client()
        refused.send([0x30, 0x00])
        try harness.wait("the refusal") { harness.service.counters.refused[.notMQTT] == 1 }
        let lines = harness.service.status().lines
        func value(_ name: String) -> String? { lines.first { $0.name == name }?.value }
        #expect(value("sessions") == "1")
        #expect(value("router") == "up")
        #expect(value("accepted_total") == "2")
        #expect(value("refused_total{reason=\"not-mqtt\"}") == "1")
        withExtendedLifetime(client) {}
    }
}
