import Common
import TLS

/// How stored passwords were made, and the host's key for those that were not hashed at all.
package struct PasswordChecker: Sendable {
    package typealias Scheme = PasswordHash

    package let scheme: Scheme
    private let hostKey: HMACKey
    /// A row without a password lets its device in whatever it sends; otherwise nobody can log in with such a row.
    package let acceptsRowsWithoutPassword: Bool

    package init(scheme: Scheme, hostKey: [UInt8], acceptsRowsWithoutPassword: Bool = false) {
        self.acceptsRowsWithoutPassword = acceptsRowsWithoutPassword
        self.scheme = scheme
        self.hostKey = HMACKey(hostKey)
    }

    /// Makes of Redis' reply what may be kept.
    package func row(from reply: CredentialReply, key: LookupKey) -> CredentialRow {
        let secret: CredentialRow.Secret =
            switch (reply.secret, self.scheme.algorithm) {
            // An empty one is none: nobody gets in by sending nothing.
            case (nil, _), (.some([]), _), (_, .none): .none
            case (.some(let password), .plain):
                .passwordCode(password.withUnsafeBytes { self.passwordCode($0, key: key) })
            case (.some(let hash), .digest), (.some(let hash), .bcrypt), (.some(let hash), .pbkdf2):
                .hash(hash)
            }
        return CredentialRow(
            secret: secret,
            salt: self.scheme.needsSalt ? reply.salt ?? [] : [],
            isSuperuser: reply.isSuperuser,
            access: reply.access
        )
    }

    /// What comparing a password with a row gave.
    package enum Answer: Equatable, Sendable {
        case fits
        case doesNotFit
        /// To be found out on another thread.
        case slow(PasswordCheck)
    }

    /// Whether the password is the row's, in a time that does not depend on where they differ.
    package func compare(_ password: Secret, with row: CredentialRow, key: LookupKey) -> Answer {
        switch (row.secret, self.scheme.algorithm) {
        case (_, .none):
            return .fits
        case (.none, _):
            return .doesNotFit
        case (.passwordCode(let stored), .plain):
            let given = self.plainCode(password, salt: row.salt, key: key)
            return constantTimeEquals(given, stored) ? .fits : .doesNotFit
        case (.hash(let stored), .digest(let digest)):
            return self.isHash(stored, of: password, digest, salt: row.salt) ? .fits : .doesNotFit
        case (.hash(let stored), .bcrypt), (.hash(let stored), .pbkdf2):
            return .slow(PasswordCheck(scheme: self.scheme, password: password, stored: stored, salt: row.salt))
        case (.passwordCode, .digest), (.passwordCode, .bcrypt), (.passwordCode, .pbkdf2), (.hash, .plain):
            // A row of another scheme; the source tag of the cache keeps them apart.
            return .doesNotFit
        }
    }

    /// The same without another thread, for tools and tests.
    package func isPassword(_ password: Secret, of row: CredentialRow, key: LookupKey) -> Bool {
        switch self.compare(password, with: row, key: key) {
        case .fits: true
        case .doesNotFit: false
        case .slow(let check): check.perform()
        }
    }

    /// Names a password that fitted a row, so that the next check of the same one need not be slow. Bound to the row: another
    /// hash or salt makes it worthless.
    package func acceptanceCode(_ password: Secret, of row: CredentialRow, key: LookupKey) -> [UInt8] {
        var input = Array("accepted".utf8)
        LookupKey.append(self.credentialTag(of: row, key: key), to: &input)
        input += password.withBytes { self.passwordCode($0, key: key) }
        return self.hostKey.code(of: input)
    }

    /// Names a row's credentials without telling them: changes when the stored hash or the salt does.
    package func credentialTag(of row: CredentialRow, key: LookupKey) -> [UInt8] {
        var input = self.hostKey.begin()
        input.add("credential tag")
        Self.add(key.redisKey, to: &input)
        switch row.secret {
        case .none: input.add([0])
        case .hash(let hash):
            input.add([1])
            Self.add(hash, to: &input)
        case .passwordCode(let code):
            input.add([2])
            Self.add(code, to: &input)
        }
        Self.add(row.salt, to: &input)
        return input.code(16)
    }

    /// The key goes into it, so that devices with the same password do not show it by the same code.
    private func passwordCode(_ password: UnsafeRawBufferPointer, key: LookupKey) -> [UInt8] {
        var input = self.hostKey.begin()
        input.add("password")
        Self.add(key.redisKey, to: &input)
        Self.add(key.variant, to: &input)
        input.add(password)
        return input.code()
    }

    private func plainCode(_ password: Secret, salt: [UInt8], key: LookupKey) -> [UInt8] {
        password.withBytes { password in
            switch self.scheme.salt {
            case .none, .ignored:
                return self.passwordCode(password, key: key)
            case .prefix, .suffix:
                var whole = self.scheme.salt == .prefix ? salt + password : Array(password) + salt
                defer { wipe(&whole) }
                return whole.withUnsafeBytes { self.passwordCode($0, key: key) }
            }
        }
    }

    static func algorithm(of digest: PasswordHash.Digest) -> Digest.Algorithm {
        switch digest {
        case .md5: .md5
        case .sha: .sha1
        case .sha256: .sha256
        case .sha512: .sha512
        }
    }

    private func isHash(
        _ stored: [UInt8],
        of password: Secret,
        _ digest: PasswordHash.Digest,
        salt: [UInt8]
    ) -> Bool {
        let algorithm = Self.algorithm(of: digest)
        guard algorithm.isAvailable else { return false }
        let hash = password.withBytes { password in
            salt.withUnsafeBytes { salt in
                switch self.scheme.salt {
                case .prefix: Digest.hash(algorithm, salt, password)
                case .suffix: Digest.hash(algorithm, password, salt)
                case .none, .ignored: Digest.hash(algorithm, password, UnsafeRawBufferPointer(start: nil, count: 0))
                }
            }
        }
        // Two spellings of a digit are one digit.
        guard let stored = Hex.decode(stored) else { return false }
        return constantTimeEquals(hash, stored)
    }

    /// As `LookupKey.append`.
    private static func add(_ field: [UInt8], to input: inout HMACKey.Message) {
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: field.count).littleEndian) { input.add($0) }
        input.add(field)
    }
}
