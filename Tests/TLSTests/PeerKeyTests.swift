import Common
import TestSupport
import Testing

@testable import TLS

/// Certificates with all kinds of keys, made by openssl: keys on elliptic curves are read another way than the rest.
@Suite struct PeerKeyTests {
    private let certificates: TestCertificates

    init() throws {
        self.certificates = try TestCertificates()
    }

    /// A device certificate of the test's CA over a key that `openssl genpkey` makes with these arguments.
    private func device(_ name: String, key arguments: [String]) throws -> TestCertificates.Files {
        let directory = self.certificates.directory
        let files = self.certificates.files(name)
        let request = directory.file("\(name).csr")
        try self.openssl(["genpkey"] + arguments + ["-out", files.key])
        try self.openssl(["req", "-new", "-key", files.key, "-subj", "/CN=\(name)", "-out", request])
        try self.openssl([
            "x509", "-req", "-in", request, "-CA", self.certificates.caFile, "-CAkey", directory.file("ca.key"),
            "-set_serial", "4711", "-days", "30", "-out", files.certificate,
        ])
        return files
    }

    private func openssl(_ arguments: [String]) throws {
        let (status, output) = try runProcess("openssl", arguments: arguments)
        guard status == 0 else { throw ProcessError(description: "openssl \(arguments): \(output)") }
    }

    private static let keys: [(name: String, arguments: [String])] = [
        ("p256", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("p384", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("p521", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
        ("rsa", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("ed25519", ["-algorithm", "ED25519"]),
    ]

    @Test(arguments: [TLSVersion.v1_2, .v1_3])
    func devicesWithAllKindsOfKeysGetIn(_ version: TLSVersion) throws {
        for key in Self.keys {
            let files = try self.device(key.name, key: key.arguments)
            var server = self.certificates.serverConfiguration
            server.maximumVersion = version
            let pair = try TLSPair(server, self.certificates.clientConfiguration(files))
            try pair.connect()
            let identity = try pair.server.peerCertificateIdentity()
            #expect(identity?.commonName == Array(key.name.utf8))
        }
    }

    @Test(arguments: ["P-256", "P-384", "P-521", "X25519"])
    func keysAreExchangedOverAllUsualGroups(_ group: String) throws {
        var server = self.certificates.serverConfiguration
        for version in [TLSVersion.v1_2, .v1_3] {
            server.maximumVersion = version
            // In TLS 1.2 the groups say which certificates may be shown, too.
            server.groups = version == .v1_2 && group != "P-256" ? "\(group):P-256" : group
            let client = self.certificates.clientConfiguration(try self.certificates.client("device-1"))
            try TLSPair(server, client).connect()
        }
    }

    /// Clients send their authority's certificate along: its key is one object for all of them, and one of another authority is not.
    @Test func certificatesWithAnAuthoritysKeyShareIt() throws {
        let other = try TestCertificates()
        let server = try TLSServerContext(self.certificates.serverConfiguration)
        let certificates = try [self.certificates.caFile, self.certificates.caFile, other.caFile, other.caFile].map {
            try #require(try TLSFiles.certificates($0, setting: "file").first)
        }
        withExtendedLifetime(server) {}
        let isPossible = OpenSSLLibrary.shareKey(of: certificates[0])
        #expect(certificates[0].hasKeyObject(of: certificates[1]) == isPossible)
        #expect(!certificates[1].hasKeyObject(of: certificates[2]))
        #expect(!certificates[2].hasKeyObject(of: certificates[3]), "nobody trusts that one")
    }

    /// A curve that the certificate brings itself could be one on which anybody can sign (CVE-2020-0601).
    @Test func aKeyOnACurveOfItsOwnIsRefused() throws {
        let curve = ["-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"]
        let files = try self.device("explicit", key: ["-algorithm", "EC"] + curve)
        let client = self.certificates.clientConfiguration(files)
        // What the client itself does not want to show, no server gets to see; either way nobody is in.
        let pair = try TLSPair(self.certificates.serverConfiguration, client)
        let result = pair.handshake()
        #expect(result.server != .done)
        #expect(result.server.failure != nil || result.client.failure != nil)
    }

    /// The right name and authority over another key: the signature in the handshake is by somebody else.
    @Test func aCertificateSignedByAnotherKeyOfTheSameNameIsRefused() throws {
        let impostor = try TestCertificates()
        let files = try impostor.client("device-1")
        var client = impostor.clientConfiguration(files)
        client.caFile = self.certificates.caFile
        let pair = try TLSPair(self.certificates.serverConfiguration, client)
        let failure = try #require(pair.handshake().server.failure)
        #expect([.unknownCertificateAuthority, .badCertificate].contains(failure.kind))
    }
}
