import Common
import TestSupport
import Testing

@testable import Listener

/// A client that publishes faster than `publish_rate` allows.
@Suite struct PublishRateTests {
    private final class Client {
        var uplink: SessionUplink
        var link = ByteBuffer()
        var replies = ByteBuffer()
        var linkCredit = 1 << 30

        init(_ configure: (inout Configuration.Offer.PublishRate) -> Void) {
            var rate = Configuration.Offer.PublishRate()
            rate.burstNanoseconds = Nanoseconds.perSecond
            configure(&rate)
            self.uplink = SessionUplink(
                version: .v5_0,
                credit: 1 << 30,
                maximumPacketBytes: 1 << 20,
                rate: PublishRateGate(rate)
            )
        }

        func forward(_ bytes: [UInt8], at now: Instant) -> SessionUplink.Progress {
            bytes.withUnsafeBytes {
                self.uplink.forward(
                    $0,
                    handle: 1,
                    linkCredit: &self.linkCredit,
                    link: &self.link,
                    replies: &self.replies,
                    now: now
                )
            }
        }
    }

    private static func publish(_ payloadBytes: Int) -> [UInt8] {
        Packet.publish(PublishPacket(topic: [0x74], payload: [UInt8](repeating: 1, count: payloadBytes))).bytes(.v5_0)
    }

    private static let pingreq: [UInt8] = [0xC0, 0]
    private static let second = Nanoseconds.perSecond

    @Test func messagesBeyondTheRateWait() {
        let client = Client { $0.messagesPerSecond = 3 }
        let packet = Self.publish(10)
        let bytes = Array(repeating: packet, count: 5).flatMap { $0 }
        var progress = client.forward(bytes, at: 0)
        #expect(progress.consumed == 3 * packet.count)
        #expect(progress.blockedUntil.map { $0 > 0 && $0 <= Self.second / 3 } == true)
        #expect(progress.end == nil)
        #expect(!progress.isBlocked)
        progress = client.forward(packet + packet, at: Self.second)
        #expect(progress.consumed == 2 * packet.count)
        #expect(progress.blockedUntil == nil)
    }

    @Test func bytesBeyondTheRateWaitAndTheLargestPacketStillPasses() {
        let client = Client { $0.bytesPerSecond = 1000 }
        let large = Self.publish(100_000)
        // Travels in parts; the next PUBLISH waits until it is paid for.
        var offset = 0
        while offset < large.count {
            let progress = client.forward(Array(large[offset...]), at: 0)
            #expect(progress.blockedUntil == nil)
            #expect(progress.consumed > 0)
            offset += max(1, progress.consumed)
        }
        let small = Self.publish(10)
        let blocked = client.forward(small, at: Self.second)
        #expect(blocked.consumed == 0)
        let until = blocked.blockedUntil ?? 0
        #expect(until > 98 * Self.second && until < 100 * Self.second)
        #expect(client.forward(small, at: until).consumed == small.count)
    }

    @Test func whatIsNoPublishNeverWaits() {
        let client = Client { $0.messagesPerSecond = 1 }
        let packet = Self.publish(10)
        let puback = Packet.puback(AcknowledgementPacket(packetIdentifier: 1)).bytes(.v5_0)
        let bytes = packet + puback + Self.pingreq + puback
        let progress = client.forward(bytes + packet, at: 0)
        #expect(progress.consumed == bytes.count)
        #expect(progress.blockedUntil != nil)
        #expect(client.replies.array == [0xD0, 0])
    }

    @Test func byPolicyTheClientIsDisconnected() {
        let client = Client {
            $0.messagesPerSecond = 2
            $0.exceeded = .disconnect
        }
        let packet = Self.publish(10)
        let progress = client.forward(packet + packet + packet, at: 0)
        #expect(progress.consumed == 2 * packet.count)
        #expect(progress.end == .rateExceeded)
    }

    @Test func withoutALimitNothingWaits() {
        #expect(PublishRateGate(Configuration.Offer.PublishRate()) == nil)
    }
}
