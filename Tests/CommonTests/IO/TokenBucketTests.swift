import Common
import TestSupport
import Testing

@Suite struct TokenBucketTests {
    private let second = Nanoseconds.perSecond

    @Test func zeroMeansNoLimit() {
        let bucket = TokenBucket(perSecond: 0, burstNanoseconds: second)
        #expect(bucket == nil)
    }

    @Test func aBurstPassesAndThenTheRate() throws {
        var bucket = try #require(TokenBucket(perSecond: 10, burstNanoseconds: 2 * second))
        var now: Instant = 1000 * second
        var passed = 0
        while bucket.blockedUntil(now: now) == nil {
            bucket.take(1, now: now)
            passed += 1
        }
        #expect(passed == 20)
        let ready = try #require(bucket.blockedUntil(now: now))
        #expect(ready == now + second / 10)
        now = ready
        #expect(bucket.blockedUntil(now: now) == nil)
        bucket.take(1, now: now)
        #expect(bucket.blockedUntil(now: now) == now + second / 10)
        // After a long pause there is one bucketful, not more.
        now += 3600 * second
        passed = 0
        while bucket.blockedUntil(now: now) == nil {
            bucket.take(1, now: now)
            passed += 1
        }
        #expect(passed == 20)
    }

    @Test func somethingLargePassesAndIsPaidForLater() throws {
        var bucket = try #require(TokenBucket(perSecond: 1000, burstNanoseconds: second))
        let now: Instant = 7 * second
        #expect(bucket.blockedUntil(now: now) == nil)
        bucket.take(5000, now: now)
        let ready = try #require(bucket.blockedUntil(now: now))
        #expect(ready == now + 4 * second + second / 1000)
    }

    @Test func slowRatesAndLargeAmountsWork() throws {
        var slow = try #require(TokenBucket(perSecond: 1, burstNanoseconds: 1))
        #expect(slow.blockedUntil(now: 0) == nil)
        slow.take(1, now: 0)
        #expect(slow.blockedUntil(now: 0) == second)
        var large = try #require(TokenBucket(perSecond: 1, burstNanoseconds: second))
        large.take(Int.max, now: second)
        #expect(large.blockedUntil(now: second) != nil)
    }

    @Test func onAverageTheRateIsKept() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<50 {
            let perSecond = Int.random(in: 1...100_000, using: &random)
            var bucket = try #require(
                TokenBucket(perSecond: perSecond, burstNanoseconds: UInt64.random(in: 1...5 * second, using: &random))
            )
            var now: Instant = 0
            var passed = 0
            for _ in 0..<1000 {
                if let ready = bucket.blockedUntil(now: now) { now = ready }
                let amount = Int.random(in: 1...2000, using: &random)
                bucket.take(amount, now: now)
                passed += amount
            }
            let most = Double(perSecond) * (Double(now) / Double(second) + 5) + Double(2000)
            #expect(Double(passed) <= most + 1, "seed \(seed)")
        }
    }
}
