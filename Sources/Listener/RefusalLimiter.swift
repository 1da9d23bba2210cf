import Common

/// Which refusals are written to the log: so many per reason and second, with the number of those left out, so that a fleet with
/// an expired CA does not fill the disk and one broken device still shows.
struct RefusalLimiter {
    private struct Window {
        var start: Instant
        var logged = 0
        var omitted = 0
    }

    private let perSecond: Int
    private var windows: [RefusalReason: Window] = [:]

    init(perSecond: Int) {
        self.perSecond = perSecond
    }

    /// - Returns: nil if this one is not logged; otherwise how many of the same reason were left out before it.
    mutating func admit(_ reason: RefusalReason, now: Instant) -> Int? {
        var window = self.windows[reason] ?? Window(start: now)
        if now &- window.start >= Nanoseconds.perSecond {
            window.start = now
            window.logged = 0
        }
        defer { self.windows[reason] = window }
        guard window.logged < self.perSecond else {
            window.omitted += 1
            return nil
        }
        window.logged += 1
        defer { window.omitted = 0 }
        return window.omitted
    }

    /// Reasons with refusals left out whose second is over: they are told of in a line of their own.
    mutating func takeOmitted(now: Instant) -> [(reason: RefusalReason, count: Int)] {
        var omitted: [(reason: RefusalReason, count: Int)] = []
        for (reason, window) in self.windows where now &- window.start >= Nanoseconds.perSecond {
            if window.omitted > 0 { omitted.append((reason, window.omitted)) }
            self.windows[reason] = nil
        }
        return omitted
    }
}
