import Common
import Glibc
import TestSupport
import Testing

/// `kill -9` of real processes under load: what was acknowledged arrives.
@Suite struct RouterKillTests {
    private static func stored(_ seconds: UInt32 = 3600) -> Properties {
        var properties = Properties()
        properties.sessionExpiryInterval = seconds
        return properties
    }

    /// A device that publishes, connects again when it must, and sends again what was not acknowledged, as MQTT has it.
    private final class Publisher {
        let name: String
        let topic: String
        var client: TestClient?
        var isReady = false
        var next: UInt32 = 0
        var underWay: [UInt16: (number: UInt32, qos: QoS, isReleased: Bool)] = [:]
        var acknowledged: Set<UInt32> = []
        private var identifier: UInt16 = 0

        init(_ name: String, topic: String) {
            self.name = name
            self.topic = topic
        }

        func take(_ packet: Packet) {
            switch packet {
            case .connack(let connack):
                #expect(connack.returnCode == 0)
                self.isReady = true
                self.sendAgain()
            case .puback(let ack):
                #expect(!ack.reasonCode.isFailure)
                if let sent = self.underWay.removeValue(forKey: ack.packetIdentifier) {
                    self.acknowledged.insert(sent.number)
                }
            case .pubrec(let ack):
                #expect(!ack.reasonCode.isFailure)
                self.underWay[ack.packetIdentifier]?.isReleased = true
                self.client?.send(.pubrel(AcknowledgementPacket(packetIdentifier: ack.packetIdentifier)))
            case .pubcomp(let ack):
                if let sent = self.underWay.removeValue(forKey: ack.packetIdentifier) {
                    self.acknowledged.insert(sent.number)
                }
            case .disconnect: break
            default: Issue.record("the publisher got \(packet)")
            }
        }

        private func sendAgain() {
            for (identifier, sent) in self.underWay.sorted(by: { $0.value.number < $1.value.number }) {
                if sent.isReleased {
                    self.client?.send(.pubrel(AcknowledgementPacket(packetIdentifier: identifier)))
                } else {
                    self.send(identifier, sent.number, sent.qos, dup: true)
                }
            }
        }

        private func send(_ identifier: UInt16, _ number: UInt32, _ qos: QoS, dup: Bool) {
            var packet = PublishPacket(
                qos: qos,
                topic: Array(self.topic.utf8),
                payload: (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) }
            )
            packet.packetIdentifier = identifier
            packet.dup = dup
            self.client?.send(.publish(packet))
        }

        func publishMore(total: UInt32) {
            while self.isReady, self.next < total, self.underWay.count < 20 {
                self.identifier = self.identifier % 60_000 + 1
                let qos = self.next.isMultiple(of: 2) ? QoS.atLeastOnce : .exactlyOnce
                self.underWay[self.identifier] = (self.next, qos, false)
                self.send(self.identifier, self.next, qos, dup: false)
                self.next += 1
            }
        }
    }

    private final class Subscriber {
        var client: TestClient?
        var isReady = false
        var came: [UInt32: Int] = [:]
        var exactlyOnce: [UInt32] = []
        private var held: Set<UInt16> = []

        func take(_ packet: Packet) {
            switch packet {
            case .connack(let connack):
                #expect(connack.returnCode == 0)
                self.isReady = true
            case .publish(let publish):
                let number = publish.payload.reduce(0) { $0 << 8 | UInt32($1) }
                let ack = AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)
                if publish.qos == .exactlyOnce {
                    if self.held.insert(publish.packetIdentifier).inserted {
                        self.came[number, default: 0] += 1
                        self.exactlyOnce.append(number)
                    }
                    self.client?.send(.pubrec(ack))
                } else {
                    self.came[number, default: 0] += 1
                    self.client?.send(.puback(ack))
                }
            case .pubrel(let pubrel):
                self.held.remove(pubrel.packetIdentifier)
                self.client?.send(.pubcomp(AcknowledgementPacket(packetIdentifier: pubrel.packetIdentifier)))
            case .disconnect, .suback: break
            default: Issue.record("the subscriber got \(packet)")
            }
        }
    }

    private static func open(
        _ setup: (broker: TestBroker, loop: EventLoop),
        _ name: String,
        _ take: @escaping (Packet) -> Void
    ) throws -> TestClient {
        let client = try TestClient(loop: setup.loop, port: setup.broker.plainPort, version: .v5_0)
        client.onPacket = take
        client.send(
            .connect(
                ConnectPacket(
                    version: .v5_0,
                    cleanStart: false,
                    keepAliveSeconds: 60,
                    clientIdentifier: Array(name.utf8),
                    properties: Self.stored()
                )
            )
        )
        return client
    }

    @Test func `kill -9 of the router under load loses nothing acknowledged and repeats no QoS 2 message`() throws {
        let broker = try TestBroker(listeners: 2)
        let loop = try EventLoop()
        let total: UInt32 = 1200
        let subscriber = Subscriber()
        let publisher = Publisher("publisher", topic: "load/1")
        let first = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try first.connect(clientIdentifier: "subscriber", cleanStart: false, properties: Self.stored())
        #expect(try first.subscribe("load/#", qos: .exactlyOnce) == [2])
        subscriber.client = first
        subscriber.isReady = true
        first.onPacket = { [unowned subscriber] in subscriber.take($0) }
        var kills = 0
        try loop.wait("everything has arrived", seconds: 240) {
            do {
                if subscriber.client?.hasEnded ?? true {
                    subscriber.isReady = false
                    subscriber.client = try Self.open((broker, loop), "subscriber") { [unowned subscriber] in
                        subscriber.take($0)
                    }
                }
                if publisher.client?.hasEnded ?? true {
                    publisher.isReady = false
                    publisher.client = try Self.open((broker, loop), "publisher") { [unowned publisher] in
                        publisher.take($0)
                    }
                }
                publisher.publishMore(total: total)
                if kills < 4, publisher.acknowledged.count > 200 * (kills + 1), publisher.isReady, subscriber.isReady {
                    kills += 1
                    try broker.restartRouter()
                }
            } catch {
                Issue.record("\(error)")
            }
            return publisher.acknowledged.count == Int(total) && subscriber.came.count == Int(total)
        }
        #expect(kills == 4)
        #expect(subscriber.exactlyOnce == (0..<total).filter { !$0.isMultiple(of: 2) })
    }

    @Test(arguments: [QoS.atLeastOnce, .exactlyOnce])
    func `a client in the middle of a large packet gets the rest from the next router`(_ qos: QoS) throws {
        let broker = try TestBroker(settings: "mqtt: {max_packet_size: 64MiB}\n")
        let loop = try EventLoop()
        try broker.provision("device", password: "secret")
        let tls = try broker.tlsContext(try broker.pki.device("device"))
        let device = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        _ = try device.connect(clientIdentifier: "", password: "secret")
        #expect(try device.subscribe("devices/device/#", qos: qos) == [qos.rawValue])
        let publisher = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try publisher.connect(clientIdentifier: "publisher")
        // More than sockets hold.
        let payload = (0..<24_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 11) }
        var expected = PublishPacket(qos: qos, topic: Array("devices/device/x".utf8), payload: payload)
        expected.packetIdentifier = 1
        device.keepsBytes = true
        publisher.send(.publish(expected))
        if qos == .exactlyOnce {
            _ = try publisher.next("PUBREC")
            publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 1)))
        }
        try device.wait("the beginning") { device.receivedBytes.count > 200_000 }
        device.isReadingPaused = true
        _ = try publisher.next("the answer")
        try broker.restartRouter()
        device.isReadingPaused = false
        let bytes = Packet.publish(expected).bytes(.v5_0)
        try device.wait("the rest") { device.receivedBytes.count >= bytes.count || device.hasEnded }
        #expect(device.receivedBytes == bytes, "\(device.receivedBytes.count) of \(bytes.count) bytes")
        device.keepsBytes = false
        device.send(.pingreq)
        guard case .pingresp = try device.next("PINGRESP") else {
            Issue.record("the connection has ended")
            return
        }
    }

    @Test func `sessions, queues, retained messages and wills outlive the end of all processes`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        let device = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try device.connect(clientIdentifier: "device", cleanStart: false, properties: Self.stored())
        #expect(try device.subscribe("q/+", qos: .atLeastOnce) == [1])
        device.send(.disconnect(DisconnectPacket()))
        try device.wait("the end") { device.hasEnded }
        let publisher = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        let will = ConnectPacket.Will(qos: .atLeastOnce, retain: false, topic: Array("q/will".utf8), payload: [9])
        _ = try publisher.connect(clientIdentifier: "publisher", will: will)
        publisher.publish("q/1", [1], qos: .atLeastOnce, retain: true, packetIdentifier: 1)
        _ = try publisher.next("PUBACK")
        try broker.restartEverything()
        let back = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        let connack = try back.connect(clientIdentifier: "device", cleanStart: false, properties: Self.stored())
        #expect(connack.sessionPresent)
        for expected in [UInt8(1), 9] {
            guard case .publish(let publish) = try back.next("a PUBLISH") else {
                Issue.record("no PUBLISH")
                return
            }
            #expect(publish.payload == [expected])
        }
        let late = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try late.connect(clientIdentifier: "late")
        #expect(try late.subscribe("q/#", qos: .atLeastOnce) == [1])
        guard case .publish(let retained) = try late.next("the retained message") else {
            Issue.record("no PUBLISH")
            return
        }
        #expect(retained.payload == [1] && retained.retain)
    }

    @Test func `a router with a damaged store does not start, says why, and changes nothing`() throws {
        let broker = try TestBroker()
        let path = broker.directory.file("state") + "/router/store.db"
        broker.killRouter()
        let garbage = [UInt8](repeating: 0x5A, count: 8192)
        for suffix in ["-wal", "-shm"] { unlink(path + suffix) }
        try writeFile(path, garbage)
        let router = try broker.startRouterAgain()
        #expect(try router.waitForExit() != 0)
        #expect(router.log.contains("is damaged") && router.log.contains("martlet store restore"), "\(router.log)")
        #expect(try readFile(path) == garbage)
    }
}
