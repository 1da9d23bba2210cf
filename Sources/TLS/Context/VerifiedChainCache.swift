import COpenSSL

/// Remembers which certificates of clients were verified, so that a device that comes back with a full handshake costs no signature
/// check of its chain. What was verified stays so while it is valid by the clock, for a cache belongs to one context, and with it to one
/// set of authorities and rules; revocation lists are asked each time. The client's proof that it holds the key is not concerned.
///
/// Used from one thread at a time, that of the connections. Only what an authority signed gets in; the oldest goes first.
final class VerifiedChainCache {
    /// Half of the certificates that are remembered, about 100 bytes each.
    var generationMax = 32_768
    /// Chains of different authorities; what others sign is verified each time.
    static let issuersMax = 64

    /// SHA-256 over all that the client sent.
    private struct Key: Hashable {
        let words: (UInt64, UInt64, UInt64, UInt64)

        static func == (left: Key, right: Key) -> Bool { left.words == right.words }

        func hash(into hasher: inout Hasher) {
            // A part of a hash is as good as the whole for finding it.
            hasher.combine(self.words.0)
        }
    }

    private struct Verified {
        /// Place in `issuers`.
        let issuers: Int
        /// When all certificates of the chain are valid; seconds since 1970.
        let from: Int64
        let until: Int64
    }

    /// What follows the client's certificate in its chain, the trusted one last.
    private struct Issuers {
        let fingerprints: [[UInt8]]
        let certificates: [X509Certificate]
    }

    private var recent: [Key: Verified] = [:]
    private var older: [Key: Verified] = [:]
    private var issuers: [Issuers] = []
    private let revocation: RevocationChecker?
    /// Seconds since 1970.
    private let now: () -> Int64

    init(revocation: RevocationChecker?, now: @escaping () -> Int64) {
        self.revocation = revocation
        self.now = now
    }

    /// Takes the place of X509_verify_cert(3). The context must not outlive this object.
    func install(in context: OpaquePointer) {
        SSL_CTX_set_cert_verify_callback(context, Self.callback, Unmanaged.passUnretained(self).toOpaque())
    }

    private static let callback: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = { store, cache in
        guard let store, let cache else { return 0 }
        return Unmanaged<VerifiedChainCache>.fromOpaque(cache).takeUnretainedValue().verify(store) ? 1 : 0
    }

    private func verify(_ store: OpaquePointer) -> Bool {
        guard let key = Self.key(store) else { return X509_verify_cert(store) == 1 }
        if self.isKnown(key, store) {
            TLSConnection.verifying(with: store)?.hasKnownChain = true
            return true
        }
        guard X509_verify_cert(store) == 1 else { return false }
        self.remember(key, store)
        return true
    }

    /// Whether the client's certificates were verified before, in this form, and nothing has come to speak against them. If so the store
    /// holds the chain. What is doubtful is verified anew, which finds the reason to refuse it.
    private func isKnown(_ key: Key, _ store: OpaquePointer) -> Bool {
        guard let leaf = X509_STORE_CTX_get0_cert(store), let verified = self.find(key) else { return false }
        let now = self.now()
        guard verified.from <= now, now < verified.until else { return false }
        let issuers = self.issuers[verified.issuers].certificates
        if let revocation = self.revocation {
            for (index, certificate) in ([leaf] + issuers.map(\.pointer)).enumerated() {
                let problem = revocation.problem(with: certificate) {
                    index < issuers.count ? SignerKey(of: issuers[index].pointer) : .unknown
                }
                if problem != nil { return false }
            }
        }
        guard let chain = Self.makeChain(leaf, issuers) else { return false }
        X509_STORE_CTX_set0_verified_chain(store, chain)
        X509_STORE_CTX_set_error(store, X509_V_OK)
        return true
    }

    private func find(_ key: Key) -> Verified? {
        if let verified = self.recent[key] { return verified }
        guard let verified = self.older.removeValue(forKey: key) else { return nil }
        self.insert(key, verified)
        return verified
    }

    private func insert(_ key: Key, _ verified: Verified) {
        if self.recent.count >= self.generationMax {
            self.older = self.recent
            self.recent = [:]
        }
        self.recent[key] = verified
    }

    private func remember(_ key: Key, _ store: OpaquePointer) {
        guard let chain = X509_STORE_CTX_get0_chain(store) else { return }
        let count = martlet_x509_chain_count(chain)
        // A certificate that is trusted itself needs no signature.
        guard count > 1 else { return }
        var (from, until) = (Int64.min, Int64.max)
        var above: [OpaquePointer] = []
        for index in 0..<count {
            guard let certificate = martlet_x509_chain_value(chain, index),
                let notBefore = X509Dates.seconds(X509_get0_notBefore(certificate)),
                let notAfter = X509Dates.seconds(X509_get0_notAfter(certificate))
            else { return }
            from = max(from, notBefore)
            until = min(until, notAfter)
            if index > 0 { above.append(certificate) }
        }
        guard let place = self.place(of: above) else { return }
        self.insert(key, Verified(issuers: place, from: from, until: until))
    }

    private func place(of chain: [OpaquePointer]) -> Int? {
        let fingerprints = chain.map { X509Fingerprint.sha256($0) }
        if let known = self.issuers.firstIndex(where: { $0.fingerprints == fingerprints }) { return known }
        guard self.issuers.count < Self.issuersMax else { return nil }
        let certificates = chain.map { certificate in
            X509_up_ref(certificate)
            return X509Certificate(owning: certificate)
        }
        self.issuers.append(Issuers(fingerprints: fingerprints, certificates: certificates))
        return self.issuers.count - 1
    }

    /// A stack with references of its own.
    private static func makeChain(_ leaf: OpaquePointer, _ issuers: [X509Certificate]) -> OpaquePointer? {
        guard let chain = martlet_x509_stack_new() else { return nil }
        for certificate in [leaf] + issuers.map(\.pointer) {
            X509_up_ref(certificate)
            guard martlet_x509_stack_add(chain, certificate) > 0 else {
                X509_free(certificate)
                martlet_x509_stack_free_all(chain)
                return nil
            }
        }
        return chain
    }

    private static func key(_ store: OpaquePointer) -> Key? {
        guard let sent = X509_STORE_CTX_get0_untrusted(store) else { return nil }
        let count = martlet_x509_chain_count(sent)
        var digest: [UInt8] = []
        for index in 0..<count {
            guard let certificate = martlet_x509_chain_value(sent, index) else { return nil }
            digest += X509Fingerprint.sha256(certificate)
        }
        if count != 1 { digest = Digest.sha256(digest) }
        return digest.withUnsafeBytes { bytes in
            guard bytes.count == 32 else { return nil }
            let word = { bytes.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) }
            return Key(words: (word(0), word(1), word(2), word(3)))
        }
    }
}
