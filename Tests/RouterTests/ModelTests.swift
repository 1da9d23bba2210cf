import Common
import TestSupport
import Testing

@testable import Router

/// Random clients against a naive model of what MQTT promises.
///
/// Every message has a number of its own. The model knows at each publish which sessions subscribe to the topic at which QoS,
/// and whether they are connected; in the end each session must have got exactly what the model says: QoS 2 once, QoS 1 at
/// least once, QoS 0 at most once (and for sure while connected and not blocked), in order per publisher and topic.
final class DeliveryModel {
    struct Subscription {
        var qos: QoS
    }

    final class Actor {
        let client: FakeClient
        var isConnected = false
        var isPersistent = false
        var subscriptions: [String: QoS] = [:]
        /// Numbers that must come, by QoS of the delivery.
        var expected: [Int: QoS] = [:]
        /// QoS 0 messages that may come.
        var possible: Set<Int> = []
        /// What came: number, QoS, DUP, in order.
        var arrived: [(number: Int, qos: QoS, dup: Bool)] = []
        /// QoS 2 packet ids between PUBLISH and PUBREL: method B of the receiver (section 4.3.3).
        var halfReceived: Set<UInt16> = []
        /// QoS 1 and 2 messages that were sent and not answered: they are sent again after a reconnect.
        var unanswered: [PublishPacket] = []
        var released: [UInt16] = []
        /// QoS 2 messages that the router has and keeps until PUBREL, by packet id.
        var held: [UInt16: Int] = [:]

        init(_ client: FakeClient) {
            self.client = client
        }
    }

    let harness = RouterHarness {
        $0.mqtt.receiveMaximum = UInt16.max
        $0.mqtt.session.maxInflight = 3
    }
    var random: SeededRandom
    var actors: [Actor] = []
    var next = 0
    var publisherOf: [Int: Int] = [:]
    var topicOf: [Int: String] = [:]
    /// In which order messages went on.
    var routed: [Int: Int] = [:]
    /// QoS 1 messages that their publisher sent twice, because the connection broke before the PUBACK came.
    var repeated: Set<Int> = []
    let topics = ["a", "a/b", "a/b/c", "x", "$s/y"]
    let filters = ["a", "a/+", "a/#", "#", "+/b", "x", "$s/#", "a/b/c"]

    init(seed: UInt64) {
        self.random = SeededRandom(seed: seed)
        let listeners = [
            self.harness.addListener(sessionCredit: 300), self.harness.addListener(sessionCredit: 1 << 20),
        ]
        for index in 0..<6 {
            let version = index % 3 == 0 ? ProtocolVersion.v3_1_1 : .v5_0
            let client = self.harness.client("client-\(index)", version, on: listeners[index % 2])
            client.acknowledges = false
            self.actors.append(Actor(client))
        }
    }

    func run(steps: Int) {
        for _ in 0..<steps {
            let index = Int.random(in: 0..<self.actors.count, using: &self.random)
            self.step(self.actors[index], index)
        }
        // In the end everybody comes back, takes credit and acknowledges until nothing moves.
        for actor in self.actors where !actor.isConnected && actor.isPersistent { self.connect(actor, clean: false) }
        for _ in 0..<200 {
            for actor in self.actors where actor.isConnected {
                actor.client.returnsCredit = true
                actor.client.returnHeldCredit()
                self.receive(actor, answers: true)
            }
        }
    }

    private func step(_ actor: Actor, _ index: Int) {
        guard actor.isConnected else { return self.connect(actor, clean: self.random.oneIn(4)) }
        switch Int.random(in: 0..<20, using: &self.random) {
        case 0: self.disconnect(actor)
        case 1, 2: self.subscribe(actor)
        case 3: self.unsubscribe(actor)
        case 4:
            actor.client.returnsCredit.toggle()
            if actor.client.returnsCredit { actor.client.returnHeldCredit() }
        case 5...12: self.publish(actor, index)
        case 13: self.receive(actor, answers: false)
        default: self.receive(actor, answers: true)
        }
    }

    // MARK: Events

    private func connect(_ actor: Actor, clean: Bool) {
        let connack = actor.client.connect(clean: clean, expiry: actor.client.version == .v5_0 ? 1000 : nil)
        #expect(connack?.returnCode == 0)
        #expect(connack?.sessionPresent == (actor.isPersistent && !clean))
        if connack?.sessionPresent != true {
            actor.subscriptions = [:]
            actor.expected = [:]
            actor.possible = []
            actor.arrived = []
            actor.halfReceived = []
            actor.unanswered = []
            actor.released = []
            actor.held = [:]
        }
        actor.isConnected = true
        actor.isPersistent = actor.client.version == .v5_0 || !clean
        // What was not answered is sent again, in order; PUBRELs too.
        let unanswered = actor.unanswered
        for var packet in unanswered {
            packet.dup = true
            if packet.qos == .atLeastOnce, let number = Self.number(packet), let topic = self.topicOf[number] {
                self.repeated.insert(number)
                self.route(number, topic, packet.qos)
            }
            actor.client.send(.publish(packet))
        }
        for identifier in actor.released { self.release(identifier, actor) }
    }

    private func disconnect(_ actor: Actor) {
        // What is on its way when the connection breaks may or may not have been seen: here it was not.
        if self.random.oneIn(2) {
            self.receive(actor, answers: true)
            actor.client.disconnect(expiry: nil)
        } else {
            actor.client.drop()
        }
        actor.client.takeAll()
        actor.client.heldCredit = 0
        actor.isConnected = false
    }

    private func subscribe(_ actor: Actor) {
        guard let filter = self.filters.randomElement(using: &self.random) else { return }
        let qos = QoS(level: UInt8.random(in: 0...2, using: &self.random))
        let code = actor.client.subscribe(filter, qos)
        #expect(code == qos.rawValue)
        actor.subscriptions[filter] = qos
    }

    private func unsubscribe(_ actor: Actor) {
        guard let filter = actor.subscriptions.keys.sorted().randomElement(using: &self.random) else { return }
        let unsuback = actor.client.unsubscribe(filter)
        if actor.client.version == .v5_0 { #expect(unsuback?.reasonCodes == [.success]) }
        actor.subscriptions[filter] = nil
    }

    private func publish(_ actor: Actor, _ index: Int) {
        guard let topic = self.topics.randomElement(using: &self.random) else { return }
        let qos = QoS(level: UInt8.random(in: 0...2, using: &self.random))
        let number = self.next
        self.next += 1
        self.publisherOf[number] = index
        self.topicOf[number] = topic
        if qos != .exactlyOnce { self.route(number, topic, qos) }
        let payload =
            Array("\(number)".utf8) + [UInt8](repeating: 0x2E, count: Int.random(in: 0...40, using: &self.random))
        var packet = PublishPacket(qos: qos, topic: Array(topic.utf8), payload: payload)
        if qos != .atMostOnce {
            repeat {
                packet.packetIdentifier = actor.client.takeIdentifier()
            } while self.isInUse(packet.packetIdentifier, actor)
            actor.unanswered.append(packet)
        }
        if qos == .exactlyOnce { actor.held[packet.packetIdentifier] = number }
        actor.client.send(.publish(packet))
    }

    /// PUBREL: with the first one that arrives the message goes on.
    private func release(_ identifier: UInt16, _ actor: Actor) {
        if actor.isConnected, let number = actor.held.removeValue(forKey: identifier), let topic = self.topicOf[number]
        {
            self.route(number, topic, .exactlyOnce)
        }
        actor.client.send(.pubrel(AcknowledgementPacket(packetIdentifier: identifier)))
    }

    /// Who gets it, at this moment.
    private func route(_ number: Int, _ topic: String, _ qos: QoS) {
        self.routed[number] = self.routed.count
        for receiver in self.actors where receiver.isConnected || receiver.isPersistent {
            var best: QoS?
            for (filter, granted) in receiver.subscriptions where naiveMatch(filter: filter, topic: topic) {
                best = max(best ?? .atMostOnce, granted)
            }
            guard let best else { continue }
            let delivered = min(best, qos)
            if delivered == .atMostOnce {
                if receiver.isConnected { receiver.possible.insert(number) }
            } else {
                receiver.expected[number] = delivered
            }
        }
    }

    private func isInUse(_ identifier: UInt16, _ actor: Actor) -> Bool {
        actor.released.contains(identifier) || actor.unanswered.contains { $0.packetIdentifier == identifier }
    }

    /// Looks at what came, and answers it or not.
    private func receive(_ actor: Actor, answers: Bool) {
        self.harness.flush()
        for packet in actor.client.takeAll() {
            switch packet {
            case .publish(let publish): self.received(publish, actor, answers: answers)
            case .puback(let ack), .pubrec(let ack):
                actor.unanswered.removeAll { $0.packetIdentifier == ack.packetIdentifier }
                if packet.type == .pubrec, !ack.reasonCode.isFailure {
                    actor.released.append(ack.packetIdentifier)
                    self.release(ack.packetIdentifier, actor)
                }
            case .pubcomp(let ack):
                actor.released.removeAll { $0 == ack.packetIdentifier }
            case .pubrel(let ack):
                actor.halfReceived.remove(ack.packetIdentifier)
                actor.client.send(.pubcomp(AcknowledgementPacket(packetIdentifier: ack.packetIdentifier)))
            default:
                Issue.record("unexpected \(packet)")
            }
        }
    }

    private static func number(_ publish: PublishPacket) -> Int? {
        Int(String(decoding: publish.payload.prefix { $0 != 0x2E }, as: UTF8.self))
    }

    private func received(_ publish: PublishPacket, _ actor: Actor, answers: Bool) {
        guard let number = Self.number(publish) else { return }
        switch publish.qos {
        case .atMostOnce, .atLeastOnce:
            actor.arrived.append((number, publish.qos, publish.dup))
        case .exactlyOnce:
            if actor.halfReceived.insert(publish.packetIdentifier).inserted {
                actor.arrived.append((number, publish.qos, publish.dup))
            }
        }
        guard publish.qos != .atMostOnce else { return }
        let ack = AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)
        let answer: Packet = publish.qos == .atLeastOnce ? .puback(ack) : .pubrec(ack)
        if answers || actor.client.version == .v5_0 { actor.client.send(answer) } else { self.defer(answer, actor) }
    }

    /// A client may answer late: here, when its connection has broken before, never.
    private func `defer`(_ answer: Packet, _ actor: Actor) {
        if self.random.oneIn(2) { actor.client.send(answer) } else { actor.client.drop(); self.lost(actor) }
    }

    private func lost(_ actor: Actor) {
        actor.client.takeAll()
        actor.client.heldCredit = 0
        actor.isConnected = false
    }

    // MARK: Judging

    func check(_ seed: UInt64) {
        for actor in self.actors {
            var times: [Int: Int] = [:]
            var latest: [String: Int] = [:]
            for (number, qos, dup) in actor.arrived {
                times[number, default: 0] += 1
                let isKnown = actor.expected[number] == qos || (qos == .atMostOnce && actor.possible.contains(number))
                #expect(isKnown, "seed \(seed): \(number) came with QoS \(qos.level) without reason")
                // Order per publisher, topic and QoS [MQTT-4.6.0-6]; what is sent again is older.
                guard !dup, !self.repeated.contains(number) else { continue }
                let key = "\(self.publisherOf[number] ?? 0) \(self.topicOf[number] ?? "") \(qos.level)"
                let turn = self.routed[number] ?? -1
                #expect(turn > latest[key] ?? -1, "seed \(seed): \(number) came after \(latest[key] ?? -1)")
                latest[key] = turn
            }
            for (number, qos) in actor.expected where actor.isConnected {
                let count = times[number] ?? 0
                switch qos {
                case .exactlyOnce: #expect(count == 1, "seed \(seed): QoS 2 message \(number) came \(count) times")
                case .atLeastOnce: #expect(count >= 1, "seed \(seed): QoS 1 message \(number) never came")
                case .atMostOnce: break
                }
            }
            for number in actor.possible where !self.repeated.contains(number) {
                #expect(times[number] ?? 0 <= 1, "seed \(seed): QoS 0 message came twice")
            }
        }
        #expect(self.harness.core.queuedBytesTotal == 0, "seed \(seed)")
    }
}

@Suite struct ModelTests {
    @Test(arguments: 0..<8) func randomClientsGetWhatTheModelSays(run: UInt64) {
        let seed = testSeed() &+ run
        let model = DeliveryModel(seed: seed)
        model.run(steps: 600)
        model.check(seed)
    }
}
