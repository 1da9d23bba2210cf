import Common
import Glibc
import TLS
import TestSupport
import Testing

/// More clients than `processes.max_handshakes` lets through at a time.
@Suite struct AdmissionTests {
    private static func broker(_ maximum: Int) throws -> TestBroker {
        try TestBroker {
            $0.replacing("auth_workers: 1}", with: "auth_workers: 1, max_handshakes: \(maximum)}")
        }
    }

    private static func number(_ name: String, _ broker: TestBroker) throws -> Int {
        try broker.figure(name, of: "listener") ?? -1
    }

    /// A client that has the only place: it does not answer what it gets for its first message.
    private static func holder(_ broker: TestBroker, _ loop: EventLoop) throws -> TestClient {
        let tls = try broker.tlsContext(try broker.pki.device("holder"))
        let holder = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0)
        holder.send(bytes: try firstTLSMessage(tls))
        try loop.wait("it to have the place") { (try? Self.number("handshakes_under_way", broker)) == 1 }
        return holder
    }

    @Test func `a fleet that comes at once gets in, a few at a time`() throws {
        let broker = try Self.broker(4)
        let loop = try EventLoop()
        let context = try broker.tlsContext(try broker.pki.device("fleet"))
        try broker.provision("fleet", password: "secret")
        var most = 0
        var clients: [TestClient] = []
        for number in 0..<150 {
            let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: context)
            client.send(
                .connect(
                    ConnectPacket(
                        version: .v5_0,
                        clientIdentifier: Array("fleet-\(number)".utf8),
                        userName: Array("fleet".utf8),
                        password: Array("secret".utf8)
                    )
                )
            )
            clients.append(client)
        }
        var asked: Instant = 0
        try loop.wait("all to be in", seconds: 120) {
            if Clock.monotonic() > asked + 50 * Nanoseconds.perMillisecond {
                asked = Clock.monotonic()
                most = max(most, (try? Self.number("handshakes_under_way", broker)) ?? 0)
            }
            return clients.allSatisfy { $0.received.count == 1 || $0.hasEnded }
        }
        #expect(clients.allSatisfy { !$0.hasEnded })
        #expect(most <= 4)
        #expect(try Self.number("handshakes_waited_total", broker) > 100)
        #expect(try Self.number("handshakes_waiting", broker) == 0)
        #expect(try Self.number("handshakes_under_way", broker) == 0)
    }

    @Test func `a client that goes on with nothing holds others up for three seconds at most, and a ticket is seen`()
        throws
    {
        let broker = try Self.broker(1)
        let loop = try EventLoop()
        let device = try broker.pki.device("ticket-holder")
        let session = broker.directory.file("session")
        let options = [
            "s_client", "-connect", "localhost:\(broker.tlsPort)", "-CAfile", broker.pki.caFile, "-cert",
            device.certificateFile, "-key", device.keyFile,
        ]
        func connect(_ further: String...) throws -> String {
            let words = (["openssl"] + options + further).joined(separator: " ")
            return try runProcess("/bin/sh", arguments: ["-c", "(sleep 0.5) | \(words)"]).output
        }
        #expect(try connect("-sess_out", session).contains("New, TLS"))
        let holder = try Self.holder(broker, loop)
        let began = Clock.monotonic()
        #expect(try connect("-sess_in", session).contains("Reused, TLS"))
        #expect(Clock.monotonic() - began < 10 * Nanoseconds.perSecond)
        #expect(try Self.number("handshakes_waited_with_ticket_total", broker) == 1)
        #expect(!holder.hasEnded)
    }

    @Test func `devices from addresses that are known for good ones wait the least`() throws {
        let broker = try Self.broker(1)
        let loop = try EventLoop()
        try broker.provision("known", password: "secret")
        let contexts = (
            good: try broker.tlsContext(try broker.pki.device("known")),
            stranger: try broker.tlsContext(try broker.pki.device("stranger"))
        )
        func connect(_ number: Int, from source: UInt8, isStranger: Bool) throws -> TestClient {
            let tls = isStranger ? contexts.stranger : contexts.good
            let client = try TestClient(
                loop: loop,
                port: broker.tlsPort,
                version: .v5_0,
                tls: tls,
                source: source
            )
            let name = isStranger ? "stranger" : "known"
            client.send(
                .connect(
                    ConnectPacket(
                        version: .v5_0,
                        clientIdentifier: Array("\(name)-\(source)-\(number)".utf8),
                        userName: Array(name.utf8),
                        password: Array("secret".utf8)
                    )
                )
            )
            return client
        }
        let (knownSource, newSource, refusedSource) = (2, 4, 3) as (UInt8, UInt8, UInt8)
        let first = try connect(0, from: knownSource, isStranger: false)
        let refused = try connect(0, from: refusedSource, isStranger: true)
        try loop.wait("their answers") { !first.received.isEmpty && !refused.received.isEmpty }
        let holder = try Self.holder(broker, loop)
        var waiting: [(source: UInt8, client: TestClient)] = []
        for source in [refusedSource, newSource, knownSource] {
            for number in 1...30 {
                waiting.append((source, try connect(number, from: source, isStranger: source == refusedSource)))
            }
        }
        var positions: [UInt8: [Int]] = [:]
        var count = 0
        try loop.wait("all to have an answer", seconds: 120) {
            waiting.removeAll { source, client in
                guard !client.received.isEmpty || client.hasEnded else { return false }
                positions[source, default: []].append(count)
                count += 1
                return true
            }
            return waiting.isEmpty
        }
        func mean(_ source: UInt8) -> Int { (positions[source] ?? []).reduce(0, +) / 30 }
        #expect(mean(knownSource) + 10 < mean(newSource), "\(positions)")
        #expect(mean(newSource) + 10 < mean(refusedSource), "\(positions)")
        #expect(try Self.number("handshakes_waited_from_known_addresses_total", broker) >= 25)
        #expect(try Self.number("handshakes_waited_from_refused_addresses_total", broker) >= 25)
        withExtendedLifetime(holder) {}
    }

    @Test func `one whose turn does not come in time is told so at once, and logged`() throws {
        let broker = try TestBroker(connectTimeout: "1s") {
            $0.replacing("auth_workers: 1}", with: "auth_workers: 1, max_handshakes: 1}")
        }
        let loop = try EventLoop()
        let tls = try broker.tlsContext(try broker.pki.device("unanswering"))
        // Each holds the place for its second.
        var clients: [TestClient] = []
        for _ in 0..<3 {
            clients.append(try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0))
            clients[clients.count - 1].send(bytes: try firstTLSMessage(tls))
        }
        let log = broker.listeners[0]
        try loop.wait("the refusals", seconds: 20) { log.log.contains("its turn did not come in time") }
        withExtendedLifetime(clients) {}
    }
}
