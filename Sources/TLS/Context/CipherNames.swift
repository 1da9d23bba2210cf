import COpenSSL

/// Names of ciphers as OpenSSL has them. In a list it passes over those that it does not know.
package enum CipherNames {
    /// Of the names of TLS 1.3.
    package static let suitePrefix = "TLS_"

    /// Those that OpenSSL does not know: of TLS 1.3, of 1.2, or words of its lists such as `HIGH` and `ECDHE+AESGCM`. What takes others
    /// out or sorts them (`!`, `-`, `+`, `@` in front) names none wrongly.
    package static func unknown(among names: [String]) -> Set<String> {
        _ = OpenSSLLibrary.connectionIndex
        guard let context = SSL_CTX_new(TLS_method()) else { return [] }
        defer {
            SSL_CTX_free(context)
            OpenSSLLibrary.clearErrors()
        }
        return Set(names).filter { name in
            if name.hasPrefix(Self.suitePrefix) { return SSL_CTX_set_ciphersuites(context, name) != 1 }
            guard let first = name.utf8.first, !Array("!-+@".utf8).contains(first) else { return name.isEmpty }
            return SSL_CTX_set_cipher_list(context, name) != 1
        }
    }
}
