import Common
import TLS
import TestSupport
import Testing

/// Identity fields must have exactly the bytes that EMQX's esockd puts into `%C` and `%d`, because fleets have them in their
/// Redis keys.
@Suite struct IdentityTests {
    let certificates: TestCertificates

    init() throws {
        self.certificates = try TestCertificates()
    }

    typealias Attribute = CertificateSubject.Attribute

    private func issue(
        _ rdns: [[Attribute]],
        alternativeNames: [SubjectAlternativeName] = []
    ) throws -> TestCertificates.Files {
        try self.certificates.write(
            self.certificates.authority.issueClient(
                subject: CertificateSubject(rdns: rdns),
                alternativeNames: alternativeNames,
                validity: .days(10)
            ),
            name: "subject"
        )
    }

    private func openssl(_ files: TestCertificates.Files, _ arguments: String...) throws -> String {
        let (status, output) = try runProcess(
            "openssl",
            arguments: ["x509", "-in", files.certificate, "-noout"] + arguments
        )
        try #require(status == 0, "\(output)")
        return output.hasSuffix("\n") ? String(output.dropLast()) : output
    }

    struct Name: Sendable, CustomTestStringConvertible {
        var attributes: [[(type: String, value: String)]]
        var expected: String
        var testDescription: String { self.expected }
    }

    /// Where esockd's form and OpenSSL's RFC2253 form are the same.
    static let common: [Name] = [
        Name(
            attributes: [[("C", "CN")], [("O", "EMQ Technologies Co., Ltd")], [("CN", "346a004d")]],
            expected: #"CN=346a004d,O=EMQ Technologies Co.\, Ltd,C=CN"#
        ),
        Name(attributes: [[("CN", "a+b;c<d>e")]], expected: #"CN=a\+b\;c\<d\>e"#),
        Name(attributes: [[("CN", #"say "hi" \ bye"#)]], expected: #"CN=say \"hi\" \\ bye"#),
        Name(attributes: [[("CN", "#1 device #2")]], expected: ##"CN=\#1 device #2"##),
        Name(attributes: [[("CN", " both ends ")]], expected: #"CN=\ both ends\ "#),
        Name(attributes: [[("CN", " ")]], expected: #"CN=\ "#),
        Name(attributes: [[("CN", "a=b/c")]], expected: "CN=a=b/c"),
        Name(
            attributes: [[("O", "Müller")], [("CN", "größe 温度 🐦")]],
            expected: #"CN=gr\C3\B6\C3\9Fe \E6\B8\A9\E5\BA\A6 \F0\9F\90\A6,O=M\C3\BCller"#
        ),
        Name(
            attributes: [[("DC", "com")], [("DC", "example")], [("UID", "u1")], [("CN", "x")]],
            expected: "CN=x,UID=u1,DC=example,DC=com"
        ),
        Name(
            attributes: [[("ST", "Bavaria")], [("L", "Munich")], [("OU", "Line 1")], [("SN", "Sur")], [("CN", "x")]],
            expected: "CN=x,SN=Sur,OU=Line 1,L=Munich,ST=Bavaria"
        ),
        Name(attributes: [[("CN", "one")], [("CN", "two")]], expected: "CN=two,CN=one"),
    ]

    @Test(arguments: Self.common)
    func subjectsAsOpenSSLWritesThem(_ name: Name) throws {
        let files = try self.issue(name.attributes.map { $0.map { Attribute($0.type, $0.value) } })
        let identity = try #require(try CertificateIdentity.load(certificateFile: files.certificate).identity)
        #expect(String(decoding: identity.subject, as: UTF8.self) == name.expected)
        #expect(try self.openssl(files, "-subject", "-nameopt", "RFC2253") == "subject=\(name.expected)")
    }

    /// Where the two differ, esockd's form counts: type names in capitals, no name for the street, values of unknown types as text, "~" escaped.
    static let different: [Name] = [
        Name(
            attributes: [
                [("emailAddress", "a@b.c")], [("serialNumber", "77")], [("title", "Dr")], [("GN", "Given")],
                [("street", "Main St")],
            ],
            expected: "2.5.4.9=Main St,GIVENNAME=Given,TITLE=Dr,SERIALNUMBER=77,EMAILADDRESS=a@b.c"
        ),
        Name(attributes: [[("1.3.6.1.4.1.99999.1", "own, value")]], expected: #"1.3.6.1.4.1.99999.1=own\, value"#),
        Name(attributes: [[("postalCode", "80331")]], expected: "2.5.4.17=80331"),
        Name(attributes: [[("CN", "~tilde")]], expected: #"CN=\7Etilde"#),
    ]

    @Test(arguments: Self.different)
    func subjectsAsEMQXWritesThem(_ name: Name) throws {
        let files = try self.issue(name.attributes.map { $0.map { Attribute($0.type, $0.value) } })
        let identity = try #require(try CertificateIdentity.load(certificateFile: files.certificate).identity)
        #expect(String(decoding: identity.subject, as: UTF8.self) == name.expected)
        #expect(try self.openssl(files, "-subject", "-nameopt", "RFC2253") != "subject=\(name.expected)")
    }

    /// DER sorts the attributes of one RDN; esockd keeps that order, OpenSSL turns it round with all the rest.
    @Test func multiValuedRDNsKeepTheirOrder() throws {
        let files = try self.issue([[Attribute("O", "Fleet")], [Attribute("OU", "Line"), Attribute("CN", "dev")]])
        let identity = try #require(try CertificateIdentity.load(certificateFile: files.certificate).identity)
        #expect(String(decoding: identity.subject, as: UTF8.self) == "CN=dev+OU=Line,O=Fleet")
        #expect(try self.openssl(files, "-subject", "-nameopt", "RFC2253") == "subject=OU=Line+CN=dev,O=Fleet")
        #expect(identity.commonName == Array("dev".utf8))
    }

    @Test func severalCommonNamesAreJoined() throws {
        let files = try self.issue([[Attribute("CN", "one, 1")], [Attribute("O", "x")], [Attribute("CN", "zwei ü")]])
        let identity = try #require(try CertificateIdentity.load(certificateFile: files.certificate).identity)
        #expect(identity.commonName == Array("one, 1,zwei ü".utf8))
    }

    @Test func emptySubject() throws {
        let identity = try #require(try CertificateIdentity.load(certificateFile: self.issue([]).certificate).identity)
        #expect(identity.commonName == nil)
        #expect(identity.subject == [])
        #expect(identity.issuer == Array("CN=Test CA".utf8))
    }

    @Test func stringTypesBecomeUTF8() throws {
        let files = try self.issue([
            [Attribute("CN", [0x00, 0x67, 0x00, 0xfc, 0x6e, 0x29], encoding: .bmpString)],
            [Attribute("CN", [0x67, 0xfc], encoding: .teletexString)],
            [Attribute("CN", [0, 1, 0xf4, 0x26], encoding: .universalString)],
            [Attribute("CN", Array("plain".utf8), encoding: .printableString)],
        ])
        let identity = try #require(try CertificateIdentity.load(certificateFile: files.certificate).identity)
        #expect(identity.commonName == Array("gü温,gü,🐦,plain".utf8))
    }

    @Test func whatIsNoTextIsWrittenAsHex() throws {
        let files = try self.issue([
            [Attribute("1.3.6.1.4.1.99999.2", [1, 2, 10], encoding: .bitString)], [Attribute("CN", "x")],
        ])
        let identity = try #require(try CertificateIdentity.load(certificateFile: files.certificate).identity)
        #expect(String(decoding: identity.subject, as: UTF8.self) == ##"CN=x,1.3.6.1.4.1.99999.2=\#03040101020a"##)
    }

    @Test(arguments: [
        ("CN", Array("a\nb".utf8), "common name"), ("CN", [0x61, 0x00], "common name"), ("O", [0x7f], "subject"),
        ("CN", [0xc2, 0x85], "common name"), ("OU", Array("\r\nSET x y".utf8), "subject"),
    ])
    func controlCharactersAreRefused(_ type: String, _ value: [UInt8], _ field: String) throws {
        let files = try self.issue([[Attribute("CN", "good")], [Attribute(type, value, encoding: .utf8String)]])
        let loaded = try CertificateIdentity.load(certificateFile: files.certificate)
        #expect(loaded.identity == nil)
        #expect(loaded.refusal?.description == "the certificate's \(field) holds a control character")

        // And so it is on a connection, after a handshake that verified.
        let pair = try TLSPair(self.certificates.serverConfiguration, self.certificates.clientConfiguration(files))
        try pair.connect()
        let refused = #expect(throws: PeerIdentityError.self) { try pair.server.peerCertificateIdentity() }
        #expect(refused?.reason == .controlCharacter)
        #expect(refused?.field.rawValue == field)
    }

    @Test func longFieldsAreRefused() throws {
        let long = [UInt8](repeating: 0x61, count: IdentityLimits.fieldBytesMax + 1)
        let files = try self.issue([[Attribute("CN", long, encoding: .utf8String)]])
        let pair = try TLSPair(self.certificates.serverConfiguration, self.certificates.clientConfiguration(files))
        try pair.connect()
        let refused = #expect(throws: PeerIdentityError.self) { try pair.server.peerCertificateIdentity() }
        #expect(refused?.reason == .tooLong)
    }

    @Test func otherFields() throws {
        let files = try self.issue(
            [[Attribute("CN", "x")]],
            alternativeNames: [
                .dns("device.example.com"), .ipAddress("192.0.2.7"), .ipAddress("2001:db8::7"), .email("a@example.com"),
                .uri("urn:uuid:346a004d"),
            ]
        )
        let identity = try #require(try CertificateIdentity.load(certificateFile: files.certificate).identity)
        let serial = String(decoding: identity.serialNumber, as: UTF8.self)
        #expect(try self.openssl(files, "-serial") == "serial=\(serial)")
        #expect(serial.utf8.count == 32)
        let fingerprint = Hex.encode(identity.fingerprint, uppercase: true)
        let printed = try self.openssl(files, "-fingerprint", "-sha256").filter { $0 != ":" }
        #expect(printed.hasSuffix("=" + String(decoding: fingerprint, as: UTF8.self)))
        let date = try runProcess("date", arguments: ["-u", "-d", "@\(identity.notAfter)", "+%b %e %H:%M:%S %Y GMT"])
        #expect(try self.openssl(files, "-enddate") + "\n" == "notAfter=" + date.output)
        #expect(identity.alternativeNames.map(\.kind) == [.dns, .ipAddress, .ipAddress, .email, .uri])
        #expect(
            identity.alternativeNames.map { String(decoding: $0.value, as: UTF8.self) } == [
                "device.example.com", "192.0.2.7", "2001:db8::7", "a@example.com", "urn:uuid:346a004d",
            ]
        )
    }

    /// Placeholders ask for the first of a kind.
    @Test("Of many alternative names the first of each kind is taken, and no more than fit")
    func manyAlternativeNames() throws {
        let files = try self.issue(
            [[Attribute("CN", "x")]],
            alternativeNames: (0..<300).map { .dns("host-\($0).example") } + [.email("a@example.com"), .uri("urn:x")]
        )
        let identity = try #require(try CertificateIdentity.load(certificateFile: files.certificate).identity)
        let names = identity.alternativeNames
        #expect(names.count <= IdentityLimits.alternativeNamesMax && names.count > 30)
        #expect(names.first?.value == Array("host-0.example".utf8))
        #expect(names.suffix(2).map(\.kind) == [.email, .uri])
    }

    @Test func controlCharactersInAlternativeNamesAreRefused() throws {
        let files = try self.issue([[Attribute("CN", "x")]], alternativeNames: [.dns("a\nb")])
        let pair = try TLSPair(self.certificates.serverConfiguration, self.certificates.clientConfiguration(files))
        try pair.connect()
        let refused = #expect(throws: PeerIdentityError.self) { try pair.server.peerCertificateIdentity() }
        #expect(refused == PeerIdentityError(field: .alternativeName, reason: .controlCharacter))
    }

    /// A refused device's name in the log must not be able to break the line.
    @Test func refusedNamesArePrintable() throws {
        let strangers = try TestCertificates(commonName: "Other CA")
        let subject = CertificateSubject(rdns: [[Attribute("CN", Array("a\nü\u{7f}".utf8), encoding: .utf8String)]])
        let files = try strangers.write(
            strangers.authority.issueClient(subject: subject, validity: .days(1)),
            name: "stranger"
        )
        let pair = try TLSPair(self.certificates.serverConfiguration, self.certificates.clientConfiguration(files))
        let failure = try #require(pair.handshake().server.failure)
        #expect(failure.certificateSubject == #"CN=a\0A\C3\BC\7F"#)
        #expect(failure.detail.utf8.allSatisfy { (32..<127).contains($0) })
    }
}
