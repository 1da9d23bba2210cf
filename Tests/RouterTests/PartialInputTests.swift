import Common
import TestSupport
import Testing

@testable import Router

/// Packets over 64 KiB that clients begin and do not end.
@Suite struct PartialInputTests {
    /// A client in the middle of a PUBLISH, and how much patience with it is left, counted down as time passes.
    private final class Sender {
        private(set) var client: FakeClient
        let address: String
        private let packet: [UInt8]
        private(set) var sent = 0
        var isThere = false
        /// Nanoseconds; below 0 it is slow.
        private(set) var patience: Int64 = 0

        init(_ harness: RouterHarness, _ name: String, bytes: Int, from address: String = "192.0.2.1") {
            self.client = harness.client(name)
            self.address = address
            self.client.peerAddress = "\(address):\(1024 + name.utf8.count)"
            let payload = [UInt8](repeating: 7, count: bytes)
            self.packet = Packet.publish(PublishPacket(topic: [0x74], payload: payload)).bytes(.v5_0)
        }

        var held: Int { self.isThere ? self.sent : 0 }
        var rest: Int { self.packet.count - self.sent }
        var isSlow: Bool { self.held > 0 && self.patience <= 0 }

        func connect() {
            self.client.connect()
            self.isThere = true
            self.sent = 0
        }

        func pass(_ nanoseconds: UInt64) {
            self.patience -= Int64(nanoseconds)
        }

        func send(_ count: Int) {
            let full = Int64(20 * Nanoseconds.perSecond)
            if self.sent == 0 { self.patience = full }
            self.patience = min(full, max(self.patience, 0) + Int64(count) * Int64(Nanoseconds.perSecond) / 1024)
            let part = self.packet[self.sent..<self.sent + count]
            self.sent += count
            var frame = ByteBuffer()
            frame.writeFrameHeader(
                .sessionPackets,
                flags: self.rest > 0 ? FrameFlags.packetContinues : 0,
                handle: self.client.handle,
                bodyBytes: part.count
            )
            frame.write(part)
            self.client.harness.deliver(frame, from: self.client.listener)
            self.client.harness.flush()
            if self.rest == 0 { self.sent = 0 }
        }

        func drop() {
            self.isThere = false
            self.client.drop()
        }
    }

    private static func harness(room: Int) -> RouterHarness {
        RouterHarness { $0.flowControl.partialPacketBytesMax = room }
    }

    /// They had the room to themselves for as long as they stayed connected, and everybody else's large packets were refused.
    @Test func whoNeverEndsALargePacketMakesRoomForWhoDoes() {
        let harness = Self.harness(room: 600_000)
        let (silent, trickling) = (
            Sender(harness, "silent", bytes: 100_000), Sender(harness, "trickling", bytes: 100_000)
        )
        let device = Sender(harness, "device", bytes: 400_000)
        for sender in [silent, trickling, device] { sender.connect() }
        silent.send(99_000)
        trickling.send(90_000)
        // 5 kB/s, as a device on a slow line.
        device.send(5000)
        for second in 0..<52 {
            harness.pass(seconds: 1)
            device.send(5000)
            trickling.send(100)
            #expect(silent.client.isOpen && trickling.client.isOpen, "there is room, second \(second)")
        }
        let late = Sender(harness, "late", bytes: 200_000)
        late.connect()
        late.send(150_000)
        #expect(late.client.isOpen)
        #expect(silent.client.closeReason == .quotaExceeded, "it has stood still for longest")
        #expect(trickling.client.isOpen && harness.core.counters.closedPartialSlow == 1)
        #expect(harness.core.counters.closedPartialBytes == 0)
        device.send(1000)
        late.send(late.rest)
        device.send(device.rest)
        #expect(late.client.isOpen && device.client.isOpen)
        #expect(harness.core.counters.publishesReceived == 2)
    }

    /// Whoever came when there was no room was closed, as long as nobody was slow: clients that filled it, and came again as soon as they
    /// had been closed, kept it from all others.
    @Test func whoFillsTheRoomTakesItFromNobodyElse() {
        let harness = Self.harness(room: 1_000_000)
        let attackers = (0..<12).map { Sender(harness, "attacker-\($0)", bytes: 200_000, from: "198.51.100.1") }
        // Slow, and on a network of its own.
        let slow = Sender(harness, "slow", bytes: 100_000, from: "[2001:db8::1]")
        slow.connect()
        slow.send(70_000)
        var device: Sender?
        for round in 0..<300 {
            harness.pass(seconds: 0.2)
            for attacker in attackers where !attacker.client.isOpen {
                attacker.connect()
                attacker.send(199_000)
            }
            if round % 3 == 0 {
                device = Sender(harness, "device-\(round)", bytes: 100_000, from: "192.0.2.\(round % 250)")
                device?.connect()
                device?.send(90_000)
            } else if round % 3 == 1, let device {
                #expect(device.client.isOpen, "round \(round)")
                device.send(device.rest)
            }
            slow.send(10)
        }
        #expect(harness.core.counters.publishesReceived == 100)
        #expect(slow.client.isOpen, "slower than 1 KiB/s, but its source holds little")
        slow.send(slow.rest)
        #expect(harness.core.counters.publishesReceived == 101)
        #expect(harness.core.counters.closedPartialBytes > 100 && harness.core.counters.closedPartialSlow == 0)
    }

    @Test func clientsOfOneIPv6NetworkShareTheirPart() {
        let harness = Self.harness(room: 400_000)
        let device = Sender(harness, "device", bytes: 150_000, from: "[2001:db8:0:2::1]")
        let others = (0..<4).map { Sender(harness, "other-\($0)", bytes: 150_000, from: "[2001:db8:0:1::\($0)]") }
        for sender in [device] + others {
            sender.connect()
            harness.pass(seconds: 0.001)
            sender.send(100_000)
        }
        #expect(device.client.isOpen)
        #expect(others.map(\.client.isOpen) == [false, true, true, true])
    }

    /// Those that give way when `sender` sends `count` bytes more: of the address with the most, the one with the least patience.
    private static func expected(
        _ senders: [Sender],
        _ sender: Sender,
        sends count: Int,
        room: Int
    ) -> [Sender] {
        guard count < sender.rest else { return [] }
        var left = senders.filter { $0.held > 0 || $0 === sender }
        let held = { (other: Sender) in other.held + (other === sender ? count : 0) }
        let patience = { (other: Sender) in
            other !== sender
                ? other.patience
                : min(
                    20_000_000_000,
                    (sender.sent == 0 ? 20_000_000_000 : max(sender.patience, 0)) + Int64(count) * 1_000_000_000 / 1024
                )
        }
        var gone: [Sender] = []
        while left.reduce(0, { $0 + held($1) }) > room {
            let byAddress = Dictionary(grouping: left, by: \.address).values
            guard let most = byAddress.max(by: { $0.reduce(0) { $0 + held($1) } < $1.reduce(0) { $0 + held($1) } }),
                let first = most.min(by: { patience($0) < patience($1) })
            else { break }
            gone.append(first)
            left.removeAll { $0 === first }
        }
        return gone
    }

    /// Random senders against lists. No two addresses ever hold the same number of bytes: each sender's is another power of two, modulo
    /// 256.
    @Test func ofTheAddressWithTheMostBytesTheOneThatStandsStillGivesWay() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let room = 300_000
        let harness = Self.harness(room: room)
        let senders = (0..<8).map {
            Sender(harness, "sender-\($0)", bytes: 66_000 + $0 * 3000, from: "192.0.2.\([1, 1, 1, 1, 2, 2, 3, 4][$0])")
        }
        var (slow, others, whole) = (0, 0, 0)
        // Until each way to end was seen: a sender that is slow when it gives way is rare.
        for step in 0..<60_000 where step < 6000 || slow == 0 || others == 0 || whole == 0 {
            let what = "seed \(seed), step \(step)"
            let nanoseconds = UInt64.random(
                in: 1...(step / 500 % 2 == 0 ? 2000 : 50) * Nanoseconds.perMillisecond,
                using: &random
            )
            harness.now += nanoseconds
            for sender in senders { sender.pass(nanoseconds) }
            let number = Int.random(in: 0..<senders.count, using: &random)
            let sender = senders[number]
            guard sender.isThere else {
                sender.connect()
                continue
            }
            if random.oneIn(60) {
                sender.drop()
            } else {
                // Some hardly move.
                let isFast = number < 2 || random.oneIn(4)
                let part = 256 * Int.random(in: 1...(isFast ? 160 : 2), using: &random)
                let isLast = random.oneIn(3) && isFast
                let bytes = isLast ? sender.rest : min(sender.sent == 0 ? part + 1 << number : part, sender.rest)
                let gone = Self.expected(senders, sender, sends: bytes, room: room)
                if bytes == sender.rest { whole += 1 }
                for one in gone {
                    if one.isSlow, one !== sender { slow += 1 } else { others += 1 }
                }
                sender.send(bytes)
                let closed = senders.filter { $0.isThere && !$0.client.isOpen }
                #expect(Set(closed.map(\.client.name)) == Set(gone.map(\.client.name)), "\(what)")
                for other in closed { other.isThere = false }
            }
            let held = senders.reduce(0) { $0 + $1.held }
            #expect(harness.core.links[0]?.partialInputs.bytes == held && held <= room, "\(what)")
            #expect(harness.core.links[0]?.partialInputs.count == senders.count { $0.held > 0 }, "\(what)")
        }
        #expect(harness.core.counters.closedPartialSlow == UInt64(slow), "seed \(seed)")
        #expect(harness.core.counters.closedPartialBytes == UInt64(others), "seed \(seed)")
        #expect(harness.core.counters.publishesReceived == UInt64(whole), "seed \(seed)")
        #expect(slow > 0 && others > 0 && whole > 0, "seed \(seed): \(slow), \(others), \(whole)")
    }
}
