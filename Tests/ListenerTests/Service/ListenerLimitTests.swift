import Common
import TestSupport
import Testing

@testable import Listener

/// What a listener does at its limits: how fast a client may publish, how fast connections come, which versions and client ids.
@Suite struct ListenerLimitTests {
    private func waitForEnd(_ harness: ServiceHarness, _ client: TCPClient) throws {
        try harness.wait("the end") {
            client.read()
            return client.isEnded || client.isReset
        }
    }

    @Test("A client that publishes too fast is read no faster than it may, loses nothing, and others do not notice")
    func slowedDown() throws {
        let harness = try ServiceHarness {
            $0.listeners[0].offer.publishRate.messagesPerSecond = 50
            $0.listeners[0].offer.publishRate.burstNanoseconds = 100 * Nanoseconds.perMillisecond
        }
        let (client, handle) = try harness.connected("fast", keepAliveSeconds: 60)
        let (other, otherHandle) = try harness.connected("other")
        let publish = harness.publish(100)
        let started = harness.loop.now
        client.send(Array(repeating: publish, count: 25).flatMap { $0 })
        try harness.wait("the burst") { harness.router.packetBytes(of: handle).count >= 5 * publish.count }
        other.send(publish)
        try harness.wait("the other's message") { harness.router.packetBytes(of: otherHandle) == publish }
        #expect(harness.router.packetBytes(of: handle).count < 25 * publish.count)
        #expect(harness.service.counters.rateStops >= 1)
        try harness.wait("all messages") { harness.router.packetBytes(of: handle).count == 25 * publish.count }
        // 20 beyond the burst, at 50 a second.
        #expect(harness.loop.now - started >= 390 * Nanoseconds.perMillisecond)
        #expect(harness.closeCauses(handle).isEmpty)
    }

    @Test(
        "By policy a client that publishes too fast is disconnected: with 0x96 where the version can say so",
        arguments: [ProtocolVersion.v3_1_1, .v5_0]
    )
    func rateDisconnects(version: ProtocolVersion) throws {
        let harness = try ServiceHarness {
            $0.listeners[0].offer.publishRate.bytesPerSecond = 1000
            $0.listeners[0].offer.publishRate.exceeded = .disconnect
        }
        let (client, handle) = try harness.connected("fast", version)
        let packet = Packet.publish(PublishPacket(topic: [0x74], payload: [UInt8](repeating: 1, count: 1200)))
        client.send(Array(repeating: packet.bytes(version), count: 4).flatMap { $0 })
        try self.waitForEnd(harness, client)
        let last = client.packets(version)?.last
        if version == .v5_0 {
            #expect(last == .disconnect(DisconnectPacket(reasonCode: .messageRateTooHigh)))
        } else {
            #expect(last?.type == .connack)
        }
        #expect(harness.service.counters.rateDisconnects == 1)
        try harness.wait("the session's end") { harness.closeCauses(handle).count == 1 }
        #expect(harness.router.packetBytes(of: handle).count == 2 * packet.bytes(version).count)
    }

    @Test("Connections beyond the rate wait, and get in", arguments: [true, false])
    func connectionRate(isOfProcess: Bool) throws {
        let harness = try ServiceHarness {
            if isOfProcess { $0.processes.maxConnectionRate = 10 } else { $0.listeners[0].maxConnectionRate = 10 }
        }
        let started = harness.loop.now
        let clients = try (0..<14).map { _ in try harness.client() }
        for (index, client) in clients.enumerated() {
            let connect = ConnectPacket(version: .v3_1_1, clientIdentifier: Array("c\(index)".utf8))
            client.send(Packet.connect(connect))
        }
        try harness.wait("ten clients") { harness.router.frames(.sessionOpen).count >= 10 }
        try harness.wait("all clients") { harness.router.frames(.sessionOpen).count == 14 }
        // Four beyond a second's worth, at ten a second.
        #expect(harness.loop.now - started >= 390 * Nanoseconds.perMillisecond)
        #expect(harness.service.counters.acceptPauses >= 1)
        #expect(harness.service.counters.refused.isEmpty)
    }

    @Test("A version that the listener does not offer is refused in its own words", arguments: ProtocolVersion.allCases)
    func versions(version: ProtocolVersion) throws {
        let harness = try ServiceHarness {
            $0.listeners[0].offer.protocolVersions = Configuration.ProtocolVersions.all.subtracting(.init(version))
        }
        let client = try harness.client()
        client.send(Packet.connect(ConnectPacket(version: version, clientIdentifier: [0x61])), version)
        try self.waitForEnd(harness, client)
        let code = version == .v5_0 ? ReasonCode.unsupportedProtocolVersion.rawValue : 1
        #expect(client.packets(version) == [.connack(ConnackPacket(sessionPresent: false, returnCode: code))])
        #expect(harness.log.refusals.map { $0["reason"] } == ["protocol-version"])
        // As the key has it: it said v3_1.
        let written = [ProtocolVersion.v3_1: "3.1", .v3_1_1: "3.1.1", .v5_0: "5.0"][version] ?? ""
        let detail = "protocol_versions of the listener leaves out \(written)"
        #expect(harness.log.refusals.map { $0["detail"] } == [detail])
        #expect(harness.router.frames(.sessionOpen).isEmpty)
        let other = version == .v5_0 ? ProtocolVersion.v3_1_1 : .v5_0
        _ = try harness.connected("other", other)
    }

    @Test("A client id that must be the certificate's is refused without one")
    func clientIdentifierWithoutCertificate() throws {
        for policy in [Configuration.Listener.ClientIDPolicy.mustEqualCommonName, .fromCommonName] {
            let harness = try ServiceHarness { $0.listeners[0].clientID = policy }
            let client = try harness.client()
            client.send(Packet.connect(ConnectPacket(version: .v3_1_1, clientIdentifier: [0x61])))
            try self.waitForEnd(harness, client)
            #expect(client.packets() == [.connack(ConnackPacket(sessionPresent: false, returnCode: 2))])
            #expect(harness.log.refusals.map { $0["reason"] } == ["client-id-not-common-name"])
            let detail = "client_id: \(policy.rawValue), and the client shows no certificate"
            #expect(harness.log.refusals.map { $0["detail"] } == [detail])
        }
    }

    /// Ten thousand clients with the largest CONNECT each had 9 GB kept here, and as much in the router.
    @Test(
        "A will above the limit is refused, with 0x95 where the version can say so; the largest that is allowed is not",
        arguments: [ProtocolVersion.v3_1_1, .v5_0]
    )
    func largeWills(version: ProtocolVersion) throws {
        let harness = try ServiceHarness { $0.mqtt.maxWillSizeBytes = 1000 }
        func connect(_ payloadBytes: Int) -> ConnectPacket {
            let payload = [UInt8](repeating: 7, count: payloadBytes)
            var will = ConnectPacket.Will(qos: .atMostOnce, retain: false, topic: Array("t".utf8), payload: payload)
            // 28 bytes, with their length.
            if version == .v5_0 {
                will.properties.userProperties = [.init(name: [0x61], value: [UInt8](repeating: 0x62, count: 21))]
            }
            return ConnectPacket(version: version, clientIdentifier: Array("device".utf8), will: will)
        }
        let others = version == .v5_0 ? 28 : 0
        let client = try harness.client()
        client.send(Packet.connect(connect(1000 - others)), version)
        try self.waitForEnd(harness, client)
        let connack = Packet.connack(
            ConnackPacket(sessionPresent: false, returnCode: ReasonCode.packetTooLarge.rawValue)
        )
        #expect(client.packets(version) == (version == .v5_0 ? [connack] : []))
        #expect(harness.log.refusals.map { $0["reason"] } == ["will-too-large"])
        #expect(harness.log.refusals.map { $0["device"] } == ["device"])
        #expect(harness.log.refusals.map { $0["detail"] } == ["a will of 1001 bytes, mqtt.max_will_size is 1000"])
        #expect(harness.router.frames(.sessionOpen).isEmpty)
        try harness.client().send(Packet.connect(connect(999 - others)), version)
        try harness.wait("the CONNECT") { harness.router.frames(.sessionOpen).count == 1 }
    }

    @Test("What no router reads of a CONNECT is not kept: user properties, user name and password")
    func keptOfConnect() throws {
        let harness = try ServiceHarness()
        var connect = ConnectPacket(version: .v5_0, clientIdentifier: Array("device".utf8))
        connect.properties.receiveMaximum = 7
        var packet = connect
        packet.properties.userProperties = Array(repeating: .init(name: [0x61], value: [0x62]), count: 1000)
        packet.userName = Array("name".utf8)
        packet.password = Array("secret".utf8)
        let (_, open) = try harness.open(try harness.client(), packet)
        #expect(open.userName == Array("name".utf8))
        #expect(try Packet.decode(open.connect, .v5_0) == .connect(connect))
    }
}
