import Testing

@testable import Bench

@Suite struct MessageWindowTests {
    @Test func `places are freed in any order, and once`() {
        var window = MessageWindow()
        for number in 0..<5000 { window.add(awaiting: 2, at: UInt64(number)) }
        #expect(window.count == 5000)
        for number in 1..<5000 {
            window.came(number)
            window.came(number)
            window.came(number)
        }
        #expect(window.count == 1)
        window.add(awaiting: 1, at: 5000)
        #expect(window.giveUp(sentBefore: 100) == 1 && window.count == 1)
        window.came(0)
        window.refuse(5000)
        window.refuse(5000)
        #expect(window.count == 0)
        window.add(awaiting: 1, at: 6000)
        window.came(5001)
        #expect(window.count == 0)
    }

    @Test func `identifiers that are taken are passed over, up to the last one`() {
        var identifiers = PacketIdentifiers()
        #expect(identifiers.take(for: 0) == 1)
        for number in 1..<200_000 {
            let identifier = identifiers.take(for: number)
            #expect(identifier != 1 && identifier != 0)
            #expect(identifier.flatMap { identifiers.release($0) } == number)
        }
        #expect(identifiers.count == 1)
        var taken: Set<UInt16> = [1]
        while let identifier = identifiers.take(for: 7) { taken.insert(identifier) }
        #expect(taken.count == 65_535 && identifiers.count == 65_535)
        #expect(identifiers.release(0) == nil && identifiers.release(1) == 0 && identifiers.release(1) == nil)
    }

    @Test func `a stamp says what was written, and sees that it was damaged`() {
        var payload = MessageStamp.filler(40)
        let due = MessageStamp.rounded(1 << 59 + 12_345)
        for publisher in [0, 7, UInt32.max] {
            let stamp = MessageStamp(publisher: publisher, sequence: .max, due: due)
            payload.withUnsafeMutableBytes { stamp.write(into: $0) }
            let read = payload.withUnsafeBytes { MessageStamp($0, filler: MessageStamp.filler(40)) }
            #expect(read?.publisher == publisher && read?.sequence == .max && read?.due == due)
            for index in payload.indices {
                payload[index] ^= 1
                #expect(payload.withUnsafeBytes { MessageStamp($0, filler: MessageStamp.filler(40)) } == nil)
                payload[index] ^= 1
            }
        }
    }
}
