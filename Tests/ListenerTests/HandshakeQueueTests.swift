import TestSupport
import Testing

@testable import Listener

/// Who is next of those that wait for their handshake.
@Suite struct HandshakeQueueTests {
    @Test func ticketsGoFirstAndStarveNobody() {
        var queue = HandshakeQueue()
        for number in 0..<40 as Range<Int32> { queue.append(number, hasTicket: number >= 20) }
        var order: [Int32] = []
        while let next = queue.next() { order.append(next) }
        #expect(Array(order.prefix(8)) == [20, 21, 22, 0, 23, 24, 25, 1])
        #expect(order.sorted() == Array(0..<40))
        for half in [0..<20, 20..<40] as [Range<Int32>] {
            #expect(order.filter { half.contains($0) } == Array(half), "in the order in which they came")
        }
        #expect(queue.next() == nil)
    }

    /// Against two arrays.
    @Test func agreesWithTwoLists() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var queue = HandshakeQueue()
        var lists: [[Int32]] = [[], []]
        var sinceOther = 0
        for number in 0..<20_000 as Range<Int32> {
            if Bool.random(using: &random) {
                let hasTicket = Bool.random(using: &random)
                queue.append(number, hasTicket: hasTicket)
                lists[hasTicket ? 0 : 1].append(number)
                continue
            }
            let next = queue.next()
            let expected = lists.firstIndex { $0.first != nil && $0.first == next }
            #expect((next == nil) == lists.allSatisfy(\.isEmpty), "seed \(seed)")
            guard let expected else { continue }
            if expected == 0, !lists[1].isEmpty { sinceOther += 1 } else { sinceOther = 0 }
            #expect(sinceOther <= 4, "seed \(seed)")
            lists[expected].removeFirst()
        }
    }
}
