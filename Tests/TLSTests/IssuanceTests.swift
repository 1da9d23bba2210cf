import Glibc
import TLS
import TestSupport
import Testing

/// What the authority issues must please OpenSSL's own tools.
@Suite struct IssuanceTests {
    let certificates: TestCertificates

    init() throws {
        self.certificates = try TestCertificates()
    }

    private func verify(_ file: String, purpose: String, more: [String] = []) throws -> (status: Int32, output: String)
    {
        try runProcess(
            "openssl",
            arguments: ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", self.certificates.caFile] + more + [
                file
            ]
        )
    }

    private func describe(_ file: String) throws -> String {
        try runProcess("openssl", arguments: ["x509", "-in", file, "-noout", "-text"]).output
    }

    private func permissions(_ file: String) -> mode_t {
        var status = stat()
        return stat(file, &status) == 0 ? status.st_mode & 0o7777 : 0
    }

    @Test func serverAndClientCertificatesVerify() throws {
        let device = try self.certificates.client("device-1")
        let server = self.certificates.server.certificate
        #expect(try self.verify(server, purpose: "sslserver", more: ["-verify_hostname", "localhost"]).status == 0)
        #expect(try self.verify(server, purpose: "sslserver", more: ["-verify_ip", "::1"]).status == 0)
        #expect(try self.verify(device.certificate, purpose: "sslclient").status == 0)
        #expect(try self.verify(server, purpose: "sslclient").status != 0)
        #expect(try self.verify(device.certificate, purpose: "sslserver").status != 0)
        #expect(try self.verify(self.certificates.caFile, purpose: "any").status == 0)
    }

    @Test func contentOfCertificates() throws {
        let authority = try self.describe(self.certificates.caFile)
        #expect(authority.contains("CA:TRUE"))
        #expect(authority.contains("Certificate Sign, CRL Sign"))
        #expect(authority.contains("Subject Key Identifier"))
        #expect(authority.contains("NIST CURVE: P-256"))
        let server = try self.describe(self.certificates.server.certificate)
        #expect(server.contains("DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"))
        #expect(server.contains("TLS Web Server Authentication"))
        #expect(server.contains("CA:FALSE"))
        #expect(server.contains("Authority Key Identifier"))
        #expect(server.contains("ecdsa-with-SHA256"))
    }

    @Test func permissionsOfFiles() throws {
        #expect(self.permissions(self.certificates.server.key) == 0o600)
        #expect(self.permissions(self.certificates.server.certificate) == 0o644)
        #expect(self.permissions(self.certificates.directory.file("ca.key")) == 0o600)
        // Writing again replaces the file whole, with its permissions.
        chmod(self.certificates.server.key, 0o644)
        try self.certificates.authority.issueServer(commonName: "localhost", hosts: ["localhost"])
            .write(certificateFile: self.certificates.server.certificate, keyFile: self.certificates.server.key)
        #expect(self.permissions(self.certificates.server.key) == 0o600)
        let entries = try runProcess("ls", arguments: ["-A", self.certificates.directory.path]).output
        #expect(!entries.contains(".tmp"))
    }

    @Test func unwritableDirectory() throws {
        let issued = try self.certificates.authority.issueClient(commonName: "x")
        let error = #expect(throws: TLSError.self) {
            try issued.write(certificateFile: "/nonexistent/x.crt", keyFile: "/nonexistent/x.key")
        }
        #expect(error?.message == "cannot write /nonexistent/x.key: No such file or directory")
    }

    @Test func loadedAuthorityIssuesToo() throws {
        let loaded = try CertificateAuthority.load(
            certificateFile: self.certificates.caFile,
            keyFile: self.certificates.directory.file("ca.key")
        )
        let files = try self.certificates.write(try loaded.issueClient(commonName: "later"), name: "later")
        #expect(try self.verify(files.certificate, purpose: "sslclient").status == 0)
    }

    @Test func authoritiesThatAreNone() throws {
        let device = try self.certificates.client("device-1")
        let notAuthority = #expect(throws: TLSError.self) {
            try CertificateAuthority.load(certificateFile: device.certificate, keyFile: device.key)
        }
        #expect(notAuthority?.message.contains("is no CA certificate") == true)
        let caFile = self.certificates.caFile
        let mismatch = #expect(throws: TLSError.self) {
            try CertificateAuthority.load(certificateFile: caFile, keyFile: device.key)
        }
        #expect(mismatch?.message.contains("does not belong") == true)
    }

    @Test func intermediateAuthorityCarriesItsChain() throws {
        let plant = try self.certificates.authority.issueAuthority(commonName: "Plant", validDays: 10)
        let (certificateFile, keyFile) = (
            self.certificates.directory.file("p.crt"), self.certificates.directory.file("p.key")
        )
        try plant.write(certificateFile: certificateFile, keyFile: keyFile)
        for authority in [plant, try CertificateAuthority.load(certificateFile: certificateFile, keyFile: keyFile)] {
            let issued = try authority.issueClient(commonName: "x")
            let text = String(decoding: issued.certificatePEM, as: UTF8.self)
            #expect(text.components(of: "BEGIN CERTIFICATE") == 2)
            let files = try self.certificates.write(issued, name: "x")
            let result = try self.verify(
                files.certificate,
                purpose: "sslclient",
                more: ["-untrusted", certificateFile]
            )
            #expect(result.status == 0, "\(result.output)")
        }
    }

    @Test func serialNumbersDiffer() throws {
        let serials = try (0..<20).map { _ in
            let files = try self.certificates.client("x")
            return try runProcess("openssl", arguments: ["x509", "-in", files.certificate, "-noout", "-serial"]).output
        }
        #expect(Set(serials).count == serials.count)
        #expect(serials.allSatisfy { $0.utf8.count == "serial=\n".utf8.count + 32 })
    }

    @Test func impossibleSubjects() throws {
        let long = String(repeating: "x", count: 65)
        #expect(throws: TLSError.self) { try self.certificates.authority.issueClient(commonName: long) }
        let unknown = CertificateSubject(rdns: [[CertificateSubject.Attribute("Common Name", "x")]])
        let error = #expect(throws: TLSError.self) {
            try self.certificates.authority.issueClient(subject: unknown, validity: .days(1))
        }
        #expect(error?.message.contains("Common Name is no name of a subject attribute") == true)
        let country = CertificateSubject(rdns: [[CertificateSubject.Attribute("C", "Common Name")]])
        #expect(throws: TLSError.self) {
            try self.certificates.authority.issueClient(subject: country, validity: .days(1))
        }
    }
}

extension String {
    /// How often `text` occurs.
    fileprivate func components(of text: String) -> Int {
        let (bytes, wanted) = (Array(self.utf8), Array(text.utf8))
        return bytes.indices.count { bytes[$0...].starts(with: wanted) }
    }
}
