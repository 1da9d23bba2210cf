import TestSupport
import Testing

@testable import TLS

/// Authorities of one name, each with a list of its own, whose serial numbers may be the same.
@Suite struct RevocationSignerTests {
    private static let first = [UInt8](repeating: 1, count: 32)
    private static let second = [UInt8](repeating: 2, count: 32)
    private static let key = CertificateKey(digest: [UInt8](repeating: 7, count: 16))

    private func part(
        _ signer: [UInt8],
        revoked: [CertificateKey],
        nextUpdate: Int64? = nil,
        distributionPoint: [UInt8] = []
    ) -> RevocationList.Part {
        RevocationList.Part(
            issuer: Array("CN=Dev CA".utf8),
            issuerName: "CN=Dev CA",
            signer: signer,
            signerKeyIdentifier: [],
            distributionPoint: distributionPoint,
            madeAt: 1,
            number: [],
            nextUpdate: nextUpdate,
            revoked: revoked
        )
    }

    private func revokes(_ parts: [RevocationList.Part], _ signer: [UInt8], now: Int64 = 100) -> Bool {
        let checker = RevocationChecker(list: RevocationList(parts)) { now }
        let certificate = VerifiedChain.Certificate(key: Self.key, signer: SignerKey(digest: signer))
        let byChain = checker.revokes(VerifiedChain(certificates: [certificate], validUntil: .max))
        let byList = checker.list.revokes(Self.key, now: now) { SignerKey(digest: signer) }
        #expect(byChain == byList)
        return byList
    }

    @Test("Regression: revoking a serial number of one authority revokes that of another one of the name")
    func eachHasItsOwn() {
        let parts = [self.part(Self.first, revoked: []), self.part(Self.second, revoked: [Self.key])]
        #expect(!self.revokes(parts, Self.first))
        #expect(self.revokes(parts, Self.second))
        // Who signed it is not known: better one too many.
        #expect(self.revokes(parts, []))
    }

    /// An authority that was made anew may sign lists for what it issued with its former key.
    @Test func withoutAListOfItsSignersOwnAllOfTheNameCount() {
        #expect(self.revokes([self.part(Self.second, revoked: [Self.key])], Self.first))
        let overdue = self.part(Self.first, revoked: [], nextUpdate: 50)
        let parts = [overdue, self.part(Self.second, revoked: [Self.key])]
        #expect(self.revokes(parts, Self.first))
        #expect(!self.revokes(parts, Self.first, now: 40))
    }

    /// A list of another distribution point says nothing of these.
    @Test func aListForOtherCertificatesIsNoneOfItsOwn() {
        let parts = [
            self.part(Self.first, revoked: [], distributionPoint: [1]), self.part(Self.second, revoked: [Self.key]),
        ]
        #expect(self.revokes(parts, Self.first))
    }

    /// Handshake, live session and ticket alike know who signed.
    @Test(arguments: [TLSVersion.v1_2, .v1_3])
    func whoSignedIsKnownInEachConnection(_ version: TLSVersion) throws {
        let certificates = try TestCertificates()
        let server = try TLSServerContext(certificates.serverConfiguration)
        let device = try certificates.client("device-1")
        var configuration = certificates.clientConfiguration(device)
        configuration.maximumVersion = version
        let pair = try TLSPair(server, TLSClientContext(configuration))
        try pair.connect()
        let chain = try #require(pair.server.verifiedChain)
        try #require(chain.certificates.count == 2)
        #expect(chain.certificates[0].signer != .unknown && chain.certificates[1].signer == .unknown)
    }
}
