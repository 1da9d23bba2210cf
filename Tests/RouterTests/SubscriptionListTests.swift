import TestSupport
import Testing

@testable import Router

@Suite struct SubscriptionListTests {
    @Test("Random changes, few and many, against a plain list")
    func random() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var list = SubscriptionList()
        var expected: [Session.Subscription] = []
        func any() -> Session.Subscription {
            Session.Subscription(place: UInt32.random(in: 0..<400, using: &random), isShared: random.oneIn(2))
        }
        for step in 0..<20_000 {
            // It grows past the size from which on there is a table, and shrinks again.
            let grows = step / 2500 % 2 == 0
            let item = any()
            #expect(list.contains(item) == expected.contains(item), "seed \(seed), step \(step)")
            if random.oneIn(grows ? 4 : 2), let position = list.firstIndex(of: item) {
                list.remove(at: position)
                expected.removeAll { $0 == item }
            } else if grows, !list.contains(item) {
                list.append(item)
                list.setNumber(UInt32(step), at: list.count - 1)
                expected.append(Session.Subscription(place: item.place, isShared: item.isShared, number: UInt32(step)))
            }
            #expect(list.count == expected.count)
            guard let known = expected.randomElement(using: &random) else { continue }
            let position = list.firstIndex(of: known)
            #expect(position.map { list[$0].number } == known.number, "seed \(seed), step \(step)")
        }
        #expect(Set(list.map(\.number)) == Set(expected.map(\.number)), "seed \(seed)")
        list.removeAll()
        #expect(list.count == 0 && !list.contains(any()))
    }
}
