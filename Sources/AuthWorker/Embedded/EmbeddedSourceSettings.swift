import Common
import Devices

/// One embedded source of the configuration, its template taken apart.
package struct EmbeddedSourceSettings {
    package let source: Configuration.Authentication.Source
    let command: CommandSet
    private let ruleSets: [[UInt8]: RuleTemplate]
    private let accessRows: Configuration.Authorization.AccessRows

    package init(
        _ source: Configuration.Authentication.Source,
        ruleSets: [[UInt8]: RuleTemplate],
        accessRows: Configuration.Authorization.AccessRows
    ) throws {
        self.source = source
        self.command = CommandSet(row: try CommandTemplate(source.keyCommand, purpose: .existence))
        self.ruleSets = ruleSets
        self.accessRows = accessRows
    }

    /// - Parameter hostKey: of all workers of the host: tags of credentials must be the same in all of them.
    func makeAuthenticator(hostKey: [UInt8]) -> Authenticator {
        Authenticator(
            settings: Authenticator.Settings(
                // The file is as near as a cache would be: nothing in memory counts as fresh, but passwords that fitted are
                // recognised.
                positiveTTLNanoseconds: 0,
                staleMaxNanoseconds: 0,
                negativeTTLNanoseconds: 0,
                negativeEntries: 1,
                readsCache: false,
                accessRows: self.accessRows,
                guardsDenials: false
            ),
            command: self.command,
            checker: PasswordChecker(
                scheme: DevicePassword.scheme,
                hostKey: hostKey,
                acceptsRowsWithoutPassword: true
            ),
            ruleSets: self.ruleSets
        )
    }
}
