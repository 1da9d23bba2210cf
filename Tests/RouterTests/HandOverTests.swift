import TestSupport
import Testing

@testable import Router

/// Up to which turn a link's bytes have left the process.
@Suite struct HandOverTests {
    @Test func whatWaitsInTheProcessIsNotHandedOver() {
        var handOver = HandOver()
        handOver.wrote(100)
        #expect(handOver.turnHandedOver(core: 1, waitingBytes: 30) == nil)
        handOver.wrote(50)
        #expect(handOver.turnHandedOver(core: 2, waitingBytes: 80) == nil)
        // The 100 bytes of the first turn are out, and of the second one none.
        #expect(handOver.turnHandedOver(core: 3, waitingBytes: 50) == 1)
        #expect(handOver.turnHandedOver(core: 4, waitingBytes: 1) == nil)
        #expect(handOver.turnHandedOver(core: 5, waitingBytes: 0) == 5)
        #expect(handOver.turnHandedOver(core: 6, waitingBytes: 0) == 6)
    }

    /// Against a list of all bytes with their turns.
    @Test func agreesWithAListOfBytes() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var handOver = HandOver()
        var waiting: [UInt64] = []
        var reached: UInt64 = 0
        for turn in 1...5000 as ClosedRange<UInt64> {
            let count = Int.random(in: 0...5, using: &random)
            waiting += [UInt64](repeating: turn, count: count)
            handOver.wrote(count)
            waiting.removeFirst(min(waiting.count, Int.random(in: 0...6, using: &random)))
            if let now = handOver.turnHandedOver(core: turn, waitingBytes: waiting.count) {
                #expect(now >= reached, "seed \(seed)")
                reached = now
            }
            #expect(reached == (waiting.first ?? turn + 1) - 1, "seed \(seed), turn \(turn)")
        }
    }
}
