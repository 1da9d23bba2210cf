import Common
import Glibc
import TLS
import TestSupport
import Testing

/// Broken packets at every state of the protocol, from many connections, plain and over mutual TLS.
@Suite(.serialized) struct MutationTests {
    /// Another time with MARTLET_MUTATION_SECONDS.
    private static var seconds: Double {
        guard let text = getenv("MARTLET_MUTATION_SECONDS") else { return 12 }
        return Double(String(cString: text)) ?? 12
    }

    @Test func `a broker under broken packets serves the others and does not grow`() throws {
        let seed = testSeed()
        let broker = try TestBroker(
            settings: "mqtt: {session: {max_expiry: 5s, version3_expiry: 5s}, retained: {max_messages: 1000}}\n",
            log: "{level: info, refused_per_second: 10}"
        )
        let loop = try EventLoop()
        let healthy = try HealthyClient(broker, loop: loop)
        try broker.provision("mutant", password: "secret")
        let tls = try broker.tlsContext(try broker.pki.device("mutant"))
        var attack = MutationAttack(broker, loop: loop, tls: tls, seed: seed)
        // Buffers and tables have their sizes after this.
        try healthy.run(loop, seconds: 3) { try attack.step() }
        let health = try BrokerHealth(broker)
        try healthy.run(loop, seconds: Self.seconds) { try attack.step() }
        attack.end()
        let deadline = Clock.monotonic() + 30 * Nanoseconds.perSecond
        while try !Self.isQuiet(broker), Clock.monotonic() < deadline { try healthy.run(loop, seconds: 0.5) }
        let comment: Comment = "MARTLET_SEED=\(seed); \(attack.summary); \(try health.summary()); \(healthy.summary)"
        print(comment)
        healthy.expectService(comment)
        try health.expectUnharmed(memoryGrowthMebibytes: 24, comment)
        #expect(attack.acceptedConnections > 50, comment)
        try Self.expectFullService(broker, comment)
    }

    /// Only the healthy client is left.
    private static func isQuiet(_ broker: TestBroker) throws -> Bool {
        try broker.status(of: "router").contains("sessions 1\n")
            && broker.status(of: "listener").contains("\nconnections 1\n")
    }

    /// A new device gets in, and everything works for it.
    private static func expectFullService(_ broker: TestBroker, _ comment: Comment) throws {
        try broker.provision("late", password: "secret")
        let client = try TestClient(
            loop: try EventLoop(),
            port: broker.tlsPort,
            version: .v5_0,
            tls: try broker.tlsContext(try broker.pki.device("late"))
        )
        let connack = try client.connect(clientIdentifier: "late", userName: "u", password: "secret")
        #expect(connack.returnCode == 0, comment)
        #expect(try client.subscribe("devices/late/#", qos: .exactlyOnce) == [2], comment)
        client.publish("devices/late/x", [1, 2, 3], qos: .exactlyOnce, packetIdentifier: 7)
        #expect(try client.next().type == .pubrec, comment)
        client.send(.pubrel(AcknowledgementPacket(packetIdentifier: 7)))
        let packets = [try client.next(), try client.next()]
        #expect(packets.contains { $0.type == .pubcomp }, comment)
        #expect(
            packets.contains { if case .publish(let publish) = $0 { publish.payload == [1, 2, 3] } else { false } }
        )
    }
}

/// Connections that each bring the broker into some state, break a packet there, and go in one way or another.
struct MutationAttack {
    private enum State: CaseIterable {
        case beforeConnect
        case duringAuthentication
        case open
        case insideReceivedQoS2
        case insideSentQoS2
        case insideLargePacket
    }

    private struct Attacker {
        var connection: RawConnection
        var state: State
        var version: ProtocolVersion
        var stepsLeft: Int
        var hasConnected = false
    }

    private static let connectionsMax = 48
    private let broker: TestBroker
    private let loop: EventLoop
    private let tls: TLSClientContext
    private var mutator: Mutator
    private var attackers: [Attacker] = []
    private var byState: [String: Int] = [:]
    private var connections = 0
    private var packets = 0
    /// Connections that the broker answered something.
    private(set) var acceptedConnections = 0

    init(_ broker: TestBroker, loop: EventLoop, tls: TLSClientContext, seed: UInt64) {
        self.broker = broker
        self.loop = loop
        self.tls = tls
        self.mutator = Mutator(seed: seed)
    }

    var summary: String {
        let states = self.byState.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        return "\(self.packets) packets on \(self.connections) connections (\(states))"
    }

    /// Every attacker does one thing; those that are done are replaced.
    mutating func step() throws {
        if self.attackers.count < Self.connectionsMax { self.attackers.append(try self.makeAttacker()) }
        for index in self.attackers.indices.reversed() {
            if self.attackers[index].connection.hasEnded || self.attackers[index].stepsLeft <= 0 {
                self.retire(index)
            } else {
                self.act(index)
            }
        }
    }

    mutating func end() {
        for index in self.attackers.indices.reversed() { self.retire(index) }
    }

    private mutating func retire(_ index: Int) {
        if self.attackers[index].connection.receivedBytes > 0 { self.acceptedConnections += 1 }
        self.attackers[index].connection.close(abort: self.mutator.oneIn(3))
        self.attackers.remove(at: index)
    }

    private mutating func makeAttacker() throws -> Attacker {
        let state = State.allCases[self.mutator.number(0..<State.allCases.count)]
        let usesTLS = self.mutator.oneIn(4) || state == .duringAuthentication
        self.connections += 1
        self.byState["\(state)", default: 0] += 1
        let connection = try RawConnection(
            loop: self.loop,
            port: usesTLS ? self.broker.tlsPort : self.broker.plainPort,
            tls: usesTLS ? self.tls : nil
        )
        return Attacker(
            connection: connection,
            state: state,
            version: self.mutator.version(),
            stepsLeft: self.mutator.number(2..<12)
        )
    }

    private mutating func act(_ index: Int) {
        self.attackers[index].stepsLeft -= 1
        let attacker = self.attackers[index]
        let connection = attacker.connection
        // Whoever does not take what it is sent gets no more.
        guard connection.pendingBytes < 1 << 20 else { return }
        self.packets += 1
        guard attacker.hasConnected || attacker.state == .beforeConnect else {
            self.attackers[index].hasConnected = true
            connection.send(self.mutator.connect(attacker.version, willTopic: "devices/mutant/will"))
            if attacker.state == .duringAuthentication { connection.send(self.mutator.packet(attacker.version)) }
            return
        }
        switch attacker.state {
        case .beforeConnect: connection.send(self.beforeConnect(attacker.version))
        case .duringAuthentication, .open: connection.send(self.mutator.packet(attacker.version))
        case .insideReceivedQoS2: connection.send(self.insideReceivedQoS2(attacker.version))
        case .insideSentQoS2: connection.send(self.insideSentQoS2(attacker.version))
        case .insideLargePacket: connection.send(self.insideLargePacket(attacker.version))
        }
    }

    private mutating func beforeConnect(_ version: ProtocolVersion) -> [UInt8] {
        switch self.mutator.number(0..<4) {
        case 0: self.mutator.garbage()
        case 1: self.mutator.packet(version)
        default: self.mutator.broken(self.mutator.connect(version))
        }
    }

    /// Subscribes to what it publishes itself at QoS 2, and answers anyhow.
    private mutating func insideReceivedQoS2(_ version: ProtocolVersion) -> [UInt8] {
        let topic = Array("devices/mutant/twice".utf8)
        let identifier = UInt16(self.mutator.number(0..<6))
        switch self.mutator.number(0..<6) {
        case 0:
            let subscription = SubscribePacket.Subscription(filter: topic, qos: .exactlyOnce)
            let subscribe = SubscribePacket(packetIdentifier: 1, subscriptions: [subscription])
            return Packet.subscribe(subscribe).bytes(version) + self.publishTwice(version, topic)
        case 1: return self.publishTwice(version, topic)
        case 2: return Packet.pubrec(AcknowledgementPacket(packetIdentifier: max(1, identifier))).bytes(version)
        case 3: return Packet.pubcomp(AcknowledgementPacket(packetIdentifier: max(1, identifier))).bytes(version)
        case 4: return [0x50, 2, 0, UInt8(identifier)]
        default: return self.mutator.packet(version)
        }
    }

    private mutating func insideSentQoS2(_ version: ProtocolVersion) -> [UInt8] {
        let topic = Array("devices/mutant/once".utf8)
        let identifier = UInt8(self.mutator.number(0..<6))
        switch self.mutator.number(0..<4) {
        case 0, 1: return self.publishTwice(version, topic)
        case 2: return [0x62, 2, 0, identifier]
        default: return self.mutator.broken([0x62, 2, 0, identifier]) + self.mutator.packet(version)
        }
    }

    private mutating func publishTwice(_ version: ProtocolVersion, _ topic: [UInt8]) -> [UInt8] {
        let identifier = UInt16(self.mutator.number(1..<6))
        let packet = PublishPacket(
            dup: self.mutator.oneIn(2),
            qos: .exactlyOnce,
            topic: topic,
            packetIdentifier: identifier,
            payload: self.mutator.garbage()
        )
        return Packet.publish(packet).bytes(version)
    }

    /// Says that a large packet comes, and sends some of it, or something else.
    private mutating func insideLargePacket(_ version: ProtocolVersion) -> [UInt8] {
        switch self.mutator.number(0..<5) {
        case 0, 1:
            let type = [0x30, 0x32, 0x34, 0x82, 0xA2, 0x40, 0xC0][self.mutator.number(0..<7)]
            var header = ByteBuffer()
            header.write(UInt8(type))
            header.writeVariableByteInteger(self.mutator.number(65_000..<3_000_000))
            header.writeBigEndian(UInt16(6))
            return header.array + Array("devices/mutant".utf8).prefix(6)
        case 2, 3: return self.mutator.generator.random.bytes(self.mutator.number(1..<20_000))
        default: return self.mutator.packet(version)
        }
    }
}
