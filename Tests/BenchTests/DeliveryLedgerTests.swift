import TestSupport
import Testing

@testable import Bench

@Suite struct DeliveryLedgerTests {
    @Test("Loss, duplicates and order of a damaged stream, against a list")
    func random() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            let sent = UInt32.random(in: 0...60, using: &random)
            var stream: [UInt32] = []
            for sequence in 0..<sent {
                if random.oneIn(8) { continue }
                stream.append(sequence)
                if random.oneIn(10) { stream.append(sequence) }
            }
            for index in stream.indices.dropLast() where random.oneIn(9) { stream.swapAt(index, index + 1) }
            var ledger = DeliveryLedger()
            var seen: [UInt32] = []
            var (duplicates, late) = (0, 0)
            for sequence in stream {
                let isNew = ledger.receive(sequence)
                #expect(isNew == !seen.contains(sequence), "seed \(seed): \(stream)")
                if !isNew { duplicates += 1 } else if seen.contains(where: { $0 > sequence }) { late += 1 }
                seen.append(sequence)
            }
            #expect(ledger.duplicates == duplicates && ledger.outOfOrder == late, "seed \(seed): \(stream)")
            #expect(ledger.lost(ofSent: sent) == Int(sent) - Set(seen).count, "seed \(seed): \(stream)")
            #expect(ledger.received == Set(seen).count)
        }
    }

    /// The number after the last one was no number of 32 bits.
    @Test func `regression: no number is too large`() {
        var ledger = DeliveryLedger()
        let isNew = [
            ledger.receive(UInt32.max), ledger.receive(UInt64.max), ledger.receive(Int.max), ledger.receive(-1),
        ]
        #expect(isNew == [true, true, false, false] && ledger.duplicates == 2)
        #expect(ledger.lost(ofSent: UInt64.max) == Int.max - 2)
    }
}
