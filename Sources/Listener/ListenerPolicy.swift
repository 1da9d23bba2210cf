import Common
import TLS

/// One entry of `listeners`, made ready: its TLS context and, for anonymous clients, its rules.
final class ListenerPolicy {
    private(set) var configuration: Configuration.Listener
    let name: [UInt8]
    let rulesName: [UInt8]
    let maxWillSizeBytes: Int
    /// Nil for plain TCP.
    private(set) var tls: TLSServerContext?
    /// The one in force, where the secret is that all listener processes make tickets from.
    private let runtimeDirectory: String
    /// Of its clients' certificates; nil where none are seen.
    let revocation: RevocationChecker?
    var revocationFiles: RevocationFiles?
    /// A thread is at it.
    var isReadingLists = false
    /// What was told of them last.
    var listProblems: [String] = []
    var overdueIssuers: [String] = []
    /// For `anonymous: true`; otherwise the auth worker renders the rules.
    private let rules: RuleTemplate?
    /// Of connections accepted; nil: no limit.
    var connectionRate: TokenBucket?
    /// Accepted and not closed.
    var connectionCount = 0
    /// Of those, the ones whose TLS handshake has not begun because nothing has come.
    var silent = SilentConnections()

    /// - Throws: a sentence that names the listener and the file or key with the mistake.
    init(_ listener: Configuration.Listener, configuration: Configuration) throws {
        self.configuration = listener
        self.runtimeDirectory = configuration.runtimeDirectory
        self.connectionRate = TokenBucket(
            perSecond: listener.maxConnectionRate,
            burstNanoseconds: Nanoseconds.perSecond
        )
        self.name = Array(listener.name.utf8)
        self.rulesName = Array(listener.rules.utf8)
        self.maxWillSizeBytes = configuration.mqtt.maxWillSizeBytes
        let looksAtCertificates = listener.tls != nil && listener.clientCertificate != .none
        self.revocation =
            looksAtCertificates
            ? RevocationChecker(policy: RevocationChecker.Policy(listener.tls)) {
                Int64(Clock.wall() / Nanoseconds.perSecond)
            } : nil
        self.revocationFiles = RevocationFiles(listener)
        self.tls = try Self.makeContext(
            listener,
            runtimeDirectory: self.runtimeDirectory,
            revocation: self.revocation
        )
        if listener.anonymous {
            guard let set = configuration.authorization.ruleSets.first(where: { $0.name == listener.rules }) else {
                throw StartError("listener \(listener.name): authorization.rules has no set named \(listener.rules)")
            }
            self.rules = try RuleTemplate(set, noMatch: configuration.authorization.noMatch)
        } else {
            self.rules = nil
        }
    }

    private static func makeContext(
        _ listener: Configuration.Listener,
        runtimeDirectory: String,
        revocation: RevocationChecker?,
        insteadOf former: TLSServerContext? = nil
    ) throws(StartError) -> TLSServerContext? {
        guard let tls = listener.tls else { return nil }
        do {
            var settings = TLSServerConfiguration(listener, tls)
            settings.tickets = try TicketSecrets.load(tls, runtimeDirectory: runtimeDirectory)
            return try TLSServerContext(settings, insteadOf: former, revocation: revocation)
        } catch {
            throw StartError("listener \(listener.name): \(error)")
        }
    }

    /// Certificates, keys, authorities and ticket secrets as their files are now; connections keep the context that they began
    /// with.
    ///
    /// - Parameter listener: the entry of the same name in a configuration that was read again.
    /// - Throws: what is wrong with the new files; the old ones stay in use.
    func reload(_ listener: Configuration.Listener) throws(StartError) {
        // Another runtime directory waits for a restart, as the file that is shared there does.
        self.tls = try Self.makeContext(
            listener,
            runtimeDirectory: self.runtimeDirectory,
            revocation: self.revocation,
            insteadOf: self.tls
        )
        self.revocation?.policy = RevocationChecker.Policy(listener.tls)
        let before = self.revocationFiles
        self.revocationFiles = RevocationFiles(listener)
        if let before { self.revocationFiles?.keep(from: before) }
        // The rest of the entry is in force since the start of the process.
        self.configuration.tls = listener.tls
    }

    /// What an anonymous client may do; nil where clients are authenticated.
    func anonymousAccess(for client: ClientAttributes) -> AccessRules? {
        self.rules?.render(for: client).access
    }
}

/// Why a listener cannot start, in a sentence.
struct StartError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
