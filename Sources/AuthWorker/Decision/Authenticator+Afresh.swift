extension Authenticator {
    /// Nobody waits, and no rows are held that Redis has lost.
    var isIdle: Bool {
        self.pending.isEmpty && self.checking.isEmpty && self.actions.isEmpty && self.denialGuard.state == .watching
    }

    /// One that goes on from here, when idle, with another key for what it keeps, and with nothing in memory.
    func afresh(checker: PasswordChecker, denials: DenialAccount, missingMarks: MissingMarks) -> Authenticator {
        var next = Authenticator(
            settings: self.settings,
            command: self.command,
            checker: checker,
            ruleSets: self.ruleSets,
            denials: denials,
            missingMarks: missingMarks
        )
        next.counters = self.counters
        next.nextToken = self.nextToken
        next.doubtedBefore = self.doubtedBefore
        next.changesAreLost = self.changesAreLost
        return next
    }
}
