import COpenSSL
import Common

/// Judges the certificates of clients by the revocation lists of the moment. One for each listener; used from one thread at a time,
/// that of the connections.
package final class RevocationChecker {
    package struct Policy: Equatable, Sendable {
        /// A certificate whose issuer's list should have been replaced by now is refused; otherwise the old list goes on counting.
        package var refusesOverdue: Bool
        /// A certificate is refused where its issuer has no list that covers it.
        package var refusesMissing: Bool

        package init(refusesOverdue: Bool = false, refusesMissing: Bool = false) {
            self.refusesOverdue = refusesOverdue
            self.refusesMissing = refusesMissing
        }

        /// - Parameter tls: nil: no certificates are seen.
        package init(_ tls: Configuration.Listener.TLS?) {
            self.init(refusesOverdue: tls?.crlOverdue == .hard, refusesMissing: tls?.crlMissing == .refuse)
        }
    }

    enum Problem {
        case revoked
        case overdue
        case missing
    }

    package var list: RevocationList
    package var policy: Policy
    private let now: () -> Int64

    /// - Parameter now: seconds since 1970.
    package init(list: RevocationList = RevocationList([]), policy: Policy = Policy(), now: @escaping () -> Int64) {
        self.list = list
        self.policy = policy
        self.now = now
    }

    /// What speaks against a certificate of a client's chain. Nothing does against a root: it is trusted, or not, by configuration.
    /// - Parameter signer: of the certificate; asked for when a list names it.
    func problem(with certificate: OpaquePointer, signer: () -> SignerKey) -> Problem? {
        guard !X509Certificate.isSelfSigned(certificate) else { return nil }
        if self.list.revokes(CertificateKey(certificate), now: self.now(), signer: signer) { return .revoked }
        guard self.policy.refusesMissing || self.policy.refusesOverdue else { return nil }
        let parts = self.list.parts(
            of: DER.encode(X509_get_issuer_name(certificate)),
            keyIdentifier: X509Certificate.bytes(of: X509_get0_authority_key_id(certificate))
        ).filter { $0.covers(certificate) }
        if parts.isEmpty { return self.policy.refusesMissing ? .missing : nil }
        guard self.policy.refusesOverdue else { return nil }
        let now = self.now()
        return parts.contains { $0.isOverdue(now: now) } ? .overdue : nil
    }

    /// One of the certificates was revoked.
    package func revokes(_ chain: VerifiedChain) -> Bool {
        guard self.list.count > 0 else { return false }
        let now = self.now()
        return chain.certificates.contains { certificate in
            self.list.revokes(certificate.key, now: now) { certificate.signer }
        }
    }
}
