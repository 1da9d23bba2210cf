/// How stored passwords were made: what `authentication.password_hash` says.
///
/// The text form is EMQX 4's grammar (`salt,sha256`, `pbkdf2,sha256,1000,20`), where the order of the words is the order in
/// which salt and password are hashed. The mapping form is EMQX 5's (`{name: sha256, salt_position: suffix}`).
public struct PasswordHash: Equatable, Sendable, CustomStringConvertible {
    public enum Digest: String, CaseIterable, Sendable {
        case md5
        case sha
        case sha256
        case sha512
    }

    /// The pseudo-random function of PBKDF2.
    public enum MAC: String, CaseIterable, Sendable {
        case md4
        case md5
        case ripemd160
        case sha
        case sha224
        case sha256
        case sha384
        case sha512

        /// Bytes of its digest: the length of the derived key where none is given.
        public var byteCount: Int {
            switch self {
            case .md4, .md5: 16
            case .ripemd160, .sha: 20
            case .sha224: 28
            case .sha256: 32
            case .sha384: 48
            case .sha512: 64
            }
        }
    }

    public enum Algorithm: Equatable, Sendable {
        /// No password is looked at: that the row is there lets the device in.
        case none
        case plain
        case digest(Digest)
        /// `usesSaltField`: the salt is a field of the row (EMQX 4), not the beginning of the hash.
        case bcrypt(usesSaltField: Bool)
        case pbkdf2(MAC, iterations: Int, keyBytes: Int)
    }

    public enum Salt: Equatable, Sendable {
        case none
        /// One may be asked for, and is not used: EMQX 5's `salt_position: disable`, and its bcrypt.
        case ignored
        case prefix
        case suffix
    }

    public var algorithm: Algorithm
    public var salt: Salt

    public init(_ algorithm: Algorithm, salt: Salt = .none) {
        self.algorithm = algorithm
        self.salt = salt
    }

    public static let none = PasswordHash(.none, salt: .ignored)
    public static let plain = PasswordHash(.plain)
    public static let sha256 = PasswordHash(.digest(.sha256))
    public static let saltedSHA256 = PasswordHash(.digest(.sha256), salt: .prefix)
    public static let sha256Salted = PasswordHash(.digest(.sha256), salt: .suffix)

    public static let iterationsMax = 10_000_000
    public static let keyBytesMax = 1024

    /// Too slow for the thread that serves all connections.
    public var isSlow: Bool {
        switch self.algorithm {
        case .bcrypt, .pbkdf2: true
        case .none, .plain, .digest: false
        }
    }

    /// A password is needed to come in.
    public var needsPassword: Bool { self.algorithm != .none }

    public var needsSalt: Bool {
        switch (self.algorithm, self.salt) {
        case (.pbkdf2, _), (.bcrypt(usesSaltField: true), _), (_, .prefix), (_, .suffix): true
        case (_, .none), (_, .ignored): false
        }
    }

    /// The text form, such as `salt,sha256`.
    public var description: String {
        let name: String =
            switch self.algorithm {
            case .none: "none"
            case .plain: "plain"
            case .digest(let digest): digest.rawValue
            case .bcrypt(let usesSaltField): usesSaltField ? "salt,bcrypt" : "bcrypt"
            case .pbkdf2(let mac, let iterations, let keyBytes): "pbkdf2,\(mac.rawValue),\(iterations),\(keyBytes)"
            }
        switch (self.algorithm, self.salt) {
        case (.plain, .prefix), (.digest, .prefix): return "salt,\(name)"
        case (.plain, .suffix), (.digest, .suffix): return "\(name),salt"
        default: return name
        }
    }
}

extension PasswordHash {
    /// What the text form may be, for error messages.
    public static let grammar =
        "none, plain, md5, sha, sha256, sha512, bcrypt, one of them with salt in front or behind (salt,sha256 or sha256,salt), "
        + "or pbkdf2,sha256,1000,32"

    /// Reads EMQX 4's form.
    /// - Throws: `ConfigurationMistake` for anything else; EMQX 4 takes what it does not understand as `plain`.
    public init(text: String) throws(ConfigurationMistake) {
        let words = text.split(separator: ",", omittingEmptySubsequences: false).map { Self.trimmed($0) }
        if words.first == "pbkdf2" {
            self = try Self.pbkdf2(words, text)
            return
        }
        switch (words.count, words.first, words.last) {
        case (1, .some(let name), _):
            guard let algorithm = Self.algorithm(name) else { throw Self.unknown(text) }
            self.init(algorithm, salt: algorithm == Algorithm.none ? .ignored : .none)
        case (2, "salt", .some(let name)), (2, .some(let name), "salt"):
            guard let algorithm = Self.algorithm(name), algorithm != Algorithm.none else { throw Self.unknown(text) }
            if algorithm == .bcrypt(usesSaltField: false) {
                self.init(.bcrypt(usesSaltField: true), salt: .prefix)
            } else {
                self.init(algorithm, salt: words[0] == "salt" ? .prefix : .suffix)
            }
        case (3..., _, _):
            throw Self.mistake(
                "\"\(text)\" has \(words.count) parts (EMQX 4 silently takes that as plain); write \(Self.grammar)"
            )
        default:
            throw Self.unknown(text)
        }
    }

    private static func pbkdf2(_ words: [String], _ text: String) throws(ConfigurationMistake) -> PasswordHash {
        guard words.count == 4, let mac = MAC(rawValue: words[1]), let iterations = NumberText.parse(words[2]),
            let keyBytes = NumberText.parse(words[3]), (1...UInt64(Self.iterationsMax)).contains(iterations),
            (1...UInt64(Self.keyBytesMax)).contains(keyBytes)
        else {
            throw Self.mistake(
                "\"\(text)\" is not pbkdf2,MAC,ITERATIONS,BYTES, such as pbkdf2,sha256,1000,20; "
                    + "MAC is one of \(MAC.allCases.map(\.rawValue).joined(separator: ", "))"
            )
        }
        return PasswordHash(.pbkdf2(mac, iterations: Int(iterations), keyBytes: Int(keyBytes)), salt: .prefix)
    }

    public static func algorithm(_ name: String) -> Algorithm? {
        switch name {
        case "none": Algorithm.none
        case "plain": .plain
        case "bcrypt": .bcrypt(usesSaltField: false)
        default: Digest(rawValue: name).map { .digest($0) }
        }
    }

    private static func trimmed(_ word: Substring) -> String {
        var bytes = Array(word.utf8)[...]
        while bytes.first == 0x20 { bytes.removeFirst() }
        while bytes.last == 0x20 { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func unknown(_ text: String) -> ConfigurationMistake {
        Self.mistake("\"\(ConfigurationText.shown(text))\" is no way to store passwords; there are \(Self.grammar)")
    }

    private static func mistake(_ reason: String) -> ConfigurationMistake {
        ConfigurationMistake(subject: "authentication.password_hash", reason: reason)
    }

    /// Whether it fits the command: a salt that is asked for and not used, or the other way round, would let nobody in.
    public func check(asksForSalt: Bool) throws(ConfigurationMistake) {
        if self.needsSalt, !asksForSalt {
            throw Self.mistake(
                "is \"\(self)\", but authentication.command asks for no salt: "
                    + "add the field that holds it, such as HMGET key password_hash salt"
            )
        }
        if self.salt == .none, asksForSalt {
            let advice: String =
                switch self.algorithm {
                case .bcrypt:
                    "bcrypt hashes hold their salt: ask for none, or write \"salt,bcrypt\" if the field holds it"
                default: "write \"salt,\(self)\" (salt in front of the password) or \"\(self),salt\" (behind it)"
                }
            throw Self.mistake(
                "is \"\(self)\", which uses no salt, but authentication.command asks for one: \(advice)"
            )
        }
    }
}
