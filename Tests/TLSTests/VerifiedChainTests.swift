import Common
import Glibc
import TestSupport
import Testing

@testable import TLS

/// Devices whose certificates were verified before.
@Suite struct VerifiedChainTests {
    private let certificates: TestCertificates

    init() throws {
        self.certificates = try TestCertificates()
    }

    private func connect(
        _ server: TLSServerContext,
        _ device: TestCertificates.Files,
        _ version: TLSVersion = .v1_3
    ) throws -> TLSPair {
        let pair = try self.pair(server, device, version)
        try pair.connect()
        return pair
    }

    private func pair(
        _ server: TLSServerContext,
        _ device: TestCertificates.Files,
        _ version: TLSVersion = .v1_3
    ) throws -> TLSPair {
        var client = self.certificates.clientConfiguration(device)
        client.maximumVersion = version
        return try TLSPair(server, TLSClientContext(client))
    }

    private func refusal(_ server: TLSServerContext, _ device: TestCertificates.Files) throws -> TLSFailure? {
        let pair = try self.pair(server, device)
        return pair.handshake().server.failure
    }

    private func list(_ revoked: [CertificateKey]) -> RevocationList {
        RevocationList([
            RevocationList.Part(
                issuer: Array("other".utf8),
                issuerName: "other",
                signer: [],
                signerKeyIdentifier: [],
                distributionPoint: [],
                madeAt: 1,
                number: [],
                nextUpdate: nil,
                revoked: revoked.sorted()
            )
        ])
    }

    @Test(arguments: [TLSVersion.v1_2, .v1_3])
    func aDeviceThatComesBackIsKnown(_ version: TLSVersion) throws {
        let server = try TLSServerContext(self.certificates.serverConfiguration)
        let device = try self.certificates.client("device-1")
        let first = try self.connect(server, device, version)
        #expect(!first.server.hasKnownChain)
        let second = try self.connect(server, device, version)
        #expect(second.server.hasKnownChain)
        #expect(!second.server.isResumed)
        #expect(second.server.verifiedChain == first.server.verifiedChain)
        #expect(second.server.verifiedChain?.certificates.count == 2)
        let identities = try [first, second].map { try $0.server.peerCertificateIdentity() }
        #expect(identities[0] == identities[1])
        #expect(identities[1]?.commonName == Array("device-1".utf8))
        // Another device is not.
        #expect(try !self.connect(server, try self.certificates.client("device-2"), version).server.hasKnownChain)
    }

    @Test func aCertificateOfTheSameNameAndAnotherAuthorityIsVerified() throws {
        let server = try TLSServerContext(self.certificates.serverConfiguration)
        let device = try self.certificates.client("device-1")
        for _ in 0..<2 { _ = try self.connect(server, device) }
        let impostors = try TestCertificates(commonName: "Test CA")
        let impostor = try impostors.client("device-1")
        for _ in 0..<2 {
            #expect(try self.refusal(server, impostor)?.kind == .unknownCertificateAuthority)
        }
        // And the device itself with a new certificate gets in, after a look at it.
        let renewed = try self.certificates.write(
            try self.certificates.authority.issueClient(commonName: "device-1"),
            name: "renewed"
        )
        #expect(try !self.connect(server, renewed).server.hasKnownChain)
        #expect(try self.connect(server, renewed).server.hasKnownChain)
    }

    @Test func authoritiesBetweenAreKnownTooButMustBeSent() throws {
        let plant = try self.certificates.authority.issueAuthority(commonName: "Plant", validDays: 10)
        let line = try plant.issueAuthority(commonName: "Line", validDays: 10)
        let device = try self.certificates.write(try line.issueClient(commonName: "deep"), name: "deep")
        let server = try TLSServerContext(self.certificates.serverConfiguration)
        let first = try self.connect(server, device)
        let second = try self.connect(server, device)
        #expect(second.server.hasKnownChain)
        #expect(second.server.verifiedChain == first.server.verifiedChain)
        #expect(second.server.verifiedChain?.certificates.count == 4)
        // What the device sends decides, not what others or it itself sent before.
        let whole = try String(decoding: readFile(device.certificate), as: UTF8.self)
        let end = "-----END CERTIFICATE-----\n"
        var alone = device
        alone.certificate = self.certificates.directory.file("alone.crt")
        try writeFile(alone.certificate, Array((try #require(whole.split(separator: end).first) + end).utf8))
        #expect(try self.refusal(server, alone)?.kind == .unknownCertificateAuthority)
    }

    @Test func revocationReachesDevicesThatAreKnown() throws {
        let plant = try self.certificates.authority.issueAuthority(commonName: "Plant", validDays: 10)
        let device = try self.certificates.write(try plant.issueClient(commonName: "device-1"), name: "device-1")
        let checker = RevocationChecker { 1000 }
        let server = try TLSServerContext(self.certificates.serverConfiguration, revocation: checker)
        _ = try self.connect(server, device)
        let known = try self.connect(server, device)
        #expect(known.server.hasKnownChain)
        let keys = try #require(known.server.verifiedChain?.certificates.map(\.key))
        for key in keys.dropLast() {
            checker.list = self.list([key])
            let failure = try #require(try self.refusal(server, device))
            #expect(failure.kind == .certificateRevoked)
            #expect(failure.certificateSubject == "CN=device-1")
            // The list was a mistake: it gets in again.
            checker.list = RevocationList([])
            #expect(try self.connect(server, device).server.hasKnownChain)
        }
        // What is said of the root is its owner's business: it is trusted because it is in the file.
        checker.list = self.list([keys[keys.count - 1]])
        #expect(try self.connect(server, device).server.hasKnownChain)
        checker.policy.refusesMissing = true
        #expect(try self.refusal(server, device)?.kind == .revocationUnknown)
    }

    @Test func aChainIsKnownWhileItIsValid() throws {
        let now = Int64(time(nil))
        let validity = CertificateValidity(notBefore: now - 1000, notAfter: now + 1000)
        let device = try self.certificates.client("device-1", validity: validity)
        let clock = Clock()
        clock.now = now
        let server = try TLSServerContext(self.certificates.serverConfiguration, now: { clock.now })
        _ = try self.connect(server, device)
        // By OpenSSL's own clock the certificate is valid all the while.
        for (moment, isKnown) in [
            (now, true), (now - 1000, true), (now - 1001, false), (now + 999, true), (now + 1000, false),
            (now + 1001, false),
        ] {
            clock.now = moment
            #expect(try self.connect(server, device).server.hasKnownChain == isKnown, "\(moment - now)")
        }
    }

    private final class Clock {
        var now: Int64 = 0
    }

    @Test func newAuthoritiesKnowNobody() throws {
        let device = try self.certificates.client("device-1")
        var settings = self.certificates.serverConfiguration
        let server = try TLSServerContext(settings)
        for _ in 0..<2 { _ = try self.connect(server, device) }
        #expect(try !self.connect(TLSServerContext(settings), device).server.hasKnownChain)
        let others = try TestCertificates(commonName: "Test CA")
        settings.clientCAFile = others.caFile
        #expect(try self.refusal(TLSServerContext(settings), device)?.kind == .unknownCertificateAuthority)
    }

    @Test func theOldestIsForgottenFirst() throws {
        let server = try TLSServerContext(self.certificates.serverConfiguration)
        server.verifiedChains.generationMax = 2
        let devices = try (1...6).map { try self.certificates.client("device-\($0)") }
        for device in devices.prefix(4) { #expect(try !self.connect(server, device).server.hasKnownChain) }
        // One that comes again stays, while others go.
        #expect(try self.connect(server, devices[0]).server.hasKnownChain)
        for device in devices.suffix(2) { #expect(try !self.connect(server, device).server.hasKnownChain) }
        #expect(try self.connect(server, devices[0]).server.hasKnownChain)
        #expect(try !self.connect(server, devices[1]).server.hasKnownChain)
    }
}
