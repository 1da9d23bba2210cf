import Common
import TLS

/// How passwords of devices are kept: PBKDF2-HMAC-SHA-256. Devices have random passwords, not ones that people think of.
package enum DevicePassword {
    package static let iterations = 20_000
    package static let keyBytes = 32
    private static let saltBytes = 16

    package static let scheme = PasswordHash(
        .pbkdf2(.sha256, iterations: Self.iterations, keyBytes: Self.keyBytes),
        salt: .prefix
    )

    /// Hash and salt, each in hexadecimal digits; the digits of the salt are what is hashed.
    package static func make(_ password: [UInt8]) -> (secret: [UInt8], salt: [UInt8])? {
        let salt = Hex.encode(SecureRandom.bytes(Self.saltBytes))
        let secret = password.withUnsafeBytes { bytes in
            KeyDerivation.pbkdf2(
                digest: "SHA256",
                password: bytes,
                salt: salt,
                iterations: Self.iterations,
                byteCount: Self.keyBytes
            )
        }
        return secret.map { (Hex.encode($0), salt) }
    }
}
