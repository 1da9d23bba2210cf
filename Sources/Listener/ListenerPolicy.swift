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
    /// What was told of `tls` when it was made.
    private(set) var warnings: [String] = []
    /// The one in force, where the secret is that all listener processes make tickets from.
    private let runtimeDirectory: String
    /// Of its clients' certificates; nil where none are seen.
    let revocation: RevocationChecker?
    var revocationFiles: RevocationFiles?
    /// A thread is at it.
    var isReadingLists = false
    /// Counts the configurations read; what a thread found for the one before does not count.
    private(set) var reloads = 0
    /// What was told of them last.
    var listProblems: [String] = []
    var overdueIssuers: [String] = []
    /// `crl_directory`, where it has been told that it is not there.
    var missingListDirectory: String?
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
            revocation: self.revocation,
            warnings: &self.warnings
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
        insteadOf former: TLSServerContext? = nil,
        warnings: inout [String]
    ) throws(StartError) -> TLSServerContext? {
        guard let tls = listener.tls else { return nil }
        do {
            var settings = TLSServerConfiguration(listener, tls)
            settings.tickets = try TicketSecrets.load(tls, runtimeDirectory: runtimeDirectory, warnings: &warnings)
            let context = try TLSServerContext(settings, insteadOf: former, revocation: revocation)
            warnings += context.warnings.map { "\($0)" }
            return context
        } catch {
            throw StartError("listener \(listener.name): \(error)")
        }
    }

    /// Certificates, keys, authorities and ticket secrets as their files are now; connections keep the context that they began
    /// with.
    ///
    /// - Parameter section: the `tls` section from now on. The rest of the entry is in force since the start of the process, as is
    ///   the runtime directory, where the file is that its listeners share.
    /// - Throws: what is wrong with the new files; the old ones stay in use.
    func reload(_ section: Configuration.Listener.TLS) throws(StartError) {
        var listener = self.configuration
        listener.tls = section
        // A configuration that asks for certificates no more, or asks for some now, waits for a restart with that.
        if listener.clientCertificate == .none {
            listener.tls?.clientCAFile = nil
        } else if section.clientCAFile == nil {
            listener.tls?.clientCAFile = self.configuration.tls?.clientCAFile
        }
        var warnings: [String] = []
        self.tls = try Self.makeContext(
            listener,
            runtimeDirectory: self.runtimeDirectory,
            revocation: self.revocation,
            insteadOf: self.tls,
            warnings: &warnings
        )
        self.warnings = warnings
        self.revocation?.policy = RevocationChecker.Policy(listener.tls)
        let before = self.revocationFiles
        self.revocationFiles = RevocationFiles(listener)
        if let before { self.revocationFiles?.keep(from: before) }
        self.configuration = listener
        self.reloads += 1
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
