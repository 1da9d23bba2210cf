import Common
import TLS

extension PasswordChecker {
    /// What is wrong with what the row has for a password, if no password can fit it: for whoever has to put the row right. Tells no value.
    package func fault(of row: CredentialRow) -> String? {
        switch (row.secret, self.scheme.algorithm) {
        case (_, .none): nil
        case (.none, _): "the row has no password, or an empty one"
        case (.hash(let stored), .digest(let digest)):
            Self.fault(
                ofHexadecimal: stored,
                "a \(digest.rawValue) hash",
                byteCount: Self.algorithm(of: digest).byteCount
            )
        case (.hash(let stored), .pbkdf2(_, _, let keyBytes)):
            Self.fault(ofHexadecimal: stored, "a key that pbkdf2 derives", byteCount: keyBytes)
        case (.hash(let stored), .bcrypt(usesSaltField: false)):
            Self.fault(ofBcrypt: stored, "the row's value", byteCount: 60)
        case (.hash(let stored), .bcrypt(usesSaltField: true)):
            Self.fault(ofBcrypt: stored, "the row's value", byteCount: 60)
                ?? Self.fault(ofBcrypt: row.salt, "the row's salt", byteCount: nil)
        case (.passwordCode, _), (.hash, .plain): nil
        }
    }

    private static func fault(ofHexadecimal stored: [UInt8], _ what: String, byteCount: Int) -> String? {
        guard stored.allSatisfy(Hex.isDigit) else {
            return "the row's value is not \(what): it is not hexadecimal"
        }
        guard stored.count == 2 * byteCount else {
            return "the row's value is not \(what): it has \(stored.count) hexadecimal digits, not \(2 * byteCount)"
        }
        return nil
    }

    /// - Parameter byteCount: of a whole hash; nil: the setting in front is enough.
    private static func fault(ofBcrypt stored: [UInt8], _ what: String, byteCount: Int?) -> String? {
        let isHash = stored.count > 3 && stored.starts(with: "$2".utf8) && stored[3] == UInt8(ascii: "$")
        guard isHash else { return "\(what) is no bcrypt hash" }
        guard "aby".utf8.contains(stored[2]) else {
            return "\(what) is a bcrypt hash of another form than $2a$, $2b$ and $2y$"
        }
        if let byteCount, stored.count != byteCount {
            return "\(what) is no whole bcrypt hash: it has \(stored.count) bytes, not \(byteCount)"
        }
        guard stored.count >= PasswordCheck.bcryptSettingBytes else {
            return
                "\(what) is no whole bcrypt salt: it has \(stored.count) bytes, not \(PasswordCheck.bcryptSettingBytes)"
        }
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        guard digits.contains(stored[4]), digits.contains(stored[5]), stored[6] == UInt8(ascii: "$"),
            stored[7...].allSatisfy(Self.isBcryptDigit), let cost = Int(String(decoding: stored[4..<6], as: UTF8.self)),
            cost >= PasswordCheck.costMin
        else { return "\(what) is no bcrypt hash" }
        guard cost <= PasswordCheck.costMax else {
            return "\(what) is a bcrypt hash that costs more than \(PasswordCheck.costMax)"
        }
        return nil
    }

    private static func isBcryptDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "."), UInt8(ascii: "/"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"):
            true
        default: false
        }
    }
}
