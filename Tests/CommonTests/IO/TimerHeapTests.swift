import Common
import TestSupport
import Testing

@Suite struct TimerHeapTests {
    @Test("Random insertions and removals: the order is that of a sorted list")
    func model() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<20 {
            var heap = TimerHeap()
            var model: [(deadline: UInt64, sequence: UInt64)] = []
            for sequence in UInt64(1)...400 {
                switch Int.random(in: 0..<5, using: &random) {
                case 0, 1, 2:
                    // Few deadlines, so that many are equal.
                    let deadline = UInt64.random(in: 0..<30, using: &random)
                    heap.insert(deadline: deadline, sequence: sequence)
                    model.append((deadline, sequence))
                    model.sort { ($0.deadline, $0.sequence) < ($1.deadline, $1.sequence) }
                case 3 where !model.isEmpty:
                    #expect(heap.removeEarliest() == model.removeFirst().sequence, "seed \(seed)")
                default:
                    // Some of these are there, some never were, some are gone.
                    let removed = UInt64.random(in: 1...sequence, using: &random)
                    heap.remove(sequence: removed)
                    model.removeAll { $0.sequence == removed }
                }
                guard heap.count == model.count, heap.earliest == model.first?.deadline else {
                    Issue.record("heap and list differ at \(sequence), seed \(seed)")
                    return
                }
            }
            while !model.isEmpty { #expect(heap.removeEarliest() == model.removeFirst().sequence, "seed \(seed)") }
            #expect(heap.count == 0)
        }
    }
}
