import Common
import Glibc
import TLS
import TestSupport
import Testing

/// Many TLS clients that send to each other: nothing is lost, nothing comes twice where it must not, order is kept.
@Suite struct LoadTests {
    /// One of the clients: publishes to its neighbour, with at most `window` messages unacknowledged.
    private final class Peer {
        let client: TestClient
        let number: Int
        let qos: QoS
        var subscribed = false
        var connected = false
        var nextSequence: UInt32 = 0
        var unacknowledged = 0
        var received: [UInt32] = []
        var nextPacketIdentifier: UInt16 = 0
        /// QoS 2 messages towards this client whose handshake is not over.
        var unreleased = 0

        init(_ client: TestClient, number: Int, qos: QoS) {
            self.client = client
            self.number = number
            self.qos = qos
        }

        func take(_ packet: Packet) {
            switch packet {
            case .connack(let connack):
                self.connected = connack.returnCode == 0
                let filter = Array("shared/\(self.number)".utf8)
                self.client.send(
                    .subscribe(
                        SubscribePacket(packetIdentifier: 60_000, subscriptions: [.init(filter: filter, qos: self.qos)])
                    )
                )
            case .suback(let suback):
                self.subscribed = suback.returnCodes == [self.qos.rawValue]
            case .puback, .pubcomp:
                self.unacknowledged -= 1
            case .pubrec(let pubrec):
                self.client.send(.pubrel(AcknowledgementPacket(packetIdentifier: pubrec.packetIdentifier)))
            case .pubrel(let pubrel):
                self.unreleased -= 1
                self.client.send(.pubcomp(AcknowledgementPacket(packetIdentifier: pubrel.packetIdentifier)))
            case .publish(let publish):
                self.received.append(publish.payload.reduce(0) { $0 << 8 | UInt32($1) })
                let acknowledgement = AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)
                if publish.qos == .atLeastOnce { self.client.send(.puback(acknowledgement)) }
                if publish.qos == .exactlyOnce {
                    self.unreleased += 1
                    self.client.send(.pubrec(acknowledgement))
                }
            case .connect, .subscribe, .unsubscribe, .unsuback, .pingreq, .pingresp, .disconnect, .auth:
                Issue.record("client \(self.number) got \(packet)")
            }
        }

        func publishMore(to neighbour: Int, total: UInt32, window: Int) {
            while self.nextSequence < total, self.unacknowledged < window {
                self.nextPacketIdentifier = self.nextPacketIdentifier % 50_000 + 1
                let sequence = self.nextSequence
                self.client.publish(
                    "shared/\(neighbour)",
                    (0..<4).map { UInt8(truncatingIfNeeded: sequence >> (24 - 8 * $0)) },
                    qos: self.qos,
                    packetIdentifier: self.nextPacketIdentifier
                )
                self.nextSequence += 1
                self.unacknowledged += 1
            }
        }
    }

    @Test(arguments: [(QoS.atLeastOnce, 200, UInt32(50)), (.exactlyOnce, 60, 50)])
    func `TLS clients publishing to each other lose nothing and see everything in order`(
        qos: QoS,
        clients: Int,
        messages: UInt32
    ) throws {
        let broker = try TestBroker(listeners: 2)
        try broker.provision("loader", password: "secret")
        let loop = try EventLoop()
        let tls = try broker.tlsContext(try broker.pki.device("loader"))
        var peers: [Peer] = []
        for number in 0..<clients {
            let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
            let peer = Peer(client, number: number, qos: qos)
            client.onPacket = { [unowned peer] in peer.take($0) }
            client.send(
                .connect(
                    ConnectPacket(
                        version: .v5_0,
                        clientIdentifier: Array("load-\(number)".utf8),
                        userName: Array("u".utf8),
                        password: Array("secret".utf8)
                    )
                )
            )
            peers.append(peer)
        }
        try loop.wait("all are subscribed", seconds: 120) { peers.allSatisfy(\.subscribed) }
        try loop.wait("everything has arrived", seconds: 240) {
            for peer in peers { peer.publishMore(to: (peer.number + 1) % clients, total: messages, window: 8) }
            return peers.allSatisfy {
                $0.received.count >= Int(messages) && $0.unacknowledged == 0 && $0.unreleased == 0
            }
        }
        // Whatever would come twice has come before this answer.
        for peer in peers {
            peer.client.onPacket = nil
            peer.client.send(.pingreq)
        }
        for peer in peers {
            #expect(try peer.client.next() == .pingresp)
            #expect(peer.received == Array(0..<messages), "client \(peer.number)")
        }
    }

    @Test func `SIGTERM ends all roles cleanly within five seconds, clients connected`() throws {
        let broker = try TestBroker(listeners: 2, authWorkers: 2)
        try broker.provision("loader", password: "secret")
        let loop = try EventLoop()
        let tls = try broker.tlsContext(try broker.pki.device("loader"))
        let clients = try (0..<20).map { number in
            let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
            let connack = try client.connect(clientIdentifier: "c\(number)", userName: "u", password: "secret")
            #expect(connack.returnCode == 0)
            return client
        }
        let started = Clock.monotonic()
        for process in broker.processes { process.signal(SIGTERM) }
        for process in broker.processes { #expect(try process.waitForExit(seconds: 5) == 0, "\(process.log)") }
        #expect(Clock.monotonic() - started < 5 * Nanoseconds.perSecond)
        for client in clients {
            try client.wait("the end") { client.hasEnded }
            #expect(client.received.contains { if case .disconnect = $0 { true } else { false } })
        }
    }
}
