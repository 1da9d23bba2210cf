import Common
import TestSupport
import Testing

@testable import Router

@Suite struct ReceivedMessagesTests {
    @Test("Random changes, few and many, against a dictionary; finding one never looks at more than a few")
    func random() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var list = ReceivedMessages()
        var expected: [UInt16: UInt64] = [:]
        for step in 0..<10_000 {
            // It grows past the size from which on there is a table, and shrinks again.
            let grows = step / 1000 % 2 == 0
            let identifier = UInt16.random(in: 65_000...65_535, using: &random)
            let position = list.firstIndex(of: identifier)
            #expect((position != nil) == (expected[identifier] != nil), "seed \(seed), step \(step)")
            if let position {
                if random.oneIn(3) {
                    list[position].exchange = UInt64(step)
                    expected[identifier] = UInt64(step)
                } else if random.oneIn(grows ? 4 : 1) {
                    let removed = list.remove(at: position)
                    #expect(removed.packetIdentifier == identifier && removed.exchange == expected[identifier])
                    expected[identifier] = nil
                }
            } else if random.oneIn(grows ? 1 : 4) {
                list.append(Session.ReceivedMessage(packetIdentifier: identifier, exchange: UInt64(step)))
                expected[identifier] = UInt64(step)
            }
            #expect(list.count == expected.count && list.isEmpty == expected.isEmpty)
            #expect(list.lookedAtMax < ReceivedMessages.tableFrom)
            let found = list.firstIndex(of: identifier).map { list[$0].exchange }
            #expect(found == expected[identifier], "seed \(seed), step \(step)")
        }
        var all: [UInt16: UInt64] = [:]
        for held in list { all[held.packetIdentifier] = held.exchange }
        #expect(all == expected, "seed \(seed)")
        while let last = list.last, let position = list.firstIndex(of: last.packetIdentifier) {
            _ = list.remove(at: position)
        }
        #expect(list.isEmpty)
    }

    /// Everybody else waited while the router searched.
    @Test func aClientWithAllIdentifiersOpenCostsNoSearch() throws {
        let harness = RouterHarness()
        let client = harness.client("client", .v3_1_1)
        client.connect()
        for first in stride(from: 1, through: 65_535, by: 5000) {
            var bytes: [UInt8] = []
            for identifier in first...min(first + 4999, 65_535) {
                let packet = PublishPacket(
                    qos: .exactlyOnce,
                    topic: [0x74],
                    packetIdentifier: UInt16(identifier),
                    payload: [1]
                )
                bytes += Packet.publish(packet).bytes(.v3_1_1)
            }
            client.send(bytes: bytes)
        }
        let session = try #require(harness.core.sessions.compactMap { $0 }.first)
        #expect(client.isOpen && session.received.count == 65_535)
        #expect(session.received.lookedAtMax == 1)
        client.takeAll()
        var bytes: [UInt8] = []
        for identifier in (1...65_535).reversed() {
            let pubrel = AcknowledgementPacket(packetIdentifier: UInt16(identifier))
            bytes += Packet.pubrel(pubrel).bytes(.v3_1_1)
        }
        client.send(bytes: bytes)
        #expect(session.received.isEmpty && harness.core.queuedBytesTotal == 0)
        #expect(client.takeAll().count == 65_535)
    }
}
