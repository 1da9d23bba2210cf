extension Configuration {
    /// One entry of `listeners`: addresses that share a policy.
    public struct Listener: Equatable, Sendable {
        public enum Transport: String, CaseIterable, Sendable {
            case tls
            /// Without encryption: on loopback, unless `allowInsecureNetwork`.
            case tcp
        }

        public enum ClientCertificate: String, CaseIterable, Sendable {
            case required
            case optional
            case none
        }

        /// Where the user name that authentication and rules see comes from (EMQX: `peer_cert_as_username`).
        public enum UserNameSource: String, CaseIterable, Sendable {
            /// The CONNECT packet's field.
            case client
            /// The certificate's common name.
            case commonName = "cn"
            /// The certificate's subject.
            case subject = "dn"
        }

        /// What the client id has to do with the certificate.
        public enum ClientIDPolicy: String, CaseIterable, Sendable {
            case any
            /// Another one than the certificate's common name is refused: nobody takes over another device's session, where all listeners
            /// are like that.
            case mustEqualCommonName = "must_equal_cn"
            /// The common name is the client id, whatever CONNECT says.
            case fromCommonName = "from_cn"
        }

        /// In logs, metrics and for socket activation (FileDescriptorName=). Unique; letters, digits, `-`, `_` and `.`.
        public var name: String
        public var addresses = [ListenAddress.anyAddress(port: 8883)]
        public var transport = Transport.tls
        public var allowInsecureNetwork = false
        /// No authentication at all: user name and password are not looked at.
        public var anonymous = false
        /// The name of the set of `authorization.rules` that applies here.
        public var rules = "default"
        /// `none` for a TCP listener.
        public var clientCertificate = ClientCertificate.required
        public var userNameFrom = UserNameSource.client
        public var clientID = ClientIDPolicy.any
        /// From accepting the TCP connection to the end of the TLS handshake.
        public var handshakeTimeoutNanoseconds: UInt64 = 15 * Configuration.nanosecondsPerSecond
        /// From the end of the handshake to a whole CONNECT packet.
        public var connectTimeoutNanoseconds: UInt64 = 10 * Configuration.nanosecondsPerSecond
        /// Per listener process; further ones are closed at once.
        public var maxConnections = 100_000
        /// Accepted per second and listener process; further ones wait. 0: no limit but that of the process.
        public var maxConnectionRate = 0
        /// `proxy_protocol.trusted`: load balancers whose connections begin with a PROXY header; then all must. Empty: none.
        public var proxyProtocolTrusted: [AddressRange] = []
        public var certificateExpired = CertificateExpired.close
        /// How long after that.
        public var certificateExpiryGraceNanoseconds: UInt64 = 0
        public var offer = Configuration.Offer()
        /// Nil for a TCP listener, never for a TLS one that was parsed.
        public var tls: TLS?

        public init(name: String) {
            self.name = name
        }
    }

    public enum TLSVersion: String, CaseIterable, Comparable, Sendable {
        case version12 = "1.2"
        case version13 = "1.3"

        public static func < (left: TLSVersion, right: TLSVersion) -> Bool { left.rawValue < right.rawValue }
    }
}

extension Configuration.Listener {
    /// What a revocation list counts for whose successor should be there by now.
    public enum CRLOverdue: String, CaseIterable, Sendable {
        /// As much as before; the log and the status tell.
        case soft
        /// Certificates of its issuer are refused.
        case hard
    }

    /// What becomes of a certificate of whose issuer there is no revocation list.
    public enum CRLMissing: String, CaseIterable, Sendable {
        case accept
        case refuse
    }

    /// What becomes of a session when a certificate of its client's chain ends.
    public enum CertificateExpired: String, CaseIterable, Sendable {
        case close
        case keep
    }

    public struct TLS: Equatable, Sendable {
        /// PEM, the server's certificate first, then its chain.
        public var certificateFile = "server.crt"
        /// PEM, may be encrypted.
        public var keyFile = "server.key"
        /// A file whose first line is the key's password.
        public var keyPasswordFile: String?
        /// PEM bundle: who may sign device certificates. Nil only when `clientCertificate` is `none`.
        public var clientCAFile: String? = "client-ca.crt"
        public var minVersion = Configuration.TLSVersion.version12
        public var maxVersion = Configuration.TLSVersion.version13
        /// TLS 1.2 cipher list in OpenSSL's form; nil: OpenSSL's default.
        public var ciphers: String?
        /// TLS 1.3 cipher suites in OpenSSL's form; nil: OpenSSL's default.
        public var cipherSuites: String?
        /// Key exchange groups, most wanted first, separated by colons.
        public var groups = "X25519:P-256:P-384"
        /// Longest chain of intermediate CAs.
        public var verifyDepth = 4
        /// Devices that come back resume their TLS session, which costs a third of a full handshake.
        public var sessionTickets = true
        /// How long a ticket is good for; at most 7 days (RFC 8446, section 4.6.1).
        public var ticketLifetimeNanoseconds: UInt64 = 86_400 * Configuration.nanosecondsPerSecond
        /// At least 32 random bytes that several hosts share; nil: the listeners of this host make one until its next boot.
        public var ticketSecretFile: String?
        /// How many bytes such a file has.
        public static let ticketSecretBytes = 32...4096
        /// The secret before the last change, whose tickets are still taken.
        public var previousTicketSecretFile: String?
        /// Revocation lists, PEM or DER.
        public var crlFiles: [String] = []
        /// All files in it are revocation lists, too.
        public var crlDirectory: String?
        /// Where `martlet crl refresh` gets lists from, besides the distribution points in the certificates of `clientCAFile`.
        public var crlURLs: [String] = []
        public var crlOverdue = CRLOverdue.soft
        public var crlMissing = CRLMissing.accept

        /// There is something to look into for revoked certificates.
        public var usesCRLs: Bool { !self.crlFiles.isEmpty || self.crlDirectory != nil }

        /// What happens while `crlDirectory` is not there: a part of a sentence.
        public var effectOfMissingLists: String {
            let verdict = self.crlMissing == .refuse ? "refused" : "accepted"
            return
                "certificates of issuers without another list are \(verdict) (crl_missing: \(self.crlMissing.rawValue))"
        }

        public init() {}
    }
}
