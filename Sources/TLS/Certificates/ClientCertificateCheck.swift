import COpenSSL

/// Whether a listener would accept a client's certificate, found out without a connection.
package enum ClientCertificateCheck {
    /// What speaks against the first certificate of a PEM file, in words; the others in it are its intermediates. Nil: nothing.
    ///
    /// - Parameters:
    ///   - authorities: a PEM file, `client_ca_file`.
    ///   - revocation: lists in force, and what their lack means.
    /// - Throws: when a file cannot be read.
    package static func problem(
        certificateFile: String,
        authorities: String,
        revocation: RevocationChecker
    ) throws(TLSError) -> String? {
        let chain = try TLSFiles.certificates(certificateFile, setting: "certificate")
        let trusted = try TLSFiles.certificates(authorities, setting: "client_ca_file")
        defer { OpenSSLLibrary.clearErrors() }
        guard let store = X509_STORE_new(), let context = X509_STORE_CTX_new(),
            let intermediates = martlet_x509_stack_new()
        else { preconditionFailure("no memory to verify a certificate") }
        defer {
            martlet_x509_stack_free(intermediates)
            X509_STORE_CTX_free(context)
            X509_STORE_free(store)
        }
        for authority in trusted { X509_STORE_add_cert(store, authority.pointer) }
        X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN))
        for certificate in chain.dropFirst() { martlet_x509_stack_add(intermediates, certificate.pointer) }
        guard X509_STORE_CTX_init(context, store, chain[0].pointer, intermediates) == 1,
            X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT) == 1
        else { throw TLSError("OpenSSL cannot verify certificate \(certificateFile)") }
        guard X509_verify_cert(context) == 1 else {
            let error = Int(X509_STORE_CTX_get_error(context))
            return X509_verify_cert_error_string(error).map { String(cString: $0) } ?? "error \(error)"
        }
        switch chain.lazy.compactMap({ revocation.problem(with: $0.pointer) }).first {
        case .revoked: return "certificate revoked"
        case .overdue: return "the revocation list of its issuer is overdue, which crl_overdue: hard refuses"
        case .missing: return "there is no revocation list of its issuer, which crl_missing: refuse asks for"
        case nil: return nil
        }
    }
}
