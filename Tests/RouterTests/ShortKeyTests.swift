import TestSupport
import Testing

@testable import RouterStore

@Suite struct ShortKeyTests {
    @Test func hasTheBytesItWasMadeOf() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for count in 1...ShortKey.bytesMax {
            for _ in 0..<100 {
                let bytes = (0..<count).map { _ in UInt8.random(in: 0...3, using: &random) }
                let key = try #require(bytes.withUnsafeBytes { ShortKey($0) })
                #expect(key.bytes == bytes, "seed \(seed)")
                #expect(!key.isNone)
                var others = [bytes + [0], Array(bytes.dropLast())]
                for position in bytes.indices {
                    var other = bytes
                    other[position] ^= 0x80
                    others.append(other)
                }
                for other in others {
                    #expect(other.withUnsafeBytes { ShortKey($0) } != key, "\(bytes) and \(other), seed \(seed)")
                }
            }
        }
    }

    @Test func noneIsNoKey() {
        #expect([UInt8]().withUnsafeBytes { ShortKey($0) } == nil)
        let long = [UInt8](repeating: 1, count: ShortKey.bytesMax + 1)
        #expect(long.withUnsafeBytes { ShortKey($0) } == nil)
        #expect(ShortKey.none.isNone)
        #expect(ShortKey.none.bytes.isEmpty)
    }
}
