import AuthWorker
import Common
import TestSupport
import Testing

/// Random histories: rows come, change and go, Redis fails and returns, answers are late, the process restarts. Each verdict is
/// held against what Redis had when.
@Suite struct AuthenticatorPropertyTests {
    /// What Redis held of one device, and since when.
    private struct History {
        private(set) var entries: [(since: UInt64, password: String?)] = [(0, nil)]

        mutating func set(_ password: String?, at now: UInt64) {
            self.entries.append((now, password))
        }

        /// Whether it held something for which `condition` is true at some moment from `start` to `end`.
        func held(from start: UInt64, to end: UInt64, _ condition: (String?) -> Bool) -> Bool {
            for (index, entry) in self.entries.enumerated() {
                let until = index + 1 < self.entries.count ? self.entries[index + 1].since : UInt64.max
                if entry.since <= end, until >= start, condition(entry.password) { return true }
            }
            return false
        }
    }

    private struct Asked {
        var name: String
        var password: String
        var at: UInt64
        /// Redis was in trouble at some moment since.
        var sawTrouble: Bool
    }

    private static let positiveTTL: UInt64 = 20_000_000_000
    private static let staleMax: UInt64 = 100_000_000_000
    private static let negativeTTL: UInt64 = 3_000_000_000
    /// A look-up is answered within this, or not at all; a verdict may rest on one that was under way when the client asked.
    private static let lookupMax: UInt64 = 1_000_000_000

    @Test(arguments: 0..<60)
    func noVerdictWithoutAReason(_ run: Int) throws {
        let seed = testSeed() &+ UInt64(run)
        var random = SeededRandom(seed: seed)
        var harness = try AuthenticatorHarness {
            $0.positiveTTLNanoseconds = Int64(Self.positiveTTL)
            $0.staleMaxNanoseconds = Int64(Self.staleMax)
            $0.negativeTTLNanoseconds = Int64(Self.negativeTTL)
            $0.memoryEntries = 3
            $0.negativeEntries = 2
        }
        harness.holdsAnswers = true
        let names = ["a", "b", "c", "d", "e"]
        var histories: [String: History] = Dictionary(uniqueKeysWithValues: names.map { ($0, History()) })
        var asked: [UInt64: Asked] = [:]
        for step in 0..<600 {
            let name = names[Int.random(in: 0..<names.count, using: &random)]
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<8:
                let password = ["p", "q"][Int.random(in: 0..<2, using: &random)]
                let request = harness.send(name, password)
                asked[request] = Asked(
                    name: name,
                    password: password,
                    at: harness.now,
                    sawTrouble: harness.redis != .works
                )
            case 8..<13:
                if !harness.flights.isEmpty {
                    let index = Int.random(in: 0..<harness.flights.count, using: &random)
                    if random.oneIn(6) { harness.fail(index, .queryTimedOut) } else { harness.land(index) }
                }
            case 13..<15:
                let password = [nil, "p", "q"][Int.random(in: 0..<3, using: &random)]
                harness.rows[name] = password
                histories[name]?.set(password, at: harness.now)
            case 15..<17:
                harness.advance(seconds: [0.01, 0.5, 2, 15, 40][Int.random(in: 0..<5, using: &random)])
                harness.timeOut(afterNanoseconds: Self.lookupMax)
            case 17:
                harness.redis = [.works, .works, .answersErrors, .isDown][Int.random(in: 0..<4, using: &random)]
            case 18:
                harness.diskIsReadable = !random.oneIn(4)
            default:
                guard random.oneIn(5) else { break }
                // Whoever waits is told by the link that it is gone.
                asked = [:]
                harness.verdicts = [:]
                try harness.restart()
            }
            for (request, verdict) in harness.verdicts {
                guard let query = asked.removeValue(forKey: request), let history = histories[query.name] else {
                    continue
                }
                let problem = Self.problem(verdict, query, history, now: harness.now)
                #expect(problem == nil, "seed \(seed), step \(step), \(query)")
            }
            harness.verdicts = [:]
        }
        while !harness.flights.isEmpty { harness.land(0) }
        #expect(harness.authenticator.queriesWaiting == 0, "seed \(seed)")
        #expect(harness.authenticator.lookupsPending == 0, "seed \(seed)")
    }

    private static func problem(_ verdict: AuthVerdict, _ query: Asked, _ history: History, now: UInt64) -> String? {
        func since(_ nanoseconds: UInt64) -> UInt64 {
            let span = nanoseconds + Self.lookupMax
            return query.at > span ? query.at - span : 0
        }
        switch (verdict.outcome, verdict.reason) {
        case (.allow, _):
            let window = verdict.source == .staleCache ? Self.staleMax : Self.positiveTTL
            return history.held(from: since(window), to: now) { $0 == query.password } ? nil : "let in without a row"
        case (.deny, .noSuchDevice):
            return history.held(from: since(Self.negativeTTL), to: now) { $0 == nil }
                ? nil : "denied though there is a row"
        case (.deny, .wrongPassword):
            let changed = history.held(from: since(1_000_000_000), to: now) { $0 != nil && $0 != query.password }
            return changed ? nil : "denied with the right password"
        case (.deny, let reason):
            return "denied for \(reason)"
        case (.unknown, let reason):
            return reason == .redisUnavailable || reason == .redisError ? nil : "unknown for \(reason)"
        }
    }
}
