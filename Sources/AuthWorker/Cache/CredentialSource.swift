import Common
import TLS

/// Names what rows were made from, so that rows of another command, password scheme or database are not taken for current ones
/// after a change of the configuration.
package enum CredentialSource {
    package static func tag(
        command: String,
        scheme: Configuration.Authentication.PasswordHash,
        database: Int,
        hostKey: [UInt8]
    ) -> [UInt8] {
        var input: [UInt8] = []
        for field in [Array(command.utf8), Array(scheme.rawValue.utf8), Array("\(database)".utf8)] {
            withUnsafeBytes(of: UInt32(truncatingIfNeeded: field.count).littleEndian) { input += $0 }
            input += field
        }
        // A new host key makes codes of plain passwords worthless.
        input += Digest.sha256(hostKey)
        return Array(Digest.sha256(input).prefix(16))
    }
}
