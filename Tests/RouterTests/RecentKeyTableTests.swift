import TestSupport
import Testing

@testable import RouterStore

/// The table of recent keys against a dictionary.
@Suite struct RecentKeyTableTests {
    private static let kinds = [
        StoreKey.message, StoreKey.item, StoreKey.received, StoreKey.subscription, StoreKey.completed, StoreKey.session,
        StoreKey.retained,
    ]

    /// - Parameter apart: how far the numbers of keys are from one another.
    private func key(_ number: Int, apart: Int) -> ShortKey? {
        let kind = Self.kinds[number % Self.kinds.count]
        let last = number / Self.kinds.count * apart
        let session = withUnsafeBytes(of: UInt64(last % 3).bigEndian) { [UInt8]($0) }
        let long = withUnsafeBytes(of: UInt64(last).bigEndian) { [UInt8]($0) }
        let bytes: [UInt8] =
            switch kind {
            case StoreKey.message, StoreKey.session: [kind] + long
            case StoreKey.received: [kind] + session + long.suffix(2)
            case StoreKey.subscription: [kind] + session + long.suffix(4)
            case StoreKey.retained: [kind] + Array("topic/\(last)".utf8)
            default: [kind] + session + long
            }
        return bytes.withUnsafeBytes { ShortKey($0) }
    }

    /// Messages and copies have numbers of their own; here each two have the same, and with 4,096 between them half of all share a place.
    @Test(arguments: [1, 13, 4_096])
    func holdsWhatADictionaryHolds(apart: Int) throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var table = RecentKeyTable<Int>(unused: 0)
        for round in 0..<3 {
            var expected: [Int: Int] = [:]
            for step in 0..<20_000 {
                // Two-byte identifiers repeat with large distances: those keys would be the same.
                let number = Int.random(in: 0..<(apart > 16 ? 98 : 600), using: &random)
                let key = try #require(self.key(number, apart: apart))
                if Bool.random(using: &random) {
                    #expect(table.set(step, for: key) == expected.updateValue(step, forKey: number), "seed \(seed)")
                } else {
                    #expect(table.remove(key) == expected.removeValue(forKey: number), "seed \(seed)")
                }
                #expect(table.count == expected.count, "seed \(seed)")
            }
            var found: [Int] = []
            table.forEach { _, value in found.append(value) }
            #expect(found.sorted() == expected.values.sorted(), "round \(round), seed \(seed)")
            table.removeAll()
            #expect(table.count == 0)
            table.forEach { _, _ in Issue.record("nothing is left") }
        }
    }
}
