import Common

// Redis is slow, or does not answer any more and nobody has noticed yet: devices with a cached row do not wait for that to be found out.
// What Redis says afterwards decides about the sessions that were let in meanwhile.
extension Authenticator {
    /// When `serveLate` has something to do.
    package var nextLate: Instant? { self.lateLookups.first.map { Instant(clamping: $0.due) } }

    func isLate(_ pending: Pending, now: AuthTime) -> Bool {
        guard case .lookingUp = pending.stage else { return false }
        return now.monotonic &- pending.startedAt.monotonic >= self.settings.staleAfterNanoseconds
    }

    /// Answers those who have waited long enough with a row that would be good while Redis is away.
    package mutating func serveLate(now: AuthTime) {
        while let late = self.lateLookups.first, late.due <= now.monotonic {
            _ = self.lateLookups.popFirst()
            guard let key = self.keys[late.token], var pending = self.pending.removeValue(forKey: key) else { continue }
            self.serveEarly(key, &pending, now: now)
            self.pending[key] = pending
        }
    }

    /// Whoever cannot be answered goes on waiting: with a password that does not fit it may be Redis that has the right one.
    mutating func serveEarly(_ key: LookupKey, _ pending: inout Pending, now: AuthTime) {
        guard let entry = self.entry(for: key), let row = entry.row, self.counts(entry, now: now),
            self.isUsable(entry, now: now)
        else { return }
        var left: [Waiter] = []
        for waiter in pending.waiters {
            guard waiter.password != nil, self.compare(waiter, row, entry, key: key) == .fits else {
                left.append(waiter)
                continue
            }
            self.waiterCount -= 1
            self.counters.allowedEarly += 1
            pending.servedEarly = row
            self.answer(waiter.request, self.allow(waiter, entry, .staleCache, key: key))
        }
        pending.waiters = left
    }

    /// The answer has come after all.
    mutating func confirmEarly(_ key: LookupKey, _ pending: Pending, _ result: LookupResult) {
        guard let served = pending.servedEarly else { return }
        switch result {
        case .found(let found): if self.checker.row(from: found, key: key) == served { return }
        case .absent, .disabled: break
        case .unusable, .tooLong: return
        }
        self.actions.append(.announce(key))
    }
}
