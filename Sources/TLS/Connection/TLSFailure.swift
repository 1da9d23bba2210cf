/// Why a handshake or a connection failed.
package struct TLSFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The raw value is the reason in logs and metrics.
    package enum Kind: String, Sendable, CaseIterable {
        case noClientCertificate = "no_client_certificate"
        case unknownCertificateAuthority = "unknown_certificate_authority"
        case certificateExpired = "certificate_expired"
        case certificateNotYetValid = "certificate_not_yet_valid"
        case certificateRevoked = "certificate_revoked"
        /// There is no revocation list of its issuer, or none that still counts.
        case revocationUnknown = "revocation_unknown"
        /// Wrong purpose, wrong name, weak key, broken signature.
        case badCertificate = "bad_certificate"
        case certificateChainTooLong = "certificate_chain_too_long"
        case protocolVersion = "protocol_version"
        /// No cipher, group or signature algorithm that both sides have.
        case noSharedCipher = "no_shared_cipher"
        /// Plain MQTT, HTTP or noise on a TLS port.
        case notTLS = "not_tls"
        /// The peer ended the connection with a TLS alert; `alert` is its number.
        case alertReceived = "alert_received"
        /// The network, or the peer without a word.
        case connectionReset = "connection_reset"
        case other = "tls_error"

        /// As logs, `martlet why` and `martlet auth test` name it among other reasons.
        package var reason: String { "tls-" + String(self.rawValue.map { $0 == "_" ? "-" : $0 }) }
    }

    package var kind: Kind
    /// What was wrong, in printable ASCII and of bounded length: OpenSSL's words, the certificate concerned, the alert's name.
    package var detail: String
    /// The number of the alert that the peer sent (RFC 8446 section 6).
    package var alert: UInt8?
    /// The subject of the certificate that the peer showed, in the form of `%d`, printable ASCII, shortened where long.
    package var certificateSubject: String?
    /// By which that certificate can be told from others.
    package var certificate: CertificateNumbers?

    package init(
        kind: Kind,
        detail: String,
        alert: UInt8? = nil,
        certificateSubject: String? = nil,
        certificate: CertificateNumbers? = nil
    ) {
        self.kind = kind
        self.detail = detail
        self.alert = alert
        self.certificateSubject = certificateSubject
        self.certificate = certificate
    }

    package var description: String { "\(self.kind.rawValue): \(self.detail)" }
}
