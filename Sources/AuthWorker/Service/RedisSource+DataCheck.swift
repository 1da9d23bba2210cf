import Common
import Logging

/// Where asking Redis stands whether it still has the rows that were known.
struct DataCheck {
    /// Of Redis' process, as it said last.
    var runID: [UInt8]?
    var presentRunID: [UInt8]?
    private(set) var answersAwaited = 0
    private(set) var sample = 0
    private(set) var absent = 0
    private(set) var isWhole = false
    /// Of the sample; answers about an earlier one come late and say nothing.
    private var round: UInt64 = 0
    var isSameServer = false
    /// Redis said that something was emptied, not which of its databases.
    var isAfterFlush = false
    /// Of the sample, as it was asked for.
    private(set) var asked = 0
    var wasSuspended = false
    /// Of those that were not denied because of it, so many have been looked at again.
    var heldSettled: UInt64 = 0
    var timer: EventLoop.Timer?

    static let sampleMax = 200
    static let runIDToken: UInt64 = 1 << 63
    static let intervalNanoseconds = Nanoseconds.perSecond

    static func isToken(_ token: UInt64) -> Bool { token >= Self.runIDToken }

    /// A sample of so many rows is asked for now.
    /// - Returns: the token of all its questions.
    mutating func begin(_ count: Int) -> UInt64 {
        self.round += 1
        self.isWhole = count < Self.sampleMax
        self.sample = count
        self.asked = count
        self.absent = 0
        self.answersAwaited = count
        return self.token
    }

    private var token: UInt64 { Self.runIDToken | self.round << 2 | 1 }

    /// - Returns: whether the sample is complete with it.
    mutating func answered(_ token: UInt64, _ reply: RedisReply) -> Bool {
        guard token == self.token, self.answersAwaited > 0 else { return false }
        self.answersAwaited -= 1
        switch reply {
        case .integer(0): self.absent += 1
        case .integer: break
        // The user may lack the right: the key says nothing.
        case .bulk, .null, .array, .status, .error: self.sample -= 1
        }
        return self.answersAwaited == 0
    }

    /// What was asked does not count any more: Redis may have answered it before what is known now.
    mutating func abandon() {
        self.answersAwaited = 0
    }
}

extension RedisSource {
    /// Redis was (re)connected: it may be another process, with other data.
    func beginDataCheck() {
        self.authenticator.serverMayHaveChanged()
        self.dataCheck.abandon()
        self.dataCheck.isSameServer = false
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
        self.authenticator.serverMayHaveChanged()
        // It may have answered questions for rows that it had then.
        self.dataCheck.abandon()
        self.dataCheck.isSameServer = false
        self.dataCheck.isAfterFlush = true
        self.askForSample()
    }

    func checkAnswered(_ token: UInt64, _ reply: RedisReply) {
        if token == DataCheck.runIDToken { return self.learnedRunID(reply.infoField("run_id")) }
        if self.dataCheck.answered(token, reply) { self.finishDataCheck() }
    }

    func checkFailed() {
        self.dataCheck.abandon()
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

    /// Of the cache file's rows, which all workers know; of those in memory where there is none.
    private func askForSample() {
        let denials = self.authenticator.denialGuard
        let span = denials.sampledMilliseconds
        let changedSince = denials.vanishingSinceMilliseconds ?? .max
        let known = self.cache?.sampleOfKnownKeys(DataCheck.sampleMax, in: span, changedSince: changedSince)
        var keys: [[UInt8]]
        if let cache = self.cache, let known {
            keys = known
            // All rows were fetched anew.
            if keys.isEmpty, denials.isSuspended { keys = cache.sampleOfKnownKeys(1) ?? [] }
        } else {
            keys = self.authenticator.sampleOfKnownKeys(DataCheck.sampleMax, now: self.time)
            // Of a file that is not open yet nothing can be said: nobody is denied until it is.
            if keys.isEmpty, self.cache != nil { return self.checkFailed() }
        }
        let token = self.dataCheck.begin(keys.count)
        guard !keys.isEmpty else { return self.finishDataCheck() }
        for key in keys {
            do throws(RedisFailure) {
                try self.redis.submit([Array("EXISTS".utf8), key], key: key, token: token)
            } catch {
                return self.checkFailed()
            }
        }
    }

    private func finishDataCheck() {
        // Where nobody may ask for rows, its word has to do.
        if self.dataCheck.isAfterFlush, self.dataCheck.sample == 0, self.dataCheck.asked > 0 {
            self.authenticator.flushed(hasRowsOnDisk: self.hasRowsOnDisk, now: self.time)
        }
        self.dataCheck.isAfterFlush = false
        self.authenticator.sampled(
            self.dataCheck.sample,
            absent: self.dataCheck.absent,
            isWhole: self.dataCheck.isWhole,
            isSameServer: self.dataCheck.isSameServer,
            now: self.time
        )
        self.noticeSuspension()
        guard self.authenticator.denialGuard.state == .watching else { return }
        self.rememberRunID()
        self.settleHeld()
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
        if isSuspended { self.scheduleDataCheck() }
        // A suspension may have come and gone since the last look.
        guard isSuspended != self.dataCheck.wasSuspended else { return self.settleHeld() }
        self.dataCheck.wasSuspended = isSuspended
        self.authenticator.denialGuard.sync()
        if isSuspended {
            self.dataCheck.abandon()
            self.logger.critical(
                """
                Redis has lost rows of known devices; they are let in by what was known until the rows are back, or \
                until somebody confirms with martlet auth confirm-mass-revoke
                """,
                metadata: ["server": "\(self.serverDescription)"]
            )
        } else {
            self.logger.notice("rows decide again", metadata: ["server": "\(self.serverDescription)"])
            self.rememberRunID()
            self.dataCheck.heldSettled = self.authenticator.denialGuard.held
            self.doubtAll()
        }
    }

    private func scheduleDataCheck() {
        guard self.dataCheck.timer == nil, !self.isStopped else { return }
        self.dataCheck.timer = self.loop.schedule(afterNanoseconds: DataCheck.intervalNanoseconds) { [weak self] in
            guard let self, !self.isStopped else { return }
            self.dataCheck.timer = nil
            let isWatching = self.authenticator.denialGuard.state == .watching
            if !isWatching, self.redis.isReady, self.dataCheck.answersAwaited == 0 { self.askForSample() }
            if !isWatching { self.scheduleDataCheck() }
        }
    }

    /// Somebody says that the rows are gone for good. False: nothing was held back.
    func confirmMassRevoke() -> Bool {
        if self.authenticator.denialGuard.isSuspended {
            self.authenticator.confirmMassRevoke(now: self.time)
            self.dataCheck.wasSuspended = true
        }
        // Another worker may have been told a moment ago.
        guard self.dataCheck.wasSuspended else { return false }
        self.noticeSuspension()
        return true
    }
}
