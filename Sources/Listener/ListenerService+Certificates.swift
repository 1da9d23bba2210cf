import Common
import Logging
import TLS

/// Certificates that change while the listener runs: its own, those of authorities, and those of clients that are revoked.
extension ListenerService {
    /// Between looks whether revocation lists have changed.
    private static var revocationPollNanoseconds: UInt64 { 10 * Nanoseconds.perSecond }
    /// Connections looked at in one turn.
    private static var connectionsPerTurn: Int { 500 }

    /// At the start, before anybody is let in. Later a list that cannot be read leaves the one before it in force; now there is none.
    func loadRevocationLists() throws(StartError) {
        for policy in self.policies {
            guard let outcome = policy.revocationFiles?.load() else { continue }
            if let gap = outcome.gaps.first {
                throw StartError(
                    "listener \(policy.configuration.name): \(gap). Without this revocation list those that it revokes would be let "
                        + "in: put a good one in its place (martlet crl refresh), or take the file away"
                )
            }
            self.apply(outcome, to: policy)
        }
        self.scheduleRevocationPoll()
    }

    private func scheduleRevocationPoll() {
        guard self.policies.contains(where: { $0.revocationFiles != nil }) else { return }
        self.loop.schedule(afterNanoseconds: Self.revocationPollNanoseconds) { [unowned self] in
            guard !self.isStopping else { return }
            self.refreshRevocationLists()
            self.scheduleRevocationPoll()
        }
    }

    /// Large lists take a while: they are read by a thread.
    func refreshRevocationLists() {
        for policy in self.policies {
            guard let files = policy.revocationFiles, !policy.isReadingLists else { continue }
            policy.isReadingLists = true
            do throws(SystemError) {
                try BackgroundJob.run(on: self.loop) {
                    files.load()
                } then: { [unowned self] outcome in
                    policy.isReadingLists = false
                    guard !self.isStopping else { return }
                    self.apply(outcome, to: policy)
                }
            } catch {
                policy.isReadingLists = false
                self.logger.error("revocation lists cannot be read", metadata: ["reason": "\(error.reason)"])
            }
        }
    }

    private func apply(_ outcome: RevocationFiles.Outcome, to policy: ListenerPolicy) {
        guard let checker = policy.revocation else { return }
        policy.revocationFiles = outcome.files
        self.tellOnce(outcome.problems, policy)
        self.tellOverdue(outcome.list, policy)
        guard outcome.hasChanged else { return }
        checker.list = outcome.list
        self.logger.notice(
            "revocation lists in force",
            metadata: [
                "listener": "\(policy.configuration.name)", "lists": "\(outcome.list.parts.count)",
                "certificates": "\(outcome.list.count)",
            ]
        )
        self.checkLiveConnections()
    }

    /// The same trouble is told when it begins, not every few seconds.
    private func tellOnce(_ problems: [String], _ policy: ListenerPolicy) {
        for problem in problems where !policy.listProblems.contains(problem) {
            self.logger.error(
                "revocation list not usable, what was known before stays in force",
                metadata: ["listener": "\(policy.configuration.name)", "reason": "\(problem)"]
            )
        }
        policy.listProblems = problems
    }

    private func tellOverdue(_ list: RevocationList, _ policy: ListenerPolicy) {
        let names = list.overdue(now: Int64(Clock.wall() / Nanoseconds.perSecond)).map(\.issuerName)
        for name in names where !policy.overdueIssuers.contains(name) {
            let isHard = policy.configuration.tls?.crlOverdue == .hard
            self.logger.warning(
                "a revocation list is overdue",
                metadata: [
                    "listener": "\(policy.configuration.name)", "issuer": "\(name)",
                    "effect": "\(isHard ? "its certificates are refused" : "it goes on counting")",
                ]
            )
        }
        policy.overdueIssuers = names
    }

    // MARK: Reload

    /// Certificates, keys, authorities, revocation lists and ticket secrets are read again; what else has changed in the file waits
    /// for a restart.
    package func reload(_ configuration: Configuration) {
        for policy in self.policies {
            let name = policy.configuration.name
            guard let listener = configuration.listeners.first(where: { $0.name == name }), listener.tls != nil else {
                continue
            }
            do throws(StartError) {
                try policy.reload(listener)
                for warning in policy.tls?.warnings ?? [] { self.logger.warning("\(warning)") }
                self.logger.notice("certificates read again", metadata: ["listener": "\(name)"])
            } catch {
                self.logger.error(
                    "certificates not usable, those read before stay in use",
                    metadata: ["listener": "\(name)", "reason": "\(error)"]
                )
            }
        }
        self.refreshRevocationLists()
        self.bans.look()
        self.checkLiveConnections()
    }

    // MARK: Live sessions

    /// Closes those whose certificate, or an authority of it, is revoked or no longer trusted, and those that are banned; a part in
    /// each turn, so that others do not wait.
    func checkLiveConnections() {
        self.connectionsToCheck = self.connections.map(\.handle)
        self.checkNextConnections()
    }

    private func checkNextConnections() {
        let part = self.connectionsToCheck.suffix(Self.connectionsPerTurn)
        self.connectionsToCheck.removeLast(part.count)
        for handle in part {
            guard let connection = self.connection(handle) else { continue }
            connection.checkCertificate()
            connection.checkBan()
        }
        guard !self.connectionsToCheck.isEmpty, !self.isStopping else { return }
        self.loop.schedule(at: self.loop.now) { [unowned self] in self.checkNextConnections() }
    }

    func addRevocationStatus(to report: inout StatusReport) {
        for policy in self.policies {
            guard let checker = policy.revocation, policy.revocationFiles != nil else { continue }
            let name = policy.configuration.name
            report.add("revocation_lists{listener=\"\(name)\"}", checker.list.parts.count)
            report.add("revoked_certificates{listener=\"\(name)\"}", checker.list.count)
            for issuer in policy.overdueIssuers { report.add("alarm", "the revocation list of \(issuer) is overdue") }
            for problem in policy.listProblems { report.add("alarm", "revocation list not usable: \(problem)") }
        }
    }
}
