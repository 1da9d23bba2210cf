import Common

extension AuthQuery {
    /// What a listener asks about the device with this number.
    package static func sample(_ number: Int) -> AuthQuery {
        let name = Array("dev-\(number)".utf8)
        return AuthQuery(
            listenerName: Array("devices".utf8),
            rulesName: Array("default".utf8),
            peerAddress: Array("192.0.2.1:40000".utf8),
            version: .v5_0,
            identity: CertificateIdentity(
                commonName: name,
                subject: Array("CN=".utf8) + name,
                issuer: Array("CN=Fleet CA".utf8),
                serialNumber: Array("0A1B".utf8),
                fingerprint: [UInt8](repeating: 0xAB, count: 32),
                notAfter: 4_000_000_000
            ),
            clientIdentifier: name,
            userName: nil,
            password: Array("pw".utf8)
        )
    }
}
