extension Configuration {
    /// One entry of `listeners`: addresses that share a policy.
    package struct Listener: Equatable, Sendable {
        package enum Transport: String, CaseIterable, Sendable {
            case tls
            /// Without encryption: on loopback, unless `allowInsecureNetwork`.
            case tcp
        }

        package enum ClientCertificate: String, CaseIterable, Sendable {
            case required
            case optional
            case none
        }

        /// Where the user name that authentication and rules see comes from (EMQX: `peer_cert_as_username`).
        package enum UserNameSource: String, CaseIterable, Sendable {
            /// The CONNECT packet's field.
            case client
            /// The certificate's common name.
            case commonName = "cn"
            /// The certificate's subject.
            case subject = "dn"
        }

        /// What the client id has to do with the certificate.
        package enum ClientIDPolicy: String, CaseIterable, Sendable {
            case any
            /// Another one than the certificate's common name is refused: nobody takes over another device's session.
            case mustEqualCommonName = "must_equal_cn"
            /// The common name is the client id, whatever CONNECT says.
            case fromCommonName = "from_cn"
        }

        /// In logs, metrics and for socket activation (FileDescriptorName=). Unique; letters, digits, `-`, `_` and `.`.
        package var name: String
        package var addresses = [ListenAddress.anyAddress(port: 8883)]
        package var transport = Transport.tls
        package var allowInsecureNetwork = false
        /// No authentication at all: user name and password are not looked at.
        package var anonymous = false
        /// The name of the set of `authorization.rules` that applies here.
        package var rules = "default"
        /// `none` for a TCP listener.
        package var clientCertificate = ClientCertificate.required
        package var userNameFrom = UserNameSource.client
        package var clientID = ClientIDPolicy.any
        /// From accepting the TCP connection to the end of the TLS handshake.
        package var handshakeTimeoutNanoseconds: UInt64 = 15 * Configuration.nanosecondsPerSecond
        /// From the end of the handshake to a whole CONNECT packet.
        package var connectTimeoutNanoseconds: UInt64 = 10 * Configuration.nanosecondsPerSecond
        /// Per listener process; further ones are closed at once.
        package var maxConnections = 100_000
        /// Accepted per second and listener process; further ones wait. 0: no limit but that of the process.
        package var maxConnectionRate = 0
        /// `proxy_protocol.trusted`: load balancers whose connections begin with a PROXY header; then all must. Empty: none.
        package var proxyProtocolTrusted: [AddressRange] = []
        package var certificateExpired = CertificateExpired.close
        /// How long after that.
        package var certificateExpiryGraceNanoseconds: UInt64 = 0
        package var offer = Configuration.Offer()
        /// Nil for a TCP listener, never for a TLS one that was parsed.
        package var tls: TLS?

        package init(name: String) {
            self.name = name
        }
    }

    package enum TLSVersion: String, CaseIterable, Comparable, Sendable {
        case version12 = "1.2"
        case version13 = "1.3"

        package static func < (left: TLSVersion, right: TLSVersion) -> Bool { left.rawValue < right.rawValue }
    }
}

extension Configuration.Listener {
    /// What a revocation list counts for whose successor should be there by now.
    package enum CRLOverdue: String, CaseIterable, Sendable {
        /// As much as before; the log and the status tell.
        case soft
        /// Certificates of its issuer are refused.
        case hard
    }

    /// What becomes of a certificate of whose issuer there is no revocation list.
    package enum CRLMissing: String, CaseIterable, Sendable {
        case accept
        case refuse
    }

    /// What becomes of a session when a certificate of its client's chain ends.
    package enum CertificateExpired: String, CaseIterable, Sendable {
        case close
        case keep
    }

    package struct TLS: Equatable, Sendable {
        /// PEM, the server's certificate first, then its chain.
        package var certificateFile = "server.crt"
        /// PEM, may be encrypted.
        package var keyFile = "server.key"
        /// A file whose first line is the key's password.
        package var keyPasswordFile: String?
        /// PEM bundle: who may sign device certificates. Nil only when `clientCertificate` is `none`.
        package var clientCAFile: String? = "client-ca.crt"
        package var minVersion = Configuration.TLSVersion.version12
        package var maxVersion = Configuration.TLSVersion.version13
        /// TLS 1.2 cipher list in OpenSSL's form; nil: OpenSSL's default.
        package var ciphers: String?
        /// TLS 1.3 cipher suites in OpenSSL's form; nil: OpenSSL's default.
        package var cipherSuites: String?
        /// Key exchange groups, most wanted first, separated by colons.
        package var groups = "X25519:P-256"
        /// Longest chain of intermediate CAs.
        package var verifyDepth = 4
        /// Devices that come back resume their TLS session, which costs a third of a full handshake.
        package var sessionTickets = true
        /// How long a ticket is good for; at most 7 days (RFC 8446, section 4.6.1).
        package var ticketLifetimeNanoseconds: UInt64 = 86_400 * Configuration.nanosecondsPerSecond
        /// At least 32 random bytes that several hosts share; nil: the listeners of this host make one until its next boot.
        package var ticketSecretFile: String?
        /// The secret before the last change, whose tickets are still taken.
        package var previousTicketSecretFile: String?
        /// Revocation lists, PEM or DER.
        package var crlFiles: [String] = []
        /// All files in it are revocation lists, too.
        package var crlDirectory: String?
        /// Where `martlet crl refresh` gets lists from, besides the distribution points in the certificates of `clientCAFile`.
        package var crlURLs: [String] = []
        package var crlOverdue = CRLOverdue.soft
        package var crlMissing = CRLMissing.accept

        /// There is something to look into for revoked certificates.
        package var usesCRLs: Bool { !self.crlFiles.isEmpty || self.crlDirectory != nil }

        package init() {}
    }
}
