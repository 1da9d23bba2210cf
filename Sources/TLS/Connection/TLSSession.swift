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

    /// Client, before the handshake: offers the session to the server, which may refuse it.
    package func resume(_ session: TLSSession) {
        SSL_set_session(self.pointer, session.pointer)
        OpenSSLLibrary.clearErrors()
    }
}
