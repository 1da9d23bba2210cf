import COpenSSL
import Glibc

/// What is set up once in a process that uses OpenSSL, and access to OpenSSL's error queue.
///
/// The queue belongs to the thread. Every function of this module leaves it empty or clears it before the next call whose
/// result depends on it: SSL_get_error(3) takes an old entry for the cause of a new return value.
enum OpenSSLLibrary {
    /// Where an SSL object keeps the pointer to its `TLSConnection`; set up on first use.
    static let connectionIndex: Int32 = {
        OPENSSL_init_ssl(0, nil)
        if martlet_use_methods_before_providers() == 0 { ERR_clear_error() }
        ignoreBrokenPipes()
        let index = martlet_ssl_new_index()
        precondition(index >= 0, "OpenSSL has no memory for an index")
        return index
    }()

    /// Has certificates that are read from here on share the key of this one, if they have the same: clients send their authority's along.
    /// - Returns: false: with keys of this kind, or this OpenSSL, each has its own.
    @discardableResult
    @inline(never)
    static func shareKey(of certificate: X509Certificate) -> Bool {
        // In this object file, with what registers the reading of keys: each has static variables of C's inline functions of its own.
        defer { Self.clearErrors() }
        return martlet_share_ec_key(certificate.pointer) == 1
    }

    /// Where an SSL_CTX keeps the pointer to its `TicketIssuer`.
    static let ticketIssuerIndex: Int32 = {
        let index = martlet_ssl_context_new_index()
        precondition(index >= 0, "OpenSSL has no memory for an index")
        return index
    }()

    /// A peer that is gone must not kill the process, whoever writes to its socket.
    private static func ignoreBrokenPipes() {
        var action = sigaction()
        guard sigaction(SIGPIPE, nil, &action) == 0 else { return }
        if action.__sigaction_handler.sa_handler == nil {
            signal(SIGPIPE, SIG_IGN)
        }
    }

    static func clearErrors() {
        martlet_ssl_clear_errors()
    }

    /// Empties the queue and puts its entries into words, the innermost first; "no reason given" for an empty queue.
    static func takeErrorText() -> String {
        var reasons: [String] = []
        while true {
            let error = ERR_get_error()
            guard error != 0 else { break }
            if reasons.count < 4 { reasons.append(Self.text(of: error)) }
        }
        return reasons.isEmpty ? "no reason given" : reasons.joined(separator: ", ")
    }

    static func text(of error: UInt) -> String {
        if let reason = ERR_reason_error_string(error) {
            return String(cString: reason)
        }
        return "OpenSSL error \(error)"
    }

    static func systemErrorText(_ code: Int32) -> String {
        String(cString: strerror(code))
    }
}
