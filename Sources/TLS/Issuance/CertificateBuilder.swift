import COpenSSL

/// An X.509 certificate in the making.
struct CertificateBuilder {
    private let certificate: X509Certificate

    private var pointer: OpaquePointer { self.certificate.pointer }

    /// An X.509 v3 certificate with a random serial number.
    init(subject: CertificateSubject, publicKey: PrivateKey, validity: CertificateValidity) throws(TLSError) {
        OpenSSLLibrary.clearErrors()
        guard let pointer = X509_new() else { throw TLSError("no memory for a certificate") }
        self.certificate = X509Certificate(owning: pointer)
        try subject.write(to: X509_get_subject_name(pointer))
        // 128 bits, the topmost 0 (so that the number stays positive in 16 bytes) and the next 1 (so that it has them all).
        var serial = SecureRandom.bytes(16)
        serial[0] = serial[0] & 0x7f | 0x40
        let number = BN_bin2bn(serial, Int32(serial.count), nil)
        defer { BN_free(number) }
        guard X509_set_version(pointer, Int(X509_VERSION_3)) == 1,
            BN_to_ASN1_INTEGER(number, X509_get_serialNumber(pointer)) != nil,
            ASN1_TIME_set(X509_getm_notBefore(pointer), time_t(validity.notBefore)) != nil,
            ASN1_TIME_set(X509_getm_notAfter(pointer), time_t(validity.notAfter)) != nil,
            X509_set_pubkey(pointer, publicKey.pointer) == 1
        else { throw Self.error() }
    }

    /// Adds extensions, in the syntax of x509v3_config(5). `issuer` is nil for a self-signed certificate.
    func add(_ extensions: [(nid: Int32, value: String)], issuer: X509Certificate?) throws(TLSError) {
        for entry in extensions {
            let added = martlet_x509_add_extension(
                self.pointer,
                issuer?.pointer ?? self.pointer,
                entry.nid,
                entry.value
            )
            guard added == 1 else { throw Self.error() }
        }
    }

    func add(alternativeNames: [SubjectAlternativeName]) throws(TLSError) {
        guard !alternativeNames.isEmpty else { return }
        guard let names = martlet_general_names_new() else { throw Self.error() }
        defer { martlet_general_names_free(names) }
        for name in alternativeNames {
            let (type, value) = try Self.encoded(name)
            guard martlet_general_names_add(names, type, value, Int32(clamping: value.count)) == 1 else {
                throw Self.error()
            }
        }
        let added = X509_add1_ext_i2d(self.pointer, NID_subject_alt_name, UnsafeMutableRawPointer(names), 0, 0)
        guard added == 1 else { throw Self.error() }
    }

    /// Signs with SHA-256 and returns the certificate. `issuer` is nil for a self-signed one.
    func sign(issuer: X509Certificate?, key: PrivateKey) throws(TLSError) -> X509Certificate {
        let issuerName = X509_get_subject_name(issuer?.pointer ?? self.pointer)
        guard X509_set_issuer_name(self.pointer, issuerName) == 1,
            X509_sign(self.pointer, key.pointer, EVP_sha256()) > 0
        else { throw Self.error() }
        return self.certificate
    }

    private static func encoded(_ name: SubjectAlternativeName) throws(TLSError) -> (type: Int32, value: [UInt8]) {
        switch name {
        case .dns(let text): return (GEN_DNS, Array(text.utf8))
        case .email(let text): return (GEN_EMAIL, Array(text.utf8))
        case .uri(let text): return (GEN_URI, Array(text.utf8))
        case .ipAddress(let text):
            guard let address = IPAddress(text) else { throw TLSError("\(text) is no IP address") }
            return (GEN_IPADD, address.bytes)
        }
    }

    private static func error() -> TLSError {
        TLSError("OpenSSL cannot make the certificate: \(OpenSSLLibrary.takeErrorText())")
    }
}
