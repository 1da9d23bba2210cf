import COpenSSL

/// The certificates that chains of clients may end in: those of the file, and others that such chains ended in when they were verified,
/// which the file makes trusted all the same. So nobody is thrown out when an authority's certificate is renewed.
struct TrustedAuthorities {
    /// What is kept of former files; the oldest goes first.
    static let formerMax = 1024

    private let named: [X509Certificate]
    private let former: [X509Certificate]
    private let keys: Set<CertificateKey>

    var isEmpty: Bool { self.keys.isEmpty }

    /// - Parameters:
    ///   - named: what the file names.
    ///   - store: X509_STORE with the same.
    ///   - before: those that were trusted until now.
    init(_ named: [X509Certificate], store: OpaquePointer?, insteadOf before: TrustedAuthorities?) {
        defer { OpenSSLLibrary.clearErrors() }
        let namedKeys = Set(named.map { CertificateKey($0.pointer) })
        let candidates = (before.map { $0.former + $0.named } ?? []).filter {
            !namedKeys.contains(CertificateKey($0.pointer))
        }
        let former = candidates.filter { authority in
            named.contains { Self.isSameAuthority(authority, $0) } || Self.verifies(authority, store)
        }
        self.named = named
        self.former = former.suffix(Self.formerMax)
        self.keys = namedKeys.union(self.former.map { CertificateKey($0.pointer) })
    }

    func contains(_ authority: CertificateKey) -> Bool { self.keys.contains(authority) }

    /// Whether two certificates are of one name and key: what the one signed, the other verifies.
    private static func isSameAuthority(_ one: X509Certificate, _ other: X509Certificate) -> Bool {
        X509_NAME_cmp(X509_get_subject_name(one.pointer), X509_get_subject_name(other.pointer)) == 0
            && !one.keyDigest.isEmpty && one.keyDigest == other.keyDigest
    }

    /// Whether it was signed by somebody who is trusted. Its end is that of the chains which end in it, and is watched with them.
    private static func verifies(_ authority: X509Certificate, _ store: OpaquePointer?) -> Bool {
        guard let store, let context = X509_STORE_CTX_new() else { return false }
        defer { X509_STORE_CTX_free(context) }
        guard X509_STORE_CTX_init(context, store, authority.pointer, nil) == 1 else { return false }
        X509_STORE_CTX_set_flags(context, UInt(X509_V_FLAG_NO_CHECK_TIME))
        return X509_verify_cert(context) == 1
    }
}
