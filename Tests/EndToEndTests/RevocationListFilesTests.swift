import Common
import Glibc
import TestSupport
import Testing

/// What the tool says of revocation lists, beside a listener that has them in force.
@Suite struct RevocationListFilesTests {
    /// Lists are files in a folder of the broker's; certificates alone let in.
    private func broker(_ settings: String = "", authorities: String? = nil) throws -> (TestBroker, folder: String) {
        var folder = ""
        let broker = try TestBroker { text in
            let state = text.split(separator: "state_directory: ")[1].prefix { $0 != "\n" }
            folder = "\(state)-crl"
            mkdir(folder, 0o755)
            return text.replacing(
                "  - name: plain\n",
                with: "      crl_directory: \(folder)\n\(settings)  - name: plain\n"
            )
            .replacingRedis(with: "  source: certificate\n")
            .replacing(
                "client_ca_file: \(TestPKI.shared.caFile)",
                with: "client_ca_file: \(authorities ?? TestPKI.shared.caFile)"
            )
        }
        return (broker, folder)
    }

    private func martlet(_ broker: TestBroker, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let file = broker.directory.file("martlet.yaml")
        return try runProcess(TestBroker.executable("martlet"), arguments: arguments + ["--config", file])
    }

    /// It went by the files, and said that revoked devices would be let in and good ones refused.
    @Test(
        "Regression: auth test goes by the lists that the listener has in force, and says where the files say otherwise"
    )
    func listsInForce() throws {
        let (broker, folder) = try self.broker()
        let (good, bad) = (try broker.pki.device("force-good"), try broker.pki.device("force-bad"))
        let list = "\(folder)/list"
        try broker.pki.revocationList(list, revoked: [bad])
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force")
        func test(_ device: TestPKI.Credentials) throws -> (status: Int32, output: String) {
            try self.martlet(broker, ["auth", "test", "--cert", device.certificateFile])
        }
        func check(_ note: String?, _ comment: String) throws {
            let (revoked, taken) = (try test(bad), try test(good))
            #expect(revoked.status == 1 && revoked.output.contains("tls-certificate-revoked"), "\(comment): \(revoked)")
            #expect(taken.status == 0 && taken.output.contains("certificate  good"), "\(comment): \(taken)")
            #expect(revoked.output.contains("note") == (note != nil), "\(comment): \(revoked)")
            if let note { #expect(revoked.output.contains(note), "\(comment): \(revoked)") }
        }
        try check(nil, "as the files are")
        try broker.pki.revocationList(list, revoked: [], madeAt: "20260101000000Z")
        try check("by the files as they are now: good", "an older list")
        unlink(list)
        try check("by the files as they are now: good", "no list")
        try writeFile(list, Array("broken".utf8))
        try check("is no revocation list in PEM or DER", "a broken list")

        broker.listeners[0].killNow()
        let alone = try test(good)
        #expect(alone.status == 1 && alone.output.contains("no listener answers, and none starts"), "\(alone)")
    }

    @Test("Regression: a list for authorities alone lets no device in where crl_missing: refuse is")
    func scope() throws {
        let (broker, folder) = try self.broker("      crl_missing: refuse\n")
        let device = try broker.pki.device("scope-refused")
        try broker.pki.revocationList("\(folder)/list", revoked: [], scope: "onlyCA = TRUE\n")
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force")
        let loop = try EventLoop()
        let client = try TestClient(
            loop: loop,
            port: broker.tlsPort,
            version: .v5_0,
            tls: broker.tlsContext(device)
        )
        #expect(throws: (any Error).self) { try client.connect(clientIdentifier: "") }
        try broker.listeners[0].waitForLog("reason=tls-revocation-unknown")
        let test = try self.martlet(broker, ["auth", "test", "--cert", device.certificateFile])
        #expect(test.status == 1 && test.output.contains("tls-revocation-unknown"), "\(test.output)")
    }

    /// It exited with 1.
    @Test("Regression: of several addresses of one distribution point it is enough that one has the list")
    func alternatives() throws {
        let server = try WebServer()
        defer { server.process.killNow() }
        let (web, port) = (server.directory, server.port)
        let pki = TestPKI.shared
        let base = "HTTP://127.0.0.1:\(port)"
        let names = ["ldap:///CN=CA", "\(base)/none.crl", "\(base)/ca.crl", "\(base)/later.crl"]
        let point = try pki.device(
            "point",
            extensions: "basicConstraints=critical,CA:TRUE\ncrlDistributionPoints=p\n[p]\nfullname="
                + names.map { "URI:\($0)" }.joined(separator: ",") + "\n"
        )
        let authorities = web.file("authorities.pem")
        try writeFile(authorities, try [pki.caFile, point.certificateFile].flatMap { try readFile($0) })
        let (broker, folder) = try self.broker(authorities: authorities)
        try pki.revocationList(web.file("ca.crl"), revoked: [], isDER: true)
        let fetched = try self.martlet(broker, ["crl", "refresh"])
        #expect(fetched.status == 0, "\(fetched.output)")
        #expect(fetched.output.contains("ca.crl: 0 certificates, in \(folder)/"), "\(fetched.output)")
        #expect(fetched.output.contains("another address of the same distribution point"), "\(fetched.output)")
        #expect(!fetched.output.contains("later.crl"), "\(fetched.output)")
        unlink(web.file("ca.crl"))
        let failed = try self.martlet(broker, ["crl", "refresh"])
        #expect(failed.status == 1 && failed.output.contains("later.crl: answers with status 404"), "\(failed.output)")
    }
}
