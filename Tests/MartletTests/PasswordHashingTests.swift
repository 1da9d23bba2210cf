import Devices
import TLS
import Testing

@testable import Martlet

/// Many passwords are hashed by several threads.
@Suite struct PasswordHashingTests {
    @Test func eachPasswordGetsItsOwnHashInItsPlace() throws {
        let passwords = (0..<20).map { Array("password \($0)".utf8) }
        let made = try #require(PasswordHashing.hash(passwords) { _, _ in })
        #expect(made.count == passwords.count && Set(made.map(\.salt)).count == passwords.count)
        for (password, made) in zip(passwords, made) {
            let again = password.withUnsafeBytes { bytes in
                KeyDerivation.pbkdf2(
                    digest: "SHA256",
                    password: bytes,
                    salt: made.salt,
                    iterations: DevicePassword.iterations,
                    byteCount: DevicePassword.keyBytes
                )
            }
            #expect(again.map { Hex.encode($0) } == made.secret)
        }
        #expect(PasswordHashing.hash([]) { _, _ in }?.isEmpty == true)
    }
}
