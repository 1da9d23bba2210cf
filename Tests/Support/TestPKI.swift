import Common
import Glibc

/// Certificate authorities and certificates made with the openssl command, so that tests do not rely on our own issuing.
package final class TestPKI: Sendable {
    package struct Credentials: Sendable {
        package var certificateFile: String
        package var keyFile: String

        package init(certificateFile: String, keyFile: String) {
            self.certificateFile = certificateFile
            self.keyFile = keyFile
        }
    }

    /// Made once per test process: a trusted CA, another one, a server certificate for localhost.
    package static let shared: TestPKI = {
        do {
            return try TestPKI()
        } catch {
            preconditionFailure("cannot make test certificates: \(error)")
        }
    }()

    package let directory: TemporaryDirectory
    package let caFile: String
    package let otherCAFile: String
    package let server: Credentials

    package init() throws {
        self.directory = try TemporaryDirectory("martlet-pki")
        self.caFile = self.directory.file("ca.crt")
        self.otherCAFile = self.directory.file("other.crt")
        self.server = Credentials(
            certificateFile: self.directory.file("server.crt"),
            keyFile: self.directory.file("server.key")
        )
        try self.makeAuthority("ca", name: "Test CA")
        try self.makeAuthority("other", name: "Other CA")
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1\nextendedKeyUsage=serverAuth"
        _ = try self.issue("server", subject: "/CN=localhost", authority: "ca", extensions: names, days: 30)
    }

    /// A device certificate with its key.
    ///
    /// - Parameter days: -1: it ended yesterday.
    package func device(_ commonName: String, authority: String = "ca", days: Int = 30) throws -> Credentials {
        try self.device(file: commonName, subject: "/CN=\(commonName)", authority: authority, days: days)
    }

    package func device(file: String, subject: String, authority: String = "ca", days: Int = 30) throws -> Credentials {
        try self.issue(
            // Tests that run at the same time may ask for the same device.
            "device-\(file)-\(Self.serial())",
            subject: subject,
            authority: authority,
            extensions: "extendedKeyUsage=clientAuth",
            days: days
        )
    }

    /// One of another form than a device has nowadays.
    ///
    /// - Parameter key: what `openssl req -newkey` takes.
    package func device(
        _ commonName: String,
        authority: String = "ca",
        key: [String] = TestPKI.usualKey,
        digest: String = "sha256",
        extensions: String
    ) throws -> Credentials {
        try self.issue(
            "device-\(commonName)-\(Self.serial())",
            subject: "/CN=\(commonName)",
            authority: authority,
            extensions: extensions,
            days: 30,
            key: key,
            digest: digest
        )
    }

    package static let usualKey = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]

    /// An intermediate authority, to be named by `name` as the authority of others.
    package func makeIntermediate(_ name: String, authority: String = "ca") throws -> Credentials {
        let extensions = "basicConstraints=critical,CA:TRUE"
        return try self.issue(name, subject: "/CN=\(name)", authority: authority, extensions: extensions, days: 30)
    }

    /// A revocation list, made with `openssl ca`.
    ///
    /// - Parameters:
    ///   - isOverdue: a newer one should have been there since yesterday.
    ///   - scope: lines of the extension IssuingDistributionPoint, as in x509v3_config(5).
    package func revocationList(
        _ path: String,
        authority: String = "ca",
        revoked: [Credentials],
        isOverdue: Bool = false,
        isDER: Bool = false,
        number: String? = nil,
        madeAt: String? = nil,
        scope: String? = nil
    ) throws {
        let folder = try TemporaryDirectory("martlet-crl")
        var index = ""
        for credentials in revoked {
            let (_, text) = try runProcess(
                "openssl",
                arguments: ["x509", "-in", credentials.certificateFile, "-noout", "-serial"]
            )
            let serial = text.split(separator: "=")[1].prefix { $0.isHexDigit }
            index += "R\t491231235959Z\t250101000000Z\t\(serial)\tunknown\t/CN=revoked\n"
        }
        try writeFile(folder.file("index.txt"), Array(index.utf8))
        try writeFile(folder.file("number"), Array("\(number ?? String(Clock.wall(), radix: 16))\n".utf8))
        let settings = """
            [ca]
            default_ca = d
            [d]
            database = \(folder.file("index.txt"))
            crlnumber = \(folder.file("number"))
            default_md = sha256
            \(scope == nil ? "" : "crl_extensions = e\n[e]\nissuingDistributionPoint = critical,@s\n[s]\n\(scope ?? "")")

            """
        try writeFile(folder.file("ca.cnf"), Array(settings.utf8))
        let dates =
            isOverdue
            ? ["-crl_lastupdate", "20250101000000Z", "-crl_nextupdate", "20250102000000Z"]
            : ["-crldays", "30"] + (madeAt.map { ["-crl_lastupdate", $0] } ?? [])
        let pem = isDER ? folder.file("list.pem") : path + ".tmp"
        try self.openssl(
            [
                "ca", "-gencrl", "-config", folder.file("ca.cnf"), "-cert", self.directory.file("\(authority).crt"),
                "-keyfile", self.directory.file("\(authority).key"), "-out", pem,
            ] + dates
        )
        if isDER { try self.openssl(["crl", "-in", pem, "-outform", "DER", "-out", path + ".tmp"]) }
        guard rename(path + ".tmp", path) == 0 else { throw ProcessError(description: "rename \(path)") }
    }

    package func makeAuthority(_ file: String, name: String) throws {
        try self.openssl([
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
            "-subj", "/CN=\(name)", "-keyout", self.directory.file("\(file).key"), "-out",
            self.directory.file("\(file).crt"), "-addext", "basicConstraints=critical,CA:TRUE",
        ])
    }

    /// Another certificate of an authority, with its name and key.
    package func renewAuthority(_ file: String, as renewed: String, name: String) throws {
        try self.openssl([
            "req", "-x509", "-key", self.directory.file("\(file).key"), "-days", "60", "-subj", "/CN=\(name)", "-out",
            self.directory.file("\(renewed).crt"), "-addext", "basicConstraints=critical,CA:TRUE",
        ])
    }

    private func issue(
        _ file: String,
        subject: String,
        authority: String,
        extensions: String,
        days: Int,
        key: [String] = TestPKI.usualKey,
        digest: String = "sha256"
    ) throws -> Credentials {
        let credentials = Credentials(
            certificateFile: self.directory.file("\(file).crt"),
            keyFile: self.directory.file("\(file).key")
        )
        let request = self.directory.file("\(file).csr")
        let extensionsFile = self.directory.file("\(file).ext")
        try writeFile(extensionsFile, Array(extensions.utf8))
        try self.openssl(
            ["req", "-new", "-newkey"] + key + [
                "-nodes", "-subj", subject, "-keyout", credentials.keyFile, "-out", request, "-utf8",
            ]
        )
        // `x509 -req -days` takes -1 for a certificate that ended yesterday.
        try self.openssl(
            [
                "x509", "-req", "-in", request, "-CA", self.directory.file("\(authority).crt"), "-CAkey",
                self.directory.file("\(authority).key"), "-set_serial", "0x\(Self.serial())", "-days", "\(days)",
                "-\(digest)", "-out", credentials.certificateFile, "-extfile", extensionsFile,
            ]
        )
        return credentials
    }

    private static func serial() -> String {
        String(UInt64.random(in: 1 << 60..<UInt64.max), radix: 16)
    }

    private func openssl(_ arguments: [String]) throws {
        let (status, output) = try runProcess("openssl", arguments: arguments)
        guard status == 0 else {
            throw ProcessError(description: "openssl \(arguments.joined(separator: " ")): \(output)")
        }
    }
}
