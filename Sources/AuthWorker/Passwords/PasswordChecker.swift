import Common
import TLS

/// How stored passwords were made, and the host's key for those that were not hashed at all.
package struct PasswordChecker: Sendable {
    package typealias Scheme = Configuration.Authentication.PasswordHash

    package let scheme: Scheme
    private let hostKey: [UInt8]

    /// - Throws: `ConfigurationMistake` when the scheme and the command do not fit: a salt that is asked for and not used, or the
    ///   other way round, would let nobody in.
    package init(
        scheme: Scheme,
        asksForSalt: Bool,
        hostKey: [UInt8]
    ) throws(ConfigurationMistake) {
        try scheme.check(asksForSalt: asksForSalt)
        self.scheme = scheme
        self.hostKey = hostKey
    }

    /// Makes of Redis' reply what may be kept.
    package func row(from reply: CredentialReply, key: LookupKey) -> CredentialRow {
        let secret: CredentialRow.Secret =
            switch (reply.secret, self.scheme) {
            case (nil, _): .none
            case (.some(let password), .plain):
                .passwordCode(password.withUnsafeBytes { self.passwordCode($0, key: key) })
            case (.some(let hash), .sha256), (.some(let hash), .saltedSHA256), (.some(let hash), .sha256Salted):
                .hash(hash)
            }
        return CredentialRow(secret: secret, salt: reply.salt ?? [], isSuperuser: reply.isSuperuser)
    }

    /// Whether the password is the row's, in a time that does not depend on where they differ.
    package func isPassword(_ password: Secret, of row: CredentialRow, key: LookupKey) -> Bool {
        switch (row.secret, self.scheme) {
        case (.none, _):
            return false
        case (.passwordCode(let stored), .plain):
            let given = password.withBytes { self.passwordCode($0, key: key) }
            return constantTimeEquals(given, stored)
        case (.hash(let stored), .sha256):
            return self.isHash(stored, of: password, before: [], after: [])
        case (.hash(let stored), .saltedSHA256):
            return self.isHash(stored, of: password, before: row.salt, after: [])
        case (.hash(let stored), .sha256Salted):
            return self.isHash(stored, of: password, before: [], after: row.salt)
        case (.passwordCode, .sha256), (.passwordCode, .saltedSHA256), (.passwordCode, .sha256Salted), (.hash, .plain):
            // A row of another scheme; the source tag of the cache keeps them apart.
            return false
        }
    }

    /// Names a row's credentials without telling them: changes when the stored hash or the salt does.
    package func credentialTag(of row: CredentialRow, key: LookupKey) -> [UInt8] {
        var input = Array("credential tag".utf8)
        Self.append(key.redisKey, to: &input)
        switch row.secret {
        case .none: input.append(0)
        case .hash(let hash):
            input.append(1)
            Self.append(hash, to: &input)
        case .passwordCode(let code):
            input.append(2)
            Self.append(code, to: &input)
        }
        Self.append(row.salt, to: &input)
        return Array(HMAC.sha256(key: self.hostKey, message: input).prefix(16))
    }

    /// The key goes into it, so that devices with the same password do not show it by the same code.
    private func passwordCode(_ password: UnsafeRawBufferPointer, key: LookupKey) -> [UInt8] {
        var input = Array("password".utf8)
        Self.append(key.redisKey, to: &input)
        Self.append(key.variant, to: &input)
        input += password
        defer { wipe(&input) }
        return HMAC.sha256(key: self.hostKey, message: input)
    }

    private func isHash(_ stored: [UInt8], of password: Secret, before: [UInt8], after: [UInt8]) -> Bool {
        let digest = password.withBytes { password in
            before.withUnsafeBytes { before in
                after.withUnsafeBytes { after in
                    before.isEmpty
                        ? Digest.hash(.sha256, password, after) : Digest.hash(.sha256, before, password)
                }
            }
        }
        // Two spellings of a digit are one digit.
        guard let stored = Hex.decode(stored) else { return false }
        return constantTimeEquals(digest, stored)
    }

    private static func append(_ field: [UInt8], to input: inout [UInt8]) {
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: field.count).littleEndian) { input += $0 }
        input += field
    }
}
