import COpenSSL

/// Where certificates say that their revocation lists are (RFC 5280, section 4.2.1.13).
package enum DistributionPoints {
    private static let urlsPerCertificateMax: Int32 = 16

    /// For each distribution point in the certificates of a PEM file its addresses, of which each has the same list; each point once, in
    /// order.
    package static func urls(file: String) throws(TLSError) -> [[String]] {
        var points: [[String]] = []
        for certificate in try TLSFiles.certificates(file, setting: "client_ca_file") {
            var found: [(place: Int32, urls: [String])] = []
            for index in 0..<Self.urlsPerCertificateMax {
                var place: Int32 = 0
                guard let text = martlet_certificate_crl_url(certificate.pointer, index, &place) else { break }
                let url = String(cString: text)
                martlet_openssl_free(text)
                if found.last?.place != place { found.append((place, [])) }
                found[found.count - 1].urls.append(url)
            }
            for point in found.map(\.urls) where !points.contains(point) { points.append(point) }
        }
        OpenSSLLibrary.clearErrors()
        return points
    }
}
