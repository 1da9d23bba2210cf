/// Something about certificates, keys or TLS settings is wrong. The message says which file or setting, what OpenSSL or the
/// system said, and what to do.
package struct TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    package var message: String

    package init(_ message: String) {
        self.message = message
    }

    package var description: String { self.message }
}
