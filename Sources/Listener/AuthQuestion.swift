import Common

/// Which auth worker is asked about a connection, and which ones have had the question before. A worker may need long for an answer, as where many
/// passwords wait for being compared: only one that answers nothing at all any more is left, and none is asked twice.
struct AuthQuestion {
    enum Step: Equatable {
        /// The worker is at work on it, or there is nobody else to ask.
        case wait(until: Instant)
        case askElsewhere
        case end(Ending)
    }

    enum Ending {
        /// The worker answers, though not this.
        case undecided
        case unanswered
    }

    /// Who is asked; nil: nobody.
    var worker: Int?
    /// When the client's wait began, and when `worker` was asked.
    private var since: Instant = 0
    private var askedAt: Instant = 0
    /// Workers that were asked in this wait and have been left.
    private var former: [Int] = []

    /// How long a client waits at most.
    var end: Instant { self.since &+ Limits.brokerWaitNanoseconds }

    mutating func begin(now: Instant) {
        self = AuthQuestion()
        self.since = now
    }

    /// What is to be done when the time of the last step is over.
    ///
    /// - Parameter pulses: of all workers; nil: not linked.
    func step(now: Instant, timeout: UInt64, pulses: [AuthWorkerPulse?]) -> Step {
        let pulse = self.worker.flatMap { pulses[$0] }
        let isSilent = pulse?.isSilent(since: self.askedAt, now: now, timeout: timeout) ?? true
        if now >= self.end { return .end(isSilent ? .unanswered : .undecided) }
        if isSilent, pulses.indices.contains(where: { !self.has($0) && pulses[$0]?.isSilent == false }) {
            return .askElsewhere
        }
        return .wait(until: min(now &+ timeout, self.end))
    }

    /// Chooses whom to ask now: the first one that has not been asked, of silent ones only if there is no other.
    ///
    /// - Parameter order: all workers.
    /// - Returns: nil: there is none; who was asked before still is.
    mutating func ask(_ order: [Int], now: Instant, pulses: [AuthWorkerPulse?]) -> Int? {
        guard let next = Self.choose(order.filter { !self.has($0) }, pulses) else { return nil }
        if let worker = self.worker { self.former.append(worker) }
        self.worker = next
        self.askedAt = now
        return next
    }

    /// The first one that is linked, of silent ones only if there is no other.
    static func choose(_ order: [Int], _ pulses: [AuthWorkerPulse?]) -> Int? {
        order.first { pulses[$0]?.isSilent == false } ?? order.first { pulses[$0] != nil }
    }

    /// The worker's link is gone, and with it what it was asked: the next process there may be asked anew.
    mutating func lost(_ worker: Int) {
        self.former.removeAll { $0 == worker }
        if self.worker == worker { self.worker = nil }
    }

    /// Whether a verdict of this worker counts. One that was left and goes on has the question, and is not asked again; that it cannot decide
    /// is nothing to refuse somebody for whom another one may let in.
    func takes(_ outcome: AuthVerdict.Outcome, from worker: Int) -> Bool {
        worker == self.worker || outcome != .unknown && self.former.contains(worker)
    }

    mutating func decided(by worker: Int) {
        self.worker = worker
        self.former = []
    }

    private func has(_ worker: Int) -> Bool { worker == self.worker || self.former.contains(worker) }
}
