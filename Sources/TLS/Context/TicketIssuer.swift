import COpenSSL

/// Seals and opens the tickets of one context.
///
/// OpenSSL takes a session up again without looking at trust: whether the certificate has ended meanwhile is nobody's business then.
/// So each ticket carries what the first handshake has verified, and a ticket is only taken if that still holds and no revocation list
/// names any of it; otherwise the client
/// goes through a full handshake, which finds out for itself. Policy and trusted authorities are in the session id context, which
/// OpenSSL compares itself. Used from one thread at a time: that of the connections.
final class TicketIssuer {
    /// `version | latest moment at which all certificates of the chain are valid, Int64 | count × (CertificateKey, 16 | SignerKey, 8)`
    private static let version: UInt8 = 2
    private static let chainMax: Int32 = 16
    private static let certificateBytes = 24

    private var keys: TicketKeys
    private let now: @Sendable () -> Int64
    private let needsCertificate: Bool
    private let revocation: RevocationChecker?

    init(_ configuration: TicketConfiguration, needsCertificate: Bool, revocation: RevocationChecker?) {
        self.revocation = revocation
        self.keys = TicketKeys(secrets: configuration.secrets, lifetimeSeconds: configuration.lifetimeSeconds)
        self.now = configuration.now
        self.needsCertificate = needsCertificate
    }

    /// Puts the issuer to work; it must live as long as the context.
    func install(in context: OpaquePointer, lifetimeSeconds: Int64) {
        martlet_ssl_context_enable_tickets(context, Int(lifetimeSeconds))
        SSL_CTX_set_ex_data(context, OpenSSLLibrary.ticketIssuerIndex, Unmanaged.passUnretained(self).toOpaque())
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context, Self.keyCallback)
        SSL_CTX_set_session_ticket_cb(context, Self.generateCallback, Self.openedCallback, nil)
    }

    private static func issuer(of connection: OpaquePointer?) -> TicketIssuer? {
        guard let connection, let context = SSL_get_SSL_CTX(connection),
            let data = SSL_CTX_get_ex_data(context, OpenSSLLibrary.ticketIssuerIndex)
        else { return nil }
        return Unmanaged<TicketIssuer>.fromOpaque(data).takeUnretainedValue()
    }

    // MARK: Keys

    /// As SSL_CTX_set_tlsext_ticket_key_evp_cb(3) wants it: 0 no such key, 1 go on, 2 go on and give the client a new ticket.
    private static let keyCallback:
        @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt8>?, OpaquePointer?, OpaquePointer?,
            Int32
        ) -> Int32 = { connection, name, vector, cipher, mac, seals in
            guard let issuer = TicketIssuer.issuer(of: connection), let name, let vector, let cipher, let mac else {
                return -1
            }
            return seals == 1
                ? issuer.seal(name: name, vector: vector, cipher: cipher, mac: mac)
                : issuer.open(name: name, vector: vector, cipher: cipher, mac: mac)
        }

    private func seal(
        name: UnsafeMutablePointer<UInt8>,
        vector: UnsafeMutablePointer<UInt8>,
        cipher: OpaquePointer,
        mac: OpaquePointer
    ) -> Int32 {
        guard let key = self.keys.sealingKey(now: self.now()), RAND_bytes(vector, 16) == 1 else { return -1 }
        for (index, byte) in key.name.enumerated() { name[index] = byte }
        return martlet_ticket_cipher_init(cipher, mac, key.cipherKey, key.macKey, vector, 1) == 1 ? 1 : -1
    }

    private func open(
        name: UnsafeMutablePointer<UInt8>,
        vector: UnsafeMutablePointer<UInt8>,
        cipher: OpaquePointer,
        mac: OpaquePointer
    ) -> Int32 {
        let name = Array(UnsafeBufferPointer(start: name, count: TicketKeys.nameBytes))
        guard let (key, isAging) = self.keys.openingKey(name: name, now: self.now()) else { return 0 }
        guard martlet_ticket_cipher_init(cipher, mac, key.cipherKey, key.macKey, vector, 0) == 1 else { return -1 }
        return isAging ? 2 : 1
    }

    /// Whether a ticket is one of ours, and not too old: what its code says that was made with our key (RFC 5077, section 4).
    func isOurs(_ ticket: UnsafeRawBufferPointer) -> Bool {
        let codeBytes = 32
        guard ticket.count > TicketKeys.nameBytes + 16 + codeBytes,
            let (key, _) = self.keys.openingKey(name: Array(ticket[..<TicketKeys.nameBytes]), now: self.now())
        else { return false }
        let sealed = Array(ticket[..<(ticket.count - codeBytes)])
        return HMAC.sha256(key: key.macKey, message: sealed).elementsEqual(ticket[(ticket.count - codeBytes)...])
    }

    // MARK: What was verified

    private static let generateCallback: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = {
        connection,
        _ in
        guard let connection, let session = SSL_get_session(connection) else { return 0 }
        // A session that was resumed keeps what its first handshake has verified.
        if SSL_session_reused(connection) == 1 { return 1 }
        let data = TicketIssuer.describeChain(of: connection)
        return SSL_SESSION_set1_ticket_appdata(session, data, data.count)
    }

    private static let openedCallback:
        @convention(c) (
            OpaquePointer?, OpaquePointer?, UnsafePointer<UInt8>?, Int, SSL_TICKET_STATUS, UnsafeMutableRawPointer?
        ) -> SSL_TICKET_RETURN = { connection, session, _, _, status, _ in
            guard status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW else {
                // No ticket, or one that nobody can open: a full handshake, and a new ticket.
                return Int32(SSL_TICKET_RETURN_IGNORE_RENEW)
            }
            guard let issuer = TicketIssuer.issuer(of: connection), let session, issuer.stillHolds(session) else {
                return Int32(SSL_TICKET_RETURN_IGNORE_RENEW)
            }
            // In TLS 1.3 clients should use a ticket once (RFC 8446, section C.4), and many do: without a new one every second of
            // their handshakes would be a full one.
            let renews = status == SSL_TICKET_SUCCESS_RENEW || SSL_version(connection) >= TLS1_3_VERSION
            return Int32(renews ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE)
        }

    private func stillHolds(_ session: OpaquePointer) -> Bool {
        let hasCertificate = SSL_SESSION_get0_peer(session) != nil
        if self.needsCertificate, !hasCertificate { return false }
        guard let chain = Self.verifiedChain(of: session) else { return false }
        guard hasCertificate else { return true }
        return self.now() <= chain.validUntil && !(self.revocation?.revokes(chain) ?? false)
    }

    private static func describeChain(of connection: OpaquePointer) -> [UInt8] {
        let chain = self.verifiedChain(of: connection, limit: self.chainMax)
        var bytes = [self.version] + withUnsafeBytes(of: (chain?.validUntil ?? .max).littleEndian) { [UInt8]($0) }
        for certificate in chain?.certificates ?? [] {
            bytes += certificate.key.bytes
            bytes += withUnsafeBytes(of: certificate.signer.value.bigEndian) { [UInt8]($0) }
        }
        return bytes
    }

    /// What a full handshake has verified; nil without a certificate.
    static func verifiedChain(of connection: OpaquePointer, limit: Int32) -> VerifiedChain? {
        SSL_get0_verified_chain(connection).map { VerifiedChain($0, limit: limit) }
    }

    /// What a session's ticket says of the handshake in which it was made.
    static func verifiedChain(of session: OpaquePointer) -> VerifiedChain? {
        var pointer: UnsafeMutableRawPointer?
        var count = 0
        guard SSL_SESSION_get0_ticket_appdata(session, &pointer, &count) == 1, let pointer, count >= 9 else {
            return nil
        }
        let data = UnsafeRawBufferPointer(start: pointer, count: count)
        guard data[0] == Self.version, (count - 9).isMultiple(of: Self.certificateBytes) else { return nil }
        let certificates = stride(from: 9, to: count, by: Self.certificateBytes).map { start in
            VerifiedChain.Certificate(
                key: CertificateKey(digest: data[start..<start + CertificateKey.bytesCount]),
                signer: SignerKey(digest: data[start + CertificateKey.bytesCount..<start + Self.certificateBytes])
            )
        }
        return VerifiedChain(
            certificates: certificates,
            validUntil: Int64(littleEndian: data.loadUnaligned(fromByteOffset: 1, as: Int64.self))
        )
    }
}
