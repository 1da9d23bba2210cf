import Common
import Glibc
import TestSupport
import Testing

/// One of two listeners on shared sockets is told to stop.
@Suite struct DrainTests {
    private static func properties() -> Properties {
        var properties = Properties()
        properties.sessionExpiryInterval = 3600
        return properties
    }

    private static func broker(drainRate: Int) throws -> TestBroker {
        try TestBroker(listeners: 2) {
            $0.replacing("auth_workers: 1}", with: "auth_workers: 1, drain_rate: \(drainRate)}")
        }
    }

    /// One with a session that lasts.
    private func client(
        _ broker: TestBroker,
        _ loop: EventLoop,
        _ name: String,
        will: ConnectPacket.Will? = nil
    ) throws -> TestClient {
        let client = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        let connack = try client.connect(
            clientIdentifier: name,
            cleanStart: false,
            will: will,
            properties: Self.properties()
        )
        #expect(connack.returnCode == 0)
        return client
    }

    /// Clients, about half of them through each listener.
    private func clients(
        _ broker: TestBroker,
        _ loop: EventLoop,
        count: Int,
        will: ConnectPacket.Will? = nil
    ) throws -> [TestClient] {
        try (0..<count).map { try self.client(broker, loop, "device-\($0)", will: will) }
    }

    private func sessions(_ broker: TestBroker, instance: Int) throws -> Int {
        try broker.figure("sessions", of: "listener", instance: instance) ?? 0
    }

    @Test func `clients are let go little by little, with 0x8B, and no connect is refused meanwhile`() throws {
        let broker = try Self.broker(drainRate: 40)
        let loop = try EventLoop()
        let clients = try self.clients(broker, loop, count: 60)
        let watcher = try self.client(broker, loop, "watcher")
        #expect(try watcher.subscribe("up/#", qos: .atLeastOnce) == [1])
        var came: Set<[UInt8]> = []
        func watch(_ client: TestClient) {
            let take = { [unowned client] (packet: Packet) in
                guard case .publish(let publish) = packet else { return }
                came.insert(publish.payload)
                client.send(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
            }
            client.received.forEach(take)
            client.onPacket = take
        }
        watch(watcher)
        // The kernel gives connections to whom it likes, perhaps all to one.
        let held = try (1...2).map { try self.sessions(broker, instance: $0) }
        #expect(held[0] + held[1] == 61)
        let (leaving, count) = held[0] > held[1] ? (broker.listeners[0], held[0]) : (broker.listeners[1], held[1])
        leaving.signal(SIGTERM)
        var mostGoneAtOnce = 0
        var gone = 0
        var newcomers: [TestClient] = []
        try loop.wait("the listener has ended", seconds: 60) {
            let now = clients.count(where: \.hasEnded)
            mostGoneAtOnce = max(mostGoneAtOnce, now - gone)
            gone = now
            if newcomers.count < 200, let client = try? TestClient(loop: loop, port: broker.plainPort, version: .v5_0) {
                let name = Array("new-\(newcomers.count)".utf8)
                client.send(.connect(ConnectPacket(version: .v5_0, clientIdentifier: name)))
                client.publish("up/\(newcomers.count)", name, qos: .atLeastOnce, packetIdentifier: 1)
                newcomers.append(client)
            }
            return !leaving.isRunning
        }
        #expect(try leaving.waitForExit() == 0)
        #expect(gone + (watcher.hasEnded ? 1 : 0) == count)
        #expect(mostGoneAtOnce <= 10, "\(mostGoneAtOnce) clients were sent away at once")
        for client in clients where client.hasEnded {
            guard case .disconnect(let disconnect) = client.received.last else {
                Issue.record("no DISCONNECT")
                continue
            }
            #expect(disconnect.reasonCode == .serverShuttingDown)
        }
        try loop.wait("all that came meanwhile have their CONNACK") {
            newcomers.allSatisfy { client in
                client.received.contains {
                    if case .connack(let connack) = $0 { connack.returnCode == 0 } else { false }
                }
            }
        }
        #expect(newcomers.allSatisfy { !$0.hasEnded })
        try loop.wait("all that they published is acknowledged") {
            newcomers.allSatisfy { client in
                client.received.contains { if case .puback(let ack) = $0 { !ack.reasonCode.isFailure } else { false } }
            }
        }
        // The watcher may have been sent away itself.
        let again = watcher.hasEnded ? try self.client(broker, loop, "watcher") : watcher
        if again !== watcher { watch(again) }
        try loop.wait("all that was acknowledged has come") { came.count == newcomers.count }
        // Sessions have not moved: they are the router's.
        let back = try self.clients(broker, loop, count: 60)
        #expect(back.count == 60)
    }

    @Test func `wills of clients that come back at once are not published`() throws {
        let broker = try Self.broker(drainRate: 1000)
        let loop = try EventLoop()
        let watcher = try self.client(broker, loop, "watcher")
        #expect(try watcher.subscribe("will", qos: .atLeastOnce) == [1])
        let will = ConnectPacket.Will(qos: .atLeastOnce, retain: false, topic: Array("will".utf8), payload: [1])
        let clients = try self.clients(broker, loop, count: 12, will: will)
        broker.listeners[0].signal(SIGTERM)
        #expect(try broker.listeners[0].waitForExit() == 0)
        for client in clients where !client.hasEnded {
            client.send(.pingreq)
            try client.wait("an answer, or the end") { client.hasEnded || client.received.contains(.pingresp) }
        }
        let drained = clients.indices.filter { clients[$0].hasEnded }
        #expect(!drained.isEmpty)
        for number in drained {
            let client = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
            let connack = try client.connect(
                clientIdentifier: "device-\(number)",
                cleanStart: false,
                properties: Self.properties()
            )
            #expect(connack.sessionPresent)
        }
        var subscriber = watcher
        if watcher.hasEnded {
            subscriber = try self.client(broker, loop, "watcher")
        }
        // Whatever had been published would come before this answer.
        subscriber.send(
            .subscribe(
                SubscribePacket(packetIdentifier: 9, subscriptions: [.init(filter: Array("x".utf8), qos: .atMostOnce)])
            )
        )
        try subscriber.wait("SUBACK") {
            subscriber.received.contains { if case .suback = $0 { true } else { false } }
        }
        let wills = subscriber.received.count { if case .publish = $0 { true } else { false } }
        #expect(wills == 0)
    }

    @Test func `a second SIGTERM ends a listener at once`() throws {
        let broker = try Self.broker(drainRate: 1)
        let loop = try EventLoop()
        let clients = try self.clients(broker, loop, count: 40)
        broker.listeners[0].signal(SIGTERM)
        try loop.wait("the first one is gone", seconds: 60) { clients.contains(where: \.hasEnded) }
        #expect(broker.listeners[0].isRunning)
        broker.listeners[0].signal(SIGTERM)
        #expect(try broker.listeners[0].waitForExit(seconds: 10) == 0)
    }
}
