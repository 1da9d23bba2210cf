import COpenSSL

/// What a client needs to take up a TLS session again. It never changes.
package final class TLSSession: @unchecked Sendable {
    let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        SSL_SESSION_free(self.pointer)
    }
}

extension TLSConnection {
    /// Client: the newest session that the server has given a ticket for; nil: none yet.
    package var session: TLSSession? {
        guard self.canBeResumed, let session = SSL_get1_session(self.pointer) else { return nil }
        return TLSSession(owning: session)
    }

    /// Client: the connection is about to be cut without a close_notify. OpenSSL would take its session for one that was broken, and not
    /// offer it again.
    package func keepSessionWhenCut() {
        guard SSL_is_init_finished(self.pointer) == 1 else { return }
        SSL_set_shutdown(self.pointer, SSL_SENT_SHUTDOWN)
    }

    /// Client, before the handshake: offers the session to the server, which may refuse it.
    package func resume(_ session: TLSSession) {
        SSL_set_session(self.pointer, session.pointer)
        OpenSSLLibrary.clearErrors()
    }
}
