import Common

/// What Redis holds about one device, as it came.
package struct CredentialReply: Equatable, Sendable {
    /// The stored hash, or the password itself; nil when the row has none.
    package var secret: [UInt8]?
    package var salt: [UInt8]?
    package var isSuperuser: Bool
    /// What it may do, as it came; empty when nobody asked.
    package var access: [AccessRow]

    package init(secret: [UInt8]?, salt: [UInt8]? = nil, isSuperuser: Bool = false, access: [AccessRow] = []) {
        self.secret = secret
        self.salt = salt
        self.isSuperuser = isSuperuser
        self.access = access
    }
}

/// What the caches keep about one device: enough to check a password, and no password.
package struct CredentialRow: Equatable, Sendable {
    package enum Secret: Equatable, Sendable {
        /// The row exists without a password: nobody can log in with one.
        case none
        /// The hash as Redis holds it: hexadecimal, or bcrypt's own form.
        case hash([UInt8])
        /// Redis holds the password in clear; this is its HMAC under the host's key.
        case passwordCode([UInt8])
    }

    package var secret: Secret
    package var salt: [UInt8]
    package var isSuperuser: Bool
    package var access: [AccessRow]

    package init(secret: Secret, salt: [UInt8] = [], isSuperuser: Bool = false, access: [AccessRow] = []) {
        self.secret = secret
        self.salt = salt
        self.isSuperuser = isSuperuser
        self.access = access
    }
}

extension [AccessRow] {
    /// For the cache file: each filter and access after its length.
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        for row in self {
            LookupKey.append(row.filter, to: &bytes)
            LookupKey.append(row.access, to: &bytes)
        }
        return bytes
    }

    /// Nil for what is broken.
    init?(encoded bytes: [UInt8]) {
        self = []
        var rest = bytes[...]
        func field() -> [UInt8]? {
            guard rest.count >= 4 else { return nil }
            let length = rest.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(4)
            guard rest.count >= length else { return nil }
            defer { rest = rest.dropFirst(length) }
            return Array<UInt8>(rest.prefix(length))
        }
        while !rest.isEmpty {
            guard let filter = field(), let access = field() else { return nil }
            self.append(AccessRow(filter: filter, access: access))
        }
    }
}
