import COpenSSL
import Glibc

/// TLS settings for connections that Martlet opens, checked and loaded. It never changes.
package final class TLSClientContext: @unchecked Sendable {
    // Sendable: an SSL_CTX is not modified after init, and SSL_new(3) counts references atomically.
    private let pointer: OpaquePointer
    private let serverName: String?
    private let verifyPeer: Bool

    /// Sentences about what works but should not stay so.
    package let warnings: [TLSWarning]

    package init(_ configuration: TLSClientConfiguration) throws(TLSError) {
        var builder = try ContextBuilder(server: false)
        try builder.setVersions(minimum: configuration.minimumVersion, maximum: configuration.maximumVersion)
        try builder.setCiphers(configuration.ciphers, suites: configuration.cipherSuites, groups: nil)
        if let certificateFile = configuration.certificateFile {
            guard let keyFile = configuration.keyFile else {
                throw TLSError(
                    "certificate_file \(certificateFile) is given without key_file; name the key that belongs to it",
                    setting: "certificate_file"
                )
            }
            try builder.setCertificate(
                file: certificateFile,
                keyFile: keyFile,
                keyPasswordFile: configuration.keyPasswordFile
            )
        }
        if let caFile = configuration.caFile {
            _ = try builder.trust(file: caFile, setting: "ca_file")
        } else if configuration.verifyPeer, SSL_CTX_set_default_verify_paths(builder.pointer) != 1 {
            throw TLSError("the system's trusted authorities cannot be loaded: \(OpenSSLLibrary.takeErrorText())")
        }
        if configuration.verifyPeer {
            SSL_CTX_set_verify(builder.pointer, SSL_VERIFY_PEER, TLSConnection.verifyCallback)
        } else {
            SSL_CTX_set_verify(builder.pointer, SSL_VERIFY_NONE, nil)
        }
        self.serverName = configuration.serverName
        self.verifyPeer = configuration.verifyPeer
        self.warnings = builder.warnings
        self.pointer = builder.finish()
    }

    deinit {
        SSL_CTX_free(self.pointer)
    }

    /// A name is configured, whatever host is connected to.
    package var hasServerName: Bool { self.serverName != nil }

    /// A connection that is about to greet a server. The descriptor must be non-blocking and stays the caller's: it must be
    /// open as long as the connection exists. `serverName` replaces the configured one. nil when there is no memory or the
    /// name is not one.
    package func makeConnection(fileDescriptor: Int32, serverName: String? = nil) -> TLSConnection? {
        let connection = TLSConnection(context: self.pointer, fileDescriptor: fileDescriptor)
        guard let connection, let name = serverName ?? self.serverName else { return connection }
        return connection.expect(serverName: name, verify: self.verifyPeer) ? connection : nil
    }
}
