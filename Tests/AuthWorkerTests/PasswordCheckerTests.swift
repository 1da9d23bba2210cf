import AuthWorker
import Common
import TLS
import TestSupport
import Testing

@Suite struct PasswordCheckerTests {
    private let key = LookupKey(redisKey: Array("k:alpha".utf8))
    private let hostKey = [UInt8](0..<32)

    private func checker(_ scheme: PasswordChecker.Scheme) -> PasswordChecker {
        PasswordChecker(scheme: scheme, hostKey: self.hostKey)
    }

    private func accepts(
        _ scheme: PasswordChecker.Scheme,
        stored: String?,
        salt: String? = nil,
        password: String
    ) throws -> Bool {
        let checker = self.checker(scheme)
        let reply = CredentialReply(secret: stored.map { Array($0.utf8) }, salt: salt.map { Array($0.utf8) })
        let row = checker.row(from: reply, key: self.key)
        return checker.isPassword(Secret(Array(password.utf8)), of: row, key: self.key)
    }

    // Digests by coreutils' sha256sum.
    private static let ofSecret = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    private static let ofSaltSecret = "bede90386d450cea8b77b822f8887065e4e5abf132c2f9dccfcc7fbd4cba5e35"

    @Test func plain() throws {
        #expect(try self.accepts(.plain, stored: "secret", password: "secret"))
        #expect(try !self.accepts(.plain, stored: "secret", password: "Secret"))
        #expect(try !self.accepts(.plain, stored: "secret", password: "secret "))
        #expect(try !self.accepts(.plain, stored: "secret", password: ""))
        #expect(try !self.accepts(.plain, stored: nil, password: ""))
    }

    @Test func `regression: an empty password in a row lets nobody in`() throws {
        for scheme in [PasswordHash.plain, PasswordHash(.plain, salt: .prefix), PasswordHash(.plain, salt: .suffix)] {
            #expect(try !self.accepts(scheme, stored: "", password: ""), "\(scheme)")
        }
    }

    @Test func sha256() throws {
        #expect(try self.accepts(.sha256, stored: Self.ofSecret, password: "secret"))
        #expect(try self.accepts(.sha256, stored: Self.ofSecret.uppercased(), password: "secret"))
        #expect(try !self.accepts(.sha256, stored: Self.ofSecret, password: "secreT"))
        #expect(try !self.accepts(.sha256, stored: String(Self.ofSecret.dropLast(2)), password: "secret"))
        #expect(try !self.accepts(.sha256, stored: "secret", password: "secret"))
        #expect(try !self.accepts(.sha256, stored: "", password: ""))
        #expect(try !self.accepts(.sha256, stored: nil, password: "secret"))
    }

    @Test func saltInFrontAndBehind() throws {
        #expect(try self.accepts(.saltedSHA256, stored: Self.ofSaltSecret, salt: "salt", password: "secret"))
        #expect(try !self.accepts(.sha256Salted, stored: Self.ofSaltSecret, salt: "salt", password: "secret"))
        // The same bytes cut in another place.
        #expect(try self.accepts(.sha256Salted, stored: Self.ofSaltSecret, salt: "secret", password: "salt"))
        #expect(try !self.accepts(.saltedSHA256, stored: Self.ofSaltSecret, salt: "other", password: "secret"))
        // A row without a salt has an empty one.
        #expect(try self.accepts(.saltedSHA256, stored: Self.ofSecret, password: "secret"))
        #expect(try self.accepts(.sha256Salted, stored: Self.ofSecret, password: "secret"))
    }

    private static let bcrypt = "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"

    struct FaultyRow: Sendable {
        let scheme: String
        let stored: String?
        let salt: String
        /// Nil: none.
        let fault: String?

        init(_ scheme: String, _ stored: String?, salt: String = "", _ fault: String?) {
            self.scheme = scheme
            self.stored = stored
            self.salt = salt
            self.fault = fault
        }
    }

    private static let none = "the row has no password, or an empty one"
    private static let noBcrypt = "the row's value is no bcrypt hash"
    private static let otherForm = "the row's value is a bcrypt hash of another form than $2a$, $2b$ and $2y$"
    private static let tooCostly = "the row's value is a bcrypt hash that costs more than 16"
    private static let cutHash = "the row's value is no whole bcrypt hash: it has 59 bytes, not 60"
    private static let cutSalt = "the row's salt is no whole bcrypt salt: it has 12 bytes, not 29"
    private static let noDigits = "the row's value is not a sha256 hash: it is not hexadecimal"
    private static let oddDigest = "the row's value is not a sha256 hash: it has 63 hexadecimal digits, not 64"
    private static let otherDigest = "the row's value is not a md5 hash: it has 64 hexadecimal digits, not 32"
    private static let longKey =
        "the row's value is not a key that pbkdf2 derives: it has 64 hexadecimal digits, not 40"

    static let faultyRows: [FaultyRow] = [
        FaultyRow("plain", nil, Self.none),
        FaultyRow("plain", "secret", nil),
        FaultyRow("bcrypt", "", Self.none),
        FaultyRow("bcrypt", Self.bcrypt, nil),
        FaultyRow("bcrypt", "clear text", Self.noBcrypt),
        FaultyRow("bcrypt", Self.bcrypt.replacing("2b", with: "2x"), Self.otherForm),
        FaultyRow("bcrypt", String(Self.bcrypt.dropLast()), Self.cutHash),
        FaultyRow("bcrypt", Self.bcrypt.replacing("$05", with: "$17"), Self.tooCostly),
        FaultyRow("bcrypt", Self.bcrypt.replacing("$05", with: "$+5"), Self.noBcrypt),
        FaultyRow("bcrypt", Self.bcrypt.replacing("$05", with: "$03"), Self.noBcrypt),
        FaultyRow("bcrypt", Self.bcrypt.replacing("a", with: "!"), Self.noBcrypt),
        FaultyRow("salt,bcrypt", Self.bcrypt, salt: String(Self.bcrypt.prefix(29)), nil),
        FaultyRow("salt,bcrypt", Self.bcrypt, "the row's salt is no bcrypt hash"),
        FaultyRow("salt,bcrypt", Self.bcrypt, salt: "$2b$05$short", Self.cutSalt),
        FaultyRow("sha256", Self.ofSecret.uppercased(), nil),
        FaultyRow("sha256", "clear text", Self.noDigits),
        FaultyRow("salt,sha256", String(Self.ofSecret.dropLast()), salt: "x", Self.oddDigest),
        FaultyRow("md5", Self.ofSecret, Self.otherDigest),
        FaultyRow("pbkdf2,sha256,10,32", Self.ofSecret, salt: "x", nil),
        FaultyRow("pbkdf2,sha256,10,20", Self.ofSecret, salt: "x", Self.longKey),
    ]

    /// Each was "the password is wrong", and somebody changed passwords on devices. No value is told.
    @Test(arguments: Self.faultyRows)
    func `regression: what is wrong with a row that no password fits`(_ row: FaultyRow) throws {
        let checker = self.checker(try PasswordHash(text: row.scheme))
        let reply = CredentialReply(secret: row.stored.map { Array($0.utf8) }, salt: Array(row.salt.utf8))
        let kept = checker.row(from: reply, key: self.key)
        #expect(checker.fault(of: kept) == row.fault)
        // Whoever is said to have a broken row can have no password that fits.
        guard row.fault != nil else { return }
        for password in ["secret", row.stored ?? "", ""] {
            #expect(!checker.isPassword(Secret(Array(password.utf8)), of: kept, key: self.key))
        }
    }

    @Test func schemeAndCommandMustFit() {
        for scheme in [PasswordHash.plain, .sha256, .saltedSHA256, .sha256Salted] {
            let salted = scheme == .saltedSHA256 || scheme == .sha256Salted
            #expect(throws: ConfigurationMistake.self, "\(scheme)") { try scheme.check(asksForSalt: !salted) }
        }
    }

    @Test func aPlainPasswordIsNotKept() throws {
        let checker = self.checker(.plain)
        let reply = CredentialReply(secret: Array("secret".utf8))
        let row = checker.row(from: reply, key: self.key)
        guard case .passwordCode(let code) = row.secret else {
            Issue.record("kept as \(row.secret)")
            return
        }
        #expect(code.count == 32)
        // Neither another device with the same password nor another host has the same code.
        #expect(checker.row(from: reply, key: LookupKey(redisKey: Array("k:beta".utf8))).secret != row.secret)
        let other = PasswordChecker(scheme: .plain, hostKey: [UInt8](1..<33))
        #expect(other.row(from: reply, key: self.key).secret != row.secret)
        #expect(!other.isPassword(Secret(Array("secret".utf8)), of: row, key: self.key))
    }

    /// The cache of the release before has them: another code would refuse every device that it knows while Redis is away.
    @Test func codesAndTagsAreTheSameInEveryRelease() throws {
        let checker = self.checker(.plain)
        let key = LookupKey(redisKey: Array("k:alpha".utf8), variant: Array("v".utf8))
        let row = checker.row(from: CredentialReply(secret: Array("secret".utf8), salt: nil), key: key)
        var message = Array("password".utf8)
        for field in [key.redisKey, key.variant] { LookupKey.append(field, to: &message) }
        let code = HMAC.sha256(key: self.hostKey, message: message + Array("secret".utf8))
        #expect(row.secret == .passwordCode(code))
        var tagged = Array("credential tag".utf8)
        LookupKey.append(key.redisKey, to: &tagged)
        tagged.append(2)
        for field in [code, []] { LookupKey.append(field, to: &tagged) }
        let tag = HMAC.sha256(key: self.hostKey, message: tagged)
        #expect(checker.credentialTag(of: row, key: key) == Array(tag.prefix(16)))
    }

    @Test func theTagChangesWithTheCredentials() throws {
        let checker = self.checker(.saltedSHA256)
        func tag(_ secret: String, _ salt: String, _ key: LookupKey) -> [UInt8] {
            let reply = CredentialReply(secret: Array(secret.utf8), salt: Array(salt.utf8))
            return checker.credentialTag(of: checker.row(from: reply, key: key), key: key)
        }
        let tag0 = tag("ab", "cd", self.key)
        #expect(tag0 == tag("ab", "cd", self.key))
        #expect(tag0 != tag("abc", "d", self.key))
        #expect(tag0 != tag("ab", "ce", self.key))
        #expect(tag0 != tag("ab", "cd", LookupKey(redisKey: [1])))
    }
}
