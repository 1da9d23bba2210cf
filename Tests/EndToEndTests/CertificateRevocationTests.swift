import Common
import Glibc
import TLS
import TestSupport
import Testing

/// Certificates that are no longer good get nobody in, and keep nobody in.
@Suite struct CertificateRevocationTests {
    /// Lists are files in the folder `crl` of the broker's; certificates alone let in.
    private func broker(
        _ settings: String = "",
        authorities: String? = nil
    ) throws -> (broker: TestBroker, folder: String) {
        var folder = ""
        let broker = try TestBroker { text in
            let state = text.split(separator: "state_directory: ")[1].prefix { $0 != "\n" }
            folder = "\(state)-crl"
            mkdir(folder, 0o755)
            return text.replacing(
                "  - name: plain\n",
                with: "      crl_directory: \(folder)\n\(settings)  - name: plain\n"
            ).replacingRedis(with: "  source: certificate\n")
                .replacing(
                    "client_ca_file: \(TestPKI.shared.caFile)",
                    with: "client_ca_file: \(authorities ?? TestPKI.shared.caFile)"
                )
        }
        return (broker, folder)
    }

    private func client(_ broker: TestBroker, _ loop: EventLoop, _ device: TestPKI.Credentials) throws -> TestClient {
        try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: broker.tlsContext(device))
    }

    private func connect(
        _ broker: TestBroker,
        _ loop: EventLoop,
        _ device: TestPKI.Credentials,
        expiry: UInt32? = nil
    ) throws -> TestClient {
        let client = try self.client(broker, loop, device)
        var properties = Properties()
        properties.sessionExpiryInterval = expiry
        let connack = try client.connect(clientIdentifier: "", properties: properties)
        #expect(connack.returnCode == 0)
        return client
    }

    /// openssl's own client; what it prints.
    private func openssl(_ broker: TestBroker, _ device: TestPKI.Credentials, _ more: String = "") throws -> String {
        let command =
            "(sleep 0.5) | openssl s_client -connect localhost:\(broker.tlsPort) -CAfile \(broker.pki.caFile)"
            + " -cert \(device.certificateFile) -key \(device.keyFile) \(more)"
        return try runProcess("/bin/sh", arguments: ["-c", command]).output
    }

    @Test(
        "a revoked device is refused with the alert for it, is closed while it is there, and cannot come back on a ticket",
        arguments: [false, true]
    )
    func aRevokedDevice(isDER: Bool) throws {
        let (broker, folder) = try self.broker()
        let loop = try EventLoop()
        let good = try broker.pki.device("crl-good")
        let bad = try broker.pki.device("crl-bad")
        let session = broker.directory.file("session")
        #expect(try self.openssl(broker, bad, "-tls1_3 -sess_out \(session)").contains("New, TLS"))
        #expect(try self.openssl(broker, bad, "-tls1_3 -sess_in \(session)").contains("Reused, TLS"))
        let stays = try self.connect(broker, loop, good)
        let goes = try self.connect(broker, loop, bad, expiry: 3600)

        try broker.pki.revocationList("\(folder)/list", revoked: [bad], isDER: isDER)
        broker.listeners[0].signal(SIGHUP)
        guard case .disconnect(let packet) = try goes.next("DISCONNECT") else {
            throw ProcessError(description: "the session was not ended")
        }
        #expect(packet.reasonCode == .notAuthorized)
        try broker.listeners[0].waitForLog("the client's certificate is revoked")
        try waitUntil("its session has ended too") { try broker.figure("sessions", of: "router") == 1 }
        #expect(try self.openssl(broker, bad, "-tls1_2").contains("alert certificate revoked"))
        try broker.listeners[0].waitForLog("reason=tls-certificate-revoked")
        // Its name alone led to it.
        func openssl(_ word: String) throws -> String {
            let words = ["x509", "-noout", "-sha256", "-in", bad.certificateFile, word]
            let output = try runProcess("openssl", arguments: words).output
            return String(output.split(separator: "=")[1].prefix { !$0.isNewline })
        }
        let (serial, fingerprint) = (try openssl("-serial"), try openssl("-fingerprint"))
        for name in ["crl-bad", serial, fingerprint, String(fingerprint.prefix(11))] {
            let why = try runProcess(
                TestBroker.executable("martlet"),
                arguments: ["why", name, "--config", broker.directory.file("martlet.yaml")]
            ).output
            #expect(why.contains("tls-certificate-revoked") && why.contains(serial), "\(name): \(why)")
        }
        let resumed = try self.openssl(broker, bad, "-tls1_3 -sess_in \(session)")
        #expect(!resumed.contains("Reused, TLS"), "\(resumed)")
        #expect(resumed.contains("alert certificate revoked"), "\(resumed)")
        stays.send(.pingreq)
        #expect(try stays.next("PINGRESP") == .pingresp)
        _ = try self.connect(broker, loop, good)
        #expect(try broker.status(of: "listener").contains("revoked_certificates{listener=\"devices\"} 1"))
    }

    @Test(
        "a list that is broken, or signed by somebody else, leaves the last good one in force; an empty one lets all in"
    )
    func brokenLists() throws {
        let (broker, folder) = try self.broker()
        let loop = try EventLoop()
        let device = try broker.pki.device("crl-broken")
        let list = "\(folder)/list"
        try broker.pki.revocationList(list, revoked: [device])
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force")
        try broker.pki.revocationList("\(folder)/other", authority: "other", revoked: [])
        try writeFile(list, Array("-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n".utf8))
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("is no revocation list in PEM or DER")
        try broker.listeners[0].waitForLog("is not among the certificates of client_ca_file")
        #expect(try self.openssl(broker, device, "-tls1_2").contains("alert certificate revoked"))
        #expect(try broker.status(of: "listener").contains("alarm revocation list not usable"))
        try broker.pki.revocationList(list, revoked: [])
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force", count: 3)
        _ = try self.connect(broker, loop, device)
    }

    /// It came up without the list, and revoked devices came in.
    @Test("a listener does not start on a list that it cannot read; one of a stranger does not stop it")
    func brokenListsAtTheStart() throws {
        let (broker, folder) = try self.broker()
        let device = try broker.pki.device("crl-start")
        try broker.pki.revocationList("\(folder)/other", authority: "other", revoked: [])
        try broker.pki.revocationList("\(folder)/list", revoked: [device])
        try broker.restartListener(0)
        #expect(try self.openssl(broker, device, "-tls1_2").contains("alert certificate revoked"))

        try writeFile("\(folder)/list", Array("-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n".utf8))
        let martlet = try TestBroker.executable("martlet")
        let file = broker.directory.file("martlet.yaml")
        let (status, output) = try runProcess(martlet, arguments: ["config", "check", file])
        #expect(status == 1 && output.contains("is no revocation list in PEM or DER"), "\(output)")
        try broker.restartListener(0)
        #expect(try broker.listeners[0].waitForExit() == 1)
        #expect(broker.listeners[0].log.contains("those that it revokes would be let in"))
    }

    @Test(
        "auth test judges as the listener does, with lists that are missing, overdue or broken",
        arguments: [
            ("      crl_missing: refuse\n", nil, "there is no revocation list of its issuer"),
            ("      crl_overdue: hard\n", false, "the revocation list of its issuer is overdue"),
            ("", true, "is no revocation list in PEM or DER"),
            ("      crl_overdue: soft\n", false, "certificate  good"),
        ] as [(String, Bool?, String)]
    )
    func authTestWithPolicies(settings: String, isBroken: Bool?, expected: String) throws {
        let (broker, folder) = try self.broker(settings)
        let device = try broker.pki.device("crl-asked")
        if let isBroken {
            try broker.pki.revocationList("\(folder)/list", revoked: [], isOverdue: true)
            if isBroken { try writeFile("\(folder)/list", Array("broken".utf8)) }
        }
        let (_, output) = try runProcess(
            TestBroker.executable("martlet"),
            arguments: [
                "auth", "test", "--cert", device.certificateFile, "--config", broker.directory.file("martlet.yaml"),
            ]
        )
        #expect(output.contains(expected), "\(output)")
    }

    /// The later list took the place of the other authority's, whose revoked devices came in.
    @Test("two authorities of one name have lists of their own")
    func authoritiesOfOneName() throws {
        let pki = TestPKI.shared
        try pki.makeAuthority("remade", name: "Test CA")
        let authorities = try TemporaryDirectory("martlet-authorities")
        let both = authorities.file("both.pem")
        let texts = try [pki.caFile, pki.directory.file("remade.crt")].map {
            try String(decoding: Configuration.readFile($0, bytesMax: 1 << 20), as: UTF8.self)
        }
        try writeFile(both, Array(texts.joined().utf8))
        let (broker, folder) = try self.broker("      crl_missing: refuse\n", authorities: both)
        let loop = try EventLoop()
        let revoked = try pki.device("of-the-old")
        let good = try pki.device("of-the-new", authority: "remade")
        try pki.revocationList("\(folder)/old", revoked: [revoked], madeAt: "20260101000000Z")
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force")
        #expect(try self.openssl(broker, revoked, "-tls1_2").contains("alert certificate revoked"))
        try pki.revocationList("\(folder)/new", authority: "remade", revoked: [], madeAt: "20260601000000Z")
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force", count: 2)
        #expect(try self.openssl(broker, revoked, "-tls1_2").contains("alert certificate revoked"))
        _ = try self.connect(broker, loop, good)
    }

    /// A script that clears the folder and fills it again opened a gap.
    @Test("a list that is removed from the folder goes on counting, until another takes its place")
    func removedLists() throws {
        let (broker, folder) = try self.broker()
        let loop = try EventLoop()
        let device = try broker.pki.device("crl-removed")
        try broker.pki.revocationList("\(folder)/list", revoked: [device])
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force")
        unlink("\(folder)/list")
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("list is gone")
        #expect(try self.openssl(broker, device, "-tls1_2").contains("alert certificate revoked"))
        #expect(try broker.status(of: "listener").contains("alarm revocation list not usable"))
        try broker.pki.revocationList("\(folder)/another", revoked: [])
        broker.listeners[0].signal(SIGHUP)
        try waitUntil("the alarm is over") { try !broker.status(of: "listener").contains("alarm ") }
        _ = try self.connect(broker, loop, device)
    }

    @Test("of two lists of one moment the one with the higher number counts", arguments: [false, true])
    func numberedLists(_ isFirst: Bool) throws {
        let (broker, folder) = try self.broker()
        let device = try broker.pki.device("crl-numbered")
        let madeAt = "20260101000000Z"
        try broker.pki.revocationList(
            "\(folder)/a",
            revoked: isFirst ? [device] : [],
            number: isFirst ? "0100" : "FF",
            madeAt: madeAt
        )
        try broker.pki.revocationList(
            "\(folder)/b",
            revoked: isFirst ? [] : [device],
            number: isFirst ? "FF" : "0100",
            madeAt: madeAt
        )
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force")
        #expect(try self.openssl(broker, device, "-tls1_2").contains("alert certificate revoked"))
    }

    @Test("a list that was signed before the one in force does not take its place", arguments: ["list", "another"])
    func replayedLists(_ name: String) throws {
        let (broker, folder) = try self.broker()
        let device = try broker.pki.device("crl-replayed")
        try broker.pki.revocationList("\(folder)/list", revoked: [device], number: "02", madeAt: "20260102000000Z")
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force")
        unlink("\(folder)/list")
        try broker.pki.revocationList("\(folder)/\(name)", revoked: [], number: "01", madeAt: "20260101000000Z")
        broker.listeners[0].signal(SIGHUP)
        try waitUntil("the alarm") {
            try broker.status(of: "listener").contains("alarm revocation list not usable: \(folder)/list")
        }
        #expect(try self.openssl(broker, device, "-tls1_2").contains("alert certificate revoked"))
    }

    @Test("an overdue list goes on counting, or shuts its issuer out, by policy")
    func overdueLists() throws {
        for (policy, getsIn) in [("soft", true), ("hard", false)] {
            let (broker, folder) = try self.broker("      crl_overdue: \(policy)\n")
            let loop = try EventLoop()
            let good = try broker.pki.device("crl-overdue")
            let bad = try broker.pki.device("crl-overdue-bad")
            try broker.pki.revocationList("\(folder)/list", revoked: [bad], isOverdue: true)
            broker.listeners[0].signal(SIGHUP)
            try broker.listeners[0].waitForLog("a revocation list is overdue")
            try broker.listeners[0].waitForLog("revocation lists in force")
            #expect(try broker.status(of: "listener").contains("alarm the revocation list of CN=Test CA is overdue"))
            if getsIn {
                _ = try self.connect(broker, loop, good)
            } else {
                #expect(try self.openssl(broker, good, "-tls1_2").contains("alert certificate unknown"))
                try broker.listeners[0].waitForLog("reason=tls-revocation-unknown")
            }
            #expect(try self.openssl(broker, bad, "-tls1_2").contains("alert certificate revoked"))
        }
    }

    @Test("without a list of its issuer a certificate is refused where the policy says so")
    func missingLists() throws {
        let (broker, folder) = try self.broker("      crl_missing: refuse\n")
        let loop = try EventLoop()
        let device = try broker.pki.device("crl-missing")
        _ = try self.openssl(broker, device)
        try broker.listeners[0].waitForLog("reason=tls-revocation-unknown")
        try broker.pki.revocationList("\(folder)/list", revoked: [])
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force")
        _ = try self.connect(broker, loop, device)
    }

    @Test("martlet crl refresh fetches lists over HTTP, and keeps the last good one when it cannot")
    func refresh() throws {
        let server = try WebServer()
        defer { server.process.killNow() }
        let (web, port) = (server.directory, server.port)
        let url = "http://127.0.0.1:\(port)/ca.crl"
        let (broker, folder) = try self.broker("      crl_urls: [\"\(url)\"]\n")
        let device = try broker.pki.device("crl-refresh")
        let configuration = broker.directory.file("martlet.yaml")
        func refresh() throws -> (status: Int32, output: String) {
            try runProcess(
                TestBroker.executable("martlet"),
                arguments: ["crl", "refresh", "--config", configuration]
            )
        }
        let early = try refresh()
        #expect(early.status == 1)
        #expect(early.output == "\(url): answers with status 404; there is none yet\n", "\(early.output)")
        try broker.pki.revocationList(web.file("ca.crl"), revoked: [device], isDER: true)
        let fetched = try refresh()
        #expect(fetched.status == 0, "\(fetched.output)")
        #expect(fetched.output.contains("1 certificates, in \(folder)/"))
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force")
        try writeFile(web.file("ca.crl"), Array("no list".utf8))
        let broken = try refresh().output
        #expect(broken.hasPrefix("\(url): is no revocation list in PEM or DER"), "\(broken)")
        #expect(broken.hasSuffix("; the last good one stays\n"), "\(broken)")
        server.process.killNow()
        #expect(try refresh().status == 1)
        #expect(try self.openssl(broker, device, "-tls1_2").contains("alert certificate revoked"))
    }

    /// It waited for a minute.
    @Test("Regression: martlet crl refresh gives up a server that does not take the connection")
    func refreshFromSilentServer() throws {
        let fileDescriptor = try makeSocket(AF_INET)
        defer { close(fileDescriptor) }
        let loopback = try ListenAddress.parse("127.0.0.1:0")
        #expect(loopback.withSocketAddress { bind(fileDescriptor, $0, $1) } == 0 && listen(fileDescriptor, 0) == 0)
        let address = try #require(SocketAddress.local(of: fileDescriptor)?.listenAddress)
        // The queue is full with these: no further connection is answered.
        let clients = try (0..<3).map { _ in
            let client = try makeSocket(AF_INET)
            _ = fcntl(client, F_SETFL, O_NONBLOCK)
            _ = address.withSocketAddress { Glibc.connect(client, $0, $1) }
            return client
        }
        defer { for client in clients { close(client) } }
        let (broker, _) = try self.broker("      crl_urls: [\"http://127.0.0.1:\(address.port)/ca.crl\"]\n")
        let began = Clock.monotonic()
        let result = try runProcess(
            TestBroker.executable("martlet"),
            arguments: ["crl", "refresh", "--config", broker.directory.file("martlet.yaml")]
        )
        #expect(result.status == 1 && result.output.contains("Connection timed out; there is none"), "\(result.output)")
        #expect(Clock.monotonic() - began < 40 * Nanoseconds.perSecond)
    }

    @Test("martlet crl refresh over HTTPS takes a list from a server that the host trusts, and from no other")
    func refreshOverHTTPS() throws {
        let pki = TestPKI.shared
        let web = try TemporaryDirectory("martlet-web")
        let program = """
            import functools, http.server, ssl
            handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="\(web.path)")
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain("\(pki.server.certificateFile)", "\(pki.server.keyFile)")
            server.socket = context.wrap_socket(server.socket, server_side=True)
            print("Serving at", server.server_address[1], flush=True)
            server.serve_forever()
            """
        let server = try ChildProcess(
            "/usr/bin/python3",
            arguments: ["-c", program],
            name: "web",
            logFile: web.path + ".log"
        )
        defer { server.killNow() }
        try server.waitForLog("Serving at")
        let port = try #require(server.log.split(whereSeparator: \.isWhitespace).compactMap { UInt16($0) }.first)
        let (broker, folder) = try self.broker("      crl_urls: [\"https://localhost:\(port)/ca.crl\"]\n")
        let device = try broker.pki.device("crl-https")
        try broker.pki.revocationList(web.file("ca.crl"), revoked: [device], isDER: true)
        func refresh(trusting file: String) throws -> (status: Int32, output: String) {
            try runProcess(
                TestBroker.executable("martlet"),
                arguments: ["crl", "refresh", "--config", broker.directory.file("martlet.yaml")],
                environment: ["SSL_CERT_FILE": file]
            )
        }
        let untrusted = try refresh(trusting: pki.otherCAFile)
        #expect(untrusted.status == 1)
        #expect(untrusted.output.contains("certificate") && untrusted.output.contains("there is none yet"))
        #expect(try runProcess("/bin/ls", arguments: ["-A", folder]).output == "")
        let fetched = try refresh(trusting: pki.caFile)
        #expect(fetched.status == 0 && fetched.output.contains("1 certificates, in \(folder)/"), "\(fetched.output)")
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("revocation lists in force")
        #expect(try self.openssl(broker, device, "-tls1_2").contains("alert certificate revoked"))
    }

    @Test("a session is closed when its client's certificate ends, also one that was resumed")
    func certificatesThatEnd() throws {
        let certificates = try TestCertificates()
        let broker = try TestBroker { text in
            text.replacing("client_ca_file: \(TestPKI.shared.caFile)", with: "client_ca_file: \(certificates.caFile)")
                .replacingRedis(with: "  source: certificate\n")
        }
        let now = Int64(Clock.wall() / Nanoseconds.perSecond)
        let validity = CertificateValidity(notBefore: now - 3600, notAfter: now + 4)
        let files = try certificates.client("ends-soon", validity: validity)
        let device = TestPKI.Credentials(certificateFile: files.certificate, keyFile: files.key)
        let session = broker.directory.file("session")
        #expect(try self.openssl(broker, device, "-tls1_3 -sess_out \(session)").contains("New, TLS"))
        let loop = try EventLoop()
        let client = try self.connect(broker, loop, device, expiry: 3600)
        guard case .disconnect(let packet) = try client.next("DISCONNECT") else {
            throw ProcessError(description: "the session was not ended")
        }
        #expect(packet.reasonCode == .notAuthorized)
        // The device comes back with another one.
        try waitUntil("it is away") { try broker.figure("sessions_connected", of: "router") == 0 }
        #expect(try broker.figure("sessions", of: "router") == 1)
        #expect(Int64(Clock.wall() / Nanoseconds.perSecond) > now + 4)
        try broker.listeners[0].waitForLog("the client's certificate has expired")
        let resumed = try self.openssl(broker, device, "-tls1_3 -sess_in \(session)")
        #expect(!resumed.contains("Reused, TLS"), "\(resumed)")
    }

    @Test("SIGHUP reads certificates again: a new server certificate, and an authority less")
    func reload() throws {
        let folder = try TemporaryDirectory("martlet-reload")
        let authorities = folder.file("authorities.pem")
        let shared = TestPKI.shared
        let both = try readFile(shared.caFile) + readFile(shared.otherCAFile)
        try writeFile(authorities, both)
        let renewed = "renewed-\(UInt32.random(in: .min ... .max))"
        try shared.renewAuthority("ca", as: renewed, name: "Test CA")
        let (certificate, key) = (folder.file("server.crt"), folder.file("server.key"))
        try writeFile(certificate, try readFile(shared.server.certificateFile))
        try writeFile(key, try readFile(shared.server.keyFile))
        let broker = try TestBroker { text in
            text.replacing("client_ca_file: \(shared.caFile)", with: "client_ca_file: \(authorities)")
                .replacing(
                    "certificate_file: \(shared.server.certificateFile)",
                    with: "certificate_file: \(certificate)"
                )
                .replacing("key_file: \(shared.server.keyFile)", with: "key_file: \(key)")
                .replacingRedis(with: "  source: certificate\n")
        }
        let loop = try EventLoop()
        let stays = try self.connect(broker, loop, broker.pki.device("reload-stays"))
        let other = try broker.pki.device("reload-goes", authority: "other")
        let session = broker.directory.file("session")
        #expect(try self.openssl(broker, other, "-tls1_3 -sess_out \(session)").contains("New, TLS"))
        let goes = try self.connect(broker, loop, other, expiry: 3600)

        // A file that is no certificate changes nothing.
        try writeFile(certificate, Array("broken".utf8))
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("certificates not usable, those read before stay in use")
        let after = try self.connect(broker, loop, broker.pki.device("reload-after"))

        let fresh = try broker.pki.device("reload-server")
        try writeFile(certificate, try readFile(fresh.certificateFile))
        try writeFile(key, try readFile(fresh.keyFile))
        // The authority that stays has got a new certificate.
        try writeFile(authorities, try readFile(shared.directory.file("\(renewed).crt")))
        broker.listeners[0].signal(SIGHUP)
        guard case .disconnect = try goes.next("DISCONNECT") else {
            throw ProcessError(description: "the session was not ended")
        }
        try broker.listeners[0].waitForLog("the authority of the client's certificate is no longer trusted")
        try waitUntil("its session has ended too") { try broker.figure("sessions", of: "router") == 2 }
        #expect(try self.openssl(broker, other, "-tls1_2").contains("subject=CN = reload-server"))
        let resumed = try self.openssl(broker, other, "-tls1_3 -sess_in \(session)")
        #expect(!resumed.contains("Reused, TLS"), "\(resumed)")
        #expect(resumed.contains("alert unknown ca"), "\(resumed)")
        for client in [stays, after] {
            client.send(.pingreq)
            #expect(try client.next("PINGRESP") == .pingresp)
        }
    }

    private func rewrite(_ broker: TestBroker, _ edit: (String) -> String) throws {
        let file = broker.directory.file("martlet.yaml")
        try writeFile(file, Array(edit(String(decoding: try readFile(file), as: UTF8.self)).utf8))
        broker.listeners[0].signal(SIGHUP)
    }

    /// They stayed in force, though the `tls` section is in force at once.
    @Test(
        "Regression: lists that the configuration does not name any more go at SIGHUP, when those that it names can be read"
    )
    func unnamedLists() throws {
        let lists = try TemporaryDirectory("martlet-lists")
        let (first, second) = (lists.file("first.crl"), lists.file("second.crl"))
        let (loop, pki) = (try EventLoop(), TestPKI.shared)
        let device = try pki.device("crl-unnamed")
        try pki.revocationList(first, revoked: [device])
        let former = "      crl_files: [\(first)]\n"
        let broker = try TestBroker { text in
            text.replacing("  - name: plain\n", with: "\(former)  - name: plain\n")
                .replacingRedis(with: "  source: certificate\n")
        }
        #expect(try self.openssl(broker, device, "-tls1_2").contains("alert certificate revoked"))
        // The next one is not there: nobody comes in by a slip of the pen.
        try self.rewrite(broker) { $0.replacing(former, with: "      crl_files: [\(second)]\n") }
        try broker.listeners[0].waitForLog("what it held counts until the lists that are can be read")
        #expect(try self.openssl(broker, device, "-tls1_2").contains("alert certificate revoked"))
        try self.rewrite(broker) { $0.replacing("      crl_files: [\(second)]\n", with: "") }
        try broker.listeners[0].waitForLog("revocation lists in force", count: 2)
        _ = try self.connect(broker, loop, device)
        // And one that comes.
        try self.rewrite(broker) { $0.replacing("  - name: plain\n", with: "\(former)  - name: plain\n") }
        try broker.listeners[0].waitForLog("revocation lists in force", count: 3)
        #expect(try self.openssl(broker, device, "-tls1_2").contains("alert certificate revoked"))
        #expect(try !broker.status(of: "listener").contains("alarm "))
    }

    /// The files were not read, and nothing said so.
    @Test(
        "Regression: the files of a listener with another name in the configuration are read again, and the log says what waits"
    )
    func renamedListener() throws {
        let folder = try TemporaryDirectory("martlet-renamed")
        let authorities = folder.file("authorities.pem")
        let pki = TestPKI.shared
        try writeFile(authorities, try readFile(pki.caFile) + readFile(pki.otherCAFile))
        let (broker, _) = try self.broker(authorities: authorities)
        let loop = try EventLoop()
        let goes = try self.connect(broker, loop, pki.device("renamed-goes", authority: "other"))
        try writeFile(authorities, try readFile(pki.caFile))
        try self.rewrite(broker) { $0.replacing("  - name: devices\n", with: "  - name: fleet\n") }
        guard case .disconnect = try goes.next("DISCONNECT") else {
            throw ProcessError(description: "the session was not ended")
        }
        try broker.listeners[0].waitForLog("no listener with TLS has this name any more")
        #expect(
            try self.openssl(broker, pki.device("renamed-late", authority: "other"), "-tls1_2").contains("unknown ca")
        )
        _ = try self.connect(broker, loop, pki.device("renamed-stays"))
    }

    /// It was in force for new connections at once, though only the `tls` section is.
    @Test("Regression: another client_certificate waits for a restart")
    func certificatePolicyWaits() throws {
        let (broker, _) = try self.broker()
        let loop = try EventLoop()
        try self.rewrite(broker) {
            $0.replacing(
                "  - name: devices\n",
                with: "  - name: devices\n    anonymous: true\n    client_certificate: none\n"
            )
        }
        try broker.listeners[0].waitForLog("changes that wait for a restart")
        #expect(!broker.listeners[0].log.contains("certificates not usable"))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: broker.tlsContext(nil))
        #expect(throws: (any Error).self) { try client.connect(clientIdentifier: "", userName: nil, password: nil) }
        _ = try self.connect(broker, loop, broker.pki.device("policy-stays"))
    }
}
