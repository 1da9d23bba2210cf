import COpenSSL

/// Whether a listener would accept a client's certificate, found out without a connection.
package enum ClientCertificateCheck {
    /// What speaks against the first certificate of a PEM file; the others in it are its intermediates. Nil: nothing.
    ///
    /// - Parameters:
    ///   - listener: whose TLS settings decide; its key is not read.
    ///   - revocation: lists in force, and what their lack means.
    /// - Throws: when a file cannot be read.
    package static func failure(
        certificateFile: String,
        listener: TLSServerConfiguration,
        revocation: RevocationChecker
    ) throws(TLSError) -> TLSFailure? {
        let certificates = try TLSFiles.certificates(certificateFile, setting: "certificate")
        let context = try TLSServerContext(listener, revocation: revocation, takesConnections: false)
        return context.failure(ofCertificates: certificates)
    }

    /// The same by a listener that runs: by the authorities and revocation lists that it has in force, whatever its files hold by now.
    ///
    /// - Parameter certificates: PEM.
    package static func failure(
        certificates: [UInt8],
        context: TLSServerContext
    ) throws(TLSError) -> TLSFailure? {
        context.failure(ofCertificates: try TLSFiles.certificates(in: certificates, "", setting: "certificate"))
    }

    /// The certificates of a PEM file and nothing else that may be in it, such as a key; PEM.
    package static func certificates(file: String) throws(TLSError) -> [UInt8] {
        let bio = MemoryBIO()
        for certificate in try TLSFiles.certificates(file, setting: "certificate")
        where PEM_write_bio_X509(bio.pointer, certificate.pointer) != 1 {
            throw TLSError("certificate \(file): \(OpenSSLLibrary.takeErrorText())")
        }
        return bio.bytes
    }
}
