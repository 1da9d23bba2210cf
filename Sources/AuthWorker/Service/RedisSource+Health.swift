import Common
import Logging

// What the log and the status say of connections and look-ups that fail.
extension RedisSource {
    // MARK: Connections

    func tellLost(_ server: String, _ failure: RedisFailure) {
        guard let line = self.connectionLog.lost(server, failure, now: self.loop.now) else {
            return self.tellLater()
        }
        self.tell(line)
    }

    private func tell(_ line: ConnectionLog.Line) {
        var metadata: Logger.Metadata = ["server": "\(line.server)", "reason": "\(line.failure)"]
        if line.leftOut > 0 { metadata["left_out"] = "\(line.leftOut)" }
        self.logger.warning("Redis lost, devices seen before are let in from the cache", metadata: metadata)
    }

    private func tellLater() {
        guard self.connectionLogTimer == nil, !self.isStopped else { return }
        self.connectionLogTimer = self.loop.schedule(afterNanoseconds: AuthLimits.connectionLogNanoseconds) {
            [weak self] in
            guard let self, !self.isStopped else { return }
            self.connectionLogTimer = nil
            let overdue = self.connectionLog.overdue(away: self.redis.serversAway, now: self.loop.now)
            for line in overdue { self.tell(line) }
            if self.connectionLog.hasUntoldMasters { self.tellMasters() }
        }
    }

    /// Sentinels that are of different minds can name others several times a second.
    func tellMasters() {
        guard let leftOut = self.connectionLog.mastersChanged(now: self.loop.now) else { return self.tellLater() }
        let servers = self.redis.masters.map(\.description).sorted().joined(separator: ", ")
        var metadata: Logger.Metadata = ["servers": "\(servers)"]
        if leftOut > 0 { metadata["left_out"] = "\(leftOut)" }
        self.logger.notice("masters of Redis", metadata: metadata)
    }

    func tellBack(_ server: String, downNanoseconds: UInt64) {
        guard self.connectionLog.back(server) else { return }
        self.logger.notice(
            "Redis in use",
            metadata: ["server": "\(server)", "after": "\(downNanoseconds / Nanoseconds.perMillisecond)ms"]
        )
    }

    // MARK: Look-ups

    /// - Parameter number: of the command.
    func noteRefusal(_ number: UInt64, _ reply: RedisReply) {
        let command = self.gatherer.index(of: number)
        guard let text = reply.errorText else {
            if !self.lookupRefusals.isEmpty { self.lookupRefusals[command] = nil }
            return
        }
        self.logRedisError("Redis answers an error", text)
        if text.hasPrefix("NOPERM") { self.lookupRefusals[command] = text }
    }

    func noteResult(_ result: LookupResult, _ replies: [RedisReply]) {
        guard case .unusable(let reason) = result else { return self.lookupHealth.succeeded() }
        self.lookupHealth.failed(reason, now: self.loop.now)
        // Errors were told by themselves.
        if !replies.contains(where: { $0.errorText != nil }) {
            self.logRedisError("Redis answers what cannot be understood", reason)
        }
    }

    private func logRedisError(_ message: Logger.Message, _ text: String) {
        guard let leftOut = self.errorLog.admit(now: self.loop.now) else { return }
        self.logger.warning(message, metadata: ["error": "\(text)", "left_out": "\(leftOut)"])
    }

    // MARK: Alarms

    /// Rights are missing: until the same command is answered.
    private var refusalAlarm: String? {
        guard self.redis.isAnyReady, let first = self.lookupRefusals.min(by: { $0.key < $1.key }) else { return nil }
        return "Redis refuses look-ups: \(first.value)"
    }

    /// The one that says most about why devices are not looked up.
    var lookupAlarm: String? {
        let now = self.loop.now
        if let alarm = self.refusalAlarm { return alarm }
        if let broken = self.redis.breaksAgainAndAgain(now: now) {
            return
                "connections to Redis break again and again, soon after they were made: \(broken.server): \(broken.failure)"
        }
        if let outage = self.redis.outage, now &- outage.since >= AuthLimits.lookupAlarmNanoseconds {
            return "Redis cannot be reached, only devices that are cached get in: \(outage.server): \(outage.failure)"
        }
        return self.lookupHealth.alarm(now: now).map {
            "no look-up has been answered for some seconds, only devices that are cached get in: \($0)"
        }
    }
}
