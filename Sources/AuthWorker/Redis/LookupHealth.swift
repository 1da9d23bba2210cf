import Common

/// Whether look-ups are answered with what Redis has: connections that hold, and answers to other questions, do not say so.
package struct LookupHealth {
    private struct Failing {
        let since: Instant
        var last: Instant
        var reason: String
    }

    /// Since the last one that was answered with a row, or with that there is none.
    private var failing: Failing?

    package init() {}

    package mutating func succeeded() {
        if self.failing != nil { self.failing = nil }
    }

    /// - Parameter reason: an error, an answer that the command cannot have, or why there was none.
    package mutating func failed(_ reason: String, now: Instant) {
        let since = self.failing?.since ?? now
        self.failing = Failing(since: since, last: now, reason: reason)
    }

    /// Why none has been answered, when that has gone on for some seconds; nil: they are, or nobody has asked lately.
    package func alarm(now: Instant) -> String? {
        guard let failing = self.failing, failing.last &- failing.since >= AuthLimits.lookupAlarmNanoseconds,
            now &- failing.last < AuthLimits.lookupAlarmKeptNanoseconds
        else { return nil }
        return failing.reason
    }
}
