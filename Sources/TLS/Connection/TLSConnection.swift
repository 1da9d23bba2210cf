import COpenSSL
import Common
import Glibc

/// One TLS connection over a non-blocking socket. It owns OpenSSL's SSL object, not the descriptor, which must stay open as
/// long as the connection exists. Nothing here blocks, and calls that move data allocate nothing but room for what a full socket
/// does not take.
///
/// After a failure the object may only be asked for properties and released; further calls fail again.
package final class TLSConnection {
    package enum HandshakeResult: Equatable, Sendable {
        case done
        /// Call again when the descriptor is readable.
        case wantsRead
        /// Call again when the descriptor is writable.
        case wantsWrite
        /// The alert that tells the peer why is in the socket. It gets there if the descriptor is first shut down for
        /// writing and read until its end (or a short time-out), and then closed; closing it with unread data
        /// makes the kernel reset the connection.
        indirect case failed(TLSFailure)
    }

    package enum IOResult: Equatable, Sendable {
        case bytes(Int)
        case wantsRead
        case wantsWrite
        /// The peer closed the connection, with close_notify or without.
        case closed
        indirect case failed(TLSFailure)
    }

    let pointer: OpaquePointer
    /// The first error of the certificate verification, left by the callback.
    var verifyFailure: TLSFailure?
    /// Server: the client's certificates were verified in an earlier handshake, and their signatures not checked again in this one.
    package internal(set) var hasKnownChain = false
    private var failure: TLSFailure?
    let fileDescriptor: Int32
    /// Whole records, or the ends of some, that the socket has not taken yet: see `send`.
    var keptOutput = ByteBuffer()
    /// The handshake is over.
    private(set) var keepsOutput = false
    /// What `write` was given and will call written when `keptOutput` is empty.
    private var bytesKept = 0
    /// Handshake messages since the connection was last read from with success: see `messageCallback`.
    var messagesWithoutData = 0
    /// Whose connection it is; nil for a client. OpenSSL's context, which lives as long as its last connection, calls back into this one:
    /// until its end, for tickets are renewed in connections that are older than the last change of settings.
    private let server: TLSServerContext?

    /// One SSL_write call takes at most this many bytes, so that the count fits into a C int.
    private static let bytesMax = 1 << 30

    /// - Parameter server: whose `context` it is.
    init?(context: OpaquePointer, fileDescriptor: Int32, server: TLSServerContext? = nil) {
        OpenSSLLibrary.clearErrors()
        guard let pointer = SSL_new(context) else {
            OpenSSLLibrary.clearErrors()
            return nil
        }
        self.pointer = pointer
        self.server = server
        self.fileDescriptor = fileDescriptor
        guard self.connectOutput(), SSL_set_rfd(pointer, fileDescriptor) == 1,
            SSL_set_ex_data(pointer, OpenSSLLibrary.connectionIndex, Unmanaged.passUnretained(self).toOpaque()) == 1
        else {
            OpenSSLLibrary.clearErrors()
            return nil
        }
        if server == nil { SSL_set_connect_state(pointer) } else { SSL_set_accept_state(pointer) }
    }

    /// Asked about each certificate of the peer's chain; nil: nobody is.
    var revocation: RevocationChecker? { self.server?.revocation }

    deinit {
        SSL_free(self.pointer)
    }

    /// Goes on with the handshake. Call it first and after each readiness until it says done or failed.
    package func handshake() -> HandshakeResult {
        if let failure = self.failure { return .failed(failure) }
        OpenSSLLibrary.clearErrors()
        errno = 0
        let result = SSL_do_handshake(self.pointer)
        if result == 1 {
            if self.server != nil { martlet_ssl_forget_handshake(self.pointer) }
            self.keepsOutput = true
            return .done
        }
        let code = errno
        switch SSL_get_error(self.pointer, result) {
        case SSL_ERROR_WANT_READ: return .wantsRead
        case SSL_ERROR_WANT_WRITE: return .wantsWrite
        case let error: return .failed(self.fail(self.handshakeFailure(error: error, systemError: code)))
        }
    }

    /// Reads into the caller's buffer. Read again without waiting for the descriptor only while `hasPending`.
    package func read(into buffer: UnsafeMutableRawBufferPointer) -> IOResult {
        guard let base = buffer.baseAddress, buffer.count > 0 else { return .bytes(0) }
        if let failure = self.failure { return .failed(failure) }
        if !self.keptOutput.isEmpty { self.sendKeptOutput() }
        OpenSSLLibrary.clearErrors()
        errno = 0
        let count = SSL_read(self.pointer, base, Int32(truncatingIfNeeded: min(buffer.count, Self.bytesMax)))
        let code = errno
        if self.messagesWithoutData > Self.messagesWithoutDataMax { return .failed(self.fail(Self.tooManyMessages)) }
        guard count > 0 else { return self.result(of: count, systemError: code) }
        self.messagesWithoutData = 0
        return .bytes(Int(count))
    }

    /// OpenSSL holds bytes that were read from the socket and not delivered yet, so epoll will not report them. They may be
    /// less than a record: a read may still answer `wantsRead`, and then it is the socket's turn.
    package var hasPending: Bool { SSL_has_pending(self.pointer) == 1 }

    /// Writes from the front of `bytes`, at most one record (16 KiB) a call. After `wantsWrite` or `wantsRead` the next call
    /// must offer the same bytes again, wherever in memory, with more behind them or not.
    package func write(_ bytes: UnsafeRawBufferPointer) -> IOResult {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return .bytes(0) }
        if let failure = self.failure { return .failed(failure) }
        if !self.keptOutput.isEmpty, let result = self.flushKeptOutput() { return result }
        if self.bytesKept > 0 {
            defer { self.bytesKept = 0 }
            return .bytes(min(self.bytesKept, bytes.count))
        }
        OpenSSLLibrary.clearErrors()
        errno = 0
        let count = SSL_write(self.pointer, base, Int32(truncatingIfNeeded: min(bytes.count, Self.bytesMax)))
        guard count > 0 else { return self.result(of: count, systemError: errno) }
        guard self.keptOutput.isEmpty else {
            self.bytesKept = Int(count)
            return .wantsWrite
        }
        return .bytes(Int(count))
    }

    /// Sends close_notify if the socket takes it at once. Does nothing during the handshake and after a failure.
    package func shutdown() {
        guard self.failure == nil, SSL_is_init_finished(self.pointer) == 1 else { return }
        // Behind what the socket has not taken it would be lost.
        guard self.keptOutput.isEmpty || self.flushKeptOutput() == nil else { return }
        OpenSSLLibrary.clearErrors()
        SSL_shutdown(self.pointer)
        OpenSSLLibrary.clearErrors()
    }

    /// "TLSv1.3".
    package var version: String { String(cString: SSL_get_version(self.pointer)) }

    /// OpenSSL's name of the cipher suite, "(NONE)" before the handshake.
    package var cipher: String {
        guard let name = SSL_CIPHER_get_name(SSL_get_current_cipher(self.pointer)) else { return "(NONE)" }
        return String(cString: name)
    }

    /// "TLSv1.3, TLS_AES_256_GCM_SHA384, resumed".
    package var summary: String { "\(self.version), \(self.cipher)\(self.isResumed ? ", resumed" : "")" }

    /// The session was taken up from a ticket or a cache: certificates were not looked at in this handshake.
    package var isResumed: Bool { SSL_session_reused(self.pointer) == 1 }

    /// The server gave the client a ticket or a session id with which it may come back.
    package var canBeResumed: Bool {
        guard let session = SSL_get_session(self.pointer) else { return false }
        return SSL_SESSION_is_resumable(session) == 1
    }

    /// Server, TLS 1.3: the client gets a new ticket with the next bytes that are written; those of long connections grow old.
    package func renewTicket() {
        guard SSL_version(self.pointer) >= TLS1_3_VERSION else { return }
        OpenSSLLibrary.clearErrors()
        SSL_new_session_ticket(self.pointer)
        OpenSSLLibrary.clearErrors()
    }

    /// Who the peer is, by the certificate it showed and that was verified; nil without one. Throws when a field cannot be
    /// used as a name: such a peer must be refused.
    ///
    /// - Parameter takesAlternativeNames: false: without them, for telling who was refused.
    package func peerCertificateIdentity(
        takesAlternativeNames: Bool = true
    ) throws(PeerIdentityError) -> CertificateIdentity? {
        guard let certificate = SSL_get0_peer_certificate(self.pointer) else { return nil }
        defer { OpenSSLLibrary.clearErrors() }
        return try CertificateIdentity(certificate: certificate, takesAlternativeNames: takesAlternativeNames)
    }

    /// Server: what the client was verified by; nil: it showed no certificate.
    package var verifiedChain: VerifiedChain? {
        defer { OpenSSLLibrary.clearErrors() }
        guard SSL_get0_peer_certificate(self.pointer) != nil else { return nil }
        if self.isResumed { return SSL_get_session(self.pointer).flatMap { TicketIssuer.verifiedChain(of: $0) } }
        return TicketIssuer.verifiedChain(of: self.pointer, limit: .max)
    }

    /// Client: sends the name (SNI) and, if the peer is verified, accepts only a certificate for it.
    func expect(serverName name: String, verify: Bool) -> Bool {
        defer { OpenSSLLibrary.clearErrors() }
        let parameters = SSL_get0_param(self.pointer)
        if let address = IPAddress(name) {
            guard verify else { return true }
            return X509_VERIFY_PARAM_set1_ip(parameters, address.bytes, address.bytes.count) == 1
        }
        guard martlet_ssl_set_server_name(self.pointer, name) == 1 else { return false }
        return !verify || X509_VERIFY_PARAM_set1_host(parameters, name, 0) == 1
    }

    /// What a return value of SSL_read or SSL_write other than a count means. Kept out of their way.
    @inline(never)
    private func result(of value: Int32, systemError code: Int32) -> IOResult {
        switch SSL_get_error(self.pointer, value) {
        case SSL_ERROR_WANT_READ: return .wantsRead
        case SSL_ERROR_WANT_WRITE: return .wantsWrite
        case SSL_ERROR_ZERO_RETURN: return .closed
        case SSL_ERROR_SYSCALL where code == 0: return .closed
        case let error: return .failed(self.fail(self.connectionFailure(error: error, systemError: code)))
        }
    }

    func fail(_ failure: TLSFailure) -> TLSFailure {
        OpenSSLLibrary.clearErrors()
        self.failure = failure
        return failure
    }
}
