import TestSupport
import Testing

@testable import TLS

/// Authorities whose certificates change while clients are connected.
@Suite struct RenewedAuthorityTests {
    private let pki: TestPKI

    init() throws {
        self.pki = try TestPKI()
    }

    private func context(_ authorities: [String], insteadOf former: TLSServerContext? = nil) throws -> TLSServerContext
    {
        let file = self.pki.directory.file("bundle.pem")
        try writeFile(file, try authorities.flatMap { try readFile(self.pki.directory.file("\($0).crt")) })
        let configuration = TLSServerConfiguration(
            certificateFile: self.pki.server.certificateFile,
            keyFile: self.pki.server.keyFile,
            clientCAFile: file
        )
        return try TLSServerContext(configuration, insteadOf: former)
    }

    /// Of a device that is let in now.
    private func chain(_ context: TLSServerContext, authority: String = "ca") throws -> VerifiedChain {
        let device = try self.pki.device("device", authority: authority)
        let client = TLSClientConfiguration(
            caFile: self.pki.caFile,
            certificateFile: device.certificateFile,
            keyFile: device.keyFile,
            serverName: "localhost"
        )
        let pair = try TLSPair(context, TLSClientContext(client))
        try pair.connect()
        return try #require(pair.server.verifiedChain)
    }

    @Test func aRenewedAuthorityIsTheSame() throws {
        try self.pki.renewAuthority("ca", as: "renewed", name: "Test CA")
        try self.pki.renewAuthority("ca", as: "again", name: "Test CA")
        let first = try self.context(["ca"])
        let chain = try self.chain(first)
        let both = try self.context(["ca", "renewed"], insteadOf: first)
        #expect(both.trusts(chain))
        let alone = try self.context(["renewed"], insteadOf: both)
        #expect(alone.trusts(chain))
        #expect(alone.trusts(try self.chain(alone)))
        let later = try self.context(["again"], insteadOf: alone)
        #expect(later.trusts(chain))
        let other = try self.context(["other"], insteadOf: later)
        #expect(!other.trusts(chain))
        // What was not trusted for a while has been closed then.
        let back = try self.context(["again"], insteadOf: other)
        #expect(!back.trusts(chain))
    }

    @Test func anotherKeyIsAnotherAuthority() throws {
        let first = try self.context(["ca"])
        let chain = try self.chain(first)
        try self.pki.makeAuthority("mimic", name: "Test CA")
        #expect(!(try self.context(["mimic"], insteadOf: first).trusts(chain)))
        try self.pki.renewAuthority("ca", as: "renamed", name: "Another name")
        #expect(!(try self.context(["renamed"], insteadOf: first).trusts(chain)))
    }

    @Test func anIntermediateIsTrustedThroughItsRoot() throws {
        _ = try self.pki.makeIntermediate("intermediate")
        let first = try self.context(["intermediate"])
        let chain = try self.chain(first, authority: "intermediate")
        let root = try self.context(["ca"], insteadOf: first)
        #expect(root.trusts(chain))
        #expect(!(try self.context(["other"], insteadOf: first).trusts(chain)))
        #expect(!(try self.context(["other"], insteadOf: root).trusts(chain)))
    }
}
