/// Something about certificates, keys or TLS settings is wrong. The message says which file or setting, what OpenSSL or the
/// system said, and what to do.
package struct TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    package var message: String
    /// Of a revocation list whose issuer is trusted by nobody here: no certificate depends on it.
    package var isOfStranger: Bool

    package init(_ message: String, isOfStranger: Bool = false) {
        self.message = message
        self.isOfStranger = isOfStranger
    }

    package var description: String { self.message }
}
