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
}
