import Common
import TestSupport
import Testing

/// Certificates that OpenSSL's rules refuse, and client ids that the listener's do: `martlet auth test` says what a client finds.
@Suite struct CertificateLimitsTests {
    private func martlet(_ broker: TestBroker, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let file = broker.directory.file("martlet.yaml")
        return try runProcess(TestBroker.executable("martlet"), arguments: arguments + ["--config", file])
    }

    /// A client that has no security level of its own.
    private func publish(_ broker: TestBroker, _ device: TestPKI.Credentials, _ name: String) throws -> Int32 {
        try runProcess(
            "mosquitto_pub",
            arguments: broker.mosquittoOptions(device) + [
                "--ciphers", "DEFAULT@SECLEVEL=0", "--tls-version", "tlsv1.2", "-i", name, "-u", "u", "-P", "secret",
                "-t", "devices/\(name)/x", "-m", "m", "-q", "1",
            ]
        ).status
    }

    private struct Case {
        var name: String
        var credentials: TestPKI.Credentials
        /// Nil: the listener takes it.
        var refusal: (reason: String, words: String, advice: String)?
    }

    private static func cases(_ pki: TestPKI) throws -> [Case] {
        let usual = "extendedKeyUsage=clientAuth"
        let old = "docs/certificates.md"
        // Chains of one and of two intermediate authorities.
        let serial = UInt64.random(in: 0 ... .max)
        let one = try pki.makeIntermediate("limits-one-\(serial)")
        let two = try pki.makeIntermediate("limits-two-\(serial)", authority: "limits-one-\(serial)")
        func chain(_ device: TestPKI.Credentials, _ authorities: [TestPKI.Credentials]) throws -> TestPKI.Credentials {
            let files = [device] + authorities
            try writeFile(device.certificateFile, try files.flatMap { try readFile($0.certificateFile) })
            return device
        }
        return [
            Case(name: "limits-good", credentials: try pki.device("limits-good")),
            Case(name: "limits-any", credentials: try pki.device("limits-any", extensions: "")),
            Case(
                name: "limits-rsa",
                credentials: try pki.device("limits-rsa", key: ["rsa:1024"], extensions: usual),
                refusal: ("tls-bad-certificate", "EE certificate key too weak", old)
            ),
            Case(
                name: "limits-sha1",
                credentials: try pki.device("limits-sha1", digest: "sha1", extensions: usual),
                refusal: ("tls-bad-certificate", "CA signature digest algorithm too weak", old)
            ),
            Case(
                name: "limits-server",
                credentials: try pki.device("limits-server", extensions: "extendedKeyUsage=serverAuth"),
                refusal: ("tls-bad-certificate", "certificate purpose", "needs clientAuth")
            ),
            Case(
                name: "limits-one",
                credentials: try chain(
                    try pki.device("limits-one", authority: "limits-one-\(serial)", extensions: usual),
                    [one]
                )
            ),
            Case(
                name: "limits-two",
                credentials: try chain(
                    try pki.device("limits-two", authority: "limits-two-\(serial)", extensions: usual),
                    [two, one]
                ),
                refusal: ("tls-certificate-chain-too-long", "certificate chain too long", "verify_depth")
            ),
        ]
    }

    /// It said "good" of all of them, and exited with 0.
    @Test("Regression: auth test refuses the certificates that the handshake refuses, and why says what to do")
    func certificates() throws {
        let broker = try TestBroker { text in
            text.replacing("  - name: plain\n", with: "      verify_depth: 1\n  - name: plain\n")
        }
        for test in try Self.cases(broker.pki) {
            try broker.provision(test.name, password: "secret")
            let arguments = ["auth", "test", "--cert", test.credentials.certificateFile, "--password", "secret"]
            let result = try self.martlet(broker, arguments)
            let published = try self.publish(broker, test.credentials, test.name)
            guard let refusal = test.refusal else {
                #expect(result.status == 0 && published == 0, "\(test.name): \(result.output)")
                continue
            }
            #expect(result.status == 1 && published != 0, "\(test.name): \(result.output)")
            for text in ["refused in the TLS handshake", refusal.reason, refusal.words, refusal.advice] {
                #expect(result.output.contains(text), "\(text) is missing in\n\(result.output)")
            }
            let why = try self.martlet(broker, ["why", test.name]).output
            for text in [refusal.reason, refusal.words, "what_to_do", refusal.advice] {
                #expect(why.contains(text), "\(text) is missing in\n\(why)")
            }
        }
    }

    @Test("With security level 0 old certificates come in, and auth test says so")
    func securityLevel() throws {
        let broker = try TestBroker { text in
            text.replacing("  - name: plain\n", with: "      ciphers: \"DEFAULT@SECLEVEL=0\"\n  - name: plain\n")
        }
        for test in try Self.cases(broker.pki) where test.name == "limits-rsa" || test.name == "limits-sha1" {
            try broker.provision(test.name, password: "secret")
            let arguments = ["auth", "test", "--cert", test.credentials.certificateFile, "--password", "secret"]
            let result = try self.martlet(broker, arguments)
            #expect(result.status == 0, "\(result.output)")
            #expect(try self.publish(broker, test.credentials, test.name) == 0)
        }
    }

    /// It said "allow".
    @Test("Regression: auth test refuses the client ids that the listener and the router refuse")
    func clientIdentifiers() throws {
        let broker = try TestBroker(settings: "mqtt: {max_client_id_length: 30}\n") { text in
            let policy = { (name: String) in "    client_certificate: optional\n    client_id: \(name)\n" }
            return text.replacing("  - name: devices\n", with: "  - name: devices\n\(policy("must_equal_cn"))")
                .replacing(
                    "  - name: applications\n",
                    with: "  - name: applications\n    client_id: from_cn\n    empty_client_id: refuse\n"
                )
                .replacing(
                    "    allow_insecure_network: true\n",
                    with: "    allow_insecure_network: true\n    empty_client_id: refuse\n"
                )
        }
        try broker.provision("limits-id", password: "secret")
        let device = try broker.pki.device("limits-id").certificateFile
        let nameless = try broker.pki.device(file: "limits-nameless", subject: "/O=Nameless").certificateFile
        func test(_ listener: String, _ certificate: String?, _ identifier: String?) throws -> (Int32, String) {
            var arguments = ["auth", "test", "--listener", listener, "--password", "secret"]
            if let certificate { arguments += ["--cert", certificate] }
            if let identifier { arguments += ["--client-id", identifier] }
            let (status, output) = try self.martlet(broker, arguments)
            return (status, output)
        }
        let long = String(repeating: "x", count: 31)
        let mustFit = "client_id: must_equal_cn, and the certificate's common name does not fit"
        let cases: [(listener: String, certificate: String?, identifier: String?, refusal: String?)] = [
            ("devices", device, nil, nil), ("devices", device, "limits-id", nil), ("devices", device, "other", mustFit),
            ("devices", nil, "limits-id", "client_id: must_equal_cn, and the client shows no certificate"),
            ("devices", nameless, "limits-id", mustFit),
            ("applications", device, "whatever", nil), ("applications", device, long, nil),
            ("applications", nil, "x", "client_id: from_cn"), ("applications", nameless, "x", "client_id: from_cn"),
            ("plain", nil, String(repeating: "x", count: 30), nil),
            ("plain", nil, long, "a client id of 31 bytes, mqtt.max_client_id_length is 30"),
            ("plain", nil, "", "the client id is empty, empty_client_id is refuse"),
        ]
        for (listener, certificate, identifier, refusal) in cases {
            let (status, output) = try test(listener, certificate, identifier)
            #expect(status == (refusal == nil ? 0 : 1), "\(listener) \(identifier ?? "-"): \(output)")
            if let refusal { #expect(output.contains("refused: \(refusal)"), "\(output)") }
        }
        // As a client finds it.
        let loop = try EventLoop()
        for identifier in [long, ""] {
            let client = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
            #expect(try client.connect(clientIdentifier: identifier).returnCode == 0x85)
        }
    }

    /// Devices with more than 64 names were refused, and why did not find them.
    @Test("Regression: any number of alternative names is taken; one that cannot be used is found by the common name")
    func alternativeNames() throws {
        let broker = try TestBroker()
        for name in ["limits-names", "limits-long"] { try broker.provision(name, password: "secret") }
        func device(_ name: String, _ names: [String]) throws -> TestPKI.Credentials {
            let list = names.map { "DNS:\($0)" }.joined(separator: ",")
            return try broker.pki.device(name, extensions: "extendedKeyUsage=clientAuth\nsubjectAltName=\(list)\n")
        }
        let many = try device("limits-names", (0..<200).map { "host-\($0).some.long.domain.example" })
        #expect(try self.publish(broker, many, "limits-names") == 0)
        let user = ["--user", "u", "--password", "secret"]
        let good = try self.martlet(broker, ["auth", "test", "--cert", many.certificateFile] + user)
        #expect(good.status == 0, "\(good.output)")

        let long = try device("limits-long", [String(repeating: "a", count: 3000)])
        #expect(try self.publish(broker, long, "limits-long") != 0)
        try broker.listeners[0].waitForLog("reason=certificate-field")
        #expect(broker.listeners[0].log.contains("device=limits-long"))
        let why = try self.martlet(broker, ["why", "limits-long"]).output
        #expect(why.contains("certificate-field"), "\(why)")
        let test = try self.martlet(broker, ["auth", "test", "--cert", long.certificateFile] + user)
        #expect(test.status == 1, "\(test.output)")
        #expect(test.output.contains("the certificate's subject alternative name is too long"), "\(test.output)")
        #expect(test.output.contains("certificate-field"), "\(test.output)")
    }
}
