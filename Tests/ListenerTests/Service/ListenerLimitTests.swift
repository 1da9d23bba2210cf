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
        }
    }
}
