import Common
import Glibc
import TLS
import TestSupport
import Testing

@Suite struct HandshakeTests {
    let certificates: TestCertificates

    init() throws {
        self.certificates = try TestCertificates()
    }

    /// Limits both sides to one version.
    private func configurations(
        _ version: TLSVersion,
        client: TestCertificates.Files?
    ) -> (TLSServerConfiguration, TLSClientConfiguration) {
        var serverConfiguration = self.certificates.serverConfiguration
        var clientConfiguration = self.certificates.clientConfiguration(client)
        serverConfiguration.minimumVersion = version
        serverConfiguration.maximumVersion = version
        clientConfiguration.minimumVersion = version
        clientConfiguration.maximumVersion = version
        return (serverConfiguration, clientConfiguration)
    }

    /// A handshake that the server must refuse; returns its reason and the alert that reached the client.
    private func refusal(
        _ version: TLSVersion,
        client: TestCertificates.Files?,
        adjust: (inout TLSServerConfiguration) -> Void = { _ in }
    ) throws -> (failure: TLSFailure, alert: UInt8?) {
        var (serverConfiguration, clientConfiguration) = self.configurations(version, client: client)
        adjust(&serverConfiguration)
        let pair = try TLSPair(serverConfiguration, clientConfiguration)
        let result = pair.handshake()
        let failure = try #require(result.server.failure)
        // In TLS 1.3 the client is done before the server has seen its certificate; it learns on the first read.
        let clientFailure = result.client.failure ?? pair.client.read().result.failure
        return (failure, clientFailure?.alert)
    }

    @Test(arguments: [TLSVersion.v1_2, .v1_3])
    func mutualHandshakeTellsWhoTheDeviceIs(_ version: TLSVersion) throws {
        let (server, client) = self.configurations(version, client: try self.certificates.client("device-1"))
        let pair = try TLSPair(server, client)
        try pair.connect()
        #expect(pair.server.version == (version == .v1_2 ? "TLSv1.2" : "TLSv1.3"))
        #expect(pair.client.cipher == pair.server.cipher)
        #expect(pair.server.cipher.contains("GCM") || pair.server.cipher.contains("CHACHA20"))
        #expect(!pair.server.isResumed)
        let identity = try #require(try pair.server.peerCertificateIdentity())
        #expect(identity.commonName == Array("device-1".utf8))
        #expect(identity.subject == Array("CN=device-1".utf8))
        #expect(identity.issuer == Array("CN=Test CA".utf8))
        let seenByClient = try #require(try pair.client.peerCertificateIdentity())
        #expect(
            seenByClient.alternativeNames.map { String(decoding: $0.value, as: UTF8.self) } == [
                "localhost", "127.0.0.1", "::1",
            ]
        )
        #expect(pair.server.write(Array("hello".utf8)) == .bytes(5))
        #expect(pair.client.read().bytes == Array("hello".utf8))
    }

    @Test(arguments: [TLSVersion.v1_2, .v1_3])
    func missingCertificateIsRefused(_ version: TLSVersion) throws {
        let (failure, alert) = try self.refusal(version, client: nil)
        #expect(failure.kind == .noClientCertificate)
        #expect(failure.certificateSubject == nil)
        // certificate_required in TLS 1.3; TLS 1.2 has no such alert, handshake_failure stands for it.
        #expect(alert == (version == .v1_3 ? 116 : 40))
    }

    @Test(arguments: [TLSVersion.v1_2, .v1_3])
    func certificateOfAnotherAuthorityIsRefused(_ version: TLSVersion) throws {
        let strangers = try TestCertificates(commonName: "Other CA")
        let (failure, alert) = try self.refusal(version, client: try strangers.client("stranger"))
        #expect(failure.kind == .unknownCertificateAuthority)
        #expect(failure.certificateSubject == "CN=stranger")
        #expect(failure.detail.contains("CN=Other CA"))
        #expect(alert == 48)
    }

    @Test func authorityOfTheSameNameIsRefused() throws {
        let impostors = try TestCertificates(commonName: "Test CA")
        let (failure, _) = try self.refusal(.v1_3, client: try impostors.client("device-1"))
        #expect(failure.kind == .unknownCertificateAuthority)
    }

    @Test(arguments: [TLSVersion.v1_2, .v1_3])
    func expiredCertificateIsRefused(_ version: TLSVersion) throws {
        let now = Int64(time(nil))
        let old = try self.certificates.client(
            "old",
            validity: CertificateValidity(notBefore: now - 90000, notAfter: now - 3600)
        )
        let (failure, alert) = try self.refusal(version, client: old)
        #expect(failure.kind == .certificateExpired)
        #expect(failure.certificateSubject == "CN=old")
        #expect(failure.detail.contains("expired"))
        #expect(alert == 45)
    }

    @Test func certificateOfTomorrowIsRefused() throws {
        let now = Int64(time(nil))
        let early = try self.certificates.client(
            "early",
            validity: CertificateValidity(notBefore: now + 86400, notAfter: now + 90000)
        )
        let (failure, alert) = try self.refusal(.v1_3, client: early)
        #expect(failure.kind == .certificateNotYetValid)
        #expect(alert == 42)
    }

    @Test func serverCertificateCannotBeUsedByAClient() throws {
        let (failure, alert) = try self.refusal(.v1_3, client: self.certificates.server)
        #expect(failure.kind == .badCertificate)
        #expect(failure.detail.contains("purpose"))
        #expect(alert == 43)
    }

    @Test func chainLongerThanVerifyDepthIsRefused() throws {
        let first = try self.certificates.authority.issueAuthority(commonName: "Plant", validDays: 10)
        let second = try first.issueAuthority(commonName: "Line", validDays: 10)
        let device = try self.certificates.write(try second.issueClient(commonName: "deep"), name: "deep")
        let (failure, _) = try self.refusal(.v1_3, client: device) { $0.verifyDepth = 1 }
        #expect(failure.kind == .certificateChainTooLong)
        #expect(failure.certificateSubject == "CN=deep")

        var (server, client) = self.configurations(.v1_3, client: device)
        server.verifyDepth = 2
        try TLSPair(server, client).connect()
        // An intermediate authority alone may be trusted: only its devices get in.
        let lineFile = self.certificates.directory.file("line.crt")
        try second.write(certificateFile: lineFile)
        server.clientCAFile = lineFile
        server.verifyDepth = 0
        try TLSPair(server, client).connect()
        client.certificateFile = try self.certificates.client("outsider").certificate
        client.keyFile = self.certificates.directory.file("outsider.key")
        #expect(try TLSPair(server, client).handshake().server.failure?.kind == .unknownCertificateAuthority)
    }

    @Test func optionalCertificateMayBeMissingButNotBad() throws {
        var (server, client) = self.configurations(.v1_3, client: nil)
        server.clientCertificate = .optional
        let pair = try TLSPair(server, client)
        try pair.connect()
        #expect(try pair.server.peerCertificateIdentity() == nil)

        let strangers = try TestCertificates(commonName: "Other CA")
        let stranger = try strangers.client("stranger")
        let (failure, _) = try self.refusal(.v1_3, client: stranger) { $0.clientCertificate = .optional }
        #expect(failure.kind == .unknownCertificateAuthority)
    }

    @Test func withoutClientCertificatesNoneIsAskedFor() throws {
        var (server, client) = self.configurations(.v1_3, client: try self.certificates.client("device-1"))
        server.clientCertificate = .none
        server.clientCAFile = nil
        let pair = try TLSPair(server, client)
        try pair.connect()
        #expect(try pair.server.peerCertificateIdentity() == nil)
    }

    @Test func noVersionInCommon() throws {
        var server = self.certificates.serverConfiguration
        var client = self.certificates.clientConfiguration(nil)
        server.minimumVersion = .v1_3
        client.maximumVersion = .v1_2
        let pair = try TLSPair(server, client)
        let result = pair.handshake()
        #expect(result.server.failure?.kind == .protocolVersion)
        #expect(result.client.failure?.alert == 70)
    }

    @Test(arguments: [
        (nil, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        (nil, "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
        (
            "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384",
            "TLS_AES_256_GCM_SHA384"
        ),
    ])
    func suiteByTheServersOrder(configured: String?, offered: String, expected: String) throws {
        var (server, client) = self.configurations(.v1_3, client: try self.certificates.client("device-1"))
        server.cipherSuites = configured
        client.cipherSuites = offered
        let pair = try TLSPair(server, client)
        try pair.connect()
        #expect(pair.server.cipher == expected)
    }

    @Test func noCipherInCommon() throws {
        var (server, client) = self.configurations(.v1_2, client: nil)
        server.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"
        client.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384"
        let pair = try TLSPair(server, client)
        let result = pair.handshake()
        #expect(result.server.failure?.kind == .noSharedCipher)
        #expect(result.client.failure?.kind == .alertReceived)
    }

    @Test func clientRefusesServersOfAnotherAuthorityOrName() throws {
        let device = try self.certificates.client("device-1")
        var (server, client) = self.configurations(.v1_3, client: device)
        client.serverName = "broker.example.com"
        let wrongName = try TLSPair(server, client).handshake()
        #expect(wrongName.client.failure?.kind == .badCertificate)
        #expect(wrongName.server.failure?.kind == .alertReceived)
        client.serverName = "127.0.0.1"
        try TLSPair(server, client).connect()
        client.serverName = "127.0.0.2"
        #expect(try TLSPair(server, client).handshake().client.failure?.kind == .badCertificate)

        let strangers = try TestCertificates(commonName: "Other CA")
        server.certificateFile = strangers.server.certificate
        server.keyFile = strangers.server.key
        client.serverName = "localhost"
        let stranger = try TLSPair(server, client).handshake()
        #expect(stranger.client.failure?.kind == .unknownCertificateAuthority)
        #expect(stranger.server.failure?.alert == 48)
        #expect(stranger.server.failure?.detail.contains("unknown CA") == true)
        client.verifyPeer = false
        try TLSPair(server, client).connect()
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\n\r\n", "\u{10}\u{16}\0\u{4}MQTT\u{4}\u{2}\0\u{3c}\0\u{a}device-001",
        "hello world, this is noise",
    ])
    func plainTextIsRecognised(_ text: String) throws {
        let (near, far) = try makeSocketPair()
        defer {
            close(near)
            close(far)
        }
        let context = try TLSServerContext(self.certificates.serverConfiguration)
        let connection = try #require(context.makeConnection(fileDescriptor: near))
        #expect(connection.handshake() == .wantsRead)
        #expect(write(far, text, text.utf8.count) == text.utf8.count)
        let failure = try #require(connection.handshake().failure)
        #expect(failure.kind == .notTLS)
        // Further calls fail again and do nothing else.
        #expect(connection.handshake().failure == failure)
        #expect(connection.read().result.failure == failure)
        connection.shutdown()
    }

    @Test func peerThatLeavesDuringTheHandshake() throws {
        let (near, far) = try makeSocketPair()
        defer { close(near) }
        let context = try TLSServerContext(self.certificates.serverConfiguration)
        let connection = try #require(context.makeConnection(fileDescriptor: near))
        #expect(connection.handshake() == .wantsRead)
        // A child process that another test has just forked still has the descriptor: closing ours would not end the connection.
        shutdown(far, Int32(SHUT_RDWR))
        close(far)
        #expect(connection.handshake().failure?.kind == .connectionReset)
    }

    /// Tickets come back only together with checks of revocation; until then nothing may be resumed.
    @Test(arguments: [TLSVersion.v1_2, .v1_3])
    func nothingIsResumed(_ version: TLSVersion) throws {
        let files = try self.certificates.client("device-1")
        let context = try TLSServerContext(self.configurations(version, client: nil).0)
        let pair = try TLSPair(context, try TLSClientContext(self.configurations(version, client: files).1))
        try pair.connect()
        #expect(pair.server.write([1]) == .bytes(1))
        #expect(pair.client.read().bytes == [1])
        #expect(!pair.client.canBeResumed)
    }

    @Test func aConnectionKeepsTheContextThatItBeganWith() throws {
        var settings = self.certificates.serverConfiguration
        settings.tickets = TicketConfiguration(
            secrets: [[UInt8](repeating: 7, count: 32)],
            lifetimeSeconds: 3600,
            now: { Int64(time(nil)) }
        )
        var server: TLSServerContext? = try TLSServerContext(settings)
        weak let context = server
        let client = self.certificates.clientConfiguration(try self.certificates.client("device-1"))
        var pair: TLSPair? = try TLSPair(try #require(server), TLSClientContext(client))
        // The settings are read again while a handshake is under way, and long before a ticket is renewed.
        server = nil
        #expect(context != nil)
        try pair?.connect()
        pair?.server.renewTicket()
        #expect(pair?.server.canBeResumed == true)
        #expect(context != nil)
        pair = nil
        #expect(context == nil)
    }

    /// Seeded noise, alone and in place of parts of a true ClientHello, must end in a failure and never in a crash.
    @Test func noiseNeverCrashes() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let context = try TLSServerContext(self.certificates.serverConfiguration)
        let hello = try self.clientHello()
        for round in 0..<300 {
            var bytes = hello
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if round % 4 == 0 { bytes = (0..<200).map { _ in UInt8.random(in: 0...255, using: &random) } }
            let (near, far) = try makeSocketPair()
            let connection = try #require(context.makeConnection(fileDescriptor: near))
            _ = write(far, bytes, bytes.count)
            shutdown(far, Int32(SHUT_WR))
            var result = connection.handshake()
            for _ in 0..<4 where !result.isFinal { result = connection.handshake() }
            #expect(result.failure != nil, "seed \(seed), round \(round)")
            close(near)
            close(far)
        }
    }

    private func clientHello() throws -> [UInt8] {
        let (near, far) = try makeSocketPair()
        defer {
            close(near)
            close(far)
        }
        let context = try TLSClientContext(self.certificates.clientConfiguration(nil))
        let client = try #require(context.makeConnection(fileDescriptor: near))
        #expect(client.handshake() == .wantsRead)
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = read(far, &buffer, buffer.count)
        try #require(count > 100)
        return Array(buffer[..<count])
    }
}
