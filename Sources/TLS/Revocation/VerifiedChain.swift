import COpenSSL

/// What a client showed when it was verified: in this connection, or in the one whose ticket it came back with.
package struct VerifiedChain: Equatable, Sendable {
    package struct Certificate: Equatable, Sendable {
        package var key: CertificateKey
        var signer: SignerKey
    }

    /// From the client's certificate to the trusted one, which the last is.
    package var certificates: [Certificate]
    /// The first moment at which one of them is no longer valid; seconds since 1970.
    package var validUntil: Int64

    init(certificates: [Certificate], validUntil: Int64) {
        self.certificates = certificates
        self.validUntil = validUntil
    }

    /// - Parameter chain: STACK_OF(X509), as OpenSSL has verified it.
    init(_ chain: OpaquePointer, limit: Int32) {
        self.init(certificates: [], validUntil: .max)
        for index in 0..<min(martlet_x509_chain_count(chain), limit) {
            guard let certificate = martlet_x509_chain_value(chain, index) else { continue }
            let signer = Self.signer(of: index, in: chain)
            self.certificates.append(Certificate(key: CertificateKey(certificate), signer: signer))
            self.validUntil = min(self.validUntil, X509Dates.seconds(X509_get0_notAfter(certificate)) ?? 0)
        }
    }

    /// Of the certificate at this place of the chain.
    static func signer(of index: Int32, in chain: OpaquePointer) -> SignerKey {
        guard index + 1 < martlet_x509_chain_count(chain), let issuer = martlet_x509_chain_value(chain, index + 1)
        else {
            return .unknown
        }
        return SignerKey(of: issuer)
    }
}
