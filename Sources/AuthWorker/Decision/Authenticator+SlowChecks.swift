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
        self.actions.append(.check(token: token, check, Self.parties(of: checking)))
    }

    private static func parties(of checking: Checking) -> CheckParties {
        let key = checking.rendered.key
        return CheckParties(
            row: LookupKey.hash(of: key.redisKey + key.variant),
            address: LookupKey.hash(of: checking.waiter.client.value(of: .peerHost) ?? [])
        )
    }

    /// The comparison is done. The row may have changed meanwhile: then the query starts again with the new one.
    /// - Parameter fits: nil: it was not made, as it had waited for too long.
    package mutating func passwordChecked(token: UInt64, fits: Bool?, now: AuthTime) {
        guard let checking = self.checking.removeValue(forKey: token) else { return }
        let key = checking.rendered.key
        guard let fits else {
            self.counters.slowChecksDropped += 1
            let detail = "the password has waited too long for being compared"
            return self.answer(checking.waiter.request, .unknown, .overloaded, detail: detail, key: key)
        }
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
                self.refuse(waiter, checking.row, key: key)
            }
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
        if self.logsInByCertificate(row) { return self.isNamedByCertificate(waiter.client, key) ? .fits : .doesNotFit }
        let answer = self.checker.compare(password, with: row, key: key)
        guard case .slow = answer, let accepted = entry.acceptanceCode else { return answer }
        let code = self.checker.acceptanceCode(password, of: row, key: key)
        return constantTimeEquals(code, accepted) ? .fits : answer
    }

    /// The row has no password, where rows may have none: the device's certificate is enough.
    private func logsInByCertificate(_ row: CredentialRow) -> Bool {
        self.checker.acceptsRowsWithoutPassword && row.secret == .none
    }

    /// What the client writes into CONNECT is no proof that it is the device: its certificate has to say so.
    private func isNamedByCertificate(_ client: ClientAttributes, _ key: LookupKey) -> Bool {
        guard let identity = client.identity else { return false }
        return self.command.placeholders.contains(where: \.isFromCertificate) || identity.commonName == key.redisKey
    }

    private static let certificateMissing =
        "the device logs in by its certificate, and the client has none with its name"

    /// The deny of a password that does not fit the cached row, which Redis need not be asked about again.
    func denial(_ row: CredentialRow, _ entry: Entry, key: LookupKey) -> AuthVerdict {
        let (reason, detail) = self.misfit(row)
        return AuthVerdict(
            outcome: .deny,
            reason: reason,
            source: entry.origin,
            detail: Array(detail.utf8),
            keyHash: key.hash
        )
    }

    /// Why nothing that the client sends fits the row, or what it sent does not.
    private func misfit(_ row: CredentialRow) -> (AuthVerdict.Reason, detail: String) {
        if self.logsInByCertificate(row) { return (.certificateMissing, Self.certificateMissing) }
        if let fault = self.checker.fault(of: row) { return (.rowUnusable, fault) }
        return (.wrongPassword, "")
    }

    /// Refuses a password that does not fit the row that was just fetched.
    mutating func refuse(_ waiter: Waiter, _ row: CredentialRow, key: LookupKey) {
        var (reason, detail) = self.misfit(row)
        if reason == .wrongPassword, waiter.password?.isEmpty ?? false, self.checker.acceptsRowsWithoutPassword {
            reason = .passwordMissing
        }
        self.answer(waiter.request, .deny, reason, source: .redis, detail: detail, key: key)
    }
}
