import Common
import TestSupport
import Testing

@testable import Listener

/// What an answer costs its listener while a client has much under way, in records that are looked at.
@Suite struct UnansweredPacketsTests {
    /// Adds a packet as `UnansweredPackets` sees it pass.
    private func pass(_ packet: Packet, _ packets: inout UnansweredPackets) {
        let bytes = packet.bytes(.v3_1_1)
        bytes.withUnsafeBytes { bytes in
            guard case .header(let header) = FixedHeader.decode(bytes, version: .v3_1_1) else {
                Issue.record("no packet")
                return
            }
            packets.passed(bytes, header)
        }
    }

    private func pubrel(_ identifier: UInt16) -> Packet {
        .pubrel(AcknowledgementPacket(packetIdentifier: identifier))
    }

    private func publish(_ identifier: UInt16) -> Packet {
        .publish(PublishPacket(qos: .exactlyOnce, topic: [0x74], packetIdentifier: identifier, payload: [1]))
    }

    /// QoS 2 messages between PUBREC and PUBCOMP.
    private func completing(_ count: Int, _ packets: inout UnansweredPackets) {
        for number in 1...count {
            let bytes = self.publish(UInt16(number)).bytes(.v3_1_1)
            bytes.withUnsafeBytes {
                let packet = UnansweredPackets.Packet(bytes: $0, isWhole: true, isMarked: false, exchange: 1)
                packets.keep(packet, until: .pubcomp, UInt16(number))
            }
        }
    }

    /// Each cost a look at all those before it.
    @Test(arguments: ["in order", "in reverse", "from the middle on"])
    func theOrderOfAnswersMakesNoDifferenceToTheirCost(_ order: String) {
        let count = 20_000
        var packets = UnansweredPackets()
        self.completing(count, &packets)
        let identifiers: [Int] =
            switch order {
            case "in order": Array(1...count)
            case "in reverse": (1...count).reversed()
            default: Array(count / 2...count) + Array(1..<count / 2)
            }
        for identifier in identifiers { packets.answered(.pubcomp, UInt16(identifier)) }
        let (isEmpty, lookedAt) = (packets.isEmpty, packets.recordsLookedAt)
        #expect(isEmpty)
        #expect(lookedAt < 6 * count)
    }

    /// The listener was busy with one client for half a minute.
    @Test func answersToWhatIsNotKeptCostNoSearchThroughWhatIs() {
        let count = 20_000
        var packets = UnansweredPackets()
        self.completing(count, &packets)
        let before = packets.recordsLookedAt
        for _ in 0..<count { packets.answered(.pubcomp, 65_535) }
        let (left, lookedAt) = (packets.count, packets.recordsLookedAt - before)
        #expect(left == count)
        #expect(lookedAt < 3 * count)
    }

    @Test func theSamePacketAgainAndAgainBehindOneWithoutAnswerCostsNoSearch() {
        let count = 20_000
        var packets = UnansweredPackets()
        self.pass(self.publish(7), &packets)
        for _ in 0..<count { self.pass(self.pubrel(9), &packets) }
        for _ in 0..<count { packets.answered(.pubcomp, 9) }
        let (left, lookedAt) = (packets.count, packets.recordsLookedAt)
        #expect(left == 1)
        #expect(lookedAt < 6 * count)
        let first = packets.packet(awaiting: .pubrec, 7)?.bytes.count
        #expect(first == self.publish(7).bytes(.v3_1_1).count)
    }

    /// A device has one to a few packets under way: there is nothing to remember beside them.
    @Test func fewPacketsNeedNoIndex() {
        var packets = UnansweredPackets()
        for round in 0..<1000 {
            for number in 1...20 { self.pass(self.publish(UInt16(number)), &packets) }
            for number in 1...20 { packets.answered(.pubrec, UInt16(round % 2 == 0 ? number : 21 - number)) }
        }
        let (isEmpty, isIndexed) = (packets.isEmpty, packets.isIndexed)
        #expect(isEmpty && !isIndexed)
    }
}
