/// Whose key signed a certificate or a revocation list: the first 8 bytes of the SHA-256 of the public key. Authorities may share a name.
package struct SignerKey: Hashable, Sendable {
    /// Nobody knows: the certificate that a chain ends in, say.
    static var unknown: SignerKey { SignerKey(digest: []) }

    let value: UInt64

    init(_ value: UInt64) {
        self.value = value
    }

    /// - Parameter digest: of at least 8 bytes, or `unknown`.
    init(digest: some Collection<UInt8>) {
        self.value = digest.count < 8 ? 0 : digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The key of a signer's certificate.
    init(of signer: OpaquePointer) {
        self.init(digest: X509Certificate.keyDigest(signer))
    }
}
