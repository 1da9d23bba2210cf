import AuthWorker
import Common
import TestSupport
import Testing

/// Stored forms made by Python's hashlib, openssl's kdf command and crypt(3); the bcrypt vector of `U*U` is crypt_blowfish's own.
@Suite struct HashVectorTests {
    struct Vector: Sendable {
        var scheme: String
        var stored: String
        var salt: String = ""
        var password = "secret"
        /// EMQX compares digests in either case, plain passwords and bcrypt byte by byte.
        var ignoresCase = true
    }

    static let bcrypt = "abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"

    static let vectors: [Vector] = [
        Vector(scheme: "plain", stored: "secret", ignoresCase: false),
        Vector(scheme: "salt,plain", stored: "saltsecret", salt: "salt", ignoresCase: false),
        Vector(scheme: "plain,salt", stored: "secretsalt", salt: "salt", ignoresCase: false),
        Vector(scheme: "md5", stored: "5ebe2294ecd0e0f08eab7690d2a6ee69"),
        Vector(scheme: "salt,md5", stored: "d42a0f742ffc1be4e1cc0845c2429c97", salt: "salt"),
        Vector(scheme: "md5,salt", stored: "99cd2e5a95d555ee7be3b038a4a84625", salt: "salt"),
        Vector(scheme: "sha", stored: "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4"),
        Vector(scheme: "salt,sha", stored: "da00ec2e6ff9ed4d342b24a16e262c82f3c8b10b", salt: "salt"),
        Vector(scheme: "sha,salt", stored: "8152bc582f58c854f580cb101d3182813dec4afe", salt: "salt"),
        Vector(scheme: "sha256", stored: "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"),
        Vector(
            scheme: "salt,sha256",
            stored: "bede90386d450cea8b77b822f8887065e4e5abf132c2f9dccfcc7fbd4cba5e35",
            salt: "salt"
        ),
        Vector(
            scheme: "sha256,salt",
            stored: "f84fa2149dbb62ed4e0cf1f550d2949b33a6513d3a7707e08502511c79ccb0ee",
            salt: "salt"
        ),
        Vector(
            scheme: "sha512",
            stored: "bd2b1aaf7ef4f09be9f52ce2d8d599674d81aa9d6a4421696dc4d93dd0619d68"
                + "2ce56b4d64a9ef097761ced99e0f67265b5f76085e5b0ee7ca4696b2ad6fe2b2"
        ),
        Vector(
            scheme: "salt,sha512",
            stored: "9901847ff8c76bd5fb473b7bd2e4f4ddd110332a52a888fd69deb276613885dd"
                + "f382e5cf1210ed0decdb8010ae3994331a9e0639c3ca7e9e8b110dd50978ce76",
            salt: "salt"
        ),
        Vector(
            scheme: "sha512,salt",
            stored: "138f75cab47d01d0a813badb38f612dc46604ae669544eb9003f71928d3cb3a7"
                + "e5a0d7ac63f6697bdccc56f2e2c784b616241227df5122436f847a2634ef6e2f",
            salt: "salt"
        ),
        Vector(scheme: "bcrypt", stored: "$2b$05$" + Self.bcrypt, ignoresCase: false),
        Vector(scheme: "bcrypt", stored: "$2y$05$" + Self.bcrypt, ignoresCase: false),
        Vector(scheme: "bcrypt", stored: "$2a$05$" + Self.bcrypt, ignoresCase: false),
        Vector(
            scheme: "bcrypt",
            stored: "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            password: "U*U",
            ignoresCase: false
        ),
        Vector(
            scheme: "salt,bcrypt",
            stored: "$2b$05$" + Self.bcrypt,
            salt: "$2b$05$abcdefghijklmnopqrstuu",
            ignoresCase: false
        ),
        Vector(
            scheme: "bcrypt,salt",
            stored: "$2b$05$" + Self.bcrypt,
            salt: "$2b$05$abcdefghijklmnopqrstuu",
            ignoresCase: false
        ),
        Vector(scheme: "pbkdf2,sha256,1000,20", stored: "a8df899f3c4f204d967e0ad63c092987c10055eb", salt: "salt"),
        // RFC 6070.
        Vector(
            scheme: "pbkdf2,sha,2,20",
            stored: "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957",
            salt: "salt",
            password: "password"
        ),
        Vector(
            scheme: "pbkdf2,sha512,4096,64",
            stored: "01ca241fa5d243c54d014ccbbc7374a1dcc205dff2a67ed7d3c5fdaf831911da"
                + "808760d85a0c61310737b19e410766903b202388ebbcc737f59e0995648d04f0",
            salt: "salt"
        ),
        // In OpenSSL's legacy provider alone: each password was wrong.
        Vector(scheme: "pbkdf2,md4,10,16", stored: "02475c89aa9363dad254f709c7fc98af", salt: "sa", password: "pw"),
        Vector(scheme: "pbkdf2,md5,100,16", stored: "5c581b4e05127c2f30076d1a10efab91", salt: "salt"),
        Vector(scheme: "pbkdf2,ripemd160,100,16", stored: "30f89fcbfa8f5b1ad16d4061b5e09134", salt: "salt"),
        Vector(scheme: "pbkdf2,sha224,100,16", stored: "c0072417446088f44648b1c6a7ce60ca", salt: "salt"),
        Vector(scheme: "pbkdf2,sha384,100,16", stored: "e3fd2702a4db5f422f8ecbb190b8fd45", salt: "salt"),
    ]

    private func accepts(_ vector: Vector, stored: String? = nil, salt: String? = nil, password: String) throws -> Bool
    {
        let checker = PasswordChecker(scheme: try PasswordHash(text: vector.scheme), hostKey: [7])
        let key = LookupKey(redisKey: [1])
        let reply = CredentialReply(
            secret: Array((stored ?? vector.stored).utf8),
            salt: Array((salt ?? vector.salt).utf8)
        )
        return checker.isPassword(Secret(Array(password.utf8)), of: checker.row(from: reply, key: key), key: key)
    }

    @Test(arguments: Self.vectors)
    func storedPasswordsAreUnderstood(_ vector: Vector) throws {
        #expect(try self.accepts(vector, password: vector.password))
        #expect(try !self.accepts(vector, password: vector.password + "x"))
        #expect(try !self.accepts(vector, password: ""))
        let upper = vector.stored.uppercased()
        #expect(try self.accepts(vector, stored: upper, password: vector.password) == vector.ignoresCase)
        #expect(try !self.accepts(vector, stored: String(vector.stored.dropLast(2)), password: vector.password))
        if !vector.salt.isEmpty {
            #expect(try !self.accepts(vector, salt: "another", password: vector.password))
        }
    }

    @Test(arguments: [
        "", "$2b$", "$2b$99$abcdefghijklmnopqrstuu", "$2b$31$" + HashVectorTests.bcrypt, "*0", "$1$salt$hash",
    ])
    func whatIsNoBcryptHashFitsNothingAndCostsNothing(_ stored: String) throws {
        #expect(try !self.accepts(Vector(scheme: "bcrypt", stored: stored), password: "secret"))
    }

    @Test(arguments: [
        "", "sha1", "salt", "salt,salt", "salt,sha256,salt", "sha256,salt,x", "none,salt", "pbkdf2", "pbkdf2,sha256",
        "pbkdf2,sha256,0,20", "pbkdf2,sha256,1000,0", "pbkdf2,sha256,1000,99999", "pbkdf2,crc,1000,20",
        "pbkdf2,sha256,99999999999999999999,20", "PLAIN", "bcrypt,10",
    ])
    func whatEMQX4WouldTakeForPlainIsAMistake(_ text: String) {
        #expect(throws: ConfigurationMistake.self) { try PasswordHash(text: text) }
    }

    @Test func descriptionsReadBack() throws {
        for vector in Self.vectors where vector.scheme != "bcrypt,salt" {
            #expect(try PasswordHash(text: vector.scheme).description == vector.scheme)
        }
    }
}
