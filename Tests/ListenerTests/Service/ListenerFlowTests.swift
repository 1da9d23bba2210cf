import Common
import Glibc
import TestSupport
import Testing

@testable import Listener

/// Credit both ways, slow clients, deliveries in parts, time-outs, and a router that goes and comes.
@Suite struct ListenerFlowTests {
    // MARK: Credit up

    @Test("A client whose credit is used up waits; what it is granted goes up, in order and once")
    func creditStop() throws {
        let harness = try ServiceHarness(sessionCredit: 100)
        let (client, handle) = try harness.connected("a")
        let publish = harness.publish(80)
        let puback: [UInt8] = [0x40, 2, 0, 1]
        client.send(puback + publish + publish + publish + puback + publish)
        try harness.wait("what the credit allows") { harness.router.packetBytes(of: handle).count >= 2 * publish.count }
        try harness.loop.turnUntilQuiet()
        #expect(harness.router.packetBytes(of: handle) == puback + publish + publish)
        #expect(harness.service.counters.creditStops == 1)
        harness.router.grant(link: 0, sessions: [(handle, UInt32(2 * publish.count - 100))])
        try harness.loop.turnUntilQuiet()
        // 100 less two packets plus the grant is nothing: not a byte of the third.
        #expect(harness.router.packetBytes(of: handle) == puback + publish + publish)
        harness.router.grant(link: 0, sessions: [(handle, 1)])
        try harness.wait("one more") {
            harness.router.packetBytes(of: handle) == puback + publish + publish + publish + puback
        }
        try harness.loop.turnUntilQuiet()
        #expect(harness.router.packetBytes(of: handle).count == 3 * publish.count + 8)
        harness.router.grant(link: 0, sessions: [(handle, 1000)])
        try harness.wait("the rest") { harness.router.packetBytes(of: handle).count == 4 * publish.count + 8 }
    }

    @Test("Credit of the link holds all clients, and lets all go on")
    func linkCredit() throws {
        let harness = try ServiceHarness(linkCredit: 100)
        let clients = try (0..<4).map { try harness.connected("c\($0)") }
        let publish = harness.publish(200)
        for client in clients { client.client.send(publish) }
        func arrived() -> Int { clients.count { harness.router.packetBytes(of: $0.handle) == publish } }
        try harness.wait("the first") { arrived() == 1 }
        try harness.loop.turnUntilQuiet()
        #expect(arrived() == 1)
        harness.router.grant(link: UInt32(2 * publish.count - 99), sessions: [])
        try harness.wait("two more") { arrived() == 3 }
        try harness.loop.turnUntilQuiet()
        #expect(arrived() == 3)
        harness.router.grant(link: 1000, sessions: [])
        try harness.wait("the last") { arrived() == 4 }
    }

    @Test("A large PUBLISH stops in its middle for want of credit and goes on there")
    func creditInsidePacket() throws {
        let harness = try ServiceHarness(sessionCredit: 50_000)
        let (client, handle) = try harness.connected("a")
        let publish = harness.publish(400_000)
        var sent = 0
        try harness.wait("all of it to be sent or held") {
            sent += client.send(Array(publish[sent...]))
            return harness.service.counters.creditStops > 0
        }
        try harness.loop.turnUntilQuiet()
        let first = harness.router.packetBytes(of: handle).count
        #expect(first >= 50_000 && first <= 50_000 + Limits.packetPartBytes)
        try harness.wait("the whole packet") {
            sent += client.send(Array(publish[sent...]))
            harness.router.grant(link: 0, sessions: [(handle, 20_000)])
            return harness.router.packetBytes(of: handle).count == publish.count
        }
        #expect(harness.router.packetBytes(of: handle) == publish)
        let flags = harness.router.frames(.sessionPackets).map { $0.flags & FrameFlags.packetContinues }
        #expect(flags.dropLast().allSatisfy { $0 != 0 })
        #expect(flags.last == 0)
    }

    // MARK: Credit down

    @Test("What the client has taken is given back: to the link soon, to the session by the half window")
    func creditReturned() throws {
        let harness = try ServiceHarness { $0.flowControl.sessionCreditBytes = 1000 }
        let (client, handle) = try harness.connected("a")
        let publish = harness.publish(300)
        harness.router.deliver(handle, publish, flags: FrameFlags.debitsCredit)
        harness.router.deliver(handle, [0xD0, 0x00])
        try harness.wait("link credit") { harness.router.creditReturned().link == publish.count }
        #expect(harness.router.creditReturned().session == 0)
        harness.router.deliver(handle, publish, flags: FrameFlags.debitsCredit)
        try harness.wait("session credit") {
            harness.router.creditReturned(to: handle) == (2 * publish.count, 2 * publish.count)
        }
        #expect(client.packets()?.count == 4)
    }

    @Test("A client that does not read gets no more than its credit; its link credit returns when it goes")
    func clientNeverReads() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a", receiveBufferBytes: 4096)
        let publish = harness.publish(500_000)
        for _ in 0..<20 { harness.router.deliver(handle, publish, flags: FrameFlags.debitsCredit) }
        try harness.loop.turnUntilQuiet(turns: 10)
        let returned = harness.router.creditReturned()
        #expect(returned.link < 20 * publish.count - 1_000_000)
        client.finish()
        try harness.wait("the rest of the link's credit") {
            client.read()
            return harness.router.creditReturned().link == 20 * publish.count
        }
    }

    @Test("A client with too much unread is read no further, until it reads")
    func clientReadsLate() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a", receiveBufferBytes: 4096)
        let big = harness.publish(6_000_000)
        for start in stride(from: 0, to: big.count, by: 60_000) {
            let end = min(big.count, start + 60_000)
            harness.router.deliver(
                handle,
                Array(big[start..<end]),
                flags: end < big.count ? FrameFlags.packetContinues : 0
            )
        }
        try harness.loop.turnUntilQuiet(turns: 10)
        let mine = harness.publish(10)
        client.send(mine)
        try harness.loop.turnUntilQuiet(turns: 10)
        #expect(harness.router.packetBytes(of: handle).isEmpty)
        try harness.wait("both directions") {
            client.read()
            return client.received.count == 4 + big.count && harness.router.packetBytes(of: handle) == mine
        }
        #expect(Array(client.received.dropFirst(4)) == big)
    }

    @Test("A client that lets 64 MiB pile up is closed")
    func clientClosedForNotReading() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a", receiveBufferBytes: 4096)
        let chunk = [UInt8](repeating: 0, count: 4 << 20)
        for _ in 0..<20 { harness.router.deliver(handle, chunk, flags: FrameFlags.packetContinues) }
        try harness.wait("its end") { harness.closeCauses(handle) == [.connectionLost] }
        #expect(harness.service.counters.slowClientsClosed == 1)
        withExtendedLifetime(client) {}
    }

    // MARK: Deliveries in parts

    @Test("Nothing of the listener's own comes between the parts of a packet")
    func ownPacketsWait() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a")
        let packet = harness.publish(1000)
        harness.router.deliver(handle, Array(packet[..<400]), flags: FrameFlags.packetContinues)
        client.send([0xC0, 0x00, 0xC0, 0x00])
        let publish = harness.publish(1)
        client.send(publish)
        try harness.wait("the client's PUBLISH") { harness.router.packetBytes(of: handle) == publish }
        client.read()
        #expect(client.received.count == 4 + 400)
        harness.router.deliver(handle, Array(packet[400...]))
        try harness.wait("everything") { client.packets()?.count == 4 }
        #expect(Array(client.received.dropFirst(4)) == packet + [0xD0, 0x00, 0xD0, 0x00])
    }

    @Test("Regression: PINGREQs behind a delivery in parts do not pile up without a bound")
    func pingsWhileDelivering() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a")
        harness.router.deliver(handle, [0x30], flags: FrameFlags.packetContinues)
        let pings = [UInt8](repeating: 0, count: 64 << 10).indices.map { UInt8($0 % 2 == 0 ? 0xC0 : 0x00) }
        var sent = 0
        var last = Clock.monotonic()
        // Until the socket has taken nothing for a while: the listener has stopped reading.
        try harness.wait("the listener to stop reading") {
            let count = client.send(Array(pings[(sent % 2)...]))
            sent += count
            if count > 0 { last = Clock.monotonic() }
            return sent > 48 << 20 || Clock.monotonic() > last + 300 * Nanoseconds.perMillisecond
        }
        #expect(sent < 48 << 20)
        harness.router.deliver(handle, [0x03, 0x00, 0x01, 0x61])
        try harness.wait("the answers, also those to what had not been read") {
            client.read()
            return client.received.count > 4 + 5 + (1 << 20)
        }
    }

    @Test("A session closed inside a packet ends without a DISCONNECT that would be taken for its rest")
    func closedInsidePacket() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try harness.connected("a", .v5_0)
        let part = Array(harness.publish(1000).prefix(300))
        harness.router.deliver(handle, part, flags: FrameFlags.packetContinues)
        let disconnect = Packet.disconnect(DisconnectPacket(reasonCode: .sessionTakenOver)).bytes(.v5_0)
        harness.router.end(.sessionClose, handle, .sessionTakenOver, packet: disconnect)
        try harness.wait("the end") {
            client.read()
            return client.isEnded
        }
        #expect(Array(client.received.dropFirst(5)) == part)
    }

    // MARK: Time

    @Test("Keep alive: silent for one and a half times its length, a client is closed; one that pings is not")
    func keepAlive() throws {
        let harness = try ServiceHarness()
        let silent = try harness.connected("silent", .v5_0, keepAliveSeconds: 1)
        let pinging = try harness.connected("pinging", .v5_0, keepAliveSeconds: 1)
        let patient = try harness.connected("patient", .v5_0, keepAliveSeconds: 0)
        let start = Clock.monotonic()
        var lastPing = start
        let disconnect = Packet.disconnect(DisconnectPacket(reasonCode: .keepAliveTimeout))
        try harness.wait("the silent one's end") {
            if Clock.monotonic() > lastPing + 200 * Nanoseconds.perMillisecond {
                lastPing = Clock.monotonic()
                pinging.client.send([0xC0, 0x00])
            }
            return silent.client.packets(.v5_0)?.last == disconnect && silent.client.isEnded
        }
        #expect(Clock.monotonic() - start >= 1_500 * Nanoseconds.perMillisecond)
        try harness.wait("sessionClosed") { harness.closeCauses(silent.handle) == [.keepAliveTimeout] }
        #expect(harness.service.counters.keepAliveTimeouts == 1)
        #expect(harness.closeCauses(pinging.handle).isEmpty)
        #expect(harness.closeCauses(patient.handle).isEmpty)
    }

    /// [MQTT-3.1.2-22] counts control packets: one byte now and then kept the connection for as long as a packet can be.
    @Test(
        "Regression: a packet that never ends does not keep a connection open against its keep alive",
        arguments: [10_000, 3 * Limits.packetPartBytes]
    )
    func endlessPacket(_ bytes: Int) throws {
        let harness = try ServiceHarness()
        let endless = try harness.connected("endless", keepAliveSeconds: 2)
        let moving = try harness.connected("moving", keepAliveSeconds: 2)
        let publish = harness.publish(bytes)
        var rest = [endless, moving].map { _ in publish[...] }
        var last: Instant = 0
        try harness.wait("the end of the one that does not move") {
            if Clock.monotonic() > last + 200 * Nanoseconds.perMillisecond {
                last = Clock.monotonic()
                for (place, count) in [1, Limits.keepAlivePacketBytes].enumerated() where !rest[place].isEmpty {
                    [endless, moving][place].client.send(Array(rest[place].prefix(count)))
                    rest[place] = rest[place].dropFirst(count)
                }
            }
            return harness.closeCauses(endless.handle) == [.keepAliveTimeout]
        }
        #expect(harness.closeCauses(moving.handle).isEmpty)
        // Whole packets count, however small.
        moving.client.send(Array(rest[1]))
        for _ in 0..<8 {
            let sent = Clock.monotonic()
            moving.client.send([0xC0, 0x00])
            try harness.wait("half a second") { Clock.monotonic() > sent + 500 * Nanoseconds.perMillisecond }
        }
        #expect(harness.closeCauses(moving.handle).isEmpty)
    }

    @Test("The time in which a client is held back for credit does not count against its keep alive")
    func keepAliveStandsStill() throws {
        let harness = try ServiceHarness(sessionCredit: 10)
        let held = try harness.connected("held", keepAliveSeconds: 1)
        let silent = try harness.connected("silent", keepAliveSeconds: 1)
        held.client.send(harness.publish(50) + harness.publish(50))
        try harness.wait("the stop") { harness.service.counters.creditStops == 1 }
        try harness.wait("the silent one's end") { harness.closeCauses(silent.handle) == [.keepAliveTimeout] }
        let start = Clock.monotonic()
        try harness.wait("a few more ticks") { Clock.monotonic() > start + 2 * TimerWheel.tickNanoseconds }
        #expect(harness.closeCauses(held.handle).isEmpty)
        harness.router.grant(link: 0, sessions: [(held.handle, 1000)])
        try harness.wait("the second PUBLISH") {
            harness.router.packetBytes(of: held.handle).count == 2 * harness.publish(50).count
        }
    }

    // MARK: The router goes and comes

    @Test("When the router is lost sessions end, in MQTT 5 with a reason that DISCONNECT has; later ones work")
    func routerLost() throws {
        let harness = try ServiceHarness()
        let five = try harness.connected("five", .v5_0)
        let four = try harness.connected("four", .v3_1_1)
        harness.router.close()
        let disconnect = Packet.disconnect(DisconnectPacket(reasonCode: .serverShuttingDown))
        try harness.wait("both ends") {
            five.client.packets(.v5_0)?.last == disconnect && five.client.isEnded && four.client.packets()?.count == 1
                && four.client.isEnded
        }
        try harness.router.open()
        let again = try harness.connected("five", .v5_0)
        harness.router.deliver(again.handle, [0xD0, 0x00])
        try harness.wait("a packet of the new router") { again.client.packets(.v5_0)?.last == .pingresp }
    }

    @Test("A CONNECT while the router is away waits for it; so does one that the lost router left unanswered")
    func connectWhileAway() throws {
        let harness = try ServiceHarness(startsRouter: false)
        let early = try harness.client()
        early.send(.connect(ConnectPacket(version: .v3_1_1, clientIdentifier: Array("early".utf8))))
        try harness.loop.turnUntilQuiet()
        early.read()
        #expect(early.received.isEmpty && !early.isEnded)
        try harness.router.open()
        try harness.wait("sessionOpen") { harness.router.frames(.sessionOpen).count == 1 }
        harness.router.close()
        harness.router.forgetFrames()
        try harness.wait("the listener to notice") { !harness.isRouterUp }
        try harness.router.open()
        try harness.wait("sessionOpen again") { harness.router.frames(.sessionOpen).count == 1 }
        harness.router.accept(harness.router.frames(.sessionOpen)[0].handle)
        try harness.wait("CONNACK") { early.packets()?.count == 1 }
    }

    @Test("Regression: a new router is not given credit for what the last one had sent")
    func noCreditForTheLastRouter() throws {
        let harness = try ServiceHarness()
        let slow = try harness.connected("slow", .v5_0, receiveBufferBytes: 4096)
        for _ in 0..<10 {
            harness.router.deliver(slow.handle, harness.publish(500_000), flags: FrameFlags.debitsCredit)
        }
        try harness.loop.turnUntilQuiet(turns: 10)
        harness.router.close()
        try harness.wait("the listener to notice") { !harness.isRouterUp }
        harness.router.forgetFrames()
        try harness.router.open()
        try harness.wait("the new router") { harness.isRouterUp && harness.router.link != nil }
        // The old output goes out now, and the connection ends.
        try harness.wait("the slow one's end") {
            slow.client.read()
            return slow.client.isEnded || slow.client.isReset
        }
        try harness.loop.turnUntilQuiet()
        #expect(harness.router.creditReturned().link == 0)
        let next = try harness.connected("next")
        harness.router.deliver(next.handle, harness.publish(10), flags: FrameFlags.debitsCredit)
        try harness.wait("credit for what it sent itself") {
            harness.router.creditReturned().link == harness.publish(10).count
        }
    }
}
