import CLinux
import Common
import Glibc
import TLS

/// A comparison too slow for the loop: it holds all that it needs, and may be made on any thread.
package struct PasswordCheck: Equatable, Sendable {
    package let scheme: PasswordHash
    package let password: Secret
    /// As Redis holds it.
    package let stored: [UInt8]
    package let salt: [UInt8]

    package init(scheme: PasswordHash, password: Secret, stored: [UInt8], salt: [UInt8]) {
        self.scheme = scheme
        self.password = password
        self.stored = stored
        self.salt = salt
    }

    package static func == (left: PasswordCheck, right: PasswordCheck) -> Bool {
        left.scheme == right.scheme && left.password === right.password && left.stored == right.stored
            && left.salt == right.salt
    }

    /// Takes milliseconds, and whatever a stored bcrypt hash asks for.
    package func perform() -> Bool {
        switch self.scheme.algorithm {
        case .none, .plain, .digest:
            return false
        case .bcrypt(let usesSaltField):
            return self.fitsBcrypt(setting: usesSaltField ? self.salt : self.stored)
        case .pbkdf2(let mac, let iterations, let keyBytes):
            let derived = self.password.withBytes {
                KeyDerivation.pbkdf2(
                    digest: Self.digestName(mac),
                    password: $0,
                    salt: self.salt,
                    iterations: iterations,
                    byteCount: keyBytes
                )
            }
            guard let derived, let stored = Hex.decode(self.stored) else { return false }
            return constantTimeEquals(derived, stored)
        }
    }

    /// Two to the power of this many rounds at most: a row must not keep a thread for minutes.
    static let costMax = 16
    /// bcrypt knows no lower one.
    static let costMin = 4
    /// Of a bcrypt hash, what it was made with.
    static let bcryptSettingBytes = 29

    /// `$2b$12$` and 22 characters of salt, of which `setting` may be longer.
    private func fitsBcrypt(setting: [UInt8]) -> Bool {
        guard setting.count >= Self.bcryptSettingBytes, setting[0] == UInt8(ascii: "$"),
            setting[1] == UInt8(ascii: "2"),
            "aby".utf8.contains(setting[2]), setting[3] == UInt8(ascii: "$"), setting[6] == UInt8(ascii: "$"),
            let cost = Int(String(decoding: setting[4..<6], as: UTF8.self)), cost <= Self.costMax
        else { return false }
        // crypt(3) takes text that ends with NUL: a password with one in it would count up to there only.
        guard !self.password.withBytes({ $0.contains(0) }) else { return false }
        let hash = self.password.withBytes { password in
            withUnsafeTemporaryAllocation(byteCount: password.count + 1, alignment: 1) { phrase in
                phrase.copyMemory(from: password)
                phrase[password.count] = 0
                defer { phrase.initializeMemory(as: UInt8.self, repeating: 0) }
                return Self.crypt(phrase, setting: Array(setting.prefix(Self.bcryptSettingBytes)))
            }
        }
        return hash.map { constantTimeEquals($0, self.stored) } ?? false
    }

    private static func crypt(_ phrase: UnsafeMutableRawBufferPointer, setting: [UInt8]) -> [UInt8]? {
        let data = UnsafeMutablePointer<crypt_data>.allocate(capacity: 1)
        UnsafeMutableRawPointer(data).initializeMemory(
            as: UInt8.self,
            repeating: 0,
            count: MemoryLayout<crypt_data>.size
        )
        defer {
            UnsafeMutableRawPointer(data).initializeMemory(
                as: UInt8.self,
                repeating: 0,
                count: MemoryLayout<crypt_data>.size
            )
            data.deallocate()
        }
        let setting = setting.map { CChar(bitPattern: $0) } + [0]
        guard let start = phrase.baseAddress?.assumingMemoryBound(to: CChar.self),
            let result = crypt_r(start, setting, data)
        else { return nil }
        let hash = Array(UnsafeBufferPointer(start: result, count: strlen(result)).map { UInt8(bitPattern: $0) })
        // libxcrypt's mark of failure.
        return hash.first == UInt8(ascii: "*") ? nil : hash
    }

    /// - Throws: where OpenSSL on this machine cannot check such passwords: nobody would get in.
    static func checkAvailability(of scheme: PasswordHash) throws(ConfigurationMistake) {
        guard case .pbkdf2(let mac, _, _) = scheme.algorithm, !KeyDerivation.isAvailable(digest: Self.digestName(mac))
        else { return }
        throw ConfigurationMistake(
            subject: "authentication.password_hash",
            reason: "is \"\(scheme)\", and \(Self.textOfMissing(mac))"
        )
    }

    private static func textOfMissing(_ mac: PasswordHash.MAC) -> String {
        MissingAlgorithm.text(Self.digestName(mac), isInLegacyProvider: mac == .md4 || mac == .ripemd160)
    }

    private static func digestName(_ mac: PasswordHash.MAC) -> String {
        switch mac {
        case .md4: "MD4"
        case .md5: "MD5"
        case .ripemd160: "RIPEMD160"
        case .sha: "SHA1"
        case .sha224: "SHA224"
        case .sha256: "SHA256"
        case .sha384: "SHA384"
        case .sha512: "SHA512"
        }
    }
}
