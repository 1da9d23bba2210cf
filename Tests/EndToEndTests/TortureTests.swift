import Common
import Glibc
import TLS
import TestSupport
import Testing

/// Everything is killed at random under load, over mutual TLS; a checker outside the broker counts.
///
/// `make torture` runs it for MARTLET_TORTURE_SECONDS (300); the tests run it for a few.
@Suite struct TortureTests {
    private static let seconds =
        ProcessEnvironment.current()["MARTLET_TORTURE_SECONDS"].flatMap { UInt64($0) } ?? 6

    /// A device that keeps what MQTT has it keep, and connects again when it must.
    private final class Device {
        let name: String
        private let broker: TestBroker
        private let loop: EventLoop
        private let context: TLSClientContext
        private(set) var client: TestClient?
        private(set) var isReady = false
        private var wasReady = false
        /// Connections that ended.
        private(set) var ends = 0
        private(set) var sent: [String] = []
        private(set) var acknowledged: Set<String> = []
        private var underWay: [(identifier: UInt16, payload: String, qos: QoS, isReleased: Bool)] = []
        private var identifier: UInt16 = 0
        private let subscribes: Bool
        private var isSubscribed = false
        private(set) var came: [String: Int] = [:]
        private(set) var order: [String] = []
        private var held: Set<UInt16> = []
        private(set) var faults: [String] = []

        init(_ broker: TestBroker, _ loop: EventLoop, _ name: String, subscribes: Bool) throws {
            self.name = name
            self.broker = broker
            self.loop = loop
            self.subscribes = subscribes
            self.context = try broker.tlsContext(try broker.pki.device(name))
            try broker.provision(name, password: "secret")
        }

        /// To be called all the time.
        func work(publishes: Bool) throws {
            if self.client?.hasEnded ?? true { try self.open() }
            guard publishes, self.isReady, !self.subscribes else { return }
            while self.underWay.count < 8 {
                self.identifier = self.identifier % 60_000 + 1
                let qos = self.sent.count.isMultiple(of: 2) ? QoS.atLeastOnce : .exactlyOnce
                let payload = "\(self.name) \(qos.rawValue) \(self.sent.count)"
                self.sent.append(payload)
                self.underWay.append((self.identifier, payload, qos, false))
                self.send(self.identifier, payload, qos, dup: false)
            }
        }

        /// For the report of a test that fails.
        var state: String {
            let identifiers = self.underWay.map { "\($0.identifier)\($0.isReleased ? "r" : "")" }.joined(separator: " ")
            return
                "\(self.name) \(self.isReady ? "ready" : "not ready"), \(self.sent.count) sent, \(self.acknowledged.count) "
                + "acknowledged, under way: \(identifiers)"
        }

        var isIdle: Bool { self.isReady && self.underWay.isEmpty }

        private func open() throws {
            if self.client != nil, self.wasReady { self.ends += 1 }
            self.isReady = false
            self.wasReady = false
            let client = try TestClient(loop: self.loop, port: self.broker.tlsPort, version: .v5_0, tls: self.context)
            client.onPacket = { [unowned self] in self.take($0) }
            var properties = Properties()
            properties.sessionExpiryInterval = 3600
            client.send(
                .connect(
                    ConnectPacket(
                        version: .v5_0,
                        cleanStart: false,
                        keepAliveSeconds: 60,
                        clientIdentifier: Array(self.name.utf8),
                        userName: Array(self.name.utf8),
                        password: Array("secret".utf8),
                        properties: properties
                    )
                )
            )
            self.client = client
        }

        private func send(_ identifier: UInt16, _ payload: String, _ qos: QoS, dup: Bool) {
            var packet = PublishPacket(qos: qos, topic: Array("shared/\(self.name)".utf8), payload: Array(payload.utf8))
            packet.packetIdentifier = identifier
            packet.dup = dup
            self.client?.send(.publish(packet))
        }

        private func take(_ packet: Packet) {
            switch packet {
            case .connack(let connack):
                // While Redis is away a device that no cache knows is told to come again.
                guard connack.returnCode == 0 else { return }
                self.wasReady = true
                if self.isSubscribed { #expect(connack.sessionPresent, "\(self.name)") }
                self.isReady = !self.subscribes || self.isSubscribed
                if !self.isReady {
                    let filter = SubscribePacket.Subscription(filter: Array("shared/+".utf8), qos: .exactlyOnce)
                    self.client?.send(.subscribe(SubscribePacket(packetIdentifier: 1, subscriptions: [filter])))
                }
                for entry in self.underWay {
                    if entry.isReleased {
                        self.client?.send(.pubrel(AcknowledgementPacket(packetIdentifier: entry.identifier)))
                    } else {
                        self.send(entry.identifier, entry.payload, entry.qos, dup: true)
                    }
                }
            case .publish(let publish): self.took(publish)
            case .pubrel(let pubrel):
                self.held.remove(pubrel.packetIdentifier)
                self.client?.send(.pubcomp(AcknowledgementPacket(packetIdentifier: pubrel.packetIdentifier)))
            case .pubrec(let ack):
                guard let place = self.underWay.firstIndex(where: { $0.identifier == ack.packetIdentifier }) else {
                    return
                }
                self.underWay[place].isReleased = true
                self.client?.send(.pubrel(AcknowledgementPacket(packetIdentifier: ack.packetIdentifier)))
            case .puback(let ack), .pubcomp(let ack):
                if ack.reasonCode.isFailure { self.faults.append("\(packet)") }
                guard let place = self.underWay.firstIndex(where: { $0.identifier == ack.packetIdentifier }) else {
                    return
                }
                self.acknowledged.insert(self.underWay.remove(at: place).payload)
            case .suback:
                self.isSubscribed = true
                self.isReady = true
            case .disconnect: break
            default: self.faults.append("\(packet)")
            }
        }

        private func took(_ publish: PublishPacket) {
            let payload = String(decoding: publish.payload, as: UTF8.self)
            let ack = AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)
            if publish.qos == .exactlyOnce {
                self.client?.send(.pubrec(ack))
                guard self.held.insert(publish.packetIdentifier).inserted else { return }
            } else {
                self.client?.send(.puback(ack))
            }
            if self.came[payload] == nil { self.order.append(payload) }
            self.came[payload, default: 0] += 1
        }
    }

    private enum Fault: String, CaseIterable {
        case routerKilled = "router killed"
        case routerStopped = "router stopped"
        case workerKilled = "auth worker killed"
        case redisKilled = "Redis killed"
        case listenerKilled = "listener killed"

        func happen(to broker: TestBroker, _ random: inout SeededRandom) throws {
            switch self {
            case .routerKilled:
                broker.killRouter()
                _ = try broker.startRouterAgain()
            case .routerStopped:
                broker.router.signal(SIGTERM)
                #expect(try broker.router.waitForExit() == 0)
                _ = try broker.startRouterAgain()
            case .workerKilled: try broker.replaceAuthWorker(Int.random(in: 0..<2, using: &random))
            case .redisKilled:
                broker.stopRedis()
                try broker.startRedis()
            case .listenerKilled: try broker.restartListener(Int.random(in: 0..<broker.listeners.count, using: &random))
            }
        }
    }

    @Test func `whatever is killed, nothing acknowledged is lost and only a listener's end costs connections`() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let broker = try TestBroker(listeners: 3, authWorkers: 2)
        let loop = try EventLoop()
        let publishers = try (1...6).map { try Device(broker, loop, "p\($0)", subscribes: false) }
        let subscribers = try (1...3).map { try Device(broker, loop, "s\($0)", subscribes: true) }
        let devices = subscribers + publishers
        func turn(_ what: String, publishes: Bool = true, until condition: () -> Bool) throws {
            func details() -> String {
                let logs = broker.processes.map { $0.log.split(separator: "\n").suffix(5).joined(separator: "\n") }
                return (devices.map(\.state) + logs).joined(separator: "\n")
            }
            try loop.wait("\(what)\n\(details())", seconds: 120) {
                do {
                    for device in devices { try device.work(publishes: publishes) }
                } catch {
                    Issue.record("\(error)")
                }
                return condition()
            }
        }
        try turn("all to be connected", publishes: false) { devices.allSatisfy(\.isReady) }
        let end = Clock.monotonic() + Self.seconds * Nanoseconds.perSecond
        var faults: [String: Int] = [:]
        var lostConnections = 0
        while Clock.monotonic() < end {
            guard let fault = Fault.allCases.randomElement(using: &random) else { break }
            faults[fault.rawValue, default: 0] += 1
            let before = devices.reduce(0) { $0 + $1.ends }
            let answered = publishers.map(\.acknowledged.count)
            try fault.happen(to: broker, &random)
            // Everybody gets further.
            try turn("all to get on after: \(fault.rawValue), seed \(seed)") {
                devices.allSatisfy(\.isReady)
                    && zip(publishers, answered).allSatisfy { $0.acknowledged.count > $1 + 20 }
            }
            let ended = devices.reduce(0) { $0 + $1.ends } - before
            if fault == .listenerKilled {
                lostConnections += ended
            } else {
                #expect(ended == 0, "\(fault.rawValue), seed \(seed)")
            }
        }
        try turn("the rest, seed \(seed)", publishes: false) {
            publishers.allSatisfy(\.isIdle)
                && subscribers.allSatisfy { $0.came.count == publishers.reduce(0) { $0 + $1.sent.count } }
        }
        self.check(publishers, subscribers, "seed \(seed)")
        let counts = faults.sorted { $0.key < $1.key }.map { "\($0.value)× \($0.key)" }.joined(separator: ", ")
        print(
            "torture of \(Self.seconds) s, seed \(seed): \(counts); \(publishers.reduce(0) { $0 + $1.sent.count }) messages to "
                + "\(subscribers.count) subscribers, none lost; \(lostConnections) connections ended, with their listeners"
        )
    }

    private func check(_ publishers: [Device], _ subscribers: [Device], _ run: String) {
        for device in publishers + subscribers { #expect(device.faults == [], "\(run): \(device.name)") }
        for publisher in publishers { #expect(publisher.acknowledged == Set(publisher.sent), "\(run)") }
        for subscriber in subscribers {
            for publisher in publishers {
                let lost = publisher.sent.filter { subscriber.came[$0] == nil }
                #expect(lost == [], "\(run): lost by \(subscriber.name)")
                let prefix = "\(publisher.name) 2 "
                let order = subscriber.order.filter { $0.hasPrefix(prefix) }
                #expect(order == publisher.sent.filter { $0.hasPrefix(prefix) }, "\(run): order of \(subscriber.name)")
            }
            let twice = subscriber.came.filter { $0.value > 1 && $0.key.split(separator: " ")[1] == "2" }
            #expect(twice.isEmpty, "\(run): QoS 2 messages came twice to \(subscriber.name)")
        }
    }
}
