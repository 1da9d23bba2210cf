import Common
import TestSupport
import Testing

/// What one client's messages cost the router is that client's affair.
@Suite struct FairnessTests {
    private static let levels = 200
    /// All match a topic of that many levels up to its last one, so that much is to be looked at.
    private static let filters = (0..<512).map { number in
        let first = (0..<9).map { number >> $0 & 1 == 0 ? "a" : "+" }
        return (first + Array(repeating: "a", count: Self.levels - 10) + ["nope"]).joined(separator: "/")
    }

    @Test func `others' messages come before the rest of what a costly client sent`() throws {
        let broker = try TestBroker(settings: "mqtt: {session: {max_subscription_bytes: 16MiB}}\n")
        let loop = try EventLoop()
        func connect(_ name: String) throws -> TestClient {
            let client = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
            #expect(try client.connect(clientIdentifier: name).returnCode == 0)
            return client
        }
        let costly = try connect("costly")
        for start in stride(from: 0, to: Self.filters.count, by: 64) {
            let subscriptions = Self.filters[start..<start + 64].map {
                SubscribePacket.Subscription(filter: Array($0.utf8), qos: .atMostOnce)
            }
            costly.send(.subscribe(SubscribePacket(packetIdentifier: 1, subscriptions: subscriptions)))
            guard case .suback(let suback) = try costly.next("SUBACK") else {
                Issue.record("no SUBACK")
                return
            }
            #expect(suback.returnCodes.allSatisfy { $0 == 0 })
        }
        let other = try connect("other")
        let watcher = try connect("watcher")
        #expect(try watcher.subscribe("seen/#", qos: .atMostOnce) == [0])
        func publish(_ topic: String) -> Packet { .publish(PublishPacket(topic: Array(topic.utf8), payload: [])) }
        func nextTopic() throws -> String {
            guard case .publish(let publish) = try watcher.next("a message") else { return "" }
            return String(decoding: publish.topic, as: UTF8.self)
        }
        let prefix = Array(repeating: "a", count: Self.levels - 1).joined(separator: "/")
        var packets = [publish("seen/begin")]
        for number in 0..<60 { packets.append(publish("\(prefix)/\(number)")) }
        packets.append(publish("seen/end"))
        costly.send(bytes: packets.flatMap { $0.bytes(.v5_0) })
        #expect(try nextTopic() == "seen/begin")
        other.send(publish("seen/other"))
        #expect(try nextTopic() == "seen/other")
        #expect(try nextTopic() == "seen/end")
        #expect(try broker.figure("publishes_beyond_match", of: "router") == 60)
    }

    @Test func `clients of one address that fill the room for large packets take it from no client elsewhere`() throws {
        let broker = try TestBroker(
            settings: "mqtt: {max_packet_size: 1MiB}\nflow_control: {partial_packets: 3MiB}\n"
        )
        let loop = try EventLoop()
        func packet(_ bytes: Int) -> [UInt8] {
            let payload = [UInt8](repeating: 7, count: bytes)
            return Packet.publish(
                PublishPacket(qos: .atLeastOnce, topic: [0x74], packetIdentifier: 1, payload: payload)
            )
            .bytes(.v5_0)
        }
        func connect(_ name: String, from source: UInt8) throws -> TestClient {
            let client = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0, source: source)
            #expect(try client.connect(clientIdentifier: name).returnCode == 0)
            return client
        }
        let unfinished = Array(packet(1_000_000).dropLast(100))
        var attackers: [TestClient?] = Array(repeating: nil, count: 6)
        func fillTheRoom() throws {
            for index in attackers.indices where attackers[index]?.hasEnded ?? true {
                attackers[index] = try connect("attacker-\(index)", from: 2)
                attackers[index]?.send(bytes: unfinished)
            }
            try loop.wait("it to be sent", seconds: 30) {
                attackers.allSatisfy { $0?.hasEnded == true || $0?.pendingOutputBytes == 0 }
            }
        }
        for round in 0..<10 {
            try fillTheRoom()
            let device = try connect("device-\(round)", from: 3)
            let bytes = packet(600_000)
            device.send(bytes: Array(bytes[..<300_000]))
            try device.wait("its first half to be sent") { device.hasEnded || device.pendingOutputBytes == 0 }
            try fillTheRoom()
            device.send(bytes: Array(bytes[300_000...]))
            guard case .puback = try device.next("PUBACK") else {
                Issue.record("round \(round): no PUBACK")
                return
            }
            device.cut()
        }
        #expect(try #require(try broker.figure("closed_partial_bytes", of: "router")) >= 10)
    }

    @Test func `clients that vanish together and leave large wills have no one else's messages refused`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        func connect(
            _ name: String,
            _ version: ProtocolVersion = .v5_0,
            will: ConnectPacket.Will? = nil
        ) throws
            -> TestClient
        {
            let client = try TestClient(loop: loop, port: broker.plainPort, version: version)
            #expect(try client.connect(clientIdentifier: name, will: will).returnCode == 0)
            return client
        }
        // Together more than twice what may wait for its commit.
        let payload = [UInt8](repeating: 0x77, count: 65_000)
        let vanishing = try (0..<1200).map { number in
            let topic = Array("wills/\(number)".utf8)
            let will = ConnectPacket.Will(qos: .atLeastOnce, retain: true, topic: topic, payload: payload)
            return try connect("vanishing-\(number)", will: will)
        }
        let publishers = [try connect("publisher"), try connect("old", .v3_1_1)]
        for client in vanishing { client.cut() }
        var number: UInt16 = 0
        repeat {
            number += 1
            for publisher in publishers {
                publisher.send(
                    .publish(PublishPacket(qos: .atLeastOnce, topic: [0x74], packetIdentifier: number, payload: [1]))
                )
            }
            for publisher in publishers {
                guard case .puback(let answer) = try publisher.next("PUBACK \(number)") else {
                    Issue.record("no PUBACK \(number)")
                    return
                }
                #expect(!answer.reasonCode.isFailure, "message \(number)")
            }
        } while try #require(try broker.figure("wills_published", of: "router")) < vanishing.count
        #expect(try broker.figure("publishes_not_stored", of: "router") == 0)
        #expect(try #require(try broker.figure("wills_held", of: "router")) > 0)
    }
}
