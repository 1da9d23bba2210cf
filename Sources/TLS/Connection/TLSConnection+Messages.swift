import COpenSSL

/// Handshake messages after the handshake: KeyUpdate, and what asks for a new handshake in TLS 1.2, which is refused. Each costs the server
/// some 30 microseconds and the client next to nothing, and one SSL_read works off as many as come.
extension TLSConnection {
    static let messagesWithoutDataMax = 32

    static let tooManyMessages = TLSFailure(
        kind: .other,
        detail: "more than \(TLSConnection.messagesWithoutDataMax) handshake messages without data between them"
    )

    /// Called by OpenSSL at each step of a server's handshake, and when it has worked on such a message. After too many, what follows
    /// counts as read to the end, so that SSL_read returns.
    static let messageCallback: @convention(c) (OpaquePointer?, Int32, Int32) -> Void = { ssl, place, _ in
        guard place == SSL_CB_ACCEPT_LOOP, let ssl else { return }
        let state = SSL_get_state(ssl)
        guard state == TLS_ST_SR_KEY_UPDATE || state == TLS_ST_SR_CLNT_HELLO,
            let object = SSL_get_ex_data(ssl, OpenSSLLibrary.connectionIndex)
        else { return }
        let connection = Unmanaged<TLSConnection>.fromOpaque(object).takeUnretainedValue()
        connection.messagesWithoutData += 1
        if connection.messagesWithoutData > TLSConnection.messagesWithoutDataMax {
            SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN)
        }
    }

    /// Sends a KeyUpdate, as peers do; a server never needs one.
    ///
    /// - Parameter asksForOne: the peer has to answer with one of its own.
    package func updateKey(asksForOne: Bool = false) -> Bool {
        let kind = asksForOne ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED
        return SSL_key_update(self.pointer, kind) == 1 && self.handshake() == .done
    }
}
