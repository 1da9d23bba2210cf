import Glibc
import TLS
import TestSupport
import Testing

/// Errors in files and settings must name the file and say what to do.
@Suite struct ContextTests {
    let certificates: TestCertificates

    init() throws {
        self.certificates = try TestCertificates()
    }

    private func message(adjust: (inout TLSServerConfiguration) throws -> Void) throws -> String {
        var configuration = self.certificates.serverConfiguration
        try adjust(&configuration)
        do {
            _ = try TLSServerContext(configuration)
            return ""
        } catch {
            return error.message
        }
    }

    private func file(_ name: String, _ text: String) throws -> String {
        let path = self.certificates.directory.file(name)
        let stream = try #require(fopen(path, "w"))
        fputs(text, stream)
        fclose(stream)
        return path
    }

    @Test func goodFilesGiveNoWarnings() throws {
        #expect(try TLSServerContext(self.certificates.serverConfiguration).warnings == [])
    }

    @Test func missingFiles() throws {
        let missing = try self.message { $0.certificateFile = "/nonexistent/server.crt" }
        #expect(missing == "cannot read certificate_file /nonexistent/server.crt: No such file or directory")
        #expect(try self.message { $0.keyFile = "/nonexistent/k" }.contains("key_file /nonexistent/k"))
        #expect(try self.message { $0.clientCAFile = "/nonexistent/ca" }.contains("client_ca_file /nonexistent/ca"))
        #expect(try self.message { $0.keyPasswordFile = "/nonexistent/p" }.contains("key_password_file /nonexistent/p"))
        #expect(try self.message { $0.clientCAFile = nil }.contains("client_ca_file is missing"))
        #expect(try self.message { $0.keyFile = "/tmp" }.contains("not a file"))
    }

    @Test func filesWithTheWrongContent() throws {
        let empty = try self.file("empty.pem", "")
        let text = try self.file("text.pem", "not a certificate\n")
        let damaged = try self.file(
            "damaged.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        )
        #expect(try self.message { $0.certificateFile = empty }.contains("holds no certificate"))
        #expect(try self.message { $0.clientCAFile = text }.contains("client_ca_file \(text) holds no certificate"))
        #expect(try self.message { $0.clientCAFile = damaged }.contains("certificate 1 is damaged"))
        #expect(try self.message { $0.keyFile = text }.contains("key_file \(text) holds no private key"))
        let certificate = self.certificates.server.certificate
        #expect(try self.message { $0.keyFile = certificate }.contains("holds no private key"))
        let damagedKey = try self.file(
            "damaged.key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        )
        #expect(
            try self.message { $0.keyFile = damagedKey }.contains("key_file \(damagedKey) is not a usable private key")
        )
    }

    @Test func keyOfAnotherCertificate() throws {
        let other = try self.certificates.client("other")
        let message = try self.message { $0.keyFile = other.key }
        #expect(message.contains("does not belong"))
        #expect(message.contains(other.key))
        #expect(message.contains("CN=localhost"))
    }

    @Test func expiredCertificate() throws {
        let now = Int64(time(nil))
        let template = CertificateTemplate(
            subject: CertificateSubject(commonName: "localhost"),
            purpose: .server,
            validity: CertificateValidity(notBefore: 1_000_000_000, notAfter: 1_100_000_000)
        )
        let old = try self.certificates.write(try self.certificates.authority.issue(template), name: "old")
        let message = try self.message {
            $0.certificateFile = old.certificate
            $0.keyFile = old.key
        }
        #expect(message.contains("expired on 2004-11-09 11:33:20 UTC"))

        var soon = template
        soon.validity = CertificateValidity(notBefore: now - 60, notAfter: now + 86400)
        let files = try self.certificates.write(try self.certificates.authority.issue(soon), name: "soon")
        var configuration = self.certificates.serverConfiguration
        configuration.certificateFile = files.certificate
        configuration.keyFile = files.key
        let warnings = try TLSServerContext(configuration).warnings
        #expect(warnings.count == 1)
        #expect(warnings.first?.message.contains("renew it soon") == true)
    }

    @Test func keyThatEverybodyMayRead() throws {
        chmod(self.certificates.server.key, 0o644)
        let warnings = try TLSServerContext(self.certificates.serverConfiguration).warnings
        #expect(warnings.count == 1)
        #expect(warnings.first?.message.contains("chmod 640 \(self.certificates.server.key)") == true)
    }

    @Test func encryptedKey() throws {
        let encrypted = self.certificates.directory.file("encrypted.key")
        let (status, output) = try runProcess(
            "openssl",
            arguments: [
                "pkcs8", "-topk8", "-in", self.certificates.server.key, "-out", encrypted, "-passout", "pass:se cret",
            ]
        )
        try #require(status == 0, "\(output)")
        let right = try self.file("right", "se cret\n")
        let exact = try self.file("exact", "se cret")
        let windows = try self.file("windows", "se cret\r\n")
        let wrong = try self.file("wrong", "secret\n")
        let long = try self.file("long", String(repeating: "x", count: 5000))
        #expect(try self.message { ($0.keyFile, $0.keyPasswordFile) = (encrypted, right) } == "")
        #expect(try self.message { ($0.keyFile, $0.keyPasswordFile) = (encrypted, exact) } == "")
        #expect(try self.message { ($0.keyFile, $0.keyPasswordFile) = (encrypted, windows) } == "")
        let message = try self.message { ($0.keyFile, $0.keyPasswordFile) = (encrypted, wrong) }
        #expect(message.contains("cannot decrypt key_file \(encrypted)"))
        #expect(message.contains(wrong))
        #expect(try self.message { ($0.keyFile, $0.keyPasswordFile) = (encrypted, long) }.contains("cannot decrypt"))
        #expect(try self.message { $0.keyFile = encrypted }.contains("is encrypted; put its password into a file"))
    }

    @Test func impossibleSettings() throws {
        #expect(try self.message { $0.ciphers = "NONSENSE" }.contains("ciphers \"NONSENSE\""))
        for suites in ["NONSENSE", "TLS_AES_256_GCM_SHA384:NONSENSE"] {
            #expect(try self.message { $0.cipherSuites = suites }.contains("cipher_suites \"\(suites)\""))
        }
        #expect(try self.message { $0.groups = "X25519:P-999" }.contains("groups \"X25519:P-999\""))
        let versions = try self.message { ($0.minimumVersion, $0.maximumVersion) = (.v1_3, .v1_2) }
        #expect(versions.contains("min_version"))
        let good = try self.message {
            $0.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"
            $0.cipherSuites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
            $0.groups = "X25519:P-256"
        }
        #expect(good == "")
    }

    @Test func clientsNeedTheKeyToTheirCertificate() throws {
        let client = TLSClientConfiguration(certificateFile: self.certificates.server.certificate)
        #expect(throws: TLSError.self) { try TLSClientContext(client) }
    }
}
