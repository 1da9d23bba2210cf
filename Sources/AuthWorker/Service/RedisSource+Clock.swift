import AuthCache
import Common
import Logging

// The age of rows goes by the host's own clock (`CacheClock`). What the wall clock does is told: after the host's next start it is all
// there is to go by.
extension RedisSource {
    var time: AuthTime {
        AuthTime(monotonic: self.loop.now, wallMilliseconds: self.clock.milliseconds)
    }

    /// The wall clock was set, or rows do not fit to it; nil: all is well.
    var clockAlarm: String? {
        if let doubt = self.clockDoubt { return doubt }
        guard let jump = self.clockJump, self.loop.now &- jump.at < AuthLimits.clockAlarmNanoseconds else { return nil }
        return "the wall clock was set by \(jump.milliseconds / 1000) s: the age of rows goes by the host's own clock"
    }

    func watchClock() {
        let ahead = self.clock.wallAheadMilliseconds
        let jump = ahead - self.wallAheadMilliseconds
        guard abs(jump) > AuthLimits.clockToleranceMilliseconds else { return }
        self.wallAheadMilliseconds = ahead
        self.clockJump = (jump, self.loop.now)
        self.logger.warning(
            "the wall clock was set; the age of rows goes by the host's own clock",
            metadata: ["by": "\(jump / 1000)s", "ahead": "\(ahead / 1000)s"]
        )
    }

    /// Whether the file's rows can be from this past. Only a host that was off for so long has reason to doubt all of them.
    func compareClockWithRows() {
        guard let latest = self.cache?.latestMilliseconds, !self.authenticator.told.isOpen else { return }
        let age = self.time.wallMilliseconds - latest
        if age < -AuthLimits.clockToleranceMilliseconds {
            self.clockDoubt = "the cache has rows from the future: the host's clock is behind, or was ahead"
        } else if age / 1000 >= self.settings.authenticator.staleMaxNanoseconds / 1_000_000_000 {
            self.clockDoubt =
                "all rows of the cache are older than stale_max: the host was off for long, or its clock is wrong"
        }
        if let doubt = self.clockDoubt {
            self.logger.error("\(doubt)", metadata: ["latest_row": "\(age / 1000)s ago"])
        }
    }
}
