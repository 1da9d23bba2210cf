import Common
import TestSupport
import Testing

@testable import Listener

/// A client's way through a real listener to a router and back.
@Suite struct ListenerSessionTests {
    private func contains(_ bytes: [UInt8], _ text: String) -> Bool {
        let pattern = Array(text.utf8)
        return bytes.indices.contains { bytes[$0...].starts(with: pattern) }
    }

    @Test("CONNECT goes up without its password, CONNACK comes down", arguments: ProtocolVersion.allCases)
    func connect(version: ProtocolVersion) throws {
        let harness = try ServiceHarness()
        let client = try harness.client()
        var connect = ConnectPacket(
            version: version,
            keepAliveSeconds: 60,
            clientIdentifier: Array("meter-1".utf8),
            will: .init(qos: .atLeastOnce, retain: true, topic: Array("w".utf8), payload: [1, 2]),
            userName: Array("user".utf8),
            password: Array("very secret".utf8)
        )
        let (handle, open) = try harness.open(client, connect)
        #expect(!harness.router.frames.contains { self.contains($0.body, "very secret") })
        connect.password = nil
        // Of its own in the frame.
        connect.userName = nil
        #expect(try Packet.decode(open.connect, version) == .connect(connect))
        #expect(open.listenerName == Array("plain".utf8))
        #expect(open.peerAddress == Array(client.localAddress.utf8))
        #expect(open.userName == Array("user".utf8))
        #expect(open.identity == nil)
        #expect(open.access.rules.map(\.filter) == [Array("clients/meter-1/#".utf8)])
        #expect(open.access.noMatch == .deny)
        client.read()
        #expect(client.received.isEmpty)
        harness.router.accept(handle, version)
        try harness.wait("CONNACK") { client.packets(version)?.isEmpty == false }
        #expect(client.packets(version) == [.connack(ConnackPacket(sessionPresent: false, returnCode: 0))])
    }

    @Test("Packets go up as they are, also those that came before CONNACK; PINGREQ is answered here")
    func forwards() throws {
        let harness = try ServiceHarness()
        let client = try harness.client()
        let early = harness.publish(10)
        let connect = ConnectPacket(version: .v3_1_1, clientIdentifier: Array("a".utf8))
        client.send(Packet.connect(connect).bytes(.v3_1_1) + early)
        try harness.wait("sessionOpen") { !harness.router.frames(.sessionOpen).isEmpty }
        let handle = harness.router.frames(.sessionOpen)[0].handle
        #expect(harness.router.packetBytes(of: handle).isEmpty)
        harness.router.accept(handle)
        try harness.wait("the early PUBLISH") { harness.router.packetBytes(of: handle) == early }
        let late = harness.publish(300_000, qos: .exactlyOnce, packetIdentifier: 5)
        client.send([0xC0, 0x00] + late)
        try harness.wait("the late PUBLISH") { harness.router.packetBytes(of: handle) == early + late }
        try harness.wait("PINGRESP") { client.packets()?.last == .pingresp }
        #expect(client.packets()?.count == 2)
    }

    @Test("Deliveries and multicasts arrive in order, each client with its own packet id")
    func fanOut() throws {
        let harness = try ServiceHarness()
        let one = try harness.connected("one")
        let two = try harness.connected("two")
        let packet = harness.publish(20, qos: .atLeastOnce, packetIdentifier: 1)
        // Fixed header, topic length, topic.
        let offset = UInt32(2 + 2 + "clients/a".utf8.count)
        harness.router.multicast(packet, offset: offset, to: [(one.handle, 7), (two.handle, 0x1234), (0xBAD, 9)])
        harness.router.multicast(harness.publish(3), offset: 0, to: [(one.handle, 0), (two.handle, 0)])
        harness.router.deliver(one.handle, [0x40, 2, 0, 1])
        func expected(_ identifier: UInt16) -> [UInt8] {
            harness.publish(20, qos: .atLeastOnce, packetIdentifier: identifier) + harness.publish(3)
        }
        let connack: [UInt8] = [0x20, 2, 0, 0]
        try harness.wait("the messages") {
            one.client.read()
            two.client.read()
            return one.client.received == connack + expected(7) + [0x40, 2, 0, 1]
                && two.client.received == connack + expected(0x1234)
        }
        #expect(harness.service.counters.framesWithoutConnection == 1)
        // The one that nobody was there for counts as sent.
        try harness.wait("the link's credit") {
            harness.router.creditReturned().link == 3 * packet.count + 2 * harness.publish(3).count
        }
    }

    @Test("A broken frame of the router is counted and harms nobody")
    func brokenFrames() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a")
        harness.router.multicast([0x30, 0x00], offset: 100, to: [(handle, 1)])
        harness.router.link?.output.writeFrameHeader(.sessionClose, handle: handle, bodyBytes: 0)
        harness.router.link?.output.writeFrameHeader(.publishCredit, handle: 0, bodyBytes: 1)
        harness.router.link?.output.write(0 as UInt8)
        harness.router.deliver(handle, [0xD0, 0x00])
        try harness.wait("what comes after") { client.packets()?.last == .pingresp }
        #expect(harness.service.counters.invalidFrames == 3)
    }

    @Test("The end of the connection is told once, with its cause")
    func clientGone() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a")
        let last = harness.publish(5)
        client.send(last)
        client.finish()
        try harness.wait("sessionClosed") { !harness.closeCauses(handle).isEmpty }
        #expect(harness.closeCauses(handle) == [.connectionLost])
        #expect(harness.router.packetBytes(of: handle) == last)
        // The packet is told before the end.
        #expect(harness.router.frames.last?.frameKind == .sessionClosed)
        try harness.loop.turnUntilQuiet()
        #expect(harness.closeCauses(handle).count == 1)
        harness.router.deliver(handle, [0xD0, 0x00])
        try harness.wait("the late frame") { harness.service.counters.framesWithoutConnection == 1 }
    }

    @Test("A client that goes while the router decides is told too")
    func clientGoneWhileOpening() throws {
        let harness = try ServiceHarness()
        let client = try harness.client()
        let connect = ConnectPacket(version: .v3_1_1, clientIdentifier: Array("a".utf8))
        let handle = try harness.open(client, connect).handle
        client.finish()
        harness.router.accept(handle)
        try harness.wait("sessionClosed") { harness.closeCauses(handle) == [.connectionLost] }
    }

    @Test("After DISCONNECT nothing more goes up, and the router ends it")
    func disconnect() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a", .v5_0)
        client.send([0xE0, 0x00] + harness.publish(5))
        try harness.wait("DISCONNECT") { harness.router.packetBytes(of: handle) == [0xE0, 0x00] }
        client.send(harness.publish(5))
        try harness.loop.turnUntilQuiet()
        #expect(harness.router.packetBytes(of: handle) == [0xE0, 0x00])
        harness.router.end(.sessionClose, handle, .success, packet: [])
        try harness.wait("the end") {
            client.read()
            return client.isEnded
        }
        #expect(harness.closeCauses(handle) == [])
    }

    @Test("The router refuses or ends a session with the packet of its choice")
    func routerEnds() throws {
        let harness = try ServiceHarness()
        let refused = try harness.client()
        let connect = ConnectPacket(version: .v5_0, clientIdentifier: Array("a".utf8))
        let handle = try harness.open(refused, connect).handle
        let connack = Packet.connack(ConnackPacket(sessionPresent: false, returnCode: 0x97))
        harness.router.end(.sessionRefused, handle, .quotaExceeded, packet: connack.bytes(.v5_0))
        try harness.wait("CONNACK and the end") { refused.packets(.v5_0) == [connack] && refused.isEnded }
        #expect(harness.log.refusals.map { $0["reason"] } == ["router-0x97"])
        #expect(harness.log.refusals.first?["device"] == "a")

        let ended = try harness.connected("b", .v5_0)
        let disconnect = Packet.disconnect(DisconnectPacket(reasonCode: .sessionTakenOver))
        harness.router.end(.sessionClose, ended.handle, .sessionTakenOver, packet: disconnect.bytes(.v5_0))
        try harness.wait("DISCONNECT and the end") {
            ended.client.packets(.v5_0)?.last == disconnect && ended.client.isEnded
        }
        // The router knows already.
        #expect(harness.router.frames(.sessionClosed).isEmpty)
    }

    @Test("What is not MQTT ends an open session with DISCONNECT and its reason, in 3.1.1 without a word")
    func protocolErrors() throws {
        let harness = try ServiceHarness { $0.mqtt.maxPacketSizeBytes = 1000 }
        for (bytes, code) in [([0x83, 0x00], ReasonCode.malformedPacket), (harness.publish(1000), .packetTooLarge)] {
            let (client, handle) = try harness.connected("a", .v5_0)
            client.send(bytes)
            let disconnect = Packet.disconnect(DisconnectPacket(reasonCode: code))
            try harness.wait("DISCONNECT") { client.packets(.v5_0)?.last == disconnect && client.isEnded }
            try harness.wait("sessionClosed") { harness.closeCauses(handle) == [.protocolError] }
            #expect(harness.router.packetBytes(of: handle).isEmpty)
        }
        let (client, handle) = try harness.connected("b", .v3_1_1)
        client.send([0x00, 0x00])
        try harness.wait("the end") { client.packets()?.count == 1 && client.isEnded }
        try harness.wait("sessionClosed") { harness.closeCauses(handle) == [.protocolError] }
        #expect(harness.service.counters.protocolErrors == 3)
    }

    @Test("A stopping listener says goodbye and tells the router")
    func stop() throws {
        let harness = try ServiceHarness()
        let five = try harness.connected("a", .v5_0)
        let four = try harness.connected("b", .v3_1_1)
        harness.service.stop()
        let disconnect = Packet.disconnect(DisconnectPacket(reasonCode: .serverShuttingDown))
        try harness.wait("goodbye") {
            five.client.packets(.v5_0)?.last == disconnect && five.client.isEnded && four.client.packets()?.count == 1
                && four.client.isEnded
        }
        try harness.wait("sessionClosed") { harness.router.frames(.sessionClosed).count == 2 }
        #expect(harness.closeCauses(five.handle) == [.listenerShutdown])
        #expect(harness.closeCauses(four.handle) == [.listenerShutdown])
        #expect(throws: SystemError.self) { _ = try harness.client() }
    }
}
