import Common

/// Which news about connections to Redis get into the log: a few in ten seconds for each server, however often its connections break and
/// whatever the reasons are. The log never ends with a server in use that is away, nor the other way round.
package struct ConnectionLog {
    private struct Server {
        var limiter = ErrorLogLimiter(linesMax: 3)
        /// It was lost, and the log does not say why, or that it was.
        var untold: RedisFailure?
        /// As the log said last.
        var isToldLost = false
    }

    package struct Line: Equatable {
        package var server: String
        package var failure: RedisFailure
        /// Others that were left out before.
        package var leftOut: UInt64
    }

    private var servers: [String: Server] = [:]
    private var masters = ErrorLogLimiter(linesMax: 4)
    /// They are others than the log says.
    package private(set) var hasUntoldMasters = false

    package init() {}

    /// - Returns: what the log is to say; nil: nothing now, see `overdue`.
    package mutating func lost(_ server: String, _ failure: RedisFailure, now: Instant) -> Line? {
        if self.servers[server] == nil, self.servers.count >= AuthLimits.clusterNodesMax { self.servers = [:] }
        guard let leftOut = self.servers[server, default: Server()].limiter.admit(now: now) else {
            self.servers[server]?.untold = failure
            return nil
        }
        self.servers[server]?.untold = nil
        self.servers[server]?.isToldLost = true
        return Line(server: server, failure: failure, leftOut: leftOut)
    }

    /// - Returns: whether the log is to say that it is in use.
    package mutating func back(_ server: String) -> Bool {
        guard let known = self.servers[server] else { return true }
        self.servers[server]?.untold = nil
        self.servers[server]?.isToldLost = false
        return known.isToldLost || known.untold == nil
    }

    /// - Returns: how many changes were left out before this one; nil: this one is left out, and to be told ten seconds later.
    package mutating func mastersChanged(now: Instant) -> UInt64? {
        let leftOut = self.masters.admit(now: now)
        self.hasUntoldMasters = leftOut == nil
        return leftOut
    }

    /// Why servers are away, as far as that was left out; to be called ten seconds after it was.
    ///
    /// - Parameter away: those that still are; others may have been left for another master meanwhile.
    package mutating func overdue(away: Set<String>, now: Instant) -> [Line] {
        for server in self.servers.keys where !away.contains(server) { self.servers[server]?.untold = nil }
        let untold = self.servers.compactMap { server, known in known.untold.map { (server, $0) } }
        return untold.sorted { $0.0 < $1.0 }.compactMap { self.lost($0.0, $0.1, now: now) }
    }
}
