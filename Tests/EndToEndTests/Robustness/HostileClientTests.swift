import Common
import Glibc
import TLS
import TestSupport
import Testing

/// Clients that mean harm, or are just broken, without breaking a single packet: nobody else notices, and memory stays.
@Suite(.serialized) struct HostileClientTests {
    private struct Stage {
        let broker: TestBroker
        let loop: EventLoop
        let healthy: HealthyClient
        let health: BrokerHealth

        init(settings: String = "", connectTimeout: String = "10s") throws {
            self.broker = try TestBroker(
                settings: settings,
                log: "{level: info, refused_per_second: 10}",
                connectTimeout: connectTimeout
            )
            self.loop = try EventLoop()
            self.healthy = try HealthyClient(self.broker, loop: self.loop)
            try self.healthy.run(self.loop, seconds: 0.5)
            self.health = try BrokerHealth(self.broker)
        }

        func plain(reads: Bool = true, receiveBufferBytes: Int32? = nil) throws -> RawConnection {
            let connection = try RawConnection(
                loop: self.loop,
                port: self.broker.plainPort,
                receiveBufferBytes: receiveBufferBytes
            )
            connection.reads = reads
            return connection
        }

        /// A plain client whose session is open.
        func opened(_ name: String, _ version: ProtocolVersion = .v3_1_1) throws -> RawConnection {
            let connection = try self.plain(receiveBufferBytes: 16 << 10)
            connection.send(HostileClientTests.connect(name, version))
            try self.wait("\(name) is connected") { connection.receivedBytes >= 4 }
            return connection
        }

        func wait(_ what: String, seconds: Double = 30, _ condition: () throws -> Bool) throws {
            let deadline = Clock.monotonic() + UInt64(seconds * 1e9)
            while try !condition() {
                guard Clock.monotonic() < deadline else { throw ProcessError(description: "waited until \(what)") }
                try self.healthy.run(self.loop, seconds: 0.02)
            }
        }

        func expectNobodyHarmed(growthMebibytes: Int, seconds: Int = BrokerHealth.patienceSeconds) throws {
            let comment: Comment = "\(try self.health.summary()); \(self.healthy.summary)"
            print(comment)
            self.healthy.expectService(seconds: seconds, comment)
            try self.health.expectUnharmed(memoryGrowthMebibytes: growthMebibytes, comment)
        }
    }

    private static func connect(_ name: String, _ version: ProtocolVersion) -> [UInt8] {
        let packet = ConnectPacket(version: version, cleanStart: true, clientIdentifier: Array(name.utf8))
        return Packet.connect(packet).bytes(version)
    }

    private static func subscribe(_ filter: String, _ qos: QoS, _ version: ProtocolVersion = .v3_1_1) -> [UInt8] {
        let subscription = SubscribePacket.Subscription(filter: Array(filter.utf8), qos: qos)
        return Packet.subscribe(SubscribePacket(packetIdentifier: 1, subscriptions: [subscription])).bytes(version)
    }

    private static func publish(_ topic: String, _ bytes: Int, _ qos: QoS = .atMostOnce) -> [UInt8] {
        let packet = PublishPacket(
            qos: qos,
            topic: Array(topic.utf8),
            packetIdentifier: qos == .atMostOnce ? 0 : 1,
            payload: [UInt8](repeating: 0x55, count: bytes)
        )
        return Packet.publish(packet).bytes(.v3_1_1)
    }

    @Test func `2,000 connections that say nothing, and 200 that say it byte by byte, are closed in time`() throws {
        let stage = try Stage(connectTimeout: "3s")
        var idle: [RawConnection] = []
        #expect(descriptorLimit > 6000, "there are too few descriptors for this test: raise RLIMIT_NOFILE (ulimit -n)")
        for number in 0..<2000 {
            let port = number % 2 == 0 ? stage.broker.tlsPort : stage.broker.plainPort
            idle.append(try RawConnection(loop: stage.loop, port: port))
            if number % 50 == 0 { try stage.healthy.run(stage.loop, seconds: 0.01) }
        }
        // A TLS record that never ends, and a CONNECT that never does.
        let record: [UInt8] =
            [0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x00, 0x3F, 0xFC, 0x03, 0x03] + Array(repeating: 7, count: 4000)
        var packet = Self.connect("slow", .v5_0)
        packet = Array(packet.dropLast()) + Array(repeating: 0x61, count: 4000)
        packet.replaceSubrange(1..<2, with: [0x80 | 0x20, 0x20])
        var slow: [(connection: RawConnection, bytes: [UInt8])] = []
        for number in 0..<200 {
            let port = number % 2 == 0 ? stage.broker.tlsPort : stage.broker.plainPort
            slow.append((try RawConnection(loop: stage.loop, port: port), number % 2 == 0 ? record : packet))
        }
        var step = 0
        try stage.wait("all are closed", seconds: 30) {
            for peer in slow where step < peer.bytes.count { peer.connection.send([peer.bytes[step]]) }
            step += 1
            return idle.allSatisfy(\.hasEnded) && slow.allSatisfy(\.connection.hasEnded)
        }
        try stage.expectNobodyHarmed(growthMebibytes: 32)
    }

    @Test func `three hundred large CONNECTs that never end do not fill the memory`() throws {
        let stage = try Stage(connectTimeout: "5s")
        var header = ByteBuffer()
        header.write(UInt8(0x10))
        header.writeVariableByteInteger(1_000_000)
        let beginning = header.array + [0, 4] + Array("MQTT".utf8) + [5, 0xC2, 0, 60, 0, 0, 0xFF, 0xFF]
        let bytes = beginning + [UInt8](repeating: 0x61, count: 900_000)
        var peers: [RawConnection] = []
        for _ in 0..<300 {
            let peer = try stage.plain()
            peer.send(bytes)
            peers.append(peer)
            try stage.healthy.run(stage.loop, seconds: 0.005)
        }
        var most = 0
        try stage.wait("all are closed") {
            most = max(most, try BrokerHealth.memory(stage.broker)["martlet-listener-1"] ?? 0)
            return peers.allSatisfy(\.hasEnded)
        }
        #expect(most < 160 << 10, "the listener had \(most) KiB")
        try stage.expectNobodyHarmed(growthMebibytes: 96)
    }

    @Test func `subscribers that never read do not fill the memory nor hold up others`() throws {
        let stage = try Stage(settings: "mqtt: {session: {max_queued_bytes: 1MiB, max_queued_messages: 1000}}\n")
        let deaf = try (0..<20).map { number in
            let connection = try stage.opened("deaf-\(number)")
            connection.send(Self.subscribe("flood/#", number % 2 == 0 ? .atMostOnce : .atLeastOnce))
            try stage.wait("it is subscribed") { connection.receivedBytes >= 9 }
            connection.reads = false
            return connection
        }
        let publisher = try stage.opened("publisher")
        let message = Self.publish("flood/x", 8000, .atLeastOnce)
        try stage.healthy.run(stage.loop, seconds: 4) {
            if publisher.pendingBytes < 1 << 18 { for _ in 0..<8 { publisher.send(message) } }
        }
        #expect(publisher.sentBytes > 8 << 20, "the publisher was held up: \(publisher.sentBytes) bytes")
        // Each holds what the kernel takes, its credit, and its queue.
        try stage.expectNobodyHarmed(growthMebibytes: 64)
        for connection in deaf { connection.close(abort: true) }
    }

    @Test func `publishers that never read their acknowledgements are held back`() throws {
        let stage = try Stage()
        let peers = try (0..<10).map { try stage.opened("greedy-\($0)") }
        for peer in peers { peer.reads = false }
        let many = [[UInt8]](repeating: Self.publish("nobody/listens", 10, .atLeastOnce), count: 500).flatMap { $0 }
        try stage.healthy.run(stage.loop, seconds: 4) {
            for peer in peers where peer.pendingBytes < 1 << 18 { peer.send(many) }
        }
        try stage.expectNobodyHarmed(growthMebibytes: 64)
    }

    @Test func `PINGREQs behind a large message that is not read are held back`() throws {
        let stage = try Stage()
        let deaf = try stage.opened("deaf")
        deaf.send(Self.subscribe("large", .atMostOnce))
        try stage.wait("it is subscribed") { deaf.receivedBytes >= 9 }
        deaf.reads = false
        let publisher = try stage.opened("publisher")
        publisher.send(Self.publish("large", 3 << 20))
        try stage.wait("the large message is on its way") { publisher.pendingBytes == 0 }
        let pings = [[UInt8]](repeating: [0xC0, 0], count: 10_000).flatMap { $0 }
        try stage.healthy.run(stage.loop, seconds: 3) { if deaf.pendingBytes < 1 << 18 { deaf.send(pings) } }
        try stage.expectNobodyHarmed(growthMebibytes: 24)
    }

    @Test func `floods of acknowledgements and subscriptions do not outrun the router`() throws {
        let stage = try Stage()
        let acknowledgers = try (0..<4).map { try stage.opened("acknowledger-\($0)") }
        let subscribers = try (0..<4).map { try stage.opened("subscriber-\($0)") }
        let acknowledgements = [[UInt8]](repeating: [0x40, 2, 0x12, 0x34], count: 10_000).flatMap { $0 }
        let subscriptions = (0..<100).flatMap { Self.subscribe("a/\($0)/+/b", .atMostOnce) }
        let filters = (0..<2000).map { SubscribePacket.Subscription(filter: Array("f/\($0)".utf8), qos: .atMostOnce) }
        let tooMany = Packet.subscribe(SubscribePacket(packetIdentifier: 2, subscriptions: filters)).bytes(.v3_1_1)
        try stage.healthy.run(stage.loop, seconds: 4) {
            for peer in acknowledgers where peer.pendingBytes < 1 << 18 { peer.send(acknowledgements) }
            for peer in subscribers where peer.pendingBytes < 1 << 18 { peer.send(subscriptions + tooMany) }
        }
        // Everything that waits in front of the healthy client's packets has to be worked off, some 30 times slower here than
        // in a release build.
        try stage.expectNobodyHarmed(growthMebibytes: 64, seconds: BrokerHealth.isDebugBuild ? 10 : 1)
    }

    @Test func `a client that comes and goes in a loop leaves nothing behind`() throws {
        let stage = try Stage()
        try stage.broker.provision("visitor", password: "secret")
        let tls = try stage.broker.tlsContext(try stage.broker.pki.device("visitor"))
        var visitors: [RawConnection] = []
        var visits = 0
        var random = SeededRandom(seed: 1)
        try stage.healthy.run(stage.loop, seconds: 5) {
            while visitors.count < 40 {
                let usesTLS = visits % 4 == 0
                let port = usesTLS ? stage.broker.tlsPort : stage.broker.plainPort
                let visitor = try RawConnection(loop: stage.loop, port: port, tls: usesTLS ? tls : nil)
                if visits % 3 > 0 { visitor.send(Self.connect("visitor-\(visits % 7)", .v5_0)) }
                visits += 1
                visitors.append(visitor)
            }
            for index in visitors.indices.reversed() where random.oneIn(3) {
                visitors[index].close(abort: random.oneIn(2))
                visitors.remove(at: index)
            }
        }
        for visitor in visitors { visitor.close(abort: true) }
        try stage.wait("only the healthy client is left") {
            try stage.broker.status(of: "listener").contains("\nconnections 1\n")
        }
        #expect(visits > 1000, "only \(visits) visits")
        try stage.expectNobodyHarmed(growthMebibytes: 16)
    }
}
