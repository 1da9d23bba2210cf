import Common

/// Comparisons that wait for a thread. Every second one is the next row's, the others the next address': whoever sends many passwords
/// for one name, or for many names from one address, waits behind himself. Somebody else waits for two comparisons for each row, or for
/// each address, that wait.
struct PasswordQueue {
    private struct Waiting {
        var check: PasswordCheck
        var since: Instant
    }

    private var waiting: [UInt64: Waiting] = [:]
    private var rows = Turns()
    private var addresses = Turns()
    private var isTurnOfAddress = true

    var count: Int { self.waiting.count }
    var isEmpty: Bool { self.waiting.isEmpty }
    /// Of both orders, with what is gone by the other.
    var tokensKept: Int { self.rows.count + self.addresses.count }

    mutating func append(_ check: PasswordCheck, token: UInt64, of parties: CheckParties, now: Instant) {
        self.waiting[token] = Waiting(check: check, since: now)
        self.rows.append(token, of: parties.row)
        self.addresses.append(token, of: parties.address)
        self.compact()
    }

    /// The next one; its `check` is nil where it has waited for too long.
    mutating func popFirst(now: Instant) -> (token: UInt64, check: PasswordCheck?)? {
        guard !self.waiting.isEmpty else { return nil }
        self.isTurnOfAddress.toggle()
        // What is gone from one is still in the other.
        while let token = self.isTurnOfAddress ? self.addresses.popFirst() : self.rows.popFirst() {
            guard let next = self.waiting.removeValue(forKey: token) else { continue }
            self.compact()
            let isInTime = now < next.since &+ AuthLimits.passwordCheckWaitNanoseconds
            return (token, isInTime ? next.check : nil)
        }
        return nil
    }

    mutating func removeAll() {
        self = PasswordQueue()
    }

    /// Neither has more than twice as many tokens as wait.
    private mutating func compact() {
        let most = 2 * self.waiting.count + 64
        if self.rows.count > most { self.rows.keep { self.waiting[$0] != nil } }
        if self.addresses.count > most { self.addresses.keep { self.waiting[$0] != nil } }
    }

    /// Tokens that come out one for each party in turn, and in their order for each.
    private struct Turns {
        private var tokens: [UInt64: FirstInFirstOut<UInt64>] = [:]
        private var order = FirstInFirstOut<UInt64>()
        private(set) var count = 0

        mutating func append(_ token: UInt64, of party: UInt64) {
            if self.tokens[party] == nil { self.order.append(party) }
            self.tokens[party, default: FirstInFirstOut()].append(token)
            self.count += 1
        }

        mutating func popFirst() -> UInt64? {
            guard let party = self.order.popFirst(), let token = self.tokens[party]?.popFirst() else { return nil }
            self.count -= 1
            if self.tokens[party]?.isEmpty ?? true { self.tokens[party] = nil } else { self.order.append(party) }
            return token
        }

        mutating func keep(where isWanted: (UInt64) -> Bool) {
            var kept = Turns()
            while let party = self.order.popFirst(), var tokens = self.tokens[party] {
                while let token = tokens.popFirst() {
                    if isWanted(token) { kept.append(token, of: party) }
                }
            }
            self = kept
        }
    }
}
