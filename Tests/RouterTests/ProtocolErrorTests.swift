import Common
import TestSupport
import Testing

@testable import Router

@Suite struct ProtocolErrorTests {
    private func connected(_ harness: RouterHarness, _ version: ProtocolVersion = .v5_0) -> FakeClient {
        let client = harness.client("client", version)
        client.connect()
        return client
    }

    @Test(arguments: [
        Packet.connack(ConnackPacket(sessionPresent: false, returnCode: 0)),
        .suback(SubackPacket(packetIdentifier: 1, returnCodes: [0])),
        .unsuback(UnsubackPacket(packetIdentifier: 1, reasonCodes: [.success])),
        .pingresp,
        .connect(ConnectPacket(version: .v5_0, clientIdentifier: [0x61])),
        .auth(AuthPacket(reasonCode: .reauthenticate)),
    ])
    func packetsThatNoClientSendsCloseTheConnection(packet: Packet) {
        let client = self.connected(RouterHarness())
        client.send(packet)
        #expect(client.closeReason == .protocolError)
        guard case .disconnect(let disconnect) = client.received.last else {
            return #expect(Bool(false), "no DISCONNECT")
        }
        #expect(disconnect.reasonCode == .protocolError)
    }

    @Test func version3GetsNoDisconnect() {
        let client = self.connected(RouterHarness(), .v3_1_1)
        client.send(.pingresp)
        #expect(client.closeReason == .protocolError)
        #expect(client.received.isEmpty)
    }

    @Test func brokenBytesCloseTheConnection() {
        for bytes: [UInt8] in [
            [0x82, 0x03, 0x00, 0x01, 0x00],  // SUBSCRIBE without filters
            [0x36, 0x00],  // QoS 3
            [0x60, 0x02, 0x00, 0x01],  // PUBREL with wrong flags
            [0x30, 0xFF, 0xFF, 0xFF, 0xFF],  // length of five bytes
            [0x30, 0x05, 0x00, 0x03, 0xED, 0xA0, 0x80],  // surrogate in the topic
            [0x30, 0x02, 0x00],  // ends early
        ] {
            let client = self.connected(RouterHarness())
            client.send(bytes: bytes)
            #expect(client.closeReason == .malformedPacket, "\(bytes)")
        }
    }

    @Test func packetsBeforeAnErrorStillCount() {
        let harness = RouterHarness()
        let client = self.connected(harness)
        let watcher = harness.client("watcher")
        watcher.connect()
        watcher.subscribe("t")
        let publish = PublishPacket(qos: .atLeastOnce, topic: [0x74], packetIdentifier: 1)
        client.send(.publish(publish), .pingresp, .publish(publish))
        #expect(client.received.first == .puback(AcknowledgementPacket(packetIdentifier: 1)))
        #expect(watcher.takePublishes().count == 1)
    }

    @Test func packetsAboveTheLimitCloseTheConnection() {
        let harness = RouterHarness { $0.mqtt.maxPacketSizeBytes = 100 }
        let client = self.connected(harness)
        client.publish("t", String(repeating: "x", count: 200))
        #expect(client.closeReason == .packetTooLarge)
        let parts = harness.client("parts")
        parts.connect()
        let packet = PublishPacket(topic: [0x74], payload: [UInt8](repeating: 0, count: 1000))
        parts.send(bytes: Packet.publish(packet).bytes(.v5_0), partBytes: 50)
        #expect(parts.closeReason == .packetTooLarge)
    }

    @Test func topicAliasesAreLimitedAndOfThisConnection() {
        let harness = RouterHarness { $0.mqtt.topicAliasMaximum = 2 }
        let client = self.connected(harness)
        client.publish("t", "x") { $0.properties.topicAlias = 2 }
        #expect(client.isOpen)
        client.publish("t", "x") { $0.properties.topicAlias = 3 }
        #expect(client.closeReason == .topicAliasInvalid)
        client.connect()
        client.publish("", "x") { $0.properties.topicAlias = 2 }
        #expect(client.closeReason == .protocolError)
    }

    @Test func moreInFlightThanAllowedClosesTheConnection() {
        let harness = RouterHarness { $0.mqtt.receiveMaximum = 3 }
        let client = self.connected(harness)
        for identifier in 1...3 as ClosedRange<UInt16> {
            client.send(.publish(PublishPacket(qos: .exactlyOnce, topic: [0x74], packetIdentifier: identifier)))
        }
        #expect(client.isOpen)
        client.send(.publish(PublishPacket(qos: .atLeastOnce, topic: [0x74], packetIdentifier: 4)))
        #expect(client.closeReason == .receiveMaximumExceeded)
        let burst = harness.client("burst")
        burst.connect()
        var bytes: [UInt8] = []
        for identifier in 1...4 as ClosedRange<UInt16> {
            let packet = PublishPacket(qos: .atLeastOnce, topic: [0x74], packetIdentifier: identifier)
            bytes += Packet.publish(packet).bytes(.v5_0)
        }
        burst.send(bytes: bytes)
        #expect(burst.closeReason == .receiveMaximumExceeded)
        // Before 5.0 nobody told them, so nobody enforces it.
        let old = harness.client("old", .v3_1_1)
        old.connect()
        for identifier in 1...5 as ClosedRange<UInt16> {
            old.send(.publish(PublishPacket(qos: .exactlyOnce, topic: [0x74], packetIdentifier: identifier)))
        }
        #expect(old.isOpen)
    }

    @Test func whatIsNotOfferedClosesTheConnection() {
        let harness = RouterHarness {
            $0.mqtt.maxQoS = .atLeastOnce
            $0.mqtt.retainAvailable = false
        }
        let client = self.connected(harness)
        client.publish("t", "x", .exactlyOnce)
        #expect(client.closeReason == .qosNotSupported)
        client.connect()
        client.publish("t", "x", retain: true)
        #expect(client.closeReason == .retainNotSupported)
        let enhanced = harness.client("enhanced")
        let connack = enhanced.connect { $0.properties.authenticationMethod = Array("SCRAM".utf8) }
        #expect(connack?.returnCode == ReasonCode.badAuthenticationMethod.rawValue)
    }

    @Test func acknowledgementsOfTheWrongKindCloseTheConnection() {
        let harness = RouterHarness()
        let client = self.connected(harness)
        client.acknowledges = false
        client.subscribe("t")
        client.publish("t", "x", .exactlyOnce)
        let identifier = client.takePublishes().first?.packetIdentifier ?? 0
        // Unknown ones are harmless.
        client.send(.puback(AcknowledgementPacket(packetIdentifier: 999)))
        client.send(.pubcomp(AcknowledgementPacket(packetIdentifier: 999)))
        client.send(.pubrec(AcknowledgementPacket(packetIdentifier: 999, reasonCode: .unspecifiedError)))
        client.send(.pubrec(AcknowledgementPacket(packetIdentifier: 999)))
        #expect(client.takeAll() == [.pubrel(AcknowledgementPacket(packetIdentifier: 999))])
        client.send(.puback(AcknowledgementPacket(packetIdentifier: identifier)))
        #expect(client.closeReason == .protocolError)
    }

    // MARK: Rights

    private var rules: AccessRules {
        AccessRules(
            rules: [
                AccessRule(permission: .allow, actions: .publish, filter: Array("out/#".utf8)),
                AccessRule(permission: .allow, actions: .subscribe, filter: Array("in/#".utf8)),
            ],
            noMatch: .deny
        )
    }

    @Test func deniedPublishesAreToldToThoseWhoCanHear() {
        let harness = RouterHarness()
        let watcher = harness.client("watcher")
        watcher.connect()
        watcher.subscribe("#")
        let client = harness.client("client")
        client.access = self.rules
        client.connect()
        #expect(client.publish("in/x", "no", .atLeastOnce) == .notAuthorized)
        #expect(client.publish("in/x", "no", .exactlyOnce) == .notAuthorized)
        client.publish("in/x", "no")
        for _ in 0..<3 { #expect(client.publish("out/x", "yes", .atLeastOnce) == .success) }
        // A QoS 2 that was denied left nothing behind: its identifier is free.
        #expect(client.publish("out/y", "yes", .exactlyOnce) == .success)
        let old = harness.client("old", .v3_1_1)
        old.access = self.rules
        old.connect()
        #expect(old.publish("in/x", "no", .atLeastOnce) == .success)
        #expect(old.publish("in/x", "no", .exactlyOnce) == .success)
        #expect(watcher.takePayloads() == ["yes", "yes", "yes", "yes"])
        #expect(harness.core.counters.publishesDenied == 5)
    }

    @Test func deniedPublishesMayCloseTheConnection() {
        let harness = RouterHarness { $0.authorization.denyAction = .disconnect }
        let client = harness.client("client")
        client.access = self.rules
        client.connect()
        client.publish("in/x", "no")
        #expect(client.closeReason == .notAuthorized)
    }

    /// As EMQX does: none of the filters is subscribed to.
    @Test(arguments: ProtocolVersion.allCases) func deniedSubscriptionsMayCloseTheConnection(_ version: ProtocolVersion)
    {
        let harness = RouterHarness { $0.authorization.denyAction = .disconnect }
        let client = harness.client("client", version)
        client.access = self.rules
        client.connect()
        #expect(client.subscribe("in/+/x", .atMostOnce) == 0)
        client.send(
            .subscribe(
                SubscribePacket(
                    packetIdentifier: 7,
                    subscriptions: ["in/+/y", "out/x"].map { .init(filter: Array($0.utf8), qos: .atMostOnce) }
                )
            )
        )
        #expect(client.closeReason == .notAuthorized)
        #expect(!client.takeAll().contains { $0.type == .suback })
        #expect(harness.core.counters.subscriptionsDenied == 1)
    }

    @Test func deniedSubscriptionsAreToldByVersion() {
        let harness = RouterHarness()
        let client = harness.client("client")
        client.access = self.rules
        client.connect()
        #expect(client.subscribe("in/+/x", .atLeastOnce) == 1)
        #expect(client.subscribe("out/x") == ReasonCode.notAuthorized.rawValue)
        #expect(client.subscribe("#") == ReasonCode.notAuthorized.rawValue)
        #expect(client.subscribe("$share/g/in/x", .atMostOnce) == 0)
        #expect(client.subscribe("$share/g/out/x") == ReasonCode.notAuthorized.rawValue)
        let old = harness.client("old", .v3_1_1)
        old.access = self.rules
        old.connect()
        #expect(old.subscribe("out/x") == 0x80)
    }

    @Test func theBrokersOwnTopicsAreNotWritable() {
        let harness = RouterHarness()
        let client = self.connected(harness)
        #expect(client.publish("$SYS/broker/version", "x", .atLeastOnce) == .notAuthorized)
        #expect(client.publish("$SYSTEM", "x", .atLeastOnce) == .noMatchingSubscribers)
    }

    @Test func subscriptionsAndLevelsAreLimited() {
        let harness = RouterHarness {
            $0.mqtt.session.maxSubscriptions = 2
            $0.mqtt.maxTopicLevels = 3
        }
        let client = self.connected(harness)
        #expect(client.subscribe("a") == 2)
        #expect(client.subscribe("b") == 2)
        #expect(client.subscribe("c") == ReasonCode.quotaExceeded.rawValue)
        #expect(client.subscribe("a", .atMostOnce) == 0)
        #expect(client.unsubscribe("b")?.reasonCodes == [.success])
        #expect(client.unsubscribe("b")?.reasonCodes == [.noSubscriptionExisted])
        #expect(client.subscribe("1/2/3/4") == ReasonCode.topicFilterInvalid.rawValue)
        #expect(client.publish("1/2/3/4", "x", .atLeastOnce) == .topicNameInvalid)
    }

    // MARK: Links

    @Test func framesOfListenersThatBreakTheRulesNeverCrash() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<200 {
            var core = RouterCore(configuration: Configuration(), seed: random.next())
            let hello = LinkHello(role: .listener, bootID: [UInt8](repeating: 0, count: 16), name: [])
            let link = core.linkUp(peer: hello, now: 1)
            for _ in 0..<50 {
                var body = random.bytes(Int.random(in: 0...80, using: &random))
                if random.oneIn(2) {
                    let connect = ConnectPacket(version: .v5_0, clientIdentifier: [0x61])
                    let open = SessionOpen(
                        connectStamp: random.next(),
                        listenerName: [],
                        peerAddress: [],
                        identity: nil,
                        userName: nil,
                        access: .allowEverything,
                        connect: Packet.connect(connect).bytes(.v5_0)
                    )
                    var frame = ByteBuffer()
                    open.encode(into: &frame, handle: 0)
                    body = Array(frame.array.dropFirst(FrameHeader.byteCount))
                    if random.oneIn(4) { body[Int.random(in: 0..<body.count, using: &random)] ^= 1 }
                }
                let header = FrameHeader(
                    bodyBytes: body.count,
                    kind: [0x10, 0x11, 0x11, 0x12, 0x15, 0x35, 0x77].randomElement(using: &random) ?? 0,
                    flags: UInt8.random(in: 0...3, using: &random),
                    handle: UInt64.random(in: 0...3, using: &random)
                )
                body.withUnsafeBytes { _ = core.received(Frame(header: header, body: $0), on: link, now: 2) }
                core.endTurn(now: 2)
            }
            core.linkDown(link, now: 3)
            let connected = core.connectedCount
            #expect(connected == 0, "seed \(seed)")
        }
    }
}
