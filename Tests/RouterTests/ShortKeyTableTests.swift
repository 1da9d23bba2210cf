import TestSupport
import Testing

@testable import RouterStore

/// The table of short keys against a dictionary.
@Suite struct ShortKeyTableTests {
    private func key(_ number: Int) -> ShortKey? {
        // As of the store: a kind, a session, a number.
        let bytes =
            [UInt8(number % 3 + 1)] + [0, 0, 0, 0, 0, 0, 0, UInt8(number % 7)] + [
                0, 0, 0, 0, 0, 0, 0, UInt8(number / 21),
            ]
        return bytes.withUnsafeBytes { ShortKey($0) }
    }

    @Test func holdsWhatADictionaryHolds() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var table = ShortKeyTable<Int>(unused: 0)
        var expected: [Int: Int] = [:]
        for step in 0..<50_000 {
            let number = Int.random(in: 0..<600, using: &random)
            let key = try #require(self.key(number))
            if Bool.random(using: &random) {
                #expect(table.set(step, for: key) == expected.updateValue(step, forKey: number), "seed \(seed)")
            } else {
                #expect(table.remove(key) == expected.removeValue(forKey: number), "seed \(seed)")
            }
            #expect(table.count == expected.count, "seed \(seed)")
        }
        var found: [Int] = []
        table.forEach { _, value in found.append(value) }
        #expect(found.sorted() == expected.values.sorted(), "seed \(seed)")
        table.removeAll()
        #expect(table.count == 0)
    }
}
