import Common
import TLS
import TestSupport
import Testing

/// Plays dialogues against one broker, each on a connection of its own.
final class WireRunner {
    let broker: TestBroker
    let loop: EventLoop
    private let port: UInt16
    private let tls: TLSClientContext?
    /// User name and password of the CONNECT, where the listener wants them.
    private let credentials: (String, String)?
    private var failures = 0

    /// Over the plain listener, anonymously.
    init(_ broker: TestBroker) throws {
        self.broker = broker
        self.loop = try EventLoop()
        self.port = broker.plainPort
        self.tls = nil
        self.credentials = nil
    }

    /// Over mutual TLS, as a device with a password.
    init(_ broker: TestBroker, device: String) throws {
        self.broker = broker
        self.loop = try EventLoop()
        self.port = broker.tlsPort
        try broker.provision(device, password: "secret")
        self.tls = try broker.tlsContext(try broker.pki.device(device))
        self.credentials = ("user", "secret")
    }

    func run(_ cases: [WireCase]) {
        for entry in cases {
            // A broken broker fails all of them: the first few say enough.
            guard self.failures < 20 else { return }
            do {
                try self.play(entry)
            } catch {
                self.failures += 1
                Issue.record("\(entry.name) (\(entry.version)): \(error)")
            }
        }
    }

    private func play(_ entry: WireCase) throws {
        let client = try self.client(entry.version)
        if entry.connects {
            client.send(bytes: self.connectPacket(entry.version))
            try self.expectConnack(client, code: 0)
        }
        for step in entry.steps {
            switch step {
            case .send(let bytes): client.send(bytes: bytes)
            case .receive(let bytes): try self.expect(client, bytes)
            case .receiveConnack(let code): try self.expectConnack(client, code: code)
            case .otherPublishes(let topic, let qos): try self.publish(topic, qos)
            }
        }
        switch entry.end {
        case .open:
            client.send(bytes: [0xC0, 0])
            try self.expect(client, [0xD0, 0])
        case .closed:
            try self.wait(client, "the end") { client.hasEnded }
        }
        guard client.receivedBytes.isEmpty else {
            throw ProcessError(description: "further bytes \(hex(client.receivedBytes))")
        }
        client.cut()
    }

    private func client(_ version: ProtocolVersion) throws -> TestClient {
        let client = try TestClient(loop: self.loop, port: self.port, version: version, tls: self.tls)
        client.keepsBytes = true
        return client
    }

    private func connectPacket(_ version: ProtocolVersion) -> [UInt8] {
        guard let (user, password) = self.credentials else { return connect(version) }
        return connect(version, flags: 0xC2, payload: field("wire") + field(user) + field(password))
    }

    private func wait(_ client: TestClient, _ what: String, until condition: () -> Bool) throws {
        try self.loop.wait(
            "\(what); received \(hex(client.receivedBytes)), \(client.state)",
            seconds: 20,
            until: condition
        )
    }

    private func expect(_ client: TestClient, _ bytes: [UInt8]) throws {
        try self.wait(client, "\(hex(bytes))") { client.receivedBytes.count >= bytes.count || client.hasEnded }
        guard client.receivedBytes.starts(with: bytes) else {
            throw ProcessError(description: "expected \(hex(bytes)), received \(hex(client.receivedBytes))")
        }
        client.receivedBytes.removeFirst(bytes.count)
    }

    private func expectConnack(_ client: TestClient, code: UInt8) throws {
        try self.wait(client, "CONNACK") {
            client.hasEnded || client.receivedBytes.count >= 2 + Int(client.receivedBytes.dropFirst().first ?? 0xFF)
        }
        let bytes = client.receivedBytes
        guard bytes.count >= 4, bytes[0] == 0x20, bytes[3] == code else {
            throw ProcessError(description: "expected CONNACK \(hex([code])), received \(hex(bytes))")
        }
        client.receivedBytes.removeFirst(2 + Int(bytes[1]))
    }

    private func publish(_ topic: String, _ qos: QoS) throws {
        let publisher = try TestClient(loop: self.loop, port: self.port, version: .v3_1_1)
        _ = try publisher.connect(clientIdentifier: "other")
        publisher.publish(topic, [0x78], qos: qos, packetIdentifier: qos == .atMostOnce ? 0 : 1)
        switch qos {
        case .atMostOnce: break
        case .atLeastOnce: _ = try publisher.next("PUBACK")
        case .exactlyOnce:
            _ = try publisher.next("PUBREC")
            publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 1)))
            _ = try publisher.next("PUBCOMP")
        }
        publisher.send(.disconnect(DisconnectPacket()))
        try publisher.wait("the end") { publisher.hasEnded }
    }
}

func hex(_ bytes: [UInt8]) -> String {
    bytes.prefix(80).map { byte in
        let digits = String(byte, radix: 16, uppercase: true)
        return digits.count == 1 ? "0" + digits : digits
    }.joined(separator: " ")
}
