import Common

extension TLSClientConfiguration {
    /// What the configuration says of the TLS of a Redis.
    package init(_ tls: Configuration.Authentication.Redis.TLS) {
        self.init(
            caFile: tls.caFile,
            certificateFile: tls.certificateFile,
            keyFile: tls.keyFile,
            keyPasswordFile: tls.keyPasswordFile,
            serverName: tls.serverName,
            verifyPeer: tls.verify == .full
        )
    }
}
