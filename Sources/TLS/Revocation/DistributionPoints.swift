import COpenSSL

/// Where certificates say that their revocation lists are (RFC 5280, section 4.2.1.13).
package enum DistributionPoints {
    private static let urlsPerCertificateMax: Int32 = 16

    /// The addresses in the certificates of a PEM file, each once, in order.
    package static func urls(file: String) throws(TLSError) -> [String] {
        var urls: [String] = []
        for certificate in try TLSFiles.certificates(file, setting: "client_ca_file") {
            for index in 0..<Self.urlsPerCertificateMax {
                guard let text = martlet_certificate_crl_url(certificate.pointer, index) else { break }
                let url = String(cString: text)
                martlet_openssl_free(text)
                if !urls.contains(url) { urls.append(url) }
            }
        }
        OpenSSLLibrary.clearErrors()
        return urls
    }
}
