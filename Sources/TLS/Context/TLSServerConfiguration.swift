/// What a listener's TLS needs to know. All paths are absolute.
package struct TLSServerConfiguration: Sendable {
    package enum ClientCertificate: String, Sendable {
        /// No certificate, no connection (TLS alert "certificate required").
        case required
        /// A client may come without a certificate; one that is shown must verify.
        case optional
        /// Clients are not asked for a certificate.
        case none
    }

    /// PEM: the server's certificate first, then the certificates of its issuers.
    package var certificateFile: String
    /// PEM, may be encrypted.
    package var keyFile: String
    /// A file that holds the password of the key; one newline at its end does not count.
    package var keyPasswordFile: String?
    /// PEM bundle of the authorities (roots or intermediates) that may sign client certificates. Needed unless
    /// `clientCertificate` is `none`.
    package var clientCAFile: String?
    package var clientCertificate: ClientCertificate
    package var minimumVersion: TLSVersion
    package var maximumVersion: TLSVersion
    /// TLS 1.2 ciphers, in OpenSSL's notation; nil: all with forward secrecy.
    package var ciphers: String?
    /// TLS 1.3 cipher suites; nil: OpenSSL's choice.
    package var cipherSuites: String?
    /// Key exchange groups in OpenSSL's notation, most wanted first; nil: OpenSSL's choice.
    package var groups: String?
    /// The largest number of intermediate CA certificates between a client's certificate and the trusted one.
    package var verifyDepth: Int
    /// Whatever else makes a session of this listener differ from those of others (its name, say): a session may only be
    /// resumed where this, the policy and the client CA set are the same.
    package var sessionContext: [UInt8]
    /// Nil: no session is resumed.
    package var tickets: TicketConfiguration?

    package init(
        certificateFile: String,
        keyFile: String,
        keyPasswordFile: String? = nil,
        clientCAFile: String? = nil,
        clientCertificate: ClientCertificate = .required,
        minimumVersion: TLSVersion = .v1_2,
        maximumVersion: TLSVersion = .v1_3,
        ciphers: String? = nil,
        cipherSuites: String? = nil,
        groups: String? = nil,
        verifyDepth: Int = 4,
        sessionContext: [UInt8] = [],
        tickets: TicketConfiguration? = nil
    ) {
        self.certificateFile = certificateFile
        self.keyFile = keyFile
        self.keyPasswordFile = keyPasswordFile
        self.clientCAFile = clientCAFile
        self.clientCertificate = clientCertificate
        self.minimumVersion = minimumVersion
        self.maximumVersion = maximumVersion
        self.ciphers = ciphers
        self.cipherSuites = cipherSuites
        self.groups = groups
        self.verifyDepth = verifyDepth
        self.sessionContext = sessionContext
        self.tickets = tickets
    }
}
