import Common

/// Whether an auth worker that is linked answers: one that hangs is there for the kernel.
struct AuthWorkerPulse {
    enum Action: Equatable {
        case wait
        case ping
        /// For longer than the time-out; said once.
        case fellSilent
    }

    static let periodNanoseconds = Nanoseconds.perSecond / 2

    /// A worker of the release before answers no pings.
    private var answersPings = false
    private var askedAt: Instant?
    private(set) var isSilent = false

    /// To be called each period.
    mutating func tick(now: Instant, timeout: UInt64) -> Action {
        guard let askedAt = self.askedAt else {
            self.askedAt = now
            return .ping
        }
        guard self.answersPings, !self.isSilent, now >= askedAt &+ timeout else { return .wait }
        self.isSilent = true
        return .fellSilent
    }

    /// The worker has sent something.
    /// - Returns: true when it had been silent.
    mutating func heard(isPong: Bool) -> Bool {
        if isPong { self.answersPings = true }
        // An answer to something else shows as well that it works.
        self.askedAt = nil
        defer { self.isSilent = false }
        return self.isSilent
    }
}
