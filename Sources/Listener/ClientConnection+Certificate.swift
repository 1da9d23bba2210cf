import Common
import TLS

// The client's certificate while the connection lives: it may end, or be revoked.
extension ClientConnection {
    /// A wall clock that is set must not keep a session for longer than this beyond its end.
    private static var clockCheckNanoseconds: UInt64 { 600 * Nanoseconds.perSecond }

    /// When the certificate is to be looked at next.
    func certificateDeadline(_ tls: TLSConnection) -> Instant {
        guard self.policy.configuration.certificateExpired == .close, let chain = tls.verifiedChain else { return .max }
        let remaining = self.certificateSecondsLeft(chain)
        let now = self.service.loop.now
        guard remaining > 0 else { return now }
        let nanoseconds = UInt64(remaining).multipliedReportingOverflow(by: Nanoseconds.perSecond)
        return now &+ min(nanoseconds.overflow ? .max : nanoseconds.partialValue, Self.clockCheckNanoseconds)
    }

    private func certificateSecondsLeft(_ chain: VerifiedChain) -> Int64 {
        let grace = Int64(self.policy.configuration.certificateExpiryGraceNanoseconds / Nanoseconds.perSecond)
        let now = Int64(Clock.wall() / Nanoseconds.perSecond)
        // Valid through the second that it names (RFC 5280, section 4.1.2.5).
        return chain.validUntil.addingReportingOverflow(grace).partialValue &- now &+ 1
    }

    /// The moment that `certificateDeadline` named has come.
    func certificateMayHaveEnded(_ tls: TLSConnection) {
        guard let chain = tls.verifiedChain, self.certificateSecondsLeft(chain) <= 0 else { return }
        self.endByCertificate("the client's certificate has expired", endsSession: false)
    }

    /// Lists or authorities have changed.
    func checkCertificate() {
        guard let tls = self.socket.tls, self.phase != .closed, self.phase != .handshaking,
            let chain = tls.verifiedChain
        else { return }
        if self.policy.revocation?.revokes(chain) ?? false {
            self.endByCertificate("the client's certificate is revoked", endsSession: true)
        } else if let context = self.policy.tls, !context.trusts(chain) {
            self.endByCertificate("the authority of the client's certificate is no longer trusted", endsSession: true)
        }
    }

    private func endByCertificate(_ detail: String, endsSession: Bool) {
        switch self.phase {
        case .open: self.endByRevocation(detail, endsSession: endsSession)
        case .awaitingConnect, .authenticating, .opening: self.lost(detail)
        case .handshaking, .closing, .lingering, .closed: break
        }
    }
}
