import Common
import Glibc
import TestSupport
import Testing

@testable import Martlet

/// Where OpenSSL's configuration leaves it without algorithms, programs say so.
@Suite struct MissingAlgorithmTests {
    private let directory: TemporaryDirectory
    private let pki = TestPKI.shared
    private var file: String { self.directory.file("m.yaml") }

    /// The default provider's algorithms have not the property that is asked for; the base provider has none.
    private static let configurations = [
        "default_properties": """
        openssl_conf = all
        [all]
        alg_section = algorithms
        providers = providers
        [algorithms]
        default_properties = fips=yes
        [providers]
        default = activated
        [activated]
        activate = 1

        """,
        "providers": """
        openssl_conf = all
        [all]
        providers = providers
        [providers]
        base = activated
        [activated]
        activate = 1

        """,
    ]

    init() throws {
        self.directory = try TemporaryDirectory("martlet-missing")
        try Folder.make(self.directory.file("run"))
        try Folder.make(self.directory.file("crl"))
        for (name, text) in Self.configurations { try Folder.writeFile(self.directory.file(name), text) }
    }

    private func write(passwordHash: String? = nil) throws {
        let hash = passwordHash.map { ", command: HMGET device:%C password_hash salt, password_hash: \"\($0)\"" } ?? ""
        try Folder.writeFile(
            self.file,
            """
            runtime_directory: run
            state_directory: state
            listeners:
              - name: devices
                addresses: ["127.0.0.1:0"]
                tls:
                  certificate_file: \(self.pki.server.certificateFile)
                  key_file: \(self.pki.server.keyFile)
                  client_ca_file: \(self.pki.caFile)
                  crl_directory: crl
                  crl_urls: ["http://127.0.0.1:1/a.crl"]
            authorization: {rules: {default: []}}
            authentication: {redis: {url: "redis://127.0.0.1:1/0"}\(hash)}

            """
        )
    }

    private func run(_ program: String, _ arguments: [String], openSSL name: String) throws -> (Int32, String) {
        try runProcess(
            "timeout",
            arguments: ["60", builtProgram(program)] + arguments,
            environment: ["OPENSSL_CONF": self.directory.file(name)]
        )
    }

    /// They trapped, and the shell said "Illegal instruction".
    @Test(
        "Regression: programs end with a sentence where OpenSSL's configuration leaves it without algorithms",
        arguments: ["default_properties", "providers"]
    )
    func noAlgorithms(_ name: String) throws {
        try self.write()
        let device = try self.pki.device("missing-algorithm")
        let config = ["--config", self.file]
        for (program, arguments) in [
            ("martlet", ["auth", "test", "--cert", device.certificateFile] + config),
            ("martlet", ["crl", "refresh"] + config), ("martlet-authworker", config),
        ] {
            let (status, output) = try self.run(program, arguments, openSSL: name)
            let what = "\(program) \(arguments): \(status) \(output)"
            #expect(status == 1, "\(what)")
            #expect(output.contains("OpenSSL on this machine has no "), "\(what)")
            #expect(output.contains("openssl.cnf, or the file that OPENSSL_CONF names"), "\(what)")
        }
    }

    /// It was the legacy provider that all were said to be in.
    @Test(
        "Regression: the legacy provider is named for those PBKDF2 digests alone that are in it",
        arguments: [("sha256", "SHA256;", false), ("md4", "MD4, which is in its legacy provider", true)]
    )
    func derivedPasswords(_ hash: (name: String, text: String, isLegacy: Bool)) throws {
        try self.write(passwordHash: "pbkdf2,\(hash.name),1000,16")
        let (status, output) = try self.run(
            "martlet-authworker",
            ["--config", self.file],
            openSSL: "default_properties"
        )
        #expect(status == 1 && output.contains("OpenSSL on this machine has no \(hash.text)"), "\(output)")
        #expect(output.contains("legacy provider") == hash.isLegacy, "\(output)")
        #expect(output.contains("OPENSSL_CONF"), "\(output)")
    }
}
