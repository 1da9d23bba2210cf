import Common
import TLS

/// The certificate authority, the server's certificate and the device's, made when they are not there.
enum QuickStartCertificates {
    private static let authorityDays = 3650
    private static let certificateDays = 825

    static func make(_ layout: QuickStartLayout) throws(CommandFailure) {
        do {
            let hasAuthority = Folder.exists(layout.caCertificate) && Folder.exists(layout.caKey)
            let hasServer = Folder.exists(layout.serverCertificate) && Folder.exists(layout.serverKey)
            let hasDevice = Folder.exists(layout.deviceCertificate) && Folder.exists(layout.deviceKey)
            if hasAuthority, hasServer, hasDevice { return }
            let authority: CertificateAuthority
            if hasAuthority {
                authority = try CertificateAuthority.load(certificateFile: layout.caCertificate, keyFile: layout.caKey)
            } else {
                authority = try CertificateAuthority.create(
                    commonName: "Martlet quick start",
                    validDays: Self.authorityDays
                )
            }
            // What another authority issued is of no use with a new one.
            if !hasServer || !hasAuthority {
                try authority.issueServer(
                    commonName: "localhost",
                    hosts: ["localhost", "127.0.0.1", "::1"],
                    validDays: Self.certificateDays
                ).write(certificateFile: layout.serverCertificate, keyFile: layout.serverKey)
            }
            if !hasDevice || !hasAuthority {
                try authority.issueClient(commonName: QuickStartLayout.deviceName, validDays: Self.certificateDays)
                    .write(certificateFile: layout.deviceCertificate, keyFile: layout.deviceKey)
            }
            // Last: a start that was interrupted before begins anew.
            if !hasAuthority { try authority.write(certificateFile: layout.caCertificate, keyFile: layout.caKey) }
        } catch {
            throw CommandFailure("certificates of the quick start: \(error)")
        }
    }
}
