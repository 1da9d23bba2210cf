import TLS
import TestSupport
import Testing

/// Settings that OpenSSL takes, and with which it would let nobody in.
@Suite struct TrialHandshakeTests {
    private let certificates: TestCertificates

    init() throws {
        self.certificates = try TestCertificates()
    }

    struct Settings: Sendable, CustomTestStringConvertible {
        /// As `openssl req -newkey` and -pkeyopt have it; nil: the P-256 key of the test certificates.
        var key: [String]?
        var minimum = TLSVersion.v1_2
        var maximum = TLSVersion.v1_3
        var ciphers: String?
        var suites: String?
        var groups: String?
        /// Of the refusal: the setting, and a part of the text.
        var setting = ""
        var text = ""

        var testDescription: String { "\(self)" }
    }

    private static let rsa = ["rsa:2048"]
    private static func curve(_ name: String) -> [String] { ["ec", "-pkeyopt", "ec_paramgen_curve:\(name)"] }

    /// - Returns: warnings about its certificate's key.
    private func load(_ settings: Settings) throws -> [TLSWarning] {
        var configuration = self.certificates.serverConfiguration
        if let key = settings.key {
            let files = self.certificates.files("server-of-test")
            let subject = ["-subj", "/CN=localhost", "-days", "30", "-keyout", files.key, "-out", files.certificate]
            let arguments = ["req", "-x509", "-nodes", "-newkey"] + key + subject
            let (status, output) = try runProcess("openssl", arguments: arguments)
            try #require(status == 0, "\(output)")
            (configuration.certificateFile, configuration.keyFile) = (files.certificate, files.key)
        }
        (configuration.minimumVersion, configuration.maximumVersion) = (settings.minimum, settings.maximum)
        (configuration.ciphers, configuration.cipherSuites) = (settings.ciphers, settings.suites)
        configuration.groups = settings.groups
        return try TLSServerContext(configuration).warnings
    }

    /// Each client was refused with `tls-no-shared-cipher` or `tls-protocol-version`.
    @Test(
        "Regression: TLS settings with which no client could connect are refused",
        arguments: [
            Settings(
                maximum: .v1_2,
                ciphers: "ECDHE-RSA-AES128-GCM-SHA256",
                setting: "ciphers",
                text: "works at TLS 1.2 with an EC key on prime256v1"
            ),
            Settings(
                key: rsa,
                maximum: .v1_2,
                ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256",
                setting: "ciphers",
                text: "name some of ECDHE-RSA"
            ),
            Settings(
                key: ["ed25519"],
                maximum: .v1_2,
                ciphers: "ECDHE-RSA-AES128-GCM-SHA256",
                setting: "ciphers",
                text: "name some of ECDHE-ECDSA"
            ),
            Settings(
                key: rsa,
                maximum: .v1_2,
                ciphers: "DHE-RSA-AES128-GCM-SHA256",
                setting: "ciphers",
                text: "no shared cipher"
            ),
            Settings(
                key: rsa,
                maximum: .v1_2,
                ciphers: "PSK-AES128-GCM-SHA256",
                setting: "ciphers",
                text: "no client could connect"
            ),
            Settings(maximum: .v1_2, groups: "ffdhe2048", setting: "groups", text: "add X25519 or P-256"),
            Settings(
                maximum: .v1_2,
                ciphers: "PSK-AES128-GCM-SHA256",
                groups: "ffdhe2048",
                setting: "ciphers",
                text: "no client could connect"
            ),
            Settings(minimum: .v1_3, groups: "secp256k1", setting: "groups", text: "at TLS 1.3"),
            Settings(
                key: curve("secp256k1"),
                minimum: .v1_3,
                setting: "certificate_file",
                text: "has an EC key on secp256k1, with which no client could connect at TLS 1.3"
            ),
            Settings(
                key: curve("brainpoolP256r1"),
                minimum: .v1_3,
                groups: "brainpoolP256r1:X25519",
                setting: "certificate_file",
                text: "P-256, P-384 and Ed25519 work"
            ),
            Settings(
                key: curve("secp224r1"),
                minimum: .v1_3,
                setting: "certificate_file",
                text: "with which no client could connect"
            ),
        ]
    )
    func nobody(_ settings: Settings) throws {
        let error = #expect(throws: TLSError.self) { try self.load(settings) }
        #expect(error?.setting == settings.setting, "\(error?.message ?? "")")
        #expect(error?.message.contains(settings.text) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("no client could connect") == true, "\(error?.message ?? "")")
    }

    @Test(
        "TLS settings with which some client can connect are taken",
        arguments: [
            Settings(), Settings(key: rsa), Settings(key: curve("P-384")), Settings(key: curve("P-521")),
            Settings(key: ["ed25519"]), Settings(key: ["ed448"]), Settings(key: rsa, minimum: .v1_3),
            Settings(key: ["rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"]),
            Settings(key: ["ed25519"], minimum: .v1_3), Settings(key: ["ed25519"], maximum: .v1_2),
            Settings(maximum: .v1_2), Settings(minimum: .v1_3), Settings(key: rsa, maximum: .v1_2),
            Settings(maximum: .v1_2, ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256"),
            Settings(key: rsa, maximum: .v1_2, ciphers: "ECDHE-RSA-AES128-GCM-SHA256"),
            Settings(key: rsa, maximum: .v1_2, ciphers: "AES128-SHA"),
            // Docs/certificates.md, "Old certificates".
            Settings(ciphers: "DEFAULT@SECLEVEL=0"), Settings(key: rsa, ciphers: "DEFAULT@SECLEVEL=1"),
            Settings(key: ["rsa:1024"], maximum: .v1_2, ciphers: "DEFAULT@SECLEVEL=0"),
            Settings(key: ["rsa:1024"], ciphers: "DEFAULT@SECLEVEL=0"),
            // At TLS 1.2, and the other way round.
            Settings(minimum: .v1_2, groups: "secp256k1"), Settings(key: rsa, ciphers: "PSK-AES128-GCM-SHA256"),
            // The server asks for another key share.
            Settings(minimum: .v1_3, groups: "P-521"), Settings(minimum: .v1_3, groups: "ffdhe3072"),
            Settings(maximum: .v1_2, groups: "X25519"),
            Settings(minimum: .v1_3, suites: "TLS_AES_128_CCM_8_SHA256"),
        ]
    )
    func somebody(_ settings: Settings) throws {
        #expect(try self.load(settings) == [])
    }

    @Test(
        "Regression: a server's key on a curve that few clients offer is worth a warning",
        arguments: ["secp256k1", "secp224r1", "brainpoolP256r1"]
    )
    func unusualCurves(_ curve: String) throws {
        for groups in [nil, "\(curve):X25519:P-256"] {
            let warnings = try self.load(Settings(key: Self.curve(curve), groups: groups))
            #expect(warnings.map(\.setting) == ["certificate_file"])
            #expect(
                warnings.first?.message.contains("an EC key on \(curve): clients can connect only at TLS 1.2") == true
            )
        }
    }
}
