/// How Martlet speaks TLS as a client: to Redis, and as a device in tests and tools. All paths are absolute.
package struct TLSClientConfiguration: Sendable {
    /// PEM bundle of trusted authorities; nil: those of the system.
    package var caFile: String?
    /// PEM: the client's certificate first, then its issuers; nil: none is shown.
    package var certificateFile: String?
    package var keyFile: String?
    package var keyPasswordFile: String?
    /// The host name or IP address that the server's certificate must be for; a host name is also sent to the server (SNI).
    /// nil: any name in a certificate that verifies will do.
    package var serverName: String?
    /// false: whoever answers is believed. For tests.
    package var verifyPeer: Bool
    package var minimumVersion: TLSVersion
    package var maximumVersion: TLSVersion
    package var ciphers: String?
    package var cipherSuites: String?

    package init(
        caFile: String? = nil,
        certificateFile: String? = nil,
        keyFile: String? = nil,
        keyPasswordFile: String? = nil,
        serverName: String? = nil,
        verifyPeer: Bool = true,
        minimumVersion: TLSVersion = .v1_2,
        maximumVersion: TLSVersion = .v1_3,
        ciphers: String? = nil,
        cipherSuites: String? = nil
    ) {
        self.caFile = caFile
        self.certificateFile = certificateFile
        self.keyFile = keyFile
        self.keyPasswordFile = keyPasswordFile
        self.serverName = serverName
        self.verifyPeer = verifyPeer
        self.minimumVersion = minimumVersion
        self.maximumVersion = maximumVersion
        self.ciphers = ciphers
        self.cipherSuites = cipherSuites
    }
}
