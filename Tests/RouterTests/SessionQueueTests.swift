import Common
import TestSupport
import Testing

@testable import Router

/// The queue of one session, compared with a plain list.
@Suite struct SessionQueueTests {
    private struct Naive {
        var number: UInt32
        var expiry: Instant

        /// When the queue sees that it has expired.
        var seenAt: Instant {
            let step = MessageExpiries.stepNanoseconds
            return self.expiry == Instant.max ? Instant.max : (self.expiry + step - 1) / step * step
        }
    }

    private static func item(_ number: UInt32, expiry: Instant = Instant.max) -> QueuedMessage {
        let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        let payload = [UInt8](repeating: 7, count: Int(number % 90))
        return payload.withUnsafeBytes { payload in
            let view = MessageView(
                topic: nothing,
                properties: nothing,
                payload: payload,
                expiry: expiry,
                qos: .atLeastOnce,
                retain: false
            )
            var item = QueuedMessage(
                message: Message.make(copying: view),
                identifier: number,
                qos: .atLeastOnce,
                retain: false
            )
            item.number = number % 3 == 0 ? 0 : UInt64(number)
            return item
        }
    }

    private static func numbers(_ queue: SessionQueue) -> [UInt32] {
        var found: [UInt32] = []
        queue.forEach { found.append($0.identifier) }
        return found
    }

    private static func bytes(_ number: UInt32) -> Int { 64 + Int(number % 90) }

    @Test func isAListOfWhichExpiredMessagesAreTakenOut() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<20 {
            var queue = SessionQueue()
            var list: [Naive] = []
            var now: Instant = 1000 * Nanoseconds.perSecond
            var next: UInt32 = 1
            let lasts = Int.random(in: 1...4, using: &random)
            let goes = Int.random(in: 2...30, using: &random)
            for _ in 0..<2000 {
                switch Int.random(in: 0..<goes, using: &random) {
                case 0:
                    #expect(queue.removeFirst()?.identifier == list.first?.number, "seed \(seed)")
                    if !list.isEmpty { list.removeFirst() }
                case 1:
                    now += UInt64.random(in: 0...3_000_000_000, using: &random)
                    while let item = queue.removeExpired(now) {
                        let first = list.map(\.seenAt).min()
                        let place = list.firstIndex { $0.number == item.identifier }
                        #expect(place.map { list[$0].seenAt } == first, "not the first to expire, seed \(seed)")
                        if let place { list.remove(at: place) }
                    }
                    #expect(!list.contains { $0.seenAt <= now }, "seed \(seed)")
                case 2 where random.oneIn(100):
                    let removed = queue.removeAll { $0.identifier % 7 != 0 }
                    #expect(removed == list.count { $0.number % 7 == 0 }, "seed \(seed)")
                    list.removeAll { $0.number % 7 == 0 }
                default:
                    let after = UInt64.random(in: 1...20_000_000_000, using: &random)
                    let expiry = random.oneIn(lasts) ? Instant.max : now + after
                    queue.append(Self.item(next, expiry: expiry))
                    list.append(Naive(number: next, expiry: expiry))
                    next += 1
                }
                #expect(queue.count == list.count, "seed \(seed)")
                #expect(queue.first?.identifier == list.first?.number, "seed \(seed)")
                #expect(queue.bytes == list.reduce(0) { $0 + Self.bytes($1.number) }, "seed \(seed)")
                #expect(queue.storedCount == list.count { $0.number % 3 != 0 }, "seed \(seed)")
            }
            #expect(Self.numbers(queue) == list.map(\.number), "seed \(seed)")
        }
    }

    /// A message that stays in front of all that expire: what they leave behind is closed up.
    @Test func whatExpiredBehindAMessageThatStaysTakesNoMemory() {
        var queue = SessionQueue()
        var now: Instant = 0
        queue.append(Self.item(1))
        for wave in 0..<200 as Range<UInt32> {
            for index in 0..<500 as Range<UInt32> {
                queue.append(Self.item(2 + wave * 500 + index, expiry: now + Nanoseconds.perSecond))
            }
            if wave % 10 == 0 { queue.append(Self.item(1_000_000 + wave)) }
            now += 2 * Nanoseconds.perSecond
            while queue.removeExpired(now) != nil {}
            #expect(queue.heldPlaces.messages <= 1024)
            #expect(queue.heldPlaces.expiries == 0)
        }
        #expect(Self.numbers(queue) == [1] + stride(from: 1_000_000, to: 1_000_200, by: 10))
    }

    /// Not so many gaps that the ring becomes a smaller one, and still so many that it needs no larger one.
    @Test func aQueueOfWhichAsManyExpireAsComeDoesNotGrow() {
        var queue = SessionQueue()
        queue.append(Self.item(0))
        for number in 1...5000 as ClosedRange<UInt32> {
            let now = Instant(number) * Nanoseconds.perSecond
            while queue.removeExpired(now) != nil {}
            queue.append(Self.item(number, expiry: now + 600 * Nanoseconds.perSecond))
            #expect(queue.count == min(Int(number), 600) + 1)
            #expect(queue.heldPlaces.messages <= 1024, "for \(queue.count) messages")
        }
        #expect(Self.numbers(queue) == [0] + (4401...5000))
    }

    @Test func aLargeQueueOfWhichMostExpiredIsSmall() {
        var queue = SessionQueue()
        for number in 0..<100_000 as Range<UInt32> {
            queue.append(Self.item(number, expiry: number % 1000 == 0 ? Instant.max : Nanoseconds.perSecond))
        }
        while queue.removeExpired(Nanoseconds.perSecond) != nil {}
        #expect(queue.count == 100)
        #expect(queue.heldPlaces.messages <= 1024)
        #expect(Self.numbers(queue) == (0..<100).map { $0 * 1000 })
    }

    /// Messages that expire late and are sent soon.
    @Test func whatWasSentIsForgottenLongBeforeItExpires() {
        var queue = SessionQueue()
        queue.append(Self.item(0, expiry: 1_000_000 * Nanoseconds.perSecond))
        for number in 1..<20_000 as Range<UInt32> {
            queue.append(Self.item(number, expiry: (1_000_000 + UInt64(number)) * Nanoseconds.perSecond))
            #expect(queue.removeFirst()?.identifier == number - 1)
            #expect(queue.heldPlaces.expiries <= 2 * (queue.count + 1) + 64)
        }
        queue.removeFirst()
        #expect(queue.earliestExpiry == nil)
    }

    /// It never ended where all that wait were looked at for each that comes.
    @Test func aFullQueueIsNotLookedThroughForEachMessage() {
        var queue = SessionQueue()
        var random = SeededRandom(seed: 7)
        let step = Nanoseconds.perSecond / 100
        var now: Instant = 0
        func item(_ number: UInt32) -> QueuedMessage {
            let lasts = UInt64.random(in: 1...400_000, using: &random)
            return Self.item(number, expiry: number % 4 == 0 ? Instant.max : now + lasts * step)
        }
        for number in 0..<100_000 as Range<UInt32> { queue.append(item(number)) }
        var expired = 0
        for number in 100_000..<300_000 as Range<UInt32> {
            now += step
            if queue.removeExpired(now) != nil { expired += 1 } else { queue.removeFirst() }
            queue.append(item(number))
        }
        #expect(queue.count == 100_000)
        #expect(expired > 10_000)
    }

    @Test func messagesThatNeverExpireCostNothing() {
        var queue = SessionQueue()
        for number in 0..<1000 as Range<UInt32> { queue.append(Self.item(number)) }
        // Later than anybody will see.
        queue.append(Self.item(1000, expiry: Instant.max - 1))
        #expect(queue.heldPlaces.expiries == 0)
        #expect(queue.removeExpired(Instant.max - 1) == nil)
    }
}
