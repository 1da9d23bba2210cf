import Common
import TestSupport
import Testing

@testable import TLS

/// Which certificates a revocation list speaks of (RFC 5280, sections 5.2.5 and 6.3.3).
@Suite struct RevocationScopeTests {
    private let pki: TestPKI
    private let authorities: String

    init() throws {
        self.pki = try TestPKI()
        _ = try self.pki.makeIntermediate("below")
        self.authorities = self.pki.directory.file("authorities.pem")
        let files = [self.pki.caFile, self.pki.directory.file("below.crt")]
        try writeFile(self.authorities, try files.flatMap { try readFile($0) })
        try self.pki.revocationList(self.pki.directory.file("below.crl"), authority: "below", revoked: [])
    }

    /// What a listener with `crl_missing: refuse` has against the device.
    private func refusal(
        _ device: TestPKI.Credentials,
        scopes: [String?]
    ) throws -> TLSFailure.Kind? {
        var parts = try RevocationList.Part.read(
            file: self.pki.directory.file("below.crl"),
            authorities: self.authorities
        )
        for (index, scope) in scopes.enumerated() {
            let file = self.pki.directory.file("\(index).crl")
            try self.pki.revocationList(file, revoked: [], scope: scope)
            parts += try RevocationList.Part.read(file: file, authorities: self.authorities)
        }
        var listener = TLSServerConfiguration(
            certificateFile: self.pki.server.certificateFile,
            keyFile: self.pki.server.keyFile
        )
        listener.clientCAFile = self.authorities
        listener.clientCertificate = .required
        let checker = RevocationChecker(
            list: RevocationList(parts),
            policy: RevocationChecker.Policy(refusesMissing: true)
        ) { RevocationList.now }
        return try ClientCertificateCheck.failure(
            certificateFile: device.certificateFile,
            listener: listener,
            revocation: checker
        )?.kind
    }

    /// Any list of the issuer was enough.
    @Test("Regression: a list that does not cover a certificate does not satisfy crl_missing: refuse")
    func kinds() throws {
        let device = try self.pki.device("scope-device")
        let below = try self.pki.device("scope-below", authority: "below")
        let chain = try [below.certificateFile, self.pki.directory.file("below.crt")].flatMap { try readFile($0) }
        try writeFile(below.certificateFile, chain)
        #expect(try self.refusal(device, scopes: [nil]) == nil)
        #expect(try self.refusal(below, scopes: [nil]) == nil)
        #expect(try self.refusal(device, scopes: ["onlyCA = TRUE\n"]) == .revocationUnknown)
        #expect(try self.refusal(below, scopes: ["onlyCA = TRUE\n"]) == nil)
        #expect(try self.refusal(device, scopes: ["onlyuser = TRUE\n"]) == nil)
        #expect(try self.refusal(below, scopes: ["onlyuser = TRUE\n"]) == .revocationUnknown)
        #expect(try self.refusal(device, scopes: ["onlyAA = TRUE\n"]) == .revocationUnknown)
        #expect(try self.refusal(below, scopes: ["onlyAA = TRUE\n"]) == .revocationUnknown)
        #expect(try self.refusal(device, scopes: ["onlyCA = TRUE\n", "onlyuser = TRUE\n"]) == nil)
        #expect(throws: TLSError.self) { try self.refusal(device, scopes: ["onlysomereasons = keyCompromise\n"]) }
    }

    @Test("Regression: the list of another distribution point does not satisfy crl_missing: refuse")
    func points() throws {
        let extensions = "extendedKeyUsage=clientAuth\ncrlDistributionPoints="
        let first = try self.pki.device(
            "scope-first",
            extensions: extensions + "URI:http://x/0.crl,URI:http://x/1.crl\n"
        )
        let second = try self.pki.device("scope-second", extensions: extensions + "URI:http://x/2.crl\n")
        let without = try self.pki.device("scope-without")
        let scope = "fullname = URI:ldap://x/1,URI:http://x/1.crl\n"
        #expect(try self.refusal(first, scopes: [scope]) == nil)
        #expect(try self.refusal(second, scopes: [scope]) == .revocationUnknown)
        #expect(try self.refusal(without, scopes: [scope]) == .revocationUnknown)
        #expect(try self.refusal(second, scopes: [scope, nil]) == nil)
        #expect(try self.refusal(second, scopes: [scope, "fullname = URI:http://x/2.crl\n"]) == nil)
        // The distribution point of a certificate that names none is its issuer's name.
        #expect(try self.refusal(without, scopes: ["fullname = dirName:n\n[n]\nCN = Test CA\n"]) == nil)
        #expect(try self.refusal(without, scopes: ["fullname = dirName:n\n[n]\nCN = Other\n"]) == .revocationUnknown)
    }

    @Test("Of a name that is relative to the issuer's the whole counts")
    func relativeNames() throws {
        let extensions = "extendedKeyUsage=clientAuth\ncrlDistributionPoints=p\n[p]\n"
        let relative = try self.pki.device("scope-relative", extensions: extensions + "relativename = r\n[r]\nOU = 1\n")
        let whole = try self.pki.device(
            "scope-whole",
            extensions: extensions + "fullname = dirName:d\n[d]\nCN = Test CA\nOU = 1\n"
        )
        for (number, refusal) in [("1", nil), ("2", TLSFailure.Kind.revocationUnknown)] {
            let scope = "relativename = r\n[r]\nOU = \(number)\n"
            #expect(try self.refusal(relative, scopes: [scope]) == refusal)
            #expect(try self.refusal(whole, scopes: [scope]) == refusal)
        }
    }
}
