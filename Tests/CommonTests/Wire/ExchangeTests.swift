import Common
import Testing

@Suite struct ExchangeTests {
    @Test func bothEndsCallAMessageTheSame() {
        var one = ExchangeIdentity(clientIdentifier: [1, 2], sessionNumber: 7, connectStamp: 9)
        var names: Set<UInt64> = []
        for _ in 0..<1000 { names.insert(one.next()) }
        #expect(names.count == 1000 && !names.contains(0))
        var other = ExchangeIdentity(clientIdentifier: [1, 2], sessionNumber: 7, connectStamp: 9, publishCount: 999)
        #expect(names.contains(other.next()))
        #expect(one == other)
        for (client, number, stamp) in [([1, 3], 7, 9), ([1, 2], 8, 9), ([1, 2], 7, 10)] as [([UInt8], UInt64, UInt64)]
        {
            var another = ExchangeIdentity(clientIdentifier: client, sessionNumber: number, connectStamp: stamp)
            for _ in 0..<1000 { #expect(!names.contains(another.next())) }
        }
    }

    @Test func aFrameIsSplitIntoItsMessages() {
        let packets: [[UInt8]] = [[0x34, 5, 0, 1, 0x61, 0, 9], [0x3C, 6, 0, 1, 0x61, 0, 8, 1]]
        var frame = ByteBuffer()
        for (place, packet) in packets.enumerated() {
            frame.writeLittleEndian(UInt64(place + 1))
            frame.write(packet)
        }
        let whole = frame.array
        for count in 0...whole.count {
            var found: [(UInt64, [UInt8])] = []
            let isWhole = whole[..<count].withUnsafeBytes { bytes in
                var frame = ExchangeFrame(bytes)
                while let message = frame.next() { found.append((message.exchange, [UInt8](message.packet))) }
                return !frame.isBroken
            }
            #expect(isWhole == [0, 15, whole.count].contains(count), "\(count) bytes")
            #expect(found.map(\.0) == (count == whole.count ? [1, 2] : count >= 15 ? [1] : []), "\(count) bytes")
            #expect(found.map(\.1) == Array(packets.prefix(found.count)))
        }
        // Of another type, or of no length that there is.
        for broken in [[0x20, 0], [0x34, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]] as [[UInt8]] {
            ([UInt8](repeating: 1, count: 8) + broken).withUnsafeBytes {
                var frame = ExchangeFrame($0)
                #expect(frame.next() == nil && frame.isBroken)
            }
        }
    }

    @Test func brokenExchangesOfASessionAreNoticed() throws {
        var attach = WireSamples.attach
        attach.exchanges = .init(publishCount: 9, keeps: true, delivered: [1, 2, 3])
        let body = WireSamples.body(WireSamples.bytes { attach.encode(into: &$0, handle: 9) })
        let decode = { (bytes: [UInt8]) in
            bytes.withUnsafeBytes { SessionAttach.decode($0, flags: FrameFlags.hasExchanges) }
        }
        #expect(decode(body) == attach)
        for count in 0..<body.count { #expect(decode(Array(body[..<count])) == nil, "\(count) bytes") }
        #expect(decode(body + [0]) == nil)
    }
}
