import Common

extension TLSServerConfiguration {
    /// What the configuration says of a listener, but for tickets.
    package init(_ listener: Configuration.Listener, _ tls: Configuration.Listener.TLS) {
        let clientCertificate: ClientCertificate =
            switch listener.clientCertificate {
            case .required: .required
            case .optional: .optional
            case .none: .none
            }
        func version(_ version: Configuration.TLSVersion) -> TLSVersion { version == .version12 ? .v1_2 : .v1_3 }
        self.init(
            certificateFile: tls.certificateFile,
            keyFile: tls.keyFile,
            keyPasswordFile: tls.keyPasswordFile,
            clientCAFile: tls.clientCAFile,
            clientCertificate: clientCertificate,
            minimumVersion: version(tls.minVersion),
            maximumVersion: version(tls.maxVersion),
            ciphers: tls.ciphers,
            cipherSuites: tls.cipherSuites,
            groups: tls.groups,
            verifyDepth: tls.verifyDepth,
            sessionContext: Array("\(listener.name)/\(listener.clientCertificate)".utf8)
        )
    }
}
