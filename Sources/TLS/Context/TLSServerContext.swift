import COpenSSL
import Glibc

/// The TLS settings of a listener, checked and loaded. It never changes: after a change of files, make another; connections
/// keep the one that they began with.
package final class TLSServerContext: @unchecked Sendable {
    // Sendable: an SSL_CTX is not modified after init, and SSL_new(3) counts references atomically.
    private let pointer: OpaquePointer
    /// The context's callbacks point to it.
    private let ticketIssuer: TicketIssuer?

    /// Sentences about what works but should not stay so: a key that everybody may read, a certificate about to expire.
    package let warnings: [TLSWarning]

    let revocation: RevocationChecker?
    /// The context's verification points to it.
    let verifiedChains: VerifiedChainCache
    /// What chains of live connections may end in.
    private let authorities: TrustedAuthorities

    /// How long a client's first message is at least, by its beginning.
    package static func firstMessageBytes(_ beginning: UnsafeRawBufferPointer) -> Int {
        ClientHello.firstRecordBytes(beginning)
    }

    /// Whether a client that begins with these bytes shows a ticket that one of our listeners gave it: it was authenticated before, and
    /// its handshake costs little.
    package func showsOwnTicket(_ clientHello: UnsafeRawBufferPointer) -> Bool {
        guard let issuer = self.ticketIssuer, let ticket = ClientHello.ticket(in: clientHello) else { return false }
        return issuer.isOurs(ticket)
    }

    /// - Parameters:
    ///   - former: in whose place it comes: connections that began with that one are judged too.
    ///   - revocation: asked about all certificates that clients show, and about those in tickets.
    ///   - takesConnections: false: it is for `failure(ofCertificates:)` alone, and the server's key is not read, which not everybody may.
    ///   - now: seconds since 1970; by it chains that are known are still valid.
    package init(
        _ configuration: TLSServerConfiguration,
        insteadOf former: TLSServerContext? = nil,
        revocation: RevocationChecker? = nil,
        takesConnections: Bool = true,
        now: @escaping () -> Int64 = { Int64(time(nil)) }
    ) throws(TLSError) {
        var builder = try ContextBuilder(server: true)
        SSL_CTX_set_info_callback(builder.pointer, TLSConnection.messageCallback)
        martlet_ssl_context_set_server_options(builder.pointer)
        if let tickets = configuration.tickets {
            let issuer = TicketIssuer(
                tickets,
                needsCertificate: configuration.clientCertificate == .required,
                revocation: revocation
            )
            issuer.install(in: builder.pointer, lifetimeSeconds: tickets.lifetimeSeconds)
            self.ticketIssuer = issuer
        } else {
            martlet_ssl_context_disable_resumption(builder.pointer)
            self.ticketIssuer = nil
        }
        try builder.setVersions(minimum: configuration.minimumVersion, maximum: configuration.maximumVersion)
        try builder.setCiphers(
            configuration.ciphers,
            suites: configuration.cipherSuites
                ?? (martlet_ssl_context_has_default_suites(builder.pointer) == 1 ? ContextBuilder.serverSuites : nil),
            groups: configuration.groups
        )
        if takesConnections {
            try builder.setCertificate(
                file: configuration.certificateFile,
                keyFile: configuration.keyFile,
                keyPasswordFile: configuration.keyPasswordFile
            )
        }
        var authorities: [X509Certificate] = []
        switch configuration.clientCertificate {
        case .none:
            SSL_CTX_set_verify(builder.pointer, SSL_VERIFY_NONE, nil)
        case .required, .optional:
            authorities = try Self.requireClientCertificates(&builder, configuration)
        }
        try Self.setSessionContext(builder.pointer, configuration, authorities: authorities)
        self.verifiedChains = VerifiedChainCache(revocation: revocation, now: now)
        self.verifiedChains.install(in: builder.pointer)
        if takesConnections { try Self.tryOut(&builder, configuration) }
        self.warnings = builder.warnings
        self.revocation = revocation
        self.authorities = TrustedAuthorities(
            authorities,
            store: SSL_CTX_get_cert_store(builder.pointer),
            insteadOf: former?.authorities
        )
        self.pointer = builder.finish()
    }

    deinit {
        SSL_CTX_free(self.pointer)
    }

    /// A connection that is about to accept a client. The descriptor must be non-blocking and stays the caller's: it must be
    /// open as long as the connection exists. nil when there is no memory.
    package func makeConnection(fileDescriptor: Int32) -> TLSConnection? {
        TLSConnection(context: self.pointer, fileDescriptor: fileDescriptor, server: self)
    }

    /// Whether a client that was let in with this chain, by this context or one before it, would find its authority trusted now.
    package func trusts(_ chain: VerifiedChain) -> Bool {
        guard let last = chain.certificates.last else { return true }
        return self.authorities.isEmpty || self.authorities.contains(last.key)
    }

    /// What speaks against certificates that a client would show, its own first; nil: nothing. They are verified as OpenSSL's
    /// ssl_verify_cert_chain does it in a handshake: by the same authorities, purpose, depth, security level and revocation lists.
    func failure(ofCertificates certificates: [X509Certificate]) -> TLSFailure? {
        defer { OpenSSLLibrary.clearErrors() }
        guard let connection = TLSConnection(context: self.pointer, fileDescriptor: -1, server: self),
            let store = X509_STORE_CTX_new(), let sent = martlet_x509_stack_new()
        else { preconditionFailure("no memory to verify a certificate") }
        defer {
            martlet_x509_stack_free(sent)
            X509_STORE_CTX_free(store)
        }
        for certificate in certificates { martlet_x509_stack_add(sent, certificate.pointer) }
        let ssl = connection.pointer
        guard X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(self.pointer), certificates[0].pointer, sent) == 1,
            X509_STORE_CTX_set_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx(), UnsafeMutableRawPointer(ssl)) == 1,
            X509_STORE_CTX_set_default(store, "ssl_client") == 1
        else { return TLSFailure(kind: .other, detail: OpenSSLLibrary.takeErrorText()) }
        let parameters = X509_STORE_CTX_get0_param(store)
        X509_VERIFY_PARAM_set_auth_level(parameters, SSL_get_security_level(ssl))
        X509_VERIFY_PARAM_set1(parameters, SSL_get0_param(ssl))
        X509_STORE_CTX_set_verify_cb(store, TLSConnection.verifyCallback)
        guard X509_verify_cert(store) != 1 else { return nil }
        return connection.verifyFailure ?? TLSFailure(kind: .other, detail: OpenSSLLibrary.takeErrorText())
    }

    /// - Throws: when no client could connect.
    private static func tryOut(
        _ builder: inout ContextBuilder,
        _ configuration: TLSServerConfiguration
    ) throws(TLSError) {
        try TrialHandshake(builder.pointer, configuration)?.run()
        let key = ServerKey(SSL_CTX_get0_certificate(builder.pointer))
        guard key.isOfFewClients else { return }
        builder.warn(
            "certificate_file \(configuration.certificateFile) has \(key): clients can connect only at TLS 1.2, and if they offer "
                + "this curve, which few do; P-256 is known to all",
            setting: "certificate_file"
        )
    }

    private static func requireClientCertificates(
        _ builder: inout ContextBuilder,
        _ configuration: TLSServerConfiguration
    ) throws(TLSError) -> [X509Certificate] {
        guard let file = configuration.clientCAFile else {
            throw TLSError(
                "client_ca_file is missing: with client_certificate \(configuration.clientCertificate.rawValue) "
                    + "it must name the authorities that sign device certificates",
                setting: "client_ca_file"
            )
        }
        let authorities = try builder.trust(file: file, setting: "client_ca_file")
        guard authorities.contains(where: { X509_check_ca($0.pointer) >= 1 }) else {
            throw TLSError(
                "client_ca_file \(file) holds no authority: none of its certificates may sign others (basicConstraints, CA:TRUE), "
                    + "so no device would get in. It must name the authorities that sign device certificates",
                setting: "client_ca_file"
            )
        }
        let now = Int64(time(nil))
        for authority in authorities {
            OpenSSLLibrary.shareKey(of: authority)
            let name = X509_get_subject_name(authority.pointer)
            if let notAfter = authority.notAfter, notAfter < now {
                builder.warn(
                    "client_ca_file \(file): \(DistinguishedName.logText(name)) expired on \(DateText.utc(notAfter)); "
                        + "certificates that it signed are refused",
                    setting: "client_ca_file"
                )
            }
            // Tells clients with several certificates which one to show.
            guard SSL_CTX_add_client_CA(builder.pointer, authority.pointer) == 1 else {
                throw TLSError(
                    "OpenSSL refuses a name in client_ca_file \(file): \(OpenSSLLibrary.takeErrorText())",
                    setting: "client_ca_file"
                )
            }
        }
        var mode = SSL_VERIFY_PEER
        if configuration.clientCertificate == .required { mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT }
        SSL_CTX_set_verify(builder.pointer, mode, TLSConnection.verifyCallback)
        SSL_CTX_set_verify_depth(builder.pointer, Int32(clamping: max(0, configuration.verifyDepth)))
        return authorities
    }

    /// OpenSSL resumes a session without looking at trust again, so it must not be resumed where another policy rules or
    /// other authorities are trusted: the session id context is a hash of both.
    private static func setSessionContext(
        _ pointer: OpaquePointer,
        _ configuration: TLSServerConfiguration,
        authorities: [X509Certificate]
    ) throws(TLSError) {
        var input = Array("martlet session context 1\0".utf8)
        input += Array("\(configuration.clientCertificate.rawValue)\0\(configuration.verifyDepth)\0".utf8)
        input += Digest.sha256(configuration.sessionContext)
        for fingerprint in authorities.map(\.fingerprint).sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            input += fingerprint
        }
        let context = Digest.sha256(input)
        guard SSL_CTX_set_session_id_context(pointer, context, UInt32(context.count)) == 1 else {
            throw TLSError("OpenSSL refuses the session id context: \(OpenSSLLibrary.takeErrorText())")
        }
    }
}
