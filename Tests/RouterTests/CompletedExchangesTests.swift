import TestSupport
import Testing

@testable import Router

@Suite struct CompletedExchangesTests {
    @Test("Random changes against a list in which each one has its turn")
    func random() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var exchanges = CompletedExchanges()
        var expected: [(exchange: UInt64, turn: UInt64)] = []
        var turn: UInt64 = 1
        for step in 1...20_000 as ClosedRange<UInt64> {
            if random.oneIn(3) { turn += 1 }
            switch Int.random(in: 0..<12, using: &random) {
            case 0..<5:
                exchanges.append(step)
                expected.append((step, 0))
            case 5..<8:
                let count = Int.random(in: 0..<4, using: &random)
                exchanges.left(count, turn: turn)
                for place in expected.indices.filter({ expected[$0].turn == 0 }).prefix(count) {
                    expected[place].turn = turn
                }
            case 8 where random.oneIn(10):
                exchanges.leaveLater(turn: turn)
                for place in expected.indices where expected[place].turn != 0 { expected[place].turn = turn }
            case 9 where random.oneIn(50):
                exchanges.leaveAll(turn: turn)
                for place in expected.indices { expected[place].turn = turn }
            default:
                let upTo = turn - UInt64.random(in: 0..<min(turn, 3), using: &random)
                let oldest = expected.first.flatMap { $0.turn != 0 && $0.turn <= upTo ? $0.exchange : nil }
                if oldest != nil { expected.removeFirst() }
                #expect(exchanges.takeOldest(leftUpTo: upTo) == oldest, "seed \(seed), step \(step)")
            }
            #expect(exchanges.held <= 2 * expected.count)
        }
        #expect(exchanges.all == expected.map(\.exchange), "seed \(seed)")
    }
}
