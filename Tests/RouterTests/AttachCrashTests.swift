import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// A router that is killed at random moments under connections that live: seeded, with what real listeners remember of them.
/// Clients must notice nothing but a pause.
@Suite struct AttachCrashTests {
    /// A client that never connects again: whatever ends its connection is a fault.
    private final class Device {
        let name: String
        let client: FakeClient
        private(set) var sent: [String] = []
        private var next = 1
        private var identifier: UInt16 = 0
        /// By packet identifier.
        private(set) var underWay: [UInt16: (payload: String, qos: QoS)] = [:]
        private(set) var acknowledged: Set<String> = []
        /// By a router that could not store them: others may have got them.
        private(set) var refused: Set<String> = []
        private(set) var came: [String: Int] = [:]
        private(set) var order: [String] = []
        private(set) var faults: [String] = []
        /// QoS 1 messages that it did not acknowledge yet, and QoS 2 messages whose PUBREL did not come.
        private var toAcknowledge: [UInt16] = []
        private var held: Set<UInt16> = []
        private(set) var mostAtOnce = 0

        init(_ client: FakeClient) {
            self.name = client.name
            self.client = client
            client.acknowledges = false
        }

        /// - Parameter topic: `t`, to which a session that lasts is subscribed too, `u`, or `v`, to which all are at QoS 2.
        func publish(_ qos: QoS, _ topic: String) {
            guard self.underWay.count < 20 else { return }
            repeat { self.identifier = self.identifier % 60 + 1 } while self.underWay[self.identifier] != nil
            let payload = "\(self.name) \(topic) \(qos.level) \(self.next)"
            self.next += 1
            self.sent.append(payload)
            self.underWay[self.identifier] = (payload, qos)
            var packet = PublishPacket(
                qos: qos,
                topic: Array("\(topic)/\(self.name)".utf8),
                payload: Array(payload.utf8)
            )
            packet.packetIdentifier = self.identifier
            self.client.send(.publish(packet), flushes: false)
        }

        /// - Parameter isSlow: QoS 1 messages are taken, and acknowledged another time.
        func takeAll(isSlow: Bool) {
            for packet in self.client.takeAll() { self.take(packet) }
            self.mostAtOnce = max(self.mostAtOnce, self.toAcknowledge.count + self.held.count)
            guard !isSlow else { return }
            for identifier in self.toAcknowledge { self.send { .puback($0) }(identifier) }
            self.toAcknowledge = []
        }

        private func send(_ make: @escaping (AcknowledgementPacket) -> Packet) -> (UInt16) -> Void {
            { self.client.send(make(AcknowledgementPacket(packetIdentifier: $0)), flushes: false) }
        }

        private func take(_ packet: Packet) {
            switch packet {
            case .puback(let ack): self.finished(ack, .atLeastOnce)
            case .pubrec(let ack) where ack.reasonCode.isFailure: self.finished(ack, .exactlyOnce)
            case .pubrec(let ack):
                guard self.underWay[ack.packetIdentifier]?.qos == .exactlyOnce else {
                    return self.faults.append("PUBREC \(ack.packetIdentifier) for nothing")
                }
                self.send { .pubrel($0) }(ack.packetIdentifier)
            case .pubcomp(let ack): self.finished(ack, .exactlyOnce)
            case .publish(let publish): self.took(publish)
            case .pubrel(let pubrel):
                self.held.remove(pubrel.packetIdentifier)
                self.send { .pubcomp($0) }(pubrel.packetIdentifier)
            default: self.faults.append("\(packet)")
            }
        }

        private func finished(_ answer: AcknowledgementPacket, _ qos: QoS) {
            guard let sent = self.underWay.removeValue(forKey: answer.packetIdentifier), sent.qos == qos else {
                return self.faults.append("an answer to \(answer.packetIdentifier), of nothing that is under way")
            }
            switch answer.reasonCode {
            case .quotaExceeded: self.refused.insert(sent.payload)
            case let code where code.isFailure: self.faults.append("\(sent.payload) got \(code)")
            default: self.acknowledged.insert(sent.payload)
            }
        }

        private func took(_ publish: PublishPacket) {
            let payload = String(decoding: publish.payload, as: UTF8.self)
            let identifier = publish.packetIdentifier
            if self.toAcknowledge.contains(identifier) || self.held.contains(identifier) {
                self.faults.append("\(payload) came with identifier \(identifier), which is in use")
            }
            if self.came[payload] == nil { self.order.append(payload) }
            self.came[payload, default: 0] += 1
            if publish.qos == .exactlyOnce {
                self.held.insert(identifier)
                self.send { .pubrec($0) }(identifier)
            } else {
                self.toAcknowledge.append(identifier)
            }
        }
    }

    private static let receiveMaximum: UInt16 = 7

    @Test(arguments: 0..<60) func clientsNoticeNothingButAPause(_ index: Int) throws {
        try self.run(seed: testSeed() &+ UInt64(index), fillsDisk: false)
    }

    /// Between the kills commits fail for a while. A message may be refused then; one that was acknowledged is not lost, and no
    /// client loses its connection.
    @Test(arguments: 0..<60) func commitsThatFailLoseNothingThatWasAcknowledged(_ index: Int) throws {
        try self.run(seed: testSeed() &+ UInt64(index), fillsDisk: true)
    }

    /// An identifier whose QoS 2 exchange was over, and not stored as such, had gone to a QoS 1 message: its PUBACK closed the session.
    @Test(arguments: [1_714_805_012_793_194_580] as [UInt64]) func seedsThatFoundFaults(_ seed: UInt64) throws {
        try self.run(seed: seed, fillsDisk: false)
    }

    private func run(seed: UInt64, fillsDisk: Bool) throws {
        var random = SeededRandom(seed: seed)
        let directory = try TemporaryDirectory()
        let path = directory.file("store.db")
        var harness = RouterHarness(store: try StoreFile(path: path, survivesPowerLoss: false))
        harness.addListener()
        harness.addListener()
        func device(_ name: String, lasts: Bool, on listener: Int) -> Device {
            let client = harness.client(name, on: harness.listeners[listener])
            client.connect(clean: !lasts, expiry: lasts ? 3600 : 0, receiveMaximum: Self.receiveMaximum)
            return Device(client)
        }
        let publishers = [device("p1", lasts: true, on: 0), device("p2", lasts: false, on: 1)]
        let subscribers = [
            device("s1", lasts: true, on: 1), device("s2", lasts: false, on: 1), device("s3", lasts: false, on: 0),
        ]
        subscribers[0].client.subscribe("t/#", .exactlyOnce)
        for topic in ["t/#", "u/#", "v/#"] {
            subscribers[1].client.subscribe(topic, .exactlyOnce)
            subscribers[2].client.subscribe(topic, topic == "v/#" ? .exactlyOnce : .atLeastOnce)
        }
        harness.commitsAtOnce = false
        harness.core.settling.messagesPerMark = 4
        var kills = 0
        var unstored = 0
        for _ in 0..<500 {
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<5: publishers.randomElement(using: &random)?.publish(.atLeastOnce, random.topic)
            case 5..<9: publishers.randomElement(using: &random)?.publish(.exactlyOnce, random.topic)
            case 9..<12:
                harness.commit()
            case 12 where fillsDisk && random.oneIn(2): harness.isDiskFull.toggle()
            case 12 where random.oneIn(4):
                // Nobody who sends something again is waited for any more.
                harness.handOver(to: harness.listeners)
                harness.pass(seconds: 6)
            case 12..<14: harness.handOver(to: harness.listeners.filter { _ in Bool.random(using: &random) })
            case 14..<17: subscribers.randomElement(using: &random)?.takeAll(isSlow: Bool.random(using: &random))
            case 17, 18: publishers.randomElement(using: &random)?.takeAll(isSlow: false)
            default:
                kills += 1
                self.lastWords(harness, publishers, subscribers, &random)
                unstored += harness.listeners.reduce(0) { $0 + $1.unstoredExchanges }
                harness = try harness.replaceRouter(path)
                harness.commitsAtOnce = false
                harness.core.settling.messagesPerMark = 4
            }
        }
        harness.isDiskFull = false
        for _ in 0..<200 {
            harness.commit()
            harness.handOver(to: harness.listeners)
            for device in publishers + subscribers { device.takeAll(isSlow: false) }
        }
        self.check(publishers, subscribers, "seed \(seed), \(kills) kills")
        #expect(fillsDisk || publishers.allSatisfy(\.refused.isEmpty), "seed \(seed): refused without a reason")
        #expect(harness.core.queuedMessages == 0, "seed \(seed)")
        #expect(harness.core.sessionCount == 5, "seed \(seed)")
        unstored += harness.listeners.reduce(0) { $0 + $1.unstoredExchanges }
        #expect(unstored > 8, "seed \(seed)")
    }

    /// What clients send while the router dies reaches their listener, and nobody else.
    private func lastWords(
        _ harness: RouterHarness,
        _ publishers: [Device],
        _ subscribers: [Device],
        _ random: inout SeededRandom
    ) {
        for listener in harness.listeners { listener.isUplinkLost = true }
        for device in publishers where Bool.random(using: &random) {
            device.publish(Bool.random(using: &random) ? .atLeastOnce : .exactlyOnce, random.topic)
        }
        for device in publishers + subscribers where Bool.random(using: &random) { device.takeAll(isSlow: false) }
    }

    private func check(_ publishers: [Device], _ subscribers: [Device], _ run: String) {
        for device in publishers + subscribers {
            #expect(device.client.isOpen, "\(run): \(device.name) was closed")
            #expect(device.faults == [], "\(run): \(device.name)")
            #expect(device.mostAtOnce <= Int(Self.receiveMaximum), "\(run): \(device.name)")
        }
        for publisher in publishers {
            #expect(
                publisher.acknowledged.union(publisher.refused) == Set(publisher.sent),
                "\(run): not all of \(publisher.name) is answered"
            )
            for (subscriber, topics) in zip(subscribers, [["t"], ["t", "u", "v"], ["t", "u", "v"]]) {
                for prefix in topics.flatMap({ ["\(publisher.name) \($0) 1 ", "\(publisher.name) \($0) 2 "] }) {
                    let counts = { (payload: String) in
                        payload.hasPrefix(prefix) && !publisher.refused.contains(payload)
                    }
                    let sent = publisher.sent.filter(counts)
                    let lost = sent.filter { subscriber.came[$0] == nil }
                    #expect(lost == [], "\(run): lost by \(subscriber.name)")
                    let order = subscriber.order.filter(counts)
                    #expect(order == sent, "\(run): order of \(subscriber.name)")
                }
            }
        }
        for subscriber in subscribers {
            let twice = subscriber.came.filter { payload, count in
                let words = payload.split(separator: " ")
                // The third one gets most QoS 2 messages at QoS 1.
                return count > 1 && words[2] == "2" && (subscriber !== subscribers[2] || words[1] == "v")
            }
            #expect(twice.isEmpty, "\(run): QoS 2 messages came twice to \(subscriber.name)")
        }
    }
}

extension SeededRandom {
    fileprivate var topic: String {
        mutating get { ["t", "u", "v", "v"][Int.random(in: 0..<4, using: &self)] }
    }
}
