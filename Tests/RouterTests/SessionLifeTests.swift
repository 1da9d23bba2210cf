import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// Sessions that last at one connection and end with the next one, in the midst of everything that may be under way: whatever happens,
/// every router starts with what is stored, and when they are over nothing is left of them.
@Suite struct SessionLifeTests {
    /// What happened, in order.
    private final class Log {
        private var lines: [String] = []

        var text: String { self.lines.joined(separator: "\n") }

        func append(_ line: String) { self.lines.append(line) }
    }

    /// A client, and what it keeps of its session.
    private final class Actor {
        let name: String
        var client: FakeClient?
        let isShared: Bool
        private let log: Log
        /// QoS 2 messages that it sent, by packet identifier.
        var exchanges: [UInt16: Exchange] = [:]
        private var nextIdentifier: UInt16 = 0
        /// Of QoS 2 messages that came and were not released.
        private var identifiersReceived: Set<UInt16> = []
        private var payloadsReceived: Set<[UInt8]> = []
        /// What came twice at QoS 2.
        private(set) var repeated: [String] = []
        private(set) var receivedCount = 0
        /// QoS 1 and 2 messages that came and are not done with, by packet identifier.
        private var underWay: [UInt16: Arrival] = [:]
        /// Packets that were looked at and not answered, the first ones of what the client has.
        private var unansweredCount = 0
        /// What the standard forbids.
        private(set) var violations: [String] = []

        private struct Arrival {
            var payload: [UInt8]
            var at: Instant
            /// A router was killed before the identifier was stored.
            var mayComeAgainAsNew = false
        }

        struct Exchange {
            static let prefix = Array("exchange".utf8)

            var payload: String
            var hasPubrec = false
        }

        init(_ name: String, isShared: Bool, _ log: Log) {
            self.log = log
            self.name = name
            self.isShared = isShared
        }

        /// There is another session.
        func beginAnew() {
            self.exchanges = [:]
            self.identifiersReceived = []
            self.payloadsReceived = []
            self.underWay = [:]
        }

        /// There is another connection: what was not looked at is lost, and what was not answered comes again.
        func connected(_ client: FakeClient) {
            self.client = client
            self.unansweredCount = 0
        }

        /// - Parameter storesAll: identifiers that were due to be stored are.
        func routerIsKilled(at now: Instant, storesAll: Bool) {
            for (identifier, arrival) in self.underWay {
                let isDue = now &- arrival.at >= RouterLimits.unidentifiedNanoseconds + 100 * Nanoseconds.perMillisecond
                if !storesAll || !isDue { self.underWay[identifier]?.mayComeAgainAsNew = true }
            }
        }

        /// Looks at what has come.
        private func look(at publish: PublishPacket, now: Instant) {
            let identifier = publish.packetIdentifier
            let text = "\(identifier) \(String(decoding: publish.payload, as: UTF8.self))"
            self.log.append("\(self.name) gets \(text), \(publish.qos)\(publish.dup ? ", DUP" : "")")
            if let former = self.underWay[identifier], !former.mayComeAgainAsNew {
                // [MQTT-2.2.1-3], [MQTT-3.3.1-1]
                if !publish.dup || former.payload != publish.payload { self.violations.append("\(text): in use") }
                return
            }
            // [MQTT-4.4.0-1]. What was published at QoS 1 may have been published again.
            let isAgain = self.underWay.contains { $0.value.payload == publish.payload && !$0.value.mayComeAgainAsNew }
            if isAgain, !self.isShared, publish.payload.starts(with: Exchange.prefix) {
                self.violations.append("\(text): again as new")
            }
            self.underWay[identifier] = Arrival(payload: publish.payload, at: now)
        }

        var openClient: FakeClient? { self.client.flatMap { $0.isOpen ? $0 : nil } }

        func takeIdentifier() -> UInt16 {
            self.nextIdentifier = self.nextIdentifier % 200 + 1
            return self.nextIdentifier
        }

        /// Takes answers to what it sent, and answers the first `count` of what else came.
        func answer(_ count: Int, now: Instant) {
            guard let client = self.openClient else { return }
            var left = count
            var others: [Packet] = []
            for (place, packet) in client.takeAll().enumerated() {
                if case .publish(let publish) = packet, publish.qos != .atMostOnce, place >= self.unansweredCount {
                    self.look(at: publish, now: now)
                }
                switch packet {
                case .pubrec(let ack) where ack.reasonCode.isFailure: self.exchanges[ack.packetIdentifier] = nil
                case .pubrec(let ack): self.exchanges[ack.packetIdentifier]?.hasPubrec = true
                case .pubcomp(let ack): self.exchanges[ack.packetIdentifier] = nil
                case .publish(let publish) where publish.qos == .atMostOnce: break
                case .publish, .pubrel:
                    if left > 0 { self.answer(packet, client) } else { others.append(packet) }
                    left -= 1
                default: break
                }
            }
            client.received = others + client.received
            self.unansweredCount = others.count
        }

        private func answer(_ packet: Packet, _ client: FakeClient) {
            switch packet {
            case .publish(let publish):
                let acknowledgement = AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)
                guard publish.qos == .exactlyOnce else {
                    self.underWay[publish.packetIdentifier] = nil
                    return client.send(.puback(acknowledgement))
                }
                if self.identifiersReceived.insert(publish.packetIdentifier).inserted, !self.isShared,
                    !publish.payload.isEmpty, !self.payloadsReceived.insert(publish.payload).inserted
                {
                    self.repeated.append(String(decoding: publish.payload, as: UTF8.self))
                }
                self.receivedCount += 1
                client.send(.pubrec(acknowledgement))
            case .pubrel(let pubrel):
                self.identifiersReceived.remove(pubrel.packetIdentifier)
                self.underWay[pubrel.packetIdentifier] = nil
                client.send(.pubcomp(AcknowledgementPacket(packetIdentifier: pubrel.packetIdentifier)))
            default: break
            }
        }
    }

    private struct World {
        var random: SeededRandom
        var harness: RouterHarness
        let path: String
        let actors: [Actor]
        let log: Log
        private var payload = 0

        init(seed: UInt64, path: String) throws {
            self.random = SeededRandom(seed: seed)
            self.path = path
            let log = Log()
            self.log = log
            self.actors = ["one", "two", "three", "four"].enumerated().map { Actor($1, isShared: $0 % 2 == 1, log) }
            self.harness = RouterHarness(store: try StoreFile(path: path, survivesPowerLoss: false))
            for _ in 0..<2 { self.harness.addListener() }
        }

        private static let topics = ["a", "b"]
        private static let filters = ["a", "b", "+"]
        private static let sharedFilters = ["$share/g/a", "$share/h/+"]

        private mutating func pick<T>(_ choices: [T]) -> T {
            choices[Int.random(in: 0..<choices.count, using: &self.random)]
        }

        mutating func step() throws {
            let actor = self.pick(self.actors)
            let action = Int.random(in: 0..<100, using: &self.random)
            switch action {
            case 0..<6: self.connect(actor)
            case 6..<50: if let client = actor.openClient { self.send(actor, client) }
            case 50..<82: actor.answer(self.pick([0, 1, 2, 100]), now: self.harness.now)
            case 82..<87: self.end(actor)
            case 87..<92: self.pass(self.pick([0.01, 0.05, 0.6, 6]))
            case 92..<94: self.harness.commitsAtOnce = self.pick([true, true, true, false])
            case 94..<96: self.harness.flush()
            case 96:
                self.log.append("link breaks")
                _ = self.harness.breakLink(self.pick(self.harness.listeners))
            case 97..<99: try self.restart(everything: false)
            default: try self.restart(everything: true)
            }
        }

        private mutating func connect(_ actor: Actor) {
            let clean = self.pick([true, false, false])
            let expiry: UInt32? = self.pick([nil, 0, 5, 3600, UInt32.max])
            let client = self.harness.client(actor.name, on: self.pick(self.harness.listeners))
            client.acknowledges = false
            var will: ConnectPacket.Will?
            if self.pick([true, false, false]) {
                will = ConnectPacket.Will(
                    qos: self.pick([.atLeastOnce, .exactlyOnce]),
                    retain: false,
                    topic: [97],
                    payload: []
                )
                will?.properties.willDelayInterval = self.pick([nil, 2])
            }
            let connack = client.connect(
                clean: clean,
                expiry: expiry,
                receiveMaximum: self.pick([nil, 1, 3]),
                will: will
            )
            self.log.append(
                "\(actor.name) clean \(clean) expiry \(expiry ?? 0) will \(will != nil): \(connack?.sessionPresent as Any)"
            )
            actor.connected(client)
            guard connack?.sessionPresent == true else {
                // Without a CONNACK it does not know, and begins anew.
                actor.beginAnew()
                if self.pick([true, true, false]) { client.subscribe("+", self.pick([.atLeastOnce, .exactlyOnce])) }
                return
            }
            for (identifier, exchange) in actor.exchanges.sorted(by: { $0.key < $1.key }) {
                self.log.append("\(actor.name) again \(identifier) \(exchange)")
                if exchange.hasPubrec {
                    client.send(.pubrel(AcknowledgementPacket(packetIdentifier: identifier)))
                } else {
                    client.beginExchange("a", exchange.payload, identifier: identifier, dup: true)
                }
            }
        }

        private mutating func send(_ actor: Actor, _ client: FakeClient) {
            switch Int.random(in: 0..<12, using: &self.random) {
            case 0:
                let filter = self.pick(actor.isShared ? Self.filters + Self.sharedFilters : Self.filters)
                let qos: QoS = self.pick([.atMostOnce, .atLeastOnce, .exactlyOnce])
                self.log.append("\(actor.name) subscribes \(filter) \(qos)")
                client.subscribe(filter, qos)
            case 1:
                guard self.pick([true, false, false]) else { return }
                client.unsubscribe(self.pick(actor.isShared ? Self.filters + Self.sharedFilters : Self.filters))
            case 2, 3:
                self.payload += 1
                self.log.append("\(actor.name) publishes at QoS 1")
                var packet = PublishPacket(
                    qos: .atLeastOnce,
                    topic: Array(self.pick(Self.topics).utf8),
                    payload: Array("\(self.payload)".utf8)
                )
                packet.packetIdentifier = 1000 + actor.takeIdentifier()
                packet.properties.messageExpiryInterval = self.pick([nil, 3])
                client.send(.publish(packet))
            case 4...7:
                let identifier = actor.takeIdentifier()
                guard actor.exchanges[identifier] == nil else { return }
                self.payload += 1
                let payload = "exchange \(self.payload)"
                actor.exchanges[identifier] = Actor.Exchange(payload: payload)
                self.log.append("\(actor.name) begins \(identifier), \(payload)")
                client.beginExchange("a", payload, identifier: identifier)
            case 8:
                let exchanges = actor.exchanges.filter { !$0.value.hasPubrec }
                guard let (identifier, exchange) = exchanges.min(by: { $0.key < $1.key }) else { return }
                self.log.append("\(actor.name) repeats \(identifier)")
                client.beginExchange("a", exchange.payload, identifier: identifier, dup: true)
            default:
                actor.answer(0, now: self.harness.now)
                for (identifier, exchange) in actor.exchanges.sorted(by: { $0.key < $1.key }) where exchange.hasPubrec {
                    self.log.append("\(actor.name) releases \(identifier)")
                    client.send(.pubrel(AcknowledgementPacket(packetIdentifier: identifier)))
                    if self.pick([true, false]) { break }
                }
            }
        }

        private mutating func end(_ actor: Actor) {
            guard let client = actor.openClient else { return }
            if self.pick([true, false]) {
                self.log.append("\(actor.name) drops")
                client.drop()
            } else {
                let expiry: UInt32? = self.pick([nil, 0, 5, 3600])
                self.log.append("\(actor.name) disconnects, expiry \(expiry as Any)")
                client.disconnect(self.pick([.success, .disconnectWithWill]), expiry: expiry)
            }
        }

        private mutating func pass(_ seconds: Double) {
            self.log.append("\(seconds) s pass")
            self.harness.pass(seconds: seconds)
        }

        mutating func restart(everything: Bool) throws {
            self.log.append(everything ? "all are killed" : "the router is killed")
            for actor in self.actors {
                actor.answer(0, now: self.harness.now)
                actor.routerIsKilled(at: self.harness.now, storesAll: self.harness.commitsAtOnce)
            }
            if everything {
                self.harness = try self.harness.restart(self.path)
                for _ in 0..<2 { self.harness.addListener() }
            } else {
                self.harness = try self.harness.replaceRouter(self.path)
                self.harness.flush()
            }
            #expect(self.harness.core.ownerlessEntries == 0, "\(self.log.text)")
        }

        /// All sessions end.
        mutating func finish() throws {
            self.harness.commitsAtOnce = true
            for actor in self.actors {
                let client = self.harness.client(actor.name)
                #expect(client.connect(clean: true)?.sessionPresent == false)
                client.disconnect()
            }
            self.harness.flush()
            self.harness.commit()
        }
    }

    @Test func nothingIsLeftOfSessionsThatAreOver() throws {
        let seed = testSeed()
        var received = 0
        for round in 0..<UInt64(40) {
            let directory = try TemporaryDirectory()
            let path = directory.file("store.db")
            var world = try World(seed: seed &+ round, path: path)
            for _ in 0..<400 { try world.step() }
            try world.finish()
            let log = "MARTLET_SEED=\(seed &+ round)\n\(world.log.text)"
            #expect(world.harness.core.queuedMessages == 0 && world.harness.core.queuedBytesTotal == 0, "\(log)")
            try world.restart(everything: true)
            #expect(world.harness.core.sessionCount == 0, "\(log)")
            for actor in world.actors {
                #expect(actor.repeated == [] && actor.violations == [], "\(actor.name) \(actor.violations), \(log)")
            }
            received += world.actors.reduce(0) { $0 + $1.receivedCount }
            world.harness = RouterHarness()
            for kind in StoreKey.all {
                var count = 0
                try StoreFile(path: path, survivesPowerLoss: false).rows.entries(kind) { _, _ in count += 1 }
                #expect(count == 0, "entries of kind \(kind), \(log)")
            }
        }
        #expect(received > 20, "MARTLET_SEED=\(seed): next to nothing was sent at QoS 2")
    }
}
