/// A new certificate and its private key, in PEM.
package struct IssuedCertificate: Sendable {
    /// The certificate; one that an intermediate authority issued is followed by that authority's chain without its root.
    package let certificatePEM: [UInt8]
    /// The unencrypted PKCS #8 private key.
    package let keyPEM: [UInt8]

    /// Writes both files atomically: readers see the old file or the new one, never a part. The key file gets permission 0600, the
    /// certificate file 0644. The key comes first; a failure in between leaves a pair that does not match, which is refused when loaded.
    package func write(certificateFile: String, keyFile: String) throws(TLSError) {
        try TLSFiles.write(self.keyPEM, to: keyFile, permissions: 0o600)
        try TLSFiles.write(self.certificatePEM, to: certificateFile, permissions: 0o644)
    }
}
