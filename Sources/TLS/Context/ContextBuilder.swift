import COpenSSL
import Glibc

/// An SSL_CTX in the making; the steps that servers and clients share. Frees the context unless `finish` took it out.
struct ContextBuilder: ~Copyable {
    let pointer: OpaquePointer
    private let isServer: Bool
    private(set) var warnings: [TLSWarning] = []

    /// A certificate that ends within this time is worth a warning: two weeks.
    static let expiryWarningSeconds: Int64 = 14 * 86400

    /// Forward secrecy only; the CBC suites at the end are for old device stacks.
    static let defaultCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES"

    /// What a server prefers in TLS 1.3. AES-128 comes first: the suite's hash is then SHA-256, which processors compute in hardware,
    /// and a handshake derives all its keys with it. Key exchange and certificates are as strong as 128 bits in any case.
    static let serverSuites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

    init(server: Bool) throws(TLSError) {
        _ = OpenSSLLibrary.connectionIndex
        OpenSSLLibrary.clearErrors()
        guard let pointer = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()) else {
            throw TLSError("OpenSSL cannot make a TLS context: \(OpenSSLLibrary.takeErrorText())")
        }
        self.pointer = pointer
        self.isServer = server
        martlet_ssl_context_set_modes(pointer)
        martlet_ssl_context_set_common_options(pointer)
    }

    deinit {
        SSL_CTX_free(self.pointer)
    }

    /// The context, which the caller now owns.
    func finish() -> OpaquePointer {
        SSL_CTX_up_ref(self.pointer)
        OpenSSLLibrary.clearErrors()
        return self.pointer
    }

    mutating func warn(_ text: String, setting: String) {
        self.warnings.append(TLSWarning(message: text, setting: setting))
    }

    func setVersions(minimum: TLSVersion, maximum: TLSVersion) throws(TLSError) {
        guard minimum <= maximum else {
            throw TLSError("min_version is above max_version; no client could connect", setting: "min_version")
        }
        guard martlet_ssl_context_set_versions(self.pointer, minimum.protocolNumber, maximum.protocolNumber) == 1 else {
            throw TLSError("OpenSSL refuses min_version and max_version: \(OpenSSLLibrary.takeErrorText())")
        }
    }

    func setCiphers(_ ciphers: String?, suites: String?, groups: String?) throws(TLSError) {
        guard SSL_CTX_set_cipher_list(self.pointer, ciphers ?? Self.defaultCiphers) == 1 else {
            throw TLSError(
                "ciphers \"\(ciphers ?? "")\" names no cipher that OpenSSL has (\(OpenSSLLibrary.takeErrorText())); "
                    + "`openssl ciphers` lists them",
                setting: "ciphers"
            )
        }
        // OpenSSL passes over a name that it does not know as long as it knows another.
        if let suites,
            !(suites.split(separator: ":").map(String.init) + [suites])
                .allSatisfy({ SSL_CTX_set_ciphersuites(self.pointer, $0) == 1 })
        {
            throw TLSError(
                "cipher_suites \"\(suites)\" has an unknown entry (\(OpenSSLLibrary.takeErrorText())); "
                    + "`openssl ciphers -s -tls1_3` lists them",
                setting: "cipher_suites"
            )
        }
        if let groups, martlet_ssl_context_set_groups(self.pointer, groups) == 0 {
            throw TLSError(
                "groups \"\(groups)\" has an unknown entry (\(OpenSSLLibrary.takeErrorText())); "
                    + "usual ones are X25519, P-256 and P-384, separated by colons",
                setting: "groups"
            )
        }
    }

    /// The certificate shown to the peer, its chain and its key.
    mutating func setCertificate(
        file: String,
        keyFile: String,
        keyPasswordFile: String?
    ) throws(TLSError) {
        let chain = try TLSFiles.certificates(file, setting: "certificate_file")
        let key = try TLSFiles.privateKey(keyFile, setting: "key_file", passwordFile: keyPasswordFile)
        let certificate = chain[0]
        try self.checkDates(of: certificate, file: file)
        guard X509_check_private_key(certificate.pointer, key.pointer) == 1 else {
            OpenSSLLibrary.clearErrors()
            throw TLSError(
                "key_file \(keyFile) does not belong to the first certificate in certificate_file \(file) "
                    + "(\(DistinguishedName.logText(X509_get_subject_name(certificate.pointer)))); they must be made together",
                setting: "key_file"
            )
        }
        guard SSL_CTX_use_certificate(self.pointer, certificate.pointer) == 1,
            SSL_CTX_use_PrivateKey(self.pointer, key.pointer) == 1,
            chain.dropFirst().allSatisfy({ martlet_ssl_context_add_chain_certificate(self.pointer, $0.pointer) == 1 })
        else {
            throw TLSError(
                "OpenSSL refuses certificate_file \(file) with key_file \(keyFile): \(OpenSSLLibrary.takeErrorText())",
                setting: "certificate_file"
            )
        }
        if let warning = TLSFiles.permissionWarning(keyFile: keyFile, setting: "key_file") {
            self.warnings.append(warning)
        }
    }

    /// Trusts the authorities in `file` (intermediates too, without their root) and returns them.
    func trust(file: String, setting: String) throws(TLSError) -> [X509Certificate] {
        let authorities = try TLSFiles.certificates(file, setting: setting)
        let store = SSL_CTX_get_cert_store(self.pointer)
        for authority in authorities where X509_STORE_add_cert(store, authority.pointer) != 1 {
            throw TLSError(
                "OpenSSL refuses a certificate in \(setting) \(file): \(OpenSSLLibrary.takeErrorText())",
                setting: setting
            )
        }
        // Named is trusted: the file says who may sign, so a chain need not go on to a root that nobody asked for.
        X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN))
        return authorities
    }

    private mutating func checkDates(of certificate: X509Certificate, file: String) throws(TLSError) {
        let setting = "certificate_file"
        let now = Int64(time(nil))
        guard let notBefore = certificate.notBefore, let notAfter = certificate.notAfter else {
            throw TLSError("certificate_file \(file): the validity of the certificate cannot be read", setting: setting)
        }
        guard notAfter >= now else {
            let text = "certificate_file \(file) expired on \(DateText.utc(notAfter)); renew it"
            // A server would be no use to anybody; what a client's peer says about it, that peer decides.
            guard !self.isServer else { throw TLSError("\(text), every client would refuse it", setting: setting) }
            return self.warn(text, setting: setting)
        }
        if notBefore > now {
            self.warn(
                "certificate_file \(file) is valid only from \(DateText.utc(notBefore)); is the clock right?",
                setting: setting
            )
        }
        if notAfter - now < Self.expiryWarningSeconds {
            self.warn("certificate_file \(file) expires on \(DateText.utc(notAfter)); renew it soon", setting: setting)
        }
    }
}
