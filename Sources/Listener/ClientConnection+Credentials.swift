import Common

// The right to stay: a live session is asked about again when its row may have changed.
extension ClientConnection {
    /// Asks again whether the device may be here; nil when there is nothing to ask, or somebody is asked already.
    func revalidationQuery() -> AuthQuery? {
        guard self.credentials.dependsOnRows else { return nil }
        // A change that is announced before the session is open, or before an earlier question is answered, is asked about
        // afterwards.
        if self.phase == .opening || self.credentials.isAsked { self.credentials.mustAskAgain = true }
        guard self.phase == .open, !self.credentials.isAsked else { return nil }
        self.credentials.isAsked = true
        self.credentials.mustAskAgain = false
        return AuthQuery(
            listenerName: self.policy.name,
            rulesName: self.policy.rulesName,
            peerAddress: Array(self.peerAddress.utf8),
            version: self.version,
            identity: self.identity,
            clientIdentifier: self.credentials.clientIdentifier,
            userName: self.userName,
            password: nil,
            revalidatedTag: self.credentials.tag
        )
    }

    /// The rows that the session depends on are these: first that of the source that decided, 0 without one, then the others.
    func isKnownBy(_ keyHashes: [UInt64]) {
        let keyHash = keyHashes.first ?? 0
        let others = keyHashes.dropFirst()
        guard self.credentials.keyHash != keyHash || self.credentials.otherKeyHashes[...] != others else { return }
        let former = [self.credentials.keyHash] + self.credentials.otherKeyHashes
        for hash in former { self.service.live.remove(self.handle, keyHash: hash) }
        for hash in keyHashes { self.service.live.add(self.handle, keyHash: hash) }
        self.credentials.keyHash = keyHash
        self.credentials.otherKeyHashes = Array(others)
    }

    /// Every quarter of the time for which a row may be stale, a second at least, spread so that a fleet that connected at once is not asked about
    /// at once.
    func scheduleRevalidation() {
        let staleMax = self.service.configuration.authentication.staleMaxNanoseconds
        guard self.credentials.dependsOnRows, staleMax > 0 else { return }
        let period = max(staleMax / 4, LiveSessions.revalidationNanosecondsMin)
        let spread = UInt64.random(in: 0...period / 4)
        self.credentials.revalidation = self.service.loop.now &+ period - spread
        if self.credentials.revalidation < self.wheelDue { self.scheduleWheel() }
    }

    /// When the timer wheel has to bring an open session up for that.
    var revalidationDeadline: Instant { self.phase == .open ? self.credentials.revalidation : .max }

    /// The answer about a live session. Who cannot be judged stays, and is asked about again.
    func revalidated(_ verdict: AuthVerdict, _ consulted: [UInt64]) {
        self.credentials.isAsked = false
        defer { if self.credentials.mustAskAgain, self.phase == .open { self.service.auth.revalidate(self) } }
        switch verdict.outcome {
        case .unknown:
            self.askLater()
        case .deny:
            self.endByRevocation(
                verdict.reason == .noSuchDevice ? "the device is no longer known" : "\(verdict.reason)",
                endsSession: verdict.reason == .noSuchDevice || verdict.reason == .deviceDisabled
            )
        case .allow:
            if verdict.reason == .none {
                self.credentials.unknownCount = 0
            } else {
                // A source that comes first could not say.
                self.askLater()
            }
            // Another source may have been the one that decided.
            self.isKnownBy([verdict.keyHash] + consulted)
            if verdict.credentialTag != self.credentials.tag {
                guard self.service.configuration.authentication.passwordChanged == .keep else {
                    return self.endByRevocation("the device's credentials have changed", endsSession: false)
                }
                self.credentials.tag = verdict.credentialTag
            }
            guard verdict.access != self.credentials.access else { return }
            self.credentials.access = verdict.access
            self.service.counters.rulesChanged += 1
            self.router.rulesChanged(self.handle, verdict.access)
        }
    }

    private func askLater() {
        guard self.service.loop.now >= self.credentials.retryDue else { return }
        self.credentials.unknownCount += 1
        self.credentials.retryDue = self.service.revalidateLater(self.handle, count: self.credentials.unknownCount)
    }

    /// - Parameter endsSession: nobody is to come back to the session: the device has no right to be here any more. Otherwise it lacks
    ///   something that it may bring along next time.
    func endByRevocation(_ detail: String, endsSession: Bool) {
        self.service.counters.sessionsRevoked += 1
        self.endAdministratively(.notAuthorized, detail, endsSession: endsSession)
    }

    /// The connection's right to be there is gone; `revoked_will` decides about its will. MQTT 5.0, section 4.1 lets an administrator's
    /// action end a session.
    func endAdministratively(_ code: ReasonCode, _ detail: String, endsSession: Bool) {
        self.service.logRevocation(self, detail)
        let suppressesWill = self.service.configuration.authentication.revokedWill == .suppress
        self.close(suppressesWill ? .revoked : .administrative, endsSession: endsSession, code: code, detail)
    }

    /// The worker that was asked about the live session is gone.
    func revalidationLost() {
        guard self.credentials.isAsked else { return }
        self.credentials.isAsked = false
        self.askLater()
    }
}
