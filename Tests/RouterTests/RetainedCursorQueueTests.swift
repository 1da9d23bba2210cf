import TestSupport
import Testing

@testable import Router

@Suite struct RetainedCursorQueueTests {
    private static func cursor(_ place: UInt32, _ number: Int, _ store: inout RetainedStore) -> RetainedCursor {
        Array("f/\(number)".utf8).withUnsafeBytes {
            RetainedCursor(
                filter: $0,
                options: Subscriber.Options(bits: UInt32(number) << 8),
                place: place,
                store: &store
            )
        }
    }

    /// What tells one cursor from another.
    private struct Item: Equatable {
        var place: UInt32
        var bits: UInt32

        init(_ cursor: RetainedCursor) {
            self.place = cursor.place
            self.bits = cursor.options.bits
        }
    }

    @Test("It does what a list does, whichever are taken out, and however many wait for one filter")
    func agreesWithAList() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var store = RetainedStore(seed: 1, messagesMax: 10, bytesMax: 1000)
        for round in 0..<60 {
            var queue = RetainedCursorQueue()
            var list: [Item] = []
            let places = UInt32.random(in: 1...100, using: &random)
            let appends = Int.random(in: 3...8, using: &random)
            for number in 0..<600 {
                let place = UInt32.random(in: 0..<places, using: &random)
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<appends:
                    let cursor = Self.cursor(place, number, &store)
                    queue.append(cursor)
                    list.append(Item(cursor))
                case 8:
                    let removed = queue.removeAll(place: place).map { Item($0) }
                    let expected = list.filter { $0.place == place }
                    #expect(removed.sorted { $0.bits < $1.bits } == expected, "seed \(seed), round \(round)")
                    list.removeAll { $0.place == place }
                default:
                    guard !list.isEmpty else { continue }
                    #expect(Item(queue.first) == list[0], "seed \(seed), round \(round)")
                    #expect(Item(queue.removeFirst()) == list.removeFirst(), "seed \(seed), round \(round)")
                }
                guard queue.count == list.count, queue.isEmpty == list.isEmpty,
                    queue.contains(place: place) == list.contains(where: { $0.place == place })
                else {
                    Issue.record("seed \(seed), round \(round), step \(number)")
                    return
                }
            }
            #expect(queue.map { Item($0) } == list, "seed \(seed), round \(round)")
        }
    }

    @Test(
        "Regression: filters that are subscribed to again, many at a time, are taken out without looking at all of them"
    )
    func again() {
        var store = RetainedStore(seed: 1, messagesMax: 10, bytesMax: 1000)
        var queue = RetainedCursorQueue()
        // With a look at each of the others this takes minutes.
        for _ in 0..<3 {
            for place in 0..<UInt32(60_000) {
                let removed = queue.removeAll(place: place)
                #expect(removed.count <= 1)
                queue.append(Self.cursor(place, 1, &store))
            }
        }
        #expect(queue.count == 60_000)
    }
}
