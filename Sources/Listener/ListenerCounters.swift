import Common
import TLS

/// What a listener counts; `martlet status` shows it.
struct ListenerCounters {
    var accepted: UInt64 = 0
    var handshakes: UInt64 = 0
    /// Those that went on with a session, and those whose certificates were verified before.
    var handshakesResumed: UInt64 = 0
    var handshakesWithKnownChain: UInt64 = 0
    /// Connections that had to wait for their handshake, and those of them that showed a ticket.
    var handshakesWaited: UInt64 = 0
    var handshakesWaitedWithTicket: UInt64 = 0
    var handshakesWaitedFromKnown: UInt64 = 0
    var handshakesWaitedFromRefused: UInt64 = 0
    var sessionsOpened: UInt64 = 0
    /// Open sessions that a router was told of that was started after them.
    var sessionsAttached: UInt64 = 0
    /// Ends of sessions of which the next router will not be told, because there were too many.
    var farewellsDropped: UInt64 = 0
    var bytesReceived: UInt64 = 0
    var bytesSent: UInt64 = 0
    /// Times that a client's reading was stopped for want of credit.
    var creditStops: UInt64 = 0
    /// Times that a client's reading was stopped because it published faster than it may.
    var rateStops: UInt64 = 0
    /// Clients that were disconnected for that.
    var rateDisconnects: UInt64 = 0
    /// Times that accepting rested because of the limit of connections per second.
    var acceptPauses: UInt64 = 0
    var slowClientsClosed: UInt64 = 0
    var keepAliveTimeouts: UInt64 = 0
    var protocolErrors: UInt64 = 0
    /// Live sessions ended because their right to be there was.
    var sessionsRevoked: UInt64 = 0
    var sessionsBanned: UInt64 = 0
    /// Live sessions that got other rules.
    var rulesChanged: UInt64 = 0
    /// Frames for connections that were gone when they came.
    var framesWithoutConnection: UInt64 = 0
    var invalidFrames: UInt64 = 0
    var refused: [RefusalReason: UInt64] = [:]

    mutating func handshakeDone(_ tls: TLSConnection) {
        self.handshakes += 1
        if tls.isResumed { self.handshakesResumed += 1 }
        if tls.hasKnownChain { self.handshakesWithKnownChain += 1 }
    }

    func report(into report: inout StatusReport) {
        report.add("accepted_total", self.accepted)
        report.add("handshakes_total", self.handshakes)
        report.add("handshakes_resumed_total", self.handshakesResumed)
        report.add("handshakes_with_known_certificate_total", self.handshakesWithKnownChain)
        report.add("handshakes_waited_total", self.handshakesWaited)
        report.add("handshakes_waited_with_ticket_total", self.handshakesWaitedWithTicket)
        report.add("handshakes_waited_from_known_addresses_total", self.handshakesWaitedFromKnown)
        report.add("handshakes_waited_from_refused_addresses_total", self.handshakesWaitedFromRefused)
        report.add("sessions_opened_total", self.sessionsOpened)
        report.add("sessions_attached_total", self.sessionsAttached)
        report.add("farewells_dropped_total", self.farewellsDropped)
        report.add("bytes_received_total", self.bytesReceived)
        report.add("bytes_sent_total", self.bytesSent)
        report.add("credit_stops_total", self.creditStops)
        report.add("publish_rate_stops_total", self.rateStops)
        report.add("publish_rate_disconnects_total", self.rateDisconnects)
        report.add("accept_pauses_total", self.acceptPauses)
        report.add("slow_clients_closed_total", self.slowClientsClosed)
        report.add("keep_alive_timeouts_total", self.keepAliveTimeouts)
        report.add("protocol_errors_total", self.protocolErrors)
        report.add("sessions_revoked_total", self.sessionsRevoked)
        report.add("sessions_banned_total", self.sessionsBanned)
        report.add("rules_changed_total", self.rulesChanged)
        report.add("frames_without_connection_total", self.framesWithoutConnection)
        report.add("invalid_frames_total", self.invalidFrames)
        for (reason, count) in self.refused.sorted(by: { $0.key.description < $1.key.description }) {
            report.add("refused_total{reason=\"\(reason)\"}", count)
        }
    }
}
