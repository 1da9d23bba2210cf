/// What Redis holds about one device, as it came.
package struct CredentialReply: Equatable, Sendable {
    /// The stored hash, or the password itself; nil when the row has none.
    package var secret: [UInt8]?
    package var salt: [UInt8]?
    package var isSuperuser: Bool

    package init(secret: [UInt8]?, salt: [UInt8]? = nil, isSuperuser: Bool = false) {
        self.secret = secret
        self.salt = salt
        self.isSuperuser = isSuperuser
    }
}

/// What the caches keep about one device: enough to check a password, and no password.
package struct CredentialRow: Equatable, Sendable {
    package enum Secret: Equatable, Sendable {
        /// The row exists without a password: nobody can log in with one.
        case none
        /// The hash as Redis holds it, in hexadecimal.
        case hash([UInt8])
        /// Redis holds the password in clear; this is its HMAC under the host's key.
        case passwordCode([UInt8])
    }

    package var secret: Secret
    package var salt: [UInt8]
    package var isSuperuser: Bool

    package init(secret: Secret, salt: [UInt8] = [], isSuperuser: Bool = false) {
        self.secret = secret
        self.salt = salt
        self.isSuperuser = isSuperuser
    }
}
