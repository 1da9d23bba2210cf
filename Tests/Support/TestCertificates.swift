import TLS

/// A certificate authority and a server certificate for localhost, 127.0.0.1 and ::1 in a temporary directory, and more
/// certificates on demand. The files live as long as the object.
package final class TestCertificates {
    package struct Files: Sendable {
        package var certificate: String
        package var key: String
    }

    package let directory: TemporaryDirectory
    package let authority: CertificateAuthority
    /// PEM of the authority: what servers trust for clients and clients for servers.
    package let caFile: String
    package let server: Files

    package init(commonName: String = "Test CA") throws {
        self.directory = try TemporaryDirectory()
        self.authority = try CertificateAuthority.create(commonName: commonName, validDays: 30)
        self.caFile = self.directory.file("ca.crt")
        self.server = Files(certificate: self.directory.file("server.crt"), key: self.directory.file("server.key"))
        try self.authority.write(certificateFile: self.caFile, keyFile: self.directory.file("ca.key"))
        try self.authority.issueServer(
            commonName: "localhost",
            hosts: ["localhost", "127.0.0.1", "::1"],
            validDays: 30
        )
        .write(certificateFile: self.server.certificate, keyFile: self.server.key)
    }

    /// A new client certificate with this common name, in files of that name.
    package func client(_ commonName: String, validity: CertificateValidity = .days(30)) throws -> Files {
        try self.write(
            self.authority.issueClient(subject: CertificateSubject(commonName: commonName), validity: validity),
            name: commonName
        )
    }

    /// Where the certificate `name` and its key are, or are to be.
    package func files(_ name: String) -> Files {
        Files(certificate: self.directory.file("\(name).crt"), key: self.directory.file("\(name).key"))
    }

    /// Writes `name`.crt and `name`.key into the directory; `name` must be fit for a file name.
    package func write(_ issued: IssuedCertificate, name: String) throws -> Files {
        let files = self.files(name)
        try issued.write(certificateFile: files.certificate, keyFile: files.key)
        return files
    }

    /// A server with the certificate above that demands client certificates of this authority.
    package var serverConfiguration: TLSServerConfiguration {
        TLSServerConfiguration(
            certificateFile: self.server.certificate,
            keyFile: self.server.key,
            clientCAFile: self.caFile
        )
    }

    /// A client that trusts this authority and shows the certificate in `files`.
    package func clientConfiguration(_ files: Files?, serverName: String? = "localhost") -> TLSClientConfiguration {
        TLSClientConfiguration(
            caFile: self.caFile,
            certificateFile: files?.certificate,
            keyFile: files?.key,
            serverName: serverName
        )
    }
}
