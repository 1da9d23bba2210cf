import Common
import Glibc
import TLS
import TestSupport
import Testing

/// TLS sessions resumed from tickets, with openssl's own client.
@Suite struct TicketTests {
    /// One connection; the session goes to `saveTo`, or is taken from `resume`. Returns what openssl prints.
    private static func connect(
        _ broker: TestBroker,
        port: UInt16,
        _ credentials: TestPKI.Credentials?,
        version: String,
        saveTo: String? = nil,
        resume: String? = nil
    ) throws -> String {
        var command =
            "(sleep 0.5) | openssl s_client -connect localhost:\(port) -CAfile \(broker.pki.caFile) \(version)"
        if let credentials { command += " -cert \(credentials.certificateFile) -key \(credentials.keyFile)" }
        if let saveTo { command += " -sess_out \(saveTo)" }
        if let resume { command += " -sess_in \(resume)" }
        return try runProcess("/bin/sh", arguments: ["-c", command]).output
    }

    @Test(arguments: ["-tls1_2", "-tls1_3"])
    func `a session is resumed at any listener process`(version: String) throws {
        let broker = try TestBroker(listeners: 2)
        let device = try broker.pki.device("ticket-holder")
        let session = broker.directory.file("session")
        let first = try Self.connect(broker, port: broker.tlsPort, device, version: version, saveTo: session)
        #expect(first.contains("New, TLS"), "\(first)")
        for _ in 0..<6 {
            let again = try Self.connect(broker, port: broker.tlsPort, device, version: version, resume: session)
            #expect(again.contains("Reused, TLS"), "\(again)")
        }
    }

    /// The secret was looked for in the new folder, made anew there if it could be, while other listener processes had the former one.
    @Test func `regression: a reload that finds another runtime directory keeps the ticket secret in force`() throws {
        let broker = try TestBroker()
        let device = try broker.pki.device("ticket-holder")
        let session = broker.directory.file("session")
        _ = try Self.connect(broker, port: broker.tlsPort, device, version: "-tls1_3", saveTo: session)
        let file = broker.directory.file("martlet.yaml")
        let text = String(decoding: try readFile(file), as: UTF8.self)
        let other = broker.directory.file("other")
        let former = "runtime_directory: \(broker.directory.file("run"))\n"
        try writeFile(file, Array(text.replacing(former, with: "runtime_directory: \(other)\n").utf8))
        broker.listeners[0].signal(SIGHUP)
        try waitUntil("the listener has read its certificates again") {
            broker.listeners[0].log.contains("certificates read again")
                || broker.listeners[0].log.contains("certificates not usable")
        }
        #expect(!broker.listeners[0].log.contains("certificates not usable"))
        #expect(access(other, F_OK) != 0)
        let again = try Self.connect(broker, port: broker.tlsPort, device, version: "-tls1_3", resume: session)
        #expect(again.contains("Reused, TLS"), "\(again)")
    }

    /// It was taken without a word.
    @Test func `regression: a ticket secret that every user may read is not taken at a reload`() throws {
        let folder = try TemporaryDirectory("martlet-secret")
        let secret = folder.file("secret")
        try writeFile(secret, Array(1...48))
        let broker = try TestBroker { text in
            text.replacing("  - name: plain\n", with: "      ticket_secret_file: \(secret)\n  - name: plain\n")
        }
        let device = try broker.pki.device("ticket-holder")
        let session = broker.directory.file("session")
        _ = try Self.connect(broker, port: broker.tlsPort, device, version: "-tls1_3", saveTo: session)
        try writeFile(secret, Array(2...49))
        chmod(secret, 0o644)
        broker.listeners[0].signal(SIGHUP)
        try broker.listeners[0].waitForLog("certificates not usable, those read before stay in use")
        #expect(broker.listeners[0].log.contains("every user of this host may use it; chmod o= \(secret)"))
        let again = try Self.connect(broker, port: broker.tlsPort, device, version: "-tls1_3", resume: session)
        #expect(again.contains("Reused, TLS"), "\(again)")
    }

    /// Clients that use a ticket once, as RFC 8446 (section C.4) has it, came back with every second connection only.
    @Test func `each resumed session comes with a ticket for the next one`() throws {
        let broker = try TestBroker(listeners: 2)
        let device = try broker.pki.device("ticket-holder")
        var session = broker.directory.file("session-0")
        _ = try Self.connect(broker, port: broker.tlsPort, device, version: "-tls1_3", saveTo: session)
        for number in 1...4 {
            let next = broker.directory.file("session-\(number)")
            let again = try Self.connect(
                broker,
                port: broker.tlsPort,
                device,
                version: "-tls1_3",
                saveTo: next,
                resume: session
            )
            #expect(again.contains("Reused, TLS"), "\(again)")
            try #require(access(next, F_OK) == 0, "connection \(number) brought no ticket")
            session = next
        }
    }

    @Test func `a ticket from a listener where the certificate is optional does not open the one that requires it`()
        throws
    {
        let broker = try TestBroker()
        let session = broker.directory.file("session")
        let first = try Self.connect(broker, port: broker.optionalPort, nil, version: "-tls1_3", saveTo: session)
        #expect(first.contains("New, TLS"), "\(first)")
        let same = try Self.connect(broker, port: broker.optionalPort, nil, version: "-tls1_3", resume: session)
        #expect(same.contains("Reused, TLS"), "\(same)")
        let other = try Self.connect(broker, port: broker.tlsPort, nil, version: "-tls1_3", resume: session)
        #expect(!other.contains("Reused, TLS"), "\(other)")
        try broker.listeners[0].waitForLog("reason=tls-no-client-certificate")
    }

    @Test func `a device of another broker's secret goes through a full handshake`() throws {
        let one = try TestBroker()
        let two = try TestBroker()
        let device = try one.pki.device("ticket-holder")
        let session = one.directory.file("session")
        _ = try Self.connect(one, port: one.tlsPort, device, version: "-tls1_3", saveTo: session)
        let other = try Self.connect(two, port: two.tlsPort, device, version: "-tls1_3", resume: session)
        #expect(other.contains("New, TLS"), "\(other)")
    }
}
