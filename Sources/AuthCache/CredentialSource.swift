import Common
import TLS

/// Names what rows were made from, so that rows of another command, password scheme or database are not taken for current ones
/// after a change of the configuration.
package enum CredentialSource {
    /// What stands in `rows.source`.
    package static func tag(of source: Configuration.Authentication.Source, hostKey: [UInt8]) -> [UInt8] {
        let commands = [source.command, source.superCommand ?? "", source.accessCommand ?? ""]
        return Self.tag(
            commands: source.name.isEmpty ? commands : commands + [source.name],
            scheme: source.passwordHash,
            database: source.redis.url.database,
            hostKey: hostKey
        )
    }

    private static func tag(
        commands: [String],
        scheme: PasswordHash,
        database: Int,
        hostKey: [UInt8]
    ) -> [UInt8] {
        var input: [UInt8] = []
        for field in commands + [scheme.description, "\(database)"] {
            LookupKey.append(Array(field.utf8), to: &input)
        }
        // A new host key makes codes of plain passwords worthless.
        input += Digest.sha256(hostKey)
        return Array(Digest.sha256(input).prefix(16))
    }
}
