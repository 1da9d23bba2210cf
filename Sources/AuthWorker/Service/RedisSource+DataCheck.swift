import AuthCache
import Common
import Logging

// Asking Redis whether it still has the rows that were known.
extension RedisSource {
    /// Redis was (re)connected: it may be another process, with other data.
    func beginDataCheck() {
        self.beginCheck()
        // Which of a cluster's nodes is another process than before says little: whether rows are there is what counts.
        guard !self.redis.isCluster else { return self.askForSample() }
        do throws(RedisFailure) {
            let command = ["INFO", "server"].map { Array($0.utf8) }
            try self.redis.submit(command, key: [], token: DataCheck.runIDToken)
        } catch {
            // Gone again: its return is checked.
        }
    }

    /// Redis was emptied, or another of its databases: asks for rows before anybody is told that they are lost. Until it has answered no
    /// known row is denied.
    func beginFlushCheck() {
        // It may have answered questions for rows that it had then.
        self.beginCheck()
        self.dataCheck.isAfterFlush = true
        self.askForSample()
    }

    private func beginCheck() {
        self.authenticator.serverMayHaveChanged()
        self.dataCheck.abandon()
        self.dataCheck.isInDoubt(now: self.loop.now)
        self.dataCheck.isSameServer = false
    }

    func checkAnswered(_ token: UInt64, _ reply: RedisReply) {
        if token == DataCheck.runIDToken { return self.learnedRunID(reply.infoField("run_id")) }
        if self.dataCheck.answered(token, reply) { self.finishDataCheck() }
    }

    func checkNotAnswered(_ token: UInt64, _ failure: RedisFailure) {
        if token == DataCheck.runIDToken { return self.checkFailed(failure.description) }
        if self.dataCheck.notAnswered(token, failure, isGone: self.isOfNodeThatIsGone(failure)) {
            self.finishDataCheck()
        }
    }

    /// What a node of a Redis Cluster has is looked at when the node is back. Rows that are held are asked for until all have been answered.
    private func isOfNodeThatIsGone(_ failure: RedisFailure) -> Bool {
        guard self.redis.isCluster, failure != .overloaded else { return false }
        return !self.authenticator.denialGuard.isSuspended
    }

    private func checkFailed(_ obstacle: String) {
        self.dataCheck.abandon()
        self.dataCheck.isInVain(obstacle)
        self.scheduleDataCheck()
    }

    private func learnedRunID(_ runID: [UInt8]?) {
        self.dataCheck.presentRunID = runID
        let last = self.dataCheck.runID ?? self.cache?.redisRunID
        // The same process may still have been emptied while nobody listened.
        self.dataCheck.isSameServer = runID != nil && runID == last && !self.dataCheck.isAfterFlush
        self.askForSample()
    }

    /// Rows that there may be in the cache file: a worker that has just started has them nowhere else.
    var hasRowsOnDisk: Bool {
        guard let cache = self.cache else { return false }
        return cache.sampleOfKnownKeys(1)?.isEmpty != true
    }

    private func askForSample() {
        let max = DataCheck.sampleMax(masters: self.redis.masters.count)
        let denials = self.authenticator.denialGuard
        self.dataCheck.isInDoubt(now: self.loop.now)
        let keys: [[UInt8]]
        let isWhole: Bool
        if denials.isSuspended {
            // Of a file that is not open yet nothing can be said: nobody is denied until it is.
            guard let lost = self.lostRows() else { return self.checkFailed("the cache file is not open yet") }
            keys = lost.keys
            isWhole = lost.isWhole
        } else {
            guard let known = self.knownKeys(max, in: denials.sampledSpans) else {
                return self.checkFailed("the cache file is not open yet")
            }
            keys = known
            isWhole = known.count < max
        }
        var numbers: [RedisURL.Server?: Int] = [:]
        let nodes = keys.map { key in
            let server = self.redis.clusterNode(of: key)
            let number = numbers[server] ?? numbers.count
            numbers[server] = number
            return number
        }
        self.dataCheck.begin(nodes: nodes, isWhole: isWhole, now: self.loop.now)
        guard !keys.isEmpty else { return self.finishDataCheck() }
        for (index, key) in keys.enumerated() {
            let token = self.dataCheck.token(index)
            do throws(RedisFailure) {
                try self.redis.submit([Array("EXISTS".utf8), key], key: key, token: token)
            } catch {
                self.checkNotAnswered(token, error)
            }
        }
    }

    /// Of the cache file's rows, which all workers know; of those in memory where there is none. Nil: there is one, and it is not open.
    private func knownKeys(_ max: Int, in spans: [Range<Int64>]) -> [[UInt8]]? {
        let changedSince = self.authenticator.denialGuard.vanishingSinceMilliseconds ?? .max
        guard let cache = self.cache else { return self.authenticator.sampleOfKnownKeys(max, now: self.time) }
        var keys: [[UInt8]] = []
        for span in spans where keys.count < max {
            guard let more = cache.sampleOfKnownKeys(max - keys.count, in: span, changedSince: changedSince) else {
                let inMemory = self.authenticator.sampleOfKnownKeys(max, now: self.time)
                return inMemory.isEmpty ? nil : inMemory
            }
            keys += more
        }
        return keys
    }

    /// The rows that decide when the suspension is over.
    @discardableResult
    private func lostRows() -> LostRows? {
        let denials = self.authenticator.denialGuard
        guard let since = denials.suspendedSinceMilliseconds else { return nil }
        if let lost = self.dataCheck.lost, lost.suspendedSince == since { return lost }
        if let lost = self.cache?.lostRows, lost.suspendedSince == since {
            self.dataCheck.lost = lost
            return lost
        }
        let max = DataCheck.sampleMax(masters: self.redis.masters.count)
        guard let keys = self.knownKeys(max, in: denials.sampledSpans) else { return nil }
        let lost = LostRows(suspendedSince: since, keys: keys, isWhole: keys.count < max)
        // Without rows there is nothing to go by, as yet.
        guard !keys.isEmpty else { return lost }
        self.dataCheck.lost = lost
        self.cache?.lostRows = lost
        return lost
    }

    private func finishDataCheck() {
        let sample = self.dataCheck.sample
        // Where nobody may ask for rows, its word has to do.
        let isMute = sample.count == 0 && self.dataCheck.asked > 0
        if self.dataCheck.isInVain || isMute && self.redis.isCluster && !self.redis.isReady {
            return self.scheduleDataCheck()
        }
        if self.dataCheck.isAfterFlush, isMute {
            self.authenticator.flushed(hasRowsOnDisk: self.hasRowsOnDisk, now: self.time)
        }
        self.dataCheck.isAfterFlush = false
        self.authenticator.sampled(
            sample.count,
            absent: sample.absent,
            isWhole: self.dataCheck.isWhole,
            isSameServer: self.dataCheck.isSameServer,
            nodes: self.redis.isCluster ? self.dataCheck.samplesOfNodes : [],
            now: self.time
        )
        self.noticeSuspension()
        guard self.authenticator.denialGuard.state == .watching else { return self.scheduleDataCheck() }
        if self.dataCheck.endsSuspension { return self.letRowsDecide() }
        self.dataCheck.isSettled()
        self.rememberRunID()
        self.settleHeld()
    }

    private func letRowsDecide() {
        self.logger.notice("rows decide again", metadata: ["server": "\(self.serverDescription)"])
        self.dataCheck.isSettled()
        self.rememberRunID()
        self.dataCheck.heldSettled = self.authenticator.denialGuard.held
        self.doubtAll()
    }

    /// Who was not denied meanwhile may be now.
    private func settleHeld() {
        guard self.authenticator.denialGuard.state == .watching else { return }
        let held = self.authenticator.denialGuard.held
        guard held > self.dataCheck.heldSettled else { return }
        self.dataCheck.heldSettled = held
        self.doubtAll()
    }

    private func rememberRunID() {
        guard let runID = self.dataCheck.presentRunID, runID != self.dataCheck.runID else { return }
        self.dataCheck.runID = runID
        self.cache?.redisRunID = runID
    }

    /// Tells beginning and end of a suspension, which may be another worker's, and looks again while it lasts.
    func noticeSuspension() {
        let isSuspended = self.authenticator.denialGuard.isSuspended
        if self.authenticator.denialGuard.state != .watching { self.scheduleDataCheck() }
        // A suspension may have come and gone since the last look.
        guard isSuspended != self.dataCheck.wasSuspended else { return self.settleHeld() }
        self.dataCheck.wasSuspended = isSuspended
        self.dataCheck.endsSuspension = false
        self.authenticator.denialGuard.sync()
        if isSuspended {
            self.dataCheck.abandon()
            // Before others are fetched.
            self.lostRows()
            self.logger.critical(
                """
                Redis has lost rows of known devices; they are let in by what was known until the rows are back, or \
                until somebody confirms with martlet auth confirm-mass-revoke
                """,
                metadata: ["server": "\(self.serverDescription)"]
            )
        } else {
            self.dataCheck.lost = nil
            self.dataCheck.suspensionEndedAt = self.loop.now
            self.dataCheck.endsSuspension = true
            if self.authenticator.denialGuard.state == .watching { self.letRowsDecide() } else { self.checkOwnServer() }
        }
    }

    /// Another worker has found the rows, where it is connected to.
    private func checkOwnServer() {
        self.dataCheck.abandon()
        self.dataCheck.isSameServer = false
        if self.redis.isReady { self.askForSample() } else { self.scheduleDataCheck() }
    }

    private func scheduleDataCheck() {
        guard self.dataCheck.timer == nil, !self.isStopped else { return }
        self.dataCheck.timer = self.loop.schedule(afterNanoseconds: DataCheck.intervalNanoseconds) { [weak self] in
            guard let self, !self.isStopped else { return }
            self.dataCheck.timer = nil
            self.mendPages()
            let isWatching = self.authenticator.denialGuard.state == .watching
            let mayAsk = self.dataCheck.mayAsk(now: self.loop.now)
            if !isWatching, mayAsk, self.mayAskForSample { self.askForSample() }
            if !isWatching { self.scheduleDataCheck() }
        }
    }

    private var mayAskForSample: Bool {
        self.authenticator.denialGuard.isSuspended ? self.redis.isReady : self.redis.isAnyReady
    }

    /// Rows are not there, or nobody can say; nil: they are, or Redis is away.
    var dataCheckAlarm: String? {
        if self.authenticator.denialGuard.isSuspended {
            return "Redis has lost rows of known devices: they stay in until the rows are back or confirmed gone"
                + " (martlet auth confirm-mass-revoke)"
        }
        guard self.authenticator.denialGuard.state == .checking, let since = self.dataCheck.since,
            self.redis.isAnyReady, self.loop.now &- since >= AuthLimits.dataCheckAlarmNanoseconds
        else { return nil }
        let reason = self.dataCheck.obstacle ?? "rows of known devices are missing, which another auth worker has found"
        return "it cannot be told whether Redis still has its rows, until then no known device is denied: \(reason)"
    }

    /// Somebody says that the rows are gone for good. False: nothing was held back.
    func confirmMassRevoke() -> Bool {
        if self.authenticator.denialGuard.isSuspended || self.dataCheckAlarm != nil {
            self.authenticator.confirmMassRevoke(now: self.time)
            self.dataCheck.wasSuspended = true
        }
        // Another worker may have been told a moment ago.
        guard self.dataCheck.wasSuspended else { return false }
        self.noticeSuspension()
        return true
    }
}
