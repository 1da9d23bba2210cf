import COpenSSL

/// From OpenSSL's error codes to a reason that a person can act on.
extension TLSConnection {
    /// Called by OpenSSL for each certificate of the peer's chain and for each error; notes the first error and stops there.
    static let verifyCallback: @convention(c) (Int32, OpaquePointer?) -> Int32 = { accepted, store in
        guard let store, let object = TLSConnection.verifying(with: store) else { return 0 }
        if accepted == 1 {
            guard let error = object.revocationError(store) else { return 1 }
            X509_STORE_CTX_set_error(store, error)
        }
        let failure = TLSConnection.verifyFailure(store)
        if object.verifyFailure == nil { object.verifyFailure = failure }
        // OpenSSL would send that the device's certificate has expired, or that its authority is unknown, which is wrong; of this error
        // it has no alert but "certificate unknown", unspecified (RFC 8446, section 6.2).
        if failure.kind == .revocationUnknown { X509_STORE_CTX_set_error(store, X509_V_ERR_CRL_PATH_VALIDATION_ERROR) }
        return 0
    }

    /// Whose peer is being verified.
    static func verifying(with store: OpaquePointer) -> TLSConnection? {
        guard let ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()),
            let connection = SSL_get_ex_data(OpaquePointer(ssl), OpenSSLLibrary.connectionIndex)
        else { return nil }
        return Unmanaged<TLSConnection>.fromOpaque(connection).takeUnretainedValue()
    }

    /// What revocation lists have against the certificate that was verified just now; nil: nothing.
    private func revocationError(_ store: OpaquePointer) -> Int32? {
        guard let checker = self.revocation, let certificate = X509_STORE_CTX_get_current_cert(store) else {
            return nil
        }
        let problem = checker.problem(with: certificate) {
            guard let chain = X509_STORE_CTX_get0_chain(store) else { return .unknown }
            return VerifiedChain.signer(of: X509_STORE_CTX_get_error_depth(store), in: chain)
        }
        return switch problem {
        case nil: nil
        case .revoked: X509_V_ERR_CERT_REVOKED
        case .overdue: X509_V_ERR_CRL_HAS_EXPIRED
        case .missing: X509_V_ERR_UNABLE_TO_GET_CRL
        }
    }

    private static func verifyFailure(_ store: OpaquePointer) -> TLSFailure {
        let error = X509_STORE_CTX_get_error(store)
        let depth = X509_STORE_CTX_get_error_depth(store)
        var detail = Self.words(verifyError: error)
        var subject: String?
        var numbers: CertificateNumbers?
        if let leaf = X509_STORE_CTX_get0_cert(store) {
            let name = DistinguishedName.logText(X509_get_subject_name(leaf))
            subject = name
            numbers = CertificateNumbers(leaf)
            detail += ", certificate \"\(name)\""
            if depth == 0 { detail += " issued by \"\(DistinguishedName.logText(X509_get_issuer_name(leaf)))\"" }
        }
        if depth > 0, let failing = X509_STORE_CTX_get_current_cert(store) {
            detail += ", at depth \(depth): \"\(DistinguishedName.logText(X509_get_subject_name(failing)))\""
        }
        return TLSFailure(
            kind: Self.kind(verifyError: error),
            detail: detail,
            certificateSubject: subject,
            certificate: numbers
        )
    }

    private static func words(verifyError error: Int32) -> String {
        switch error {
        // Nobody but `revocationError` says these two.
        case X509_V_ERR_CRL_HAS_EXPIRED:
            "the revocation list of its issuer is overdue, which crl_overdue: hard refuses"
        case X509_V_ERR_UNABLE_TO_GET_CRL:
            "there is no revocation list of its issuer that covers it, which crl_missing: refuse asks for"
        default: X509_verify_cert_error_string(Int(error)).map { String(cString: $0) } ?? "error \(error)"
        }
    }

    private static func kind(verifyError error: Int32) -> TLSFailure.Kind {
        switch error {
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_CERT_UNTRUSTED, X509_V_ERR_CERT_SIGNATURE_FAILURE:
            .unknownCertificateAuthority
        case X509_V_ERR_CERT_HAS_EXPIRED: .certificateExpired
        case X509_V_ERR_CERT_NOT_YET_VALID: .certificateNotYetValid
        case X509_V_ERR_CERT_REVOKED: .certificateRevoked
        case X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_UNABLE_TO_GET_CRL: .revocationUnknown
        case X509_V_ERR_CERT_CHAIN_TOO_LONG: .certificateChainTooLong
        default: .badCertificate
        }
    }

    func handshakeFailure(error: Int32, systemError: Int32) -> TLSFailure {
        if let failure = self.verifyFailure { return failure }
        return self.connectionFailure(error: error, systemError: systemError)
    }

    func connectionFailure(error: Int32, systemError: Int32) -> TLSFailure {
        switch error {
        case SSL_ERROR_ZERO_RETURN:
            return TLSFailure(kind: .connectionReset, detail: "closed by the peer during the handshake")
        case SSL_ERROR_SYSCALL where ERR_peek_error() == 0:
            let text = systemError == 0 ? "closed by the peer" : OpenSSLLibrary.systemErrorText(systemError)
            return TLSFailure(kind: .connectionReset, detail: text)
        case SSL_ERROR_SSL, SSL_ERROR_SYSCALL:
            return Self.failure(ofError: ERR_peek_error())
        default:
            return TLSFailure(kind: .other, detail: "unexpected state \(error) of OpenSSL")
        }
    }

    private static func failure(ofError error: UInt) -> TLSFailure {
        guard martlet_ssl_error_library(error) == ERR_LIB_SSL else {
            return TLSFailure(kind: .other, detail: OpenSSLLibrary.text(of: error))
        }
        let reason = martlet_ssl_error_reason(error)
        if let alert = UInt8(exactly: reason - SSL_AD_REASON_OFFSET) {
            return TLSFailure(
                kind: .alertReceived,
                detail: "the peer sent alert \(alert), \(Self.name(ofAlert: alert))",
                alert: alert
            )
        }
        return TLSFailure(kind: Self.kind(reason: reason), detail: Self.detail(reason: reason, error: error))
    }

    /// RFC 8446, section 6.2: OpenSSL 3.0 has no names for those that came with TLS 1.3.
    private static func name(ofAlert alert: UInt8) -> String {
        switch alert {
        case 109: "missing extension"
        case 116: "certificate required"
        default: SSL_alert_desc_string_long(Int32(alert)).map { String(cString: $0) } ?? "unknown"
        }
    }

    private static func kind(reason: Int32) -> TLSFailure.Kind {
        switch reason {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            .noClientCertificate
        case SSL_R_CERTIFICATE_VERIFY_FAILED, SSL_R_BAD_SIGNATURE, SSL_R_EE_KEY_TOO_SMALL, SSL_R_CA_MD_TOO_WEAK,
            SSL_R_CA_KEY_TOO_SMALL, SSL_R_UNKNOWN_CERTIFICATE_TYPE, SSL_R_EXCESSIVE_MESSAGE_SIZE,
            SSL_R_WRONG_SIGNATURE_TYPE, SSL_R_WRONG_CERTIFICATE_TYPE:
            .badCertificate
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_VERSION_TOO_HIGH, SSL_R_WRONG_SSL_VERSION,
            SSL_R_UNKNOWN_PROTOCOL, SSL_R_NO_PROTOCOLS_AVAILABLE, SSL_R_INAPPROPRIATE_FALLBACK:
            .protocolVersion
        case SSL_R_NO_SHARED_CIPHER, SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM,
            SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, SSL_R_NO_CIPHERS_SPECIFIED, SSL_R_NO_CIPHERS_AVAILABLE,
            SSL_R_NO_SUITABLE_GROUPS, SSL_R_UNSUPPORTED_ELLIPTIC_CURVE:
            .noSharedCipher
        case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST, SSL_R_WRONG_VERSION_NUMBER, SSL_R_BAD_RECORD_TYPE,
            SSL_R_UNSUPPORTED_SSL_VERSION, SSL_R_RECORD_LENGTH_MISMATCH:
            .notTLS
        case SSL_R_UNEXPECTED_EOF_WHILE_READING:
            .connectionReset
        default:
            .other
        }
    }

    private static func detail(reason: Int32, error: UInt) -> String {
        switch reason {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: "the client showed no certificate"
        case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST: "an HTTP request came instead of a TLS handshake"
        case SSL_R_WRONG_VERSION_NUMBER: "the peer does not speak TLS"
        case SSL_R_UNEXPECTED_EOF_WHILE_READING: "closed by the peer"
        default: OpenSSLLibrary.text(of: error)
        }
    }
}
