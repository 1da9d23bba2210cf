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
            if let folder = outcome.unreadableDirectory {
                throw StartError(
                    "listener \(policy.configuration.name): \(folder). Without the revocation lists in it those that they revoke "
                        + "would be let in: name a folder that this process can read"
                )
            }
            if let gap = outcome.gaps.first {
                throw StartError(
                    "listener \(policy.configuration.name): \(gap). Without this revocation list those that it revokes would be let "
                        + "in: put a good one in its place (martlet crl refresh), or take the file away"
                )
            }
            self.apply(outcome, to: policy, isStart: true)
        }
        self.scheduleRevocationPoll()
    }

    /// Also where there is no list yet: a configuration that is read again may name some.
    private func scheduleRevocationPoll() {
        guard self.policies.contains(where: { $0.revocation != nil }) else { return }
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
            let reloads = policy.reloads
            do throws(SystemError) {
                try BackgroundJob.run(on: self.loop) {
                    files.load()
                } then: { [unowned self] outcome in
                    policy.isReadingLists = false
                    guard !self.isStopping else { return }
                    // These were files that another configuration named.
                    guard policy.reloads == reloads else { return self.refreshRevocationLists() }
                    self.apply(outcome, to: policy)
                }
            } catch {
                policy.isReadingLists = false
                self.logger.error("revocation lists cannot be read", metadata: ["reason": "\(error.reason)"])
            }
        }
    }

    private func apply(_ outcome: RevocationFiles.Outcome, to policy: ListenerPolicy, isStart: Bool = false) {
        guard let checker = policy.revocation else { return }
        policy.revocationFiles = outcome.files
        self.tellOnce(outcome.problems, policy, isStart: isStart)
        self.tellMissing(outcome.missingDirectory, policy)
        self.tellOverdue(outcome.list, policy)
        guard outcome.hasChanged else { return }
        self.use(outcome.list, checker, policy)
        self.checkLiveConnections()
    }

    private func use(_ list: RevocationList, _ checker: RevocationChecker, _ policy: ListenerPolicy) {
        checker.list = list
        self.logger.notice(
            "revocation lists in force",
            metadata: [
                "listener": "\(policy.configuration.name)", "lists": "\(list.parts.count)",
                "certificates": "\(list.count)",
            ]
        )
    }

    /// The configuration names no lists any more.
    private func forgetLists(of policy: ListenerPolicy) {
        guard policy.revocationFiles == nil, let checker = policy.revocation else { return }
        policy.listProblems = []
        policy.overdueIssuers = []
        policy.missingListDirectory = nil
        if !checker.list.parts.isEmpty { self.use(RevocationList([]), checker, policy) }
    }

    /// The same trouble is told when it begins, not every few seconds.
    private func tellOnce(_ problems: [String], _ policy: ListenerPolicy, isStart: Bool) {
        for problem in problems where !policy.listProblems.contains(problem) {
            self.logger.error(
                isStart
                    ? "revocation list not usable, nothing of it is in force"
                    : "revocation list not usable, what was known before stays in force",
                metadata: ["listener": "\(policy.configuration.name)", "reason": "\(problem)"]
            )
        }
        policy.listProblems = problems
    }

    /// A new installation, of which `crl_missing` says what its devices may, or a wrong path.
    private func tellMissing(_ directory: String?, _ policy: ListenerPolicy) {
        if let directory, directory != policy.missingListDirectory, let tls = policy.configuration.tls {
            self.logger.warning(
                "crl_directory is not there yet, and no list of it in force; martlet crl refresh makes and fills it",
                metadata: [
                    "listener": "\(policy.configuration.name)", "crl_directory": "\(directory)",
                    "effect": "\(tls.effectOfMissingLists)",
                ]
            )
        }
        policy.missingListDirectory = directory
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
            guard let former = policy.configuration.tls else { continue }
            let name = policy.configuration.name
            let section = configuration.listeners.first { $0.name == name }?.tls
            if section == nil {
                self.logger.warning(
                    "no listener with TLS has this name any more: it goes on until a restart, with the files that were named for it",
                    metadata: ["listener": "\(name)"]
                )
            }
            do throws(StartError) {
                try policy.reload(section ?? former)
                for warning in policy.warnings { self.logger.warning("\(warning)") }
                self.logger.notice("certificates read again", metadata: ["listener": "\(name)"])
                self.forgetLists(of: policy)
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
