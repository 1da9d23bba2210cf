/// Which of a connection's output bytes the router still waits to get credit back for.
///
/// Credit returns when bytes have been written to the client, not when they were queued for it: a client that does not read
/// gets no more than its credit's worth into this process. A session's credit is collected until it is worth a line in a frame;
/// the link's returns each turn, as one number for all sessions.
struct DeliveryAccount {
    /// PUBLISH bytes queued for the client and not returned.
    private(set) var outstanding = 0
    /// Written, returned to the link, not yet to the session.
    private(set) var unreported = 0
    private let reportThreshold: Int

    /// - Parameter sessionCredit: what the router was granted per session; half of it is the most that is held back.
    init(sessionCredit: Int) {
        self.reportThreshold = max(1, sessionCredit / 2)
    }

    mutating func queued(_ bytes: Int) {
        self.outstanding += bytes
    }

    /// - Parameters:
    ///   - pendingOutput: bytes that wait in the connection's output, PUBLISH and others.
    ///   - reportsAll: nothing is collected.
    /// - Returns: bytes to give back to the link, and to the session (0: not yet).
    mutating func written(pendingOutput: Int, reportsAll: Bool = false) -> (link: Int, session: Int) {
        // How much of the pending output is PUBLISH is not recorded: all of it is taken for it, which returns late, never early.
        let returned = max(0, self.outstanding - pendingOutput)
        self.outstanding -= returned
        self.unreported += returned
        guard reportsAll || self.unreported >= self.reportThreshold else { return (returned, 0) }
        return (returned, self.report())
    }

    /// What was collected for the session.
    mutating func report() -> Int {
        defer { self.unreported = 0 }
        return self.unreported
    }

    /// Everything that is outstanding goes back to the link when the connection ends.
    mutating func close() -> Int {
        defer { self.outstanding = 0 }
        return self.outstanding
    }
}
