import COpenSSL

/// Names a certificate the way revocation lists do, by issuer and serial number (RFC 5280, section 5.1): the first 16 bytes of a
/// SHA-256 over both.
package struct CertificateKey: Hashable, Comparable, Sendable {
    static let bytesCount = 16

    private let high: UInt64
    private let low: UInt64

    /// - Parameter digest: at least 16 bytes.
    init(digest: some Collection<UInt8>) {
        var words: (UInt64, UInt64) = (0, 0)
        for (index, byte) in digest.prefix(16).enumerated() {
            if index < 8 { words.0 = words.0 << 8 | UInt64(byte) } else { words.1 = words.1 << 8 | UInt64(byte) }
        }
        self.high = words.0
        self.low = words.1
    }

    init(_ certificate: OpaquePointer) {
        self.init(digest: X509Issued.digest(certificate))
    }

    var bytes: [UInt8] {
        withUnsafeBytes(of: (self.high.bigEndian, self.low.bigEndian)) { [UInt8]($0) }
    }

    package static func < (left: CertificateKey, right: CertificateKey) -> Bool {
        left.high == right.high ? left.low < right.low : left.high < right.high
    }
}
