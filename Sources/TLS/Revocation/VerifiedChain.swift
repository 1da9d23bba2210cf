/// What a client showed when it was verified: in this connection, or in the one whose ticket it came back with.
package struct VerifiedChain: Equatable, Sendable {
    /// From the client's certificate to the trusted one, which the last is.
    package var keys: [CertificateKey]
    /// The first moment at which one of them is no longer valid; seconds since 1970.
    package var validUntil: Int64
}
