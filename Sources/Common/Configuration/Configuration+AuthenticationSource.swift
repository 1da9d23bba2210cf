extension Configuration.Authentication {
    public enum SourceKind: String, CaseIterable, Sendable {
        case redis
        /// A certificate that the listener trusts is enough; nothing is looked up.
        case certificate
        /// Devices are in a file of this host.
        case embedded
        /// Then only listeners with `anonymous: true` let anybody in.
        case none
    }

    /// What becomes of a client when a source cannot say: its Redis is unreachable, and nothing usable is cached.
    public enum OnFailure: String, CaseIterable, Sendable {
        /// "Server unavailable".
        case stop
        /// The sources after it are asked; when none of them lets the client in, "server unavailable".
        case next
    }

    /// One place where clients are looked up.
    public struct Source: Equatable, Sendable {
        /// In logs, the status and the cache; empty for the only source of the short form.
        public var name = ""
        public var kind = SourceKind.redis
        /// Names of the listeners whose clients it is asked about; empty: all.
        public var listeners: [String] = []
        public var onFailure = OnFailure.stop
        /// The Redis command, a template: `%u` user name, `%c` client id, `%C` common name, `%d` subject, or `${username}` and so on.
        public var command = "HMGET tls_domain:%C password"
        public var passwordHash = PasswordHash.plain
        /// EMQX 4's `super_cmd`, a template like `command`: a client whose reply is exactly `1` may do everything.
        public var superCommand: String?
        /// EMQX's `acl_cmd`: answers pairs of a topic filter and an access.
        public var accessCommand: String?
        /// Of an embedded source: the file, absolute after parsing.
        public var file = "/var/lib/martlet/devices.db"
        /// Of an embedded source: what a device is called there, a template like `command`.
        public var key = "%C"
        public var redis = Redis()
        public var cache = Cache()

        public init() {}

        /// The commands taken apart.
        /// - Throws: `ConfigurationMistake` with a sentence for whoever wrote them.
        public func commands() throws(ConfigurationMistake) -> CommandSet {
            try CommandSet(
                command: self.command,
                superCommand: self.superCommand,
                accessCommand: self.accessCommand,
                passwordHash: self.passwordHash
            )
        }

        /// The key as a command that can be taken apart like others.
        public var keyCommand: String {
            let escaped = self.key.utf8.flatMap {
                $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") ? [UInt8(ascii: "\\"), $0] : [$0]
            }
            return "EXISTS \"\(String(decoding: escaped, as: UTF8.self))\""
        }

        /// What of a client its look-ups ask for; empty where it looks nothing up.
        public var lookupPlaceholders: [Placeholder] {
            switch self.kind {
            case .none, .certificate: []
            case .redis: (try? self.commands())?.placeholders ?? []
            case .embedded: (try? CommandTemplate(self.keyCommand, purpose: .existence))?.placeholders ?? []
            }
        }

        /// What of a client certificate it cannot do without, as it is written; nil: clients without one may be known to it.
        public var certificatePlaceholder: String? {
            if self.kind == .certificate { return "the certificate" }
            guard let placeholder = self.lookupPlaceholders.first(where: \.isFromCertificate) else { return nil }
            return placeholder.letter.map { "%\(Character(UnicodeScalar($0)))" } ?? "${\(placeholder.name)}"
        }

        /// A name that the client writes into CONNECT is all that it asks for.
        public var trustsNames: Bool {
            self.kind == .redis && !self.passwordHash.needsPassword && self.certificatePlaceholder == nil
        }

        public func isAsked(about listener: String) -> Bool {
            self.listeners.isEmpty || self.listeners.contains(listener)
        }
    }
}
