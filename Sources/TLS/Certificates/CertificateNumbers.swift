import Common

/// What tells a certificate from all others, though nobody has vouched for it.
package struct CertificateNumbers: Equatable, Sendable {
    /// As in `CertificateIdentity`; empty where it is too long for that.
    package var serialNumber: [UInt8]
    package var fingerprint: [UInt8]

    package init(serialNumber: [UInt8], fingerprint: [UInt8]) {
        self.serialNumber = serialNumber
        self.fingerprint = fingerprint
    }

    /// - Parameter certificate: an X509.
    init(_ certificate: OpaquePointer) {
        self.serialNumber = (try? CertificateIdentity.serialNumber(certificate)) ?? []
        self.fingerprint = X509Fingerprint.sha256(certificate)
    }
}
