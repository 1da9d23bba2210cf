import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// A router that is killed at random moments, between any two commits, under random traffic: seeded, against what its clients
/// were told.
@Suite struct CrashTests {
    /// A client that keeps what MQTT has it keep over connections.
    private final class Publisher {
        let name: String
        var next = 1
        /// Not acknowledged yet, by packet identifier.
        var underWay: [UInt16: (payload: String, qos: QoS, isReleased: Bool)] = [:]
        var acknowledged: Set<String> = []
        var client: FakeClient?

        init(_ name: String) {
            self.name = name
        }

        func takeAnswers() {
            guard let client = self.client else { return }
            for packet in client.takeAll() {
                switch packet {
                case .puback(let ack):
                    guard let sent = self.underWay.removeValue(forKey: ack.packetIdentifier) else { continue }
                    self.acknowledged.insert(sent.payload)
                case .pubrec(let ack):
                    guard self.underWay[ack.packetIdentifier] != nil else { continue }
                    self.underWay[ack.packetIdentifier]?.isReleased = true
                    client.send(.pubrel(AcknowledgementPacket(packetIdentifier: ack.packetIdentifier)))
                case .pubcomp(let ack):
                    guard let sent = self.underWay.removeValue(forKey: ack.packetIdentifier) else { continue }
                    self.acknowledged.insert(sent.payload)
                default: break
                }
            }
        }

        private func packet(_ identifier: UInt16, _ payload: String, _ qos: QoS, dup: Bool) -> Packet {
            var packet = PublishPacket(qos: qos, topic: Array("t/\(self.name)".utf8), payload: Array(payload.utf8))
            packet.packetIdentifier = identifier
            packet.dup = dup
            return .publish(packet)
        }

        func publish(_ qos: QoS) {
            guard let client = self.client, self.underWay.count < 20 else { return }
            let payload = "\(self.name) \(qos.level) \(self.next)"
            self.next += 1
            let identifier = client.takeIdentifier()
            guard self.underWay[identifier] == nil else { return }
            self.underWay[identifier] = (payload, qos, false)
            client.send(self.packet(identifier, payload, qos, dup: false), flushes: false)
        }

        func reconnect(_ harness: RouterHarness) {
            let identifiers = self.client?.takeIdentifier() ?? 0
            let client = harness.client(self.name)
            client.acknowledges = false
            client.connect(clean: false, expiry: 3600)
            for _ in 0..<Int(identifiers) { _ = client.takeIdentifier() }
            self.client = client
            for (identifier, sent) in self.underWay.sorted(by: { $0.key < $1.key }) {
                if sent.isReleased {
                    client.send(.pubrel(AcknowledgementPacket(packetIdentifier: identifier)))
                } else {
                    client.send(self.packet(identifier, sent.payload, sent.qos, dup: true))
                }
            }
        }
    }

    private final class Subscriber {
        let name: String
        var client: FakeClient?
        var came: [String: Int] = [:]
        var order: [String] = []
        /// QoS 2 identifiers whose PUBREL did not come yet.
        var held: Set<UInt16> = []

        init(_ name: String) {
            self.name = name
        }

        private func take(_ payload: [UInt8]) {
            let text = String(decoding: payload, as: UTF8.self)
            if self.came[text] == nil { self.order.append(text) }
            self.came[text, default: 0] += 1
        }

        func takeMessages() {
            guard let client = self.client, client.isOpen else { return }
            for packet in client.takeAll() {
                switch packet {
                case .publish(let publish) where publish.qos == .atLeastOnce:
                    self.take(publish.payload)
                    client.send(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
                case .publish(let publish) where publish.qos == .exactlyOnce:
                    if self.held.insert(publish.packetIdentifier).inserted { self.take(publish.payload) }
                    client.send(.pubrec(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
                case .pubrel(let pubrel):
                    self.held.remove(pubrel.packetIdentifier)
                    client.send(.pubcomp(AcknowledgementPacket(packetIdentifier: pubrel.packetIdentifier)))
                default: break
                }
            }
        }

        func reconnect(_ harness: RouterHarness) {
            let client = harness.client(self.name)
            client.acknowledges = false
            client.connect(clean: false, expiry: 3600)
            self.client = client
        }
    }

    @Test(arguments: 0..<40) func nothingAcknowledgedIsLostAndNoQoS2MessageComesTwice(_ index: Int) throws {
        let seed = testSeed() &+ UInt64(index)
        var random = SeededRandom(seed: seed)
        let directory = try TemporaryDirectory()
        let path = directory.file("store.db")
        var harness = RouterHarness(store: try StoreFile(path: path, survivesPowerLoss: false))
        let publishers = [Publisher("p1"), Publisher("p2")]
        let subscribers = [Subscriber("s1"), Subscriber("s2")]
        for subscriber in subscribers {
            subscriber.reconnect(harness)
            subscriber.client?.subscribe("t/#", .exactlyOnce)
        }
        for publisher in publishers { publisher.reconnect(harness) }
        harness.commitsAtOnce = false
        var kills = 0
        for _ in 0..<400 {
            switch Int.random(in: 0..<21, using: &random) {
            case 20: harness.pass(seconds: Double(Int.random(in: 1...15, using: &random)) / 1000)
            case 0..<7: publishers.randomElement(using: &random)?.publish(.atLeastOnce)
            case 7..<12: publishers.randomElement(using: &random)?.publish(.exactlyOnce)
            case 12..<15:
                harness.commit()
                harness.flush()
            case 15: subscribers.randomElement(using: &random)?.takeMessages()
            case 16: publishers.randomElement(using: &random)?.takeAnswers()
            case 17:
                guard let subscriber = subscribers.randomElement(using: &random) else { break }
                subscriber.client?.drop()
                if Bool.random(using: &random) { subscriber.reconnect(harness) }
            case 18:
                guard let publisher = publishers.randomElement(using: &random) else { break }
                publisher.takeAnswers()
                publisher.client?.drop()
                publisher.reconnect(harness)
            default:
                kills += 1
                harness = try harness.restart(path)
                harness.commitsAtOnce = false
                for publisher in publishers { publisher.reconnect(harness) }
                for subscriber in subscribers { subscriber.reconnect(harness) }
            }
        }
        harness.commitsAtOnce = true
        harness.flush()
        for _ in 0..<4 {
            for publisher in publishers {
                publisher.takeAnswers()
                publisher.client?.drop()
                publisher.reconnect(harness)
            }
            // What nobody acknowledges is stored.
            harness.pass(seconds: 0.05)
        }
        for publisher in publishers { publisher.takeAnswers() }
        for subscriber in subscribers {
            if subscriber.client?.isOpen != true { subscriber.reconnect(harness) }
            for _ in 0..<20 { subscriber.takeMessages() }
        }
        self.check(publishers, subscribers, "seed \(seed), \(kills) kills")
        #expect(harness.core.queuedMessages == 0, "seed \(seed)")
    }

    private func check(_ publishers: [Publisher], _ subscribers: [Subscriber], _ run: String) {
        for subscriber in subscribers {
            for publisher in publishers {
                #expect(publisher.underWay.isEmpty, "\(run)")
                let lost = publisher.acknowledged.filter { subscriber.came[$0] == nil }
                #expect(lost.isEmpty, "\(run): lost by \(subscriber.name)")
                for level in 1...2 {
                    let prefix = "\(publisher.name) \(level) "
                    let numbers = subscriber.order.filter { $0.hasPrefix(prefix) }.compactMap {
                        Int($0.dropFirst(prefix.utf8.count))
                    }
                    if level == 2 { #expect(numbers == numbers.sorted(), "\(run): out of order") }
                }
            }
            let twice = subscriber.came.filter { $0.value > 1 && $0.key.split(separator: " ")[1] == "2" }
            #expect(twice.isEmpty, "\(run): QoS 2 messages came twice to \(subscriber.name)")
        }
    }
}
