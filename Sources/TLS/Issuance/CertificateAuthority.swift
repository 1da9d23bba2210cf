import COpenSSL

/// Issues certificates: for the quick start, for enrolling devices, and in tests. All keys are P-256, all signatures ECDSA with
/// SHA-256 (or what the loaded authority's key is), serial numbers random.
package final class CertificateAuthority {
    private let certificate: X509Certificate
    private let key: PrivateKey
    /// What follows a certificate that this authority issued: empty for a root, else its own certificate and those above, without the root.
    private let chain: [X509Certificate]

    private init(certificate: X509Certificate, key: PrivateKey, chain: [X509Certificate]) {
        self.certificate = certificate
        self.key = key
        self.chain = chain
    }

    /// A new self-signed root.
    package static func create(commonName: String, validDays: Int) throws(TLSError) -> CertificateAuthority {
        try Self.create(subject: CertificateSubject(commonName: commonName), validity: .days(validDays))
    }

    package static func create(
        subject: CertificateSubject,
        validity: CertificateValidity
    ) throws(TLSError) -> CertificateAuthority {
        let key = try Self.newKey()
        let builder = try CertificateBuilder(subject: subject, publicKey: key, validity: validity)
        try builder.add(Self.authorityExtensions, issuer: nil)
        let certificate = try builder.sign(issuer: nil, key: key)
        return CertificateAuthority(certificate: certificate, key: key, chain: [])
    }

    /// The authority that `write` wrote, or any other whose certificate is the first in the file.
    package static func load(
        certificateFile: String,
        keyFile: String,
        keyPasswordFile: String? = nil
    ) throws(TLSError) -> CertificateAuthority {
        let certificates = try TLSFiles.certificates(certificateFile, setting: "CA certificate")
        let key = try TLSFiles.privateKey(
            keyFile,
            setting: "CA key",
            passwordFile: keyPasswordFile,
            passwordSetting: "CA key password file"
        )
        let certificate = certificates[0]
        guard X509_check_ca(certificate.pointer) >= 1 else {
            throw TLSError("\(certificateFile) is no CA certificate: it lacks basicConstraints CA:TRUE")
        }
        guard X509_check_private_key(certificate.pointer, key.pointer) == 1 else {
            OpenSSLLibrary.clearErrors()
            throw TLSError("CA key \(keyFile) does not belong to the certificate in \(certificateFile)")
        }
        let chain = certificates.filter { !$0.isSelfSigned }
        return CertificateAuthority(certificate: certificate, key: key, chain: chain)
    }

    /// An authority below this one. What it issues carries its certificate along.
    package func issueAuthority(commonName: String, validDays: Int) throws(TLSError) -> CertificateAuthority {
        let key = try Self.newKey()
        let builder = try CertificateBuilder(
            subject: CertificateSubject(commonName: commonName),
            publicKey: key,
            validity: .days(validDays)
        )
        try builder.add(Self.authorityExtensions, issuer: self.certificate)
        let certificate = try builder.sign(issuer: self.certificate, key: self.key)
        return CertificateAuthority(certificate: certificate, key: key, chain: [certificate] + self.chain)
    }

    /// A server's certificate; `hosts` are its DNS names and IP addresses.
    package func issueServer(
        commonName: String,
        hosts: [String],
        validDays: Int = 825
    ) throws(TLSError) -> IssuedCertificate {
        try self.issue(
            CertificateTemplate(
                subject: CertificateSubject(commonName: commonName),
                alternativeNames: hosts.map { SubjectAlternativeName(host: $0) },
                purpose: .server,
                validity: .days(validDays)
            )
        )
    }

    /// A device's certificate.
    package func issueClient(commonName: String, validDays: Int = 825) throws(TLSError) -> IssuedCertificate {
        try self.issueClient(
            subject: CertificateSubject(commonName: commonName),
            validity: .days(validDays)
        )
    }

    package func issueClient(
        subject: CertificateSubject,
        alternativeNames: [SubjectAlternativeName] = [],
        validity: CertificateValidity
    ) throws(TLSError) -> IssuedCertificate {
        try self.issue(
            CertificateTemplate(
                subject: subject,
                alternativeNames: alternativeNames,
                purpose: .client,
                validity: validity
            )
        )
    }

    /// A certificate and a new key for it.
    package func issue(_ template: CertificateTemplate) throws(TLSError) -> IssuedCertificate {
        let key = try Self.newKey()
        let builder = try CertificateBuilder(
            subject: template.subject,
            publicKey: key,
            validity: template.validity
        )
        let usage =
            switch template.purpose {
            case .server: "serverAuth"
            case .client: "clientAuth"
            case .serverAndClient: "serverAuth,clientAuth"
            }
        try builder.add(
            [
                (NID_basic_constraints, "critical,CA:FALSE"),
                (NID_key_usage, "critical,digitalSignature"),
                (NID_ext_key_usage, usage),
                (NID_subject_key_identifier, "hash"),
                (NID_authority_key_identifier, "keyid:always"),
            ],
            issuer: self.certificate
        )
        try builder.add(alternativeNames: template.alternativeNames)
        let certificate = try builder.sign(issuer: self.certificate, key: self.key)
        return IssuedCertificate(
            certificatePEM: try Self.pem([certificate] + self.chain),
            keyPEM: try Self.pem(key)
        )
    }

    /// The authority's own certificate: what others trust.
    package func certificatePEM() throws(TLSError) -> [UInt8] {
        try Self.pem([self.certificate])
    }

    /// Writes the certificate alone (0644), for others to trust.
    package func write(certificateFile: String) throws(TLSError) {
        try TLSFiles.write(try self.certificatePEM(), to: certificateFile, permissions: 0o644)
    }

    /// Writes certificate and chain (0644) and key (0600), as `IssuedCertificate.write` does, for `load`.
    package func write(certificateFile: String, keyFile: String) throws(TLSError) {
        let issued = IssuedCertificate(
            certificatePEM: try Self.pem([self.certificate] + self.chain.dropFirst()),
            keyPEM: try Self.pem(self.key)
        )
        try issued.write(certificateFile: certificateFile, keyFile: keyFile)
    }

    private static let authorityExtensions: [(nid: Int32, value: String)] = [
        (NID_basic_constraints, "critical,CA:TRUE"),
        (NID_key_usage, "critical,keyCertSign,cRLSign"),
        (NID_subject_key_identifier, "hash"),
        (NID_authority_key_identifier, "keyid:always"),
    ]

    private static func newKey() throws(TLSError) -> PrivateKey {
        guard let pointer = martlet_new_p256_key() else {
            throw TLSError("OpenSSL cannot make a key: \(OpenSSLLibrary.takeErrorText())")
        }
        return PrivateKey(owning: pointer)
    }

    private static func pem(_ certificates: [X509Certificate]) throws(TLSError) -> [UInt8] {
        let bio = MemoryBIO()
        for certificate in certificates where PEM_write_bio_X509(bio.pointer, certificate.pointer) != 1 {
            throw TLSError("OpenSSL cannot write the certificate: \(OpenSSLLibrary.takeErrorText())")
        }
        return bio.bytes
    }

    private static func pem(_ key: PrivateKey) throws(TLSError) -> [UInt8] {
        let bio = MemoryBIO()
        guard PEM_write_bio_PrivateKey(bio.pointer, key.pointer, nil, nil, 0, nil, nil) == 1 else {
            throw TLSError("OpenSSL cannot write the key: \(OpenSSLLibrary.takeErrorText())")
        }
        return bio.bytes
    }
}
