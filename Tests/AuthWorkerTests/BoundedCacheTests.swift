import AuthWorker
import TestSupport
import Testing

@Suite struct BoundedCacheTests {
    /// The same with an array in order of use.
    private struct Naive {
        var capacity: Int
        var entries: [(key: Int, value: Int)] = []

        mutating func value(for key: Int) -> Int? {
            guard let index = self.entries.firstIndex(where: { $0.key == key }) else { return nil }
            let entry = self.entries.remove(at: index)
            self.entries.append(entry)
            return entry.value
        }

        mutating func insert(_ value: Int, for key: Int) {
            guard self.capacity > 0 else { return }
            if self.value(for: key) != nil {
                self.entries[self.entries.count - 1].value = value
                return
            }
            if self.entries.count == self.capacity { self.entries.removeFirst() }
            self.entries.append((key, value))
        }

        mutating func remove(_ key: Int) {
            self.entries.removeAll { $0.key == key }
        }

        mutating func update(_ key: Int, to value: Int) {
            if let index = self.entries.firstIndex(where: { $0.key == key }) { self.entries[index].value = value }
        }
    }

    @Test(arguments: [0, 1, 2, 7, 30])
    func evictsWhatWasNotUsedForLongest(_ capacity: Int) {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var cache = BoundedCache<Int, Int>(capacity: capacity)
        var naive = Naive(capacity: capacity)
        for step in 0..<5000 {
            let key = Int.random(in: 0..<20, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4:
                cache.insert(step, for: key)
                naive.insert(step, for: key)
            case 4..<8:
                let (found, expected) = (cache.value(for: key), naive.value(for: key))
                #expect(found == expected, "seed \(seed), step \(step)")
                if found != expected { return }
            case 8:
                cache.update(key) { $0 = -step }
                naive.update(key, to: -step)
            default:
                cache.remove(key)
                naive.remove(key)
            }
            #expect(cache.count == naive.entries.count, "seed \(seed), step \(step)")
        }
    }
}
