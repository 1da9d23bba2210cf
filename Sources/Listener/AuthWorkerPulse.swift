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
    private var heardAt: Instant = 0
    private(set) var isSilent = false

    /// Whether it has answered nothing at all for this long, by which somebody who asked it something can tell.
    ///
    /// - Parameter asked: when it was asked that.
    func isSilent(since asked: Instant, now: Instant, timeout: UInt64) -> Bool {
        if self.isSilent { return true }
        // Once it has said something, it is a ping that it must not leave unanswered.
        let unanswered = self.heardAt <= asked ? asked : self.askedAt
        return unanswered.map { now >= $0 &+ timeout } ?? false
    }

    /// Whether a ping goes along with a question: the next one would come too late to tell in time that the worker lives.
    mutating func asked(now: Instant, timeout: UInt64) -> Action {
        guard timeout < 2 * Self.periodNanoseconds, self.askedAt == nil else { return .wait }
        self.askedAt = now
        return .ping
    }

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
    mutating func heard(isPong: Bool, now: Instant) -> Bool {
        if isPong { self.answersPings = true }
        self.heardAt = now
        // An answer to something else shows as well that it works.
        self.askedAt = nil
        defer { self.isSilent = false }
        return self.isSilent
    }
}
