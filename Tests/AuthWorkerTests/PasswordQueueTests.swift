import Common
import TestSupport
import Testing

@testable import AuthWorker

@Suite struct PasswordQueueTests {
    private let check = PasswordCheck(scheme: .plain, password: Secret([1]), stored: [], salt: [])

    private func parties(_ row: UInt64, _ address: UInt64) -> CheckParties { CheckParties(row: row, address: address) }

    /// How many come out before the one with this token.
    private func place(of token: UInt64, in queue: inout PasswordQueue) -> Int {
        var before = 0
        while let next = queue.popFirst(now: 0), next.token != token { before += 1 }
        return before
    }

    /// They came out in the order in which they went in: 80 guesses at one name, each of 50 ms, kept everybody else out for seconds.
    @Test(arguments: [
        // One name from one address, one from many, many from one.
        (1, 1), (1, 1000), (1000, 1),
    ])
    func `regression: others need not wait behind somebody's guesses`(_ rows: UInt64, _ addresses: UInt64) {
        var queue = PasswordQueue()
        for token in 0..<1000 as Range<UInt64> {
            queue.append(self.check, token: token, of: self.parties(token % rows, token % addresses), now: 0)
        }
        queue.append(self.check, token: 5000, of: self.parties(5000, 5000), now: 0)
        #expect(self.place(of: 5000, in: &queue) <= 4)
        // Behind one proxy all addresses are one.
        queue.removeAll()
        for token in 0..<1000 as Range<UInt64> {
            queue.append(self.check, token: token, of: self.parties(1, 1), now: 0)
        }
        queue.append(self.check, token: 5000, of: self.parties(2, 1), now: 0)
        #expect(self.place(of: 5000, in: &queue) <= 4)
    }

    @Test func oneRowsComeInTheirOrder() {
        var queue = PasswordQueue()
        for token in 0..<100 as Range<UInt64> { queue.append(self.check, token: token, of: self.parties(1, 1), now: 0) }
        #expect((0..<100).map { _ in queue.popFirst(now: 0)?.token } == (0..<100).map { UInt64($0) })
        #expect(queue.isEmpty && queue.popFirst(now: 0) == nil)
    }

    @Test func nobodyWaitsForAnAnswerAfterHisListenerHasGivenUp() {
        var queue = PasswordQueue()
        for token in 0..<2 as Range<UInt64> {
            queue.append(self.check, token: token, of: self.parties(1, 1), now: 7)
        }
        let limit = 7 + AuthLimits.passwordCheckWaitNanoseconds
        let inTime = queue.popFirst(now: limit - 1)
        #expect(inTime?.token == 0 && inTime?.check == self.check)
        let late = queue.popFirst(now: limit)
        #expect(late?.token == 1 && late?.check == nil)
    }

    @Test func everyOneComesOutOnce() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var queue = PasswordQueue()
        var waiting: Set<UInt64> = []
        for token in 0..<20_000 as Range<UInt64> {
            if random.oneIn(2) || waiting.isEmpty {
                let parties = self.parties(
                    UInt64.random(in: 0...8, using: &random),
                    random.oneIn(4) ? UInt64.random(in: 0...1000, using: &random) : 0
                )
                queue.append(self.check, token: token, of: parties, now: 0)
                waiting.insert(token)
            } else if let next = queue.popFirst(now: 0) {
                #expect(waiting.remove(next.token) != nil, "seed \(seed)")
            }
            #expect(queue.count == waiting.count && queue.tokensKept <= 4 * waiting.count + 130, "seed \(seed)")
        }
        while let next = queue.popFirst(now: 0) { waiting.remove(next.token) }
        #expect(waiting.isEmpty && queue.isEmpty, "seed \(seed)")
    }
}
