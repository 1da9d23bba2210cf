import Common
import TLS

// bcrypt and PBKDF2 take milliseconds: the comparison is handed out, and the query goes on where it was when the result is
// there. Whoever came in once is recognised by a code of the password that fitted, which takes microseconds.
extension Authenticator {
    mutating func begin(_ check: PasswordCheck, _ checking: Checking) {
        guard self.checking.count < AuthLimits.passwordChecksWaitingMax else {
            let detail = "too many passwords wait for being compared"
            return self.answer(
                checking.waiter.request,
                .unknown,
                .overloaded,
                detail: detail,
                key: checking.rendered.key
            )
        }
        let token = self.nextToken
        self.nextToken += 1
        self.checking[token] = checking
        self.counters.slowChecks += 1
        self.actions.append(.check(token: token, check))
    }

    /// The comparison is done. The row may have changed meanwhile: then the query starts again with the new one.
    package mutating func passwordChecked(token: UInt64, fits: Bool, now: AuthTime) {
        guard let checking = self.checking.removeValue(forKey: token) else { return }
        let key = checking.rendered.key
        let waiter = checking.waiter
        waiter.checked = (checking.row, fits)
        if fits, let password = waiter.password {
            let code = self.checker.acceptanceCode(password, of: checking.row, key: key)
            self.known.update(key) { $0.acceptanceCode = code }
        }
        switch checking.stage {
        case .known:
            self.decide(waiter, checking.rendered, now: now)
        case .fetched(let entry):
            if let current = self.entry(for: key), current.generation != entry.generation || current.row != entry.row {
                self.decide(waiter, checking.rendered, now: now)
            } else if fits {
                self.answer(waiter.request, self.allow(waiter, entry, .redis, key: key))
            } else if waiter.joinedAfterSending, self.mayForceLookup(entry, now: now) {
                waiter.joinedAfterSending = false
                self.decide(waiter, checking.rendered, now: now)
            } else {
                self.answer(waiter.request, .deny, .wrongPassword, source: .redis, key: key)
            }
        case .withoutRedis(let reason, let detail):
            self.settle(waiter, checking.rendered, reason, detail, now: now)
        }
    }

    func compare(
        _ waiter: Waiter,
        _ row: CredentialRow,
        _ entry: Entry,
        key: LookupKey
    ) -> PasswordChecker.Answer {
        if let checked = waiter.checked, checked.row.secret == row.secret, checked.row.salt == row.salt {
            return checked.fits ? .fits : .doesNotFit
        }
        // A live session was let in by its password before.
        guard let password = waiter.password else { return .fits }
        let answer = self.checker.compare(password, with: row, key: key)
        guard case .slow = answer, let accepted = entry.acceptanceCode else { return answer }
        let code = self.checker.acceptanceCode(password, of: row, key: key)
        return constantTimeEquals(code, accepted) ? .fits : answer
    }
}
