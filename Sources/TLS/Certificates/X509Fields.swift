import COpenSSL
import Glibc

enum X509Dates {
    /// Seconds since 1970; nil when the time is malformed.
    static func seconds(_ value: UnsafePointer<ASN1_TIME>?) -> Int64? {
        guard let value else { return nil }
        var fields = tm()
        guard ASN1_TIME_to_tm(value, &fields) == 1 else {
            OpenSSLLibrary.clearErrors()
            return nil
        }
        return Int64(timegm(&fields))
    }
}

enum X509Fingerprint {
    /// SHA-256 of the DER encoding; 32 bytes.
    static func sha256(_ certificate: OpaquePointer) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Digest.Algorithm.sha256.byteCount)
        var count: UInt32 = 0
        guard X509_digest(certificate, Digest.Algorithm.sha256.implementation, &digest, &count) == 1 else {
            MissingAlgorithm.end("SHA-256")
        }
        return digest
    }
}

enum X509Issued {
    /// SHA-256 over the DER of issuer and serial number: names a certificate the way revocation lists do (RFC 5280, section 5.1).
    static func digest(_ certificate: OpaquePointer) -> [UInt8] {
        let issuer = DER.encode(X509_get_issuer_name(certificate))
        return Digest.sha256(issuer + DER.encode(X509_get0_serialNumber(certificate)))
    }
}

extension X509Certificate {
    var notBefore: Int64? { X509Dates.seconds(X509_get0_notBefore(self.pointer)) }
    var notAfter: Int64? { X509Dates.seconds(X509_get0_notAfter(self.pointer)) }
    /// Signed with its own key, as roots are.
    static func isSelfSigned(_ certificate: OpaquePointer) -> Bool {
        X509_get_extension_flags(certificate) & UInt32(EXFLAG_SS) != 0
    }
    var isSelfSigned: Bool { Self.isSelfSigned(self.pointer) }
    var fingerprint: [UInt8] { X509Fingerprint.sha256(self.pointer) }
}
