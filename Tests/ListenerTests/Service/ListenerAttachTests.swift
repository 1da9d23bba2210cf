import Common
import Glibc
import TestSupport
import Testing

@testable import Listener

/// A listener between two routers.
@Suite struct ListenerAttachTests {
    private func attached(_ harness: ServiceHarness) -> [(handle: UInt64, attach: SessionAttach)] {
        harness.router.frames(.sessionAttach).compactMap { frame in
            frame.body.withUnsafeBytes { SessionAttach.decode($0, flags: frame.flags) }.map { (frame.handle, $0) }
        }
    }

    private func loseRouter(_ harness: ServiceHarness) throws {
        harness.router.close()
        try harness.wait("the listener to notice") { !harness.isRouterUp }
        harness.router.forgetFrames()
    }

    private func puback(_ identifier: UInt16) -> [UInt8] {
        Packet.puback(AcknowledgementPacket(packetIdentifier: identifier)).bytes(.v3_1_1)
    }

    @Test("A new router is told of the session, and gets what has no answer, then what came meanwhile")
    func attach() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a", number: 77)
        let first = harness.publish(10, qos: .atLeastOnce, packetIdentifier: 1)
        let second = harness.publish(20, qos: .exactlyOnce, packetIdentifier: 2)
        client.send(first + second + harness.publish(5))
        try harness.wait("three packets") { harness.router.packetBytes(of: handle).count > first.count + second.count }
        harness.router.deliver(handle, self.puback(1))
        harness.router.deliver(handle, harness.publish(3, qos: .atLeastOnce, packetIdentifier: 9), flags: 0x02)
        try harness.wait("both") { client.packets()?.count == 3 }
        try self.loseRouter(harness)
        let parked = harness.publish(7) + harness.publish(8, qos: .atLeastOnce, packetIdentifier: 3)
        client.send(parked + [0xC0, 0x00])
        try harness.wait("PINGRESP") { client.packets()?.last == .pingresp }
        try harness.router.open()
        try harness.wait("what was parked") {
            harness.router.packetBytes(of: handle).count == second.count + parked.count
        }
        let attached = self.attached(harness)
        #expect(attached.count == 1)
        #expect(attached.first?.handle == handle)
        #expect(attached.first?.attach.sessionNumber == 77)
        #expect(attached.first?.attach.clientIdentifier == Array("a".utf8))
        #expect(attached.first?.attach.outbound == [.init(packetIdentifier: 9, stage: .atLeastOnce)])
        var again = second
        again[0] |= 0x08
        #expect(harness.router.packetBytes(of: handle) == again + parked, "with DUP, and no PINGREQ")
        // It goes on as before.
        harness.router.deliver(handle, self.puback(3))
        try harness.wait("its answer") {
            client.packets()?.last == .puback(AcknowledgementPacket(packetIdentifier: 3))
        }
        #expect(!client.isEnded)
    }

    @Test(
        "A client that was told what is not stored loses its connection when there is another router; others do not",
        arguments: [false, true]
    )
    func unstored(_ isAnother: Bool) throws {
        let harness = try ServiceHarness()
        let (told, first) = try harness.connected("told", .v5_0, number: 1)
        let (stored, second) = try harness.connected("stored", .v5_0, number: 2)
        let (untold, third) = try harness.connected("untold", .v5_0, number: 3)
        let suback: [UInt8] = [0x90, 0x04, 0x00, 0x05, 0x00, 0x01]
        for (client, handle) in [(told, first), (stored, second), (untold, third)] {
            harness.router.tellUnstored(handle, true)
            if client !== untold { harness.router.deliver(handle, suback) }
            if client === stored { harness.router.tellUnstored(handle, false) }
            harness.router.deliver(handle, [0xD0, 0x00])
            try harness.wait("what came with it") { client.packets(.v5_0)?.last == .pingresp }
        }
        try self.loseRouter(harness)
        if isAnother { try harness.router.openAsAnother() } else { try harness.router.open() }
        for other in [second, third] {
            try harness.wait("the others") { self.attached(harness).contains { $0.handle == other } }
        }
        #expect(!stored.isEnded && !untold.isEnded)
        guard isAnother else { return #expect(self.attached(harness).contains { $0.handle == first }) }
        let disconnect = Packet.disconnect(DisconnectPacket(reasonCode: .serverShuttingDown))
        try harness.wait("the end") { told.packets(.v5_0)?.last == disconnect && told.isEnded }
    }

    @Test("A router that stops gets what was sent, then nothing; what it still sends arrives")
    func drain() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a", number: 1)
        client.send(harness.publish(10, qos: .atLeastOnce, packetIdentifier: 1))
        try harness.wait("PUBLISH") { !harness.router.packetBytes(of: handle).isEmpty }
        harness.router.announceStop()
        try harness.wait("linkDrained") { harness.router.frames(.linkDrained).count == 1 }
        let before = harness.router.packetBytes(of: handle)
        client.send(harness.publish(10, qos: .atLeastOnce, packetIdentifier: 2) + [0xC0, 0x00])
        try harness.wait("PINGRESP") { client.packets()?.last == .pingresp }
        harness.router.deliver(handle, self.puback(1))
        try harness.wait("the answer") { client.packets()?.count == 3 }
        #expect(harness.router.packetBytes(of: handle) == before)
        try self.loseRouter(harness)
        try harness.router.open()
        try harness.wait("the second PUBLISH") {
            harness.router.packetBytes(of: handle) == harness.publish(10, qos: .atLeastOnce, packetIdentifier: 2)
        }
    }

    @Test("What a client sends without a router is held in 64 KiB; then it is not read, and not closed for it")
    func park() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a", keepAliveSeconds: 1, number: 1)
        try self.loseRouter(harness)
        let publish = harness.publish(1000)
        var sent = 0
        var last = Clock.monotonic()
        let all = [[UInt8]](repeating: publish, count: 20_000).flatMap(\.self)
        try harness.wait("the listener to stop reading") {
            let count = client.send(Array(all[sent...].prefix(1 << 16)))
            sent += count
            if count > 0 { last = Clock.monotonic() }
            return Clock.monotonic() > last + 2 * Nanoseconds.perSecond
        }
        #expect(sent < all.count)
        client.read()
        #expect(!client.isEnded, "keep alive stands still where the broker does not read")
        try harness.router.open()
        try harness.wait("all of it") {
            sent += client.send(Array(all[sent...].prefix(1 << 16)))
            harness.router.grant(link: 1 << 20, sessions: [(handle, 1 << 20)])
            return harness.router.packetBytes(of: handle).count == all.count
        }
    }

    @Test("The end of a session is told to each router until one has stored it")
    func farewell() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a", number: 5)
        let (other, _) = try harness.connected("b", number: 6)
        let disconnect = Packet.disconnect(DisconnectPacket(reasonCode: .success)).bytes(.v3_1_1)
        try self.loseRouter(harness)
        let atMostOnce = harness.publish(9)
        let kept = harness.publish(8, qos: .atLeastOnce, packetIdentifier: 3)
        client.send(atMostOnce + kept + disconnect)
        client.finish()
        try harness.wait("its end") { harness.service.connection(handle) == nil }
        let left = Clock.bootTime()
        var ages: [UInt64] = []
        for round in 1...2 {
            try harness.router.open()
            try harness.wait("both") { harness.router.frames(.sessionAttach).count == 2 }
            #expect(self.attached(harness).map(\.attach.sessionNumber) == [5, 6], "round \(round)")
            var again = kept
            again[0] |= 0x08
            let packets = round == 1 ? atMostOnce + kept : again
            #expect(harness.router.packetBytes(of: handle) == packets + disconnect, "round \(round)")
            #expect(harness.closeCauses(handle) == [.connectionLost])
            let closed = try #require(harness.router.frames(.sessionClosed).last)
            ages.append(closed.body.withUnsafeBytes { SessionCloseCause.decode($0)?.age ?? 0 })
            if round == 2 { harness.router.confirmGone(handle) }
            try harness.loop.turnUntilQuiet()
            try self.loseRouter(harness)
        }
        // Each was told how long ago it was then.
        #expect(ages[0] > 0 && ages[0] < ages[1] && ages[1] < Clock.bootTime() - left + Nanoseconds.perSecond)
        try harness.router.open()
        try harness.wait("the other") { harness.router.frames(.sessionAttach).count == 1 }
        try harness.loop.turnUntilQuiet()
        #expect(self.attached(harness).map(\.attach.sessionNumber) == [6])
        #expect(!other.isEnded)
    }

    @Test("A large QoS 1 packet that was under way goes on with the next router; of a QoS 0 one nothing does")
    func largePackets() throws {
        for qos in [QoS.atLeastOnce, .atMostOnce] {
            let harness = try ServiceHarness()
            let (client, handle) = try harness.connected("a", number: 1)
            let large = harness.publish(300_000, qos: qos, packetIdentifier: qos == .atMostOnce ? 0 : 4)
            client.send(Array(large[..<100_000]))
            try harness.wait("its beginning") { harness.router.packetBytes(of: handle).count == 100_000 }
            try self.loseRouter(harness)
            try harness.router.open()
            try harness.wait("the session") { harness.router.frames(.sessionAttach).count == 1 }
            let small = harness.publish(1)
            client.send(Array(large[100_000...]) + small)
            var expected = large
            expected[0] |= 0x08
            if qos == .atMostOnce { expected = [] }
            try harness.wait("the small one") {
                harness.router.packetBytes(of: handle).count == expected.count + small.count
            }
            #expect(harness.router.packetBytes(of: handle) == expected + small)
        }
    }

    @Test("A client in the middle of a delivery cannot be handed on")
    func insideDelivery() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a", .v5_0, number: 1)
        harness.router.deliver(handle, [0x30], flags: FrameFlags.packetContinues)
        try harness.wait("it") {
            client.read()
            return client.received.last == 0x30
        }
        harness.router.close()
        try harness.wait("its end") {
            client.read()
            return client.isEnded
        }
        #expect(client.received.last == 0x30, "a DISCONNECT would be taken for the packet's rest")
    }

    @Test("Answers that do not come hold a client at a bound")
    func unanswered() throws {
        let harness = try ServiceHarness(sessionCredit: 64 << 20, linkCredit: 64 << 20)
        let (client, handle) = try harness.connected("a", number: 1)
        let publish = harness.publish(10_000, qos: .atLeastOnce, packetIdentifier: 1)
        let all = [[UInt8]](repeating: publish, count: 300).flatMap(\.self)
        var sent = 0
        try harness.wait("the listener to stop") {
            sent += client.send(Array(all[sent...].prefix(1 << 16)))
            return harness.service.counters.creditStops > 0
        }
        try harness.loop.turnUntilQuiet()
        let passed = harness.router.packetBytes(of: handle).count
        #expect(passed >= Limits.unansweredBytesMax && passed < Limits.unansweredBytesMax + 2 * publish.count)
        var answered = 0
        try harness.wait("the rest") {
            sent += client.send(Array(all[sent...].prefix(1 << 16)))
            let came = harness.router.packetBytes(of: handle).count / publish.count
            while answered < came {
                harness.router.deliver(handle, self.puback(1))
                answered += 1
            }
            client.read()
            return came == 300
        }
    }
}
