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
