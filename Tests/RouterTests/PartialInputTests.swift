import Common
import TestSupport
import Testing

@testable import Router

/// Packets over 64 KiB that clients begin and do not end.
@Suite struct PartialInputTests {
    /// A client in the middle of a PUBLISH, and how much patience with it is left, counted down as time passes.
    private final class Sender {
        private(set) var client: FakeClient
        private let packet: [UInt8]
        private(set) var sent = 0
        var isThere = false
        /// Nanoseconds; at 0 it is slow since `slowSince`.
        private(set) var patience: UInt64 = 0
        private(set) var slowSince: Instant = 0

        init(_ harness: RouterHarness, _ name: String, bytes: Int) {
            self.client = harness.client(name)
            let payload = [UInt8](repeating: 7, count: bytes)
            self.packet = Packet.publish(PublishPacket(topic: [0x74], payload: payload)).bytes(.v5_0)
        }

        var held: Int { self.isThere ? self.sent : 0 }
        var rest: Int { self.packet.count - self.sent }
        var isSlow: Bool { self.held > 0 && self.patience == 0 }

        func connect() {
            self.client.connect()
            self.isThere = true
            self.sent = 0
        }

        func pass(_ nanoseconds: UInt64, now: Instant) {
            if nanoseconds >= self.patience, self.patience > 0 { self.slowSince = now - (nanoseconds - self.patience) }
            self.patience -= min(nanoseconds, self.patience)
        }

        func send(_ count: Int) {
            if self.sent == 0 { self.patience = 20 * Nanoseconds.perSecond }
            self.patience = min(
                20 * Nanoseconds.perSecond,
                self.patience + UInt64(count) * Nanoseconds.perSecond / 1024
            )
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
        for second in 0..<12 {
            harness.pass(seconds: 1)
            device.send(5000)
            trickling.send(100)
            #expect(silent.client.isOpen && trickling.client.isOpen, "there is room, second \(second)")
        }
        let early = Sender(harness, "early", bytes: 400_000)
        early.connect()
        early.send(350_000)
        #expect(early.client.closeReason == .quotaExceeded, "nobody is slow yet")
        #expect(harness.core.counters.closedPartialBytes == 1)
        for _ in 0..<40 {
            harness.pass(seconds: 1)
            device.send(5000)
            trickling.send(100)
        }
        let late = Sender(harness, "late", bytes: 200_000)
        late.connect()
        late.send(150_000)
        #expect(late.client.isOpen)
        #expect(silent.client.closeReason == .quotaExceeded, "it has stood still for longest")
        #expect(trickling.client.isOpen && harness.core.counters.closedPartialSlow == 1)
        #expect(harness.core.counters.closedPartialBytes == 1)
        device.send(1000)
        late.send(late.rest)
        device.send(device.rest)
        #expect(late.client.isOpen && device.client.isOpen)
        #expect(harness.core.counters.publishesReceived == 2)
    }

    /// Random senders against a model that counts each one's patience down.
    @Test func thoseThatAreSlowForLongestGiveWay() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let room = 300_000
        let harness = Self.harness(room: room)
        let senders = (0..<8).map { Sender(harness, "sender-\($0)", bytes: 66_000 + $0 * 3000) }
        var (slow, refused, whole) = (0, 0, 0)
        for step in 0..<6000 {
            let what = "seed \(seed), step \(step)"
            let nanoseconds = UInt64.random(
                in: 1...(step / 500 % 2 == 0 ? 2000 : 50) * Nanoseconds.perMillisecond,
                using: &random
            )
            harness.now += nanoseconds
            for sender in senders { sender.pass(nanoseconds, now: harness.now) }
            guard let sender = senders.randomElement(using: &random) else { return }
            guard sender.isThere else {
                sender.connect()
                continue
            }
            if random.oneIn(60) {
                sender.drop()
            } else {
                // Some hardly move.
                let isFast = sender === senders[0] || sender === senders[1] || random.oneIn(4)
                let count =
                    random.oneIn(3) && isFast
                    ? sender.rest : Int.random(in: 5...(isFast ? 40_000 : 400), using: &random)
                let bytes = min(count, sender.rest)
                var excess = senders.reduce(0) { $0 + $1.held } + bytes - room
                if bytes == sender.rest { excess = 0 }
                var expected: Set<String> = []
                for other in senders.filter({ $0.isSlow && $0 !== sender }).sorted(by: { $0.slowSince < $1.slowSince })
                where excess > 0 {
                    excess -= other.held
                    expected.insert(other.client.name)
                }
                slow += expected.count
                if excess > 0 {
                    expected.insert(sender.client.name)
                    refused += 1
                } else if bytes == sender.rest {
                    whole += 1
                }
                sender.send(bytes)
                let closed = senders.filter { $0.isThere && !$0.client.isOpen }
                #expect(Set(closed.map(\.client.name)) == expected, "\(what)")
                for other in closed { other.isThere = false }
            }
            let held = senders.reduce(0) { $0 + $1.held }
            #expect(harness.core.links[0]?.partialInputBytes == held && held <= room, "\(what)")
            #expect(harness.core.links[0]?.partialInputs.count == senders.count { $0.held > 0 }, "\(what)")
        }
        #expect(harness.core.counters.closedPartialSlow == UInt64(slow), "seed \(seed)")
        #expect(harness.core.counters.closedPartialBytes == UInt64(refused), "seed \(seed)")
        #expect(harness.core.counters.publishesReceived == UInt64(whole), "seed \(seed)")
        #expect(slow > 0 && refused > 0 && whole > 0, "seed \(seed): \(slow), \(refused), \(whole)")
    }
}
