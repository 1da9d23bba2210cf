/// Something about certificates, keys or TLS settings is wrong. The message says which file or setting, what OpenSSL or the
/// system said, and what to do.
package struct TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    package var message: String
    /// The configuration's key with the mistake, such as `key_file`; nil: none of one section.
    package var setting: String?
    /// Of a revocation list whose issuer is trusted by nobody here: no certificate depends on it.
    package var isOfStranger: Bool
    /// Of a revocation list that is none yet: when it will be; seconds since 1970.
    package var usableFrom: Int64?

    package init(
        _ message: String,
        setting: String? = nil,
        isOfStranger: Bool = false,
        usableFrom: Int64? = nil
    ) {
        self.message = message
        self.setting = setting
        self.isOfStranger = isOfStranger
        self.usableFrom = usableFrom
    }

    package var description: String { self.message }
}

/// What works but should not stay so, in a sentence that names the file.
package struct TLSWarning: Equatable, Sendable, CustomStringConvertible {
    package var message: String
    /// The configuration's key that it is about.
    package var setting: String

    package var description: String { self.message }
}
