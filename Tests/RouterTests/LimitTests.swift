import Common
import TestSupport
import Testing

@testable import Router

/// What happens at each limit of the router. (Queues: `DeliveryTests`; retained messages: `RetainedTests`; sessions and client
/// ids: `SessionTests`; subscriptions, levels and packet size: `ProtocolErrorTests`.)
@Suite struct LimitTests {
    @Test func theInflightWindowIsTheLowerOfOursAndTheClients() {
        for (ours, theirs, expected) in [(5, nil, 5), (5, 3, 3), (5, 9, 5)] as [(UInt16, UInt16?, Int)] {
            let harness = RouterHarness { $0.mqtt.session.maxInflight = ours }
            let publisher = harness.client("publisher")
            publisher.connect()
            let subscriber = harness.client("subscriber")
            subscriber.acknowledges = false
            subscriber.connect(receiveMaximum: theirs)
            subscriber.subscribe("t", .atLeastOnce)
            for index in 0..<20 { publisher.publish("t", "\(index)", .atLeastOnce) }
            #expect(subscriber.received.count == expected)
            #expect(harness.core.queuedMessages == 20 - expected)
            subscriber.acknowledges = true
            #expect(subscriber.takePayloads() == (0..<20).map { "\($0)" })
            #expect(harness.core.queuedMessages == 0)
        }
    }

    @Test(arguments: [QoS.atLeastOnce, .exactlyOnce])
    func inflightBytesAreLimitedAndOneLargerMessagePasses(qos: QoS) {
        let harness = RouterHarness { $0.mqtt.session.maxInflightBytes = 1000 }
        let publisher = harness.client("publisher")
        publisher.connect()
        let subscriber = harness.client("subscriber")
        subscriber.acknowledges = false
        subscriber.connect()
        subscriber.subscribe("t", qos)
        let payload = String(repeating: "x", count: 400)
        for index in 0..<10 { publisher.publish("t", "\(index)" + payload, qos) }
        publisher.publish("t", "large" + String(repeating: "x", count: 5000), qos)
        publisher.publish("t", "last", qos)
        // 466 bytes each with what is counted for the message itself: the third goes while less than 1000 are under way.
        #expect(subscriber.received.count == 3)
        subscriber.acknowledges = true
        #expect(subscriber.takePayloads().map { $0.prefix(4) } == (0..<10).map { "\($0)xxx" } + ["larg", "last"])
    }

    @Test func queuedBytesOfAllSessionsAreLimited() {
        let harness = RouterHarness {
            $0.mqtt.session.maxQueuedBytes = 1000
            $0.mqtt.maxQueuedBytesTotal = 2000
        }
        let publisher = harness.client("publisher")
        publisher.connect()
        for name in ["a", "b", "c"] {
            let client = harness.client(name)
            client.connect(clean: false, expiry: 100)
            client.subscribe(name)
            client.drop()
        }
        let payload = String(repeating: "x", count: 235)
        for name in ["a", "b", "c"] {
            for _ in 0..<3 { publisher.publish(name, payload, .atLeastOnce) }
        }
        // 300 bytes each: three for a, two for b, one for c, which is less than what is free, and never none.
        #expect(harness.core.queuedBytesTotal == 1800)
        #expect(harness.core.queuedMessages == 6)
        #expect(harness.core.counters.droppedQueueFull == 1, "for b")
        #expect(harness.core.counters.droppedTotalFull == 2, "for c")
        for (name, count) in [("a", 3), ("b", 2), ("c", 1)] {
            let client = harness.client(name)
            client.connect(clean: false, expiry: 100)
            #expect(client.takePayloads().count == count)
        }
        #expect(harness.core.queuedBytesTotal == 0)
    }

    /// 100 full queues of clients that are away: what has to wait for another client for a moment still finds room.
    @Test(arguments: [Configuration.MQTT.Session.QueueFull.dropOldest, .dropNewest])
    func fullQueuesOfSomeLeaveRoomForOthers(policy: Configuration.MQTT.Session.QueueFull) {
        let harness = RouterHarness {
            $0.mqtt.session.maxQueuedBytes = 10_000
            $0.mqtt.session.queueFull = policy
            $0.mqtt.maxQueuedBytesTotal = 200_000
        }
        let listener = harness.addListener(sessionCredit: 1000)
        let publisher = harness.client("publisher", on: listener)
        publisher.connect()
        for index in 0..<100 {
            let away = harness.client("away-\(index)", on: listener)
            away.connect(clean: false, expiry: 100)
            away.subscribe("all", .atLeastOnce)
            away.drop()
        }
        let payload = String(repeating: "x", count: 100)
        for index in 0..<100 { publisher.publish("all", "\(index)" + payload, .atLeastOnce) }
        #expect(harness.core.queuedBytesTotal < 200_000)
        let reader = harness.client("reader", on: listener)
        reader.connect()
        reader.subscribe("mine", .atLeastOnce)
        reader.returnsCredit = false
        for index in 0..<12 { publisher.publish("mine", "\(index)" + payload, .atLeastOnce) }
        reader.returnsCredit = true
        reader.returnHeldCredit()
        #expect(reader.takePayloads().map { $0.prefix { $0 != "x" } } == (0..<12).map { "\($0)" })
        #expect(harness.core.counters.droppedTotalFull == 0)
        let away = harness.client("away-7", on: listener)
        away.connect(clean: false, expiry: 100)
        let numbers = away.takePayloads().compactMap { Int($0.prefix { $0 != "x" }) }
        #expect(numbers.count > 5)
        let first = policy == .dropOldest ? 100 - numbers.count : 0
        #expect(numbers == Array(first..<first + numbers.count), "the last ones, or the first ones, without gaps")
    }

    @Test func incompletePacketsOfOneListenerAreLimited() {
        let harness = RouterHarness {
            $0.mqtt.maxPacketSizeBytes = 1 << 20
            $0.flowControl.partialPacketBytesMax = 1 << 20
        }
        let payload = [UInt8](repeating: 7, count: 800_000)
        var packet = Packet.publish(PublishPacket(topic: [0x74], payload: payload)).bytes(.v5_0)
        packet.removeLast()
        let first = harness.client("first")
        let second = harness.client("second")
        let elsewhere = harness.client("elsewhere", on: harness.addListener())
        for client in [first, second, elsewhere] { client.connect() }
        func sendMost(_ client: FakeClient) {
            var frame = ByteBuffer()
            for start in stride(from: 0, to: packet.count, by: Limits.packetPartBytes) {
                let part = packet[start..<min(packet.count, start + Limits.packetPartBytes)]
                frame.writeFrameHeader(
                    .sessionPackets,
                    flags: FrameFlags.packetContinues,
                    handle: client.handle,
                    bodyBytes: part.count
                )
                frame.write(part)
            }
            harness.deliver(frame, from: client.listener)
            harness.flush()
        }
        for client in [first, second, elsewhere] {
            sendMost(client)
            harness.pass(seconds: 0.001)
        }
        #expect(first.closeReason == .quotaExceeded, "it has stood still for longer")
        #expect(second.isOpen)
        #expect(elsewhere.isOpen)
        #expect(harness.core.counters.closedPartialBytes == 1)
    }

    @Test func willsAreBounded() {
        let harness = RouterHarness { $0.mqtt.maxWillSizeBytes = 300 }
        let client = harness.client("device")
        let topic = Array("t".utf8)
        var will = ConnectPacket.Will(
            qos: .atMostOnce,
            retain: false,
            topic: topic,
            payload: [UInt8](repeating: 1, count: 300)
        )
        #expect(client.connect(will: will)?.returnCode == ReasonCode.packetTooLarge.rawValue)
        will.payload.removeLast()
        #expect(client.connect(will: will)?.returnCode == 0)
    }

    @Test func sharedSubscriptionsGoToConnectedMembersFirst() {
        for spread in Configuration.MQTT.SharedSpread.allCases {
            let harness = RouterHarness { $0.mqtt.sharedSpread = spread }
            let publisher = harness.client("publisher")
            publisher.connect()
            let members = ["a", "b", "c"].map { harness.client($0) }
            for member in members {
                member.connect(clean: false, expiry: 100)
                member.subscribe("$share/g/t", .atLeastOnce)
            }
            members[0].drop()
            for index in 0..<10 { publisher.publish("t", "\(index)", .atLeastOnce) }
            let shares = members.map { $0.takePayloads().count }
            #expect(shares == [0, 5, 5], "\(spread)")
            members[1].drop()
            members[2].drop()
            publisher.publish("t", "kept", .atLeastOnce)
            #expect(harness.core.queuedMessages == 1)
        }
    }

    @Test func leastInflightSparesTheSlowMember() {
        for (spread, expected) in [(.roundRobin, 10), (.leastInflight, 1)] as [(Configuration.MQTT.SharedSpread, Int)] {
            let harness = RouterHarness { $0.mqtt.sharedSpread = spread }
            let publisher = harness.client("publisher")
            publisher.connect()
            let slow = harness.client("slow")
            slow.acknowledges = false
            let quick = harness.client("quick")
            for member in [slow, quick] {
                member.connect()
                member.subscribe("$share/g/t", .atLeastOnce)
            }
            var taken = 0
            for index in 0..<20 {
                publisher.publish("t", "\(index)", .atLeastOnce)
                taken += quick.takePayloads().count
            }
            #expect(slow.received.count == expected, "\(spread)")
            #expect(taken == 20 - expected)
        }
    }

    private func group(_ members: [FakeClient], _ receiveMaximum: UInt16) {
        for member in members {
            member.connect(receiveMaximum: receiveMaximum)
            member.subscribe("$share/g/t", .atLeastOnce)
        }
    }

    /// It was given one message more than it takes, which waited there.
    @Test func aMemberThatHasAllItTakesGetsNothingWhileAnotherIsFree() {
        let harness = RouterHarness()
        let publisher = harness.client("publisher")
        publisher.connect()
        let members = ["stuck", "b", "c"].map { harness.client($0) }
        members[0].acknowledges = false
        self.group(members, 2)
        var taken = [0, 0]
        for index in 0..<22 {
            publisher.publish("t", "\(index)", .atLeastOnce)
            for place in 0..<2 { taken[place] += members[place + 1].takePayloads().count }
        }
        #expect(members[0].received.count == 2 && harness.core.queuedMessages == 0)
        #expect(taken == [10, 10], "those that are free take turns")
        // It takes any number of QoS 0 messages.
        for _ in 0..<3 { publisher.publish("t", "x") }
        #expect(members[0].received.count == 3)
    }

    /// It was dropped in the turns of members that do not take it.
    @Test(arguments: Configuration.MQTT.SharedSpread.allCases)
    func aMessageTooLargeForSomeMembersGoesToOneThatTakesIt(_ spread: Configuration.MQTT.SharedSpread) {
        let harness = RouterHarness { $0.mqtt.sharedSpread = spread }
        let publisher = harness.client("publisher")
        publisher.connect()
        let members = ["small", "smaller", "able"].map { harness.client($0) }
        for (member, maximum) in zip(members, [100, 50, nil] as [UInt32?]) {
            member.connect { $0.properties.maximumPacketSize = maximum }
            member.subscribe("$share/g/t", .atLeastOnce)
        }
        let large = String(repeating: "x", count: 200)
        for _ in 0..<6 { publisher.publish("t", large, .atLeastOnce) }
        #expect(members.map { $0.takePayloads().count } == [0, 0, 6])
        // To the byte: fixed header, topic, packet identifier, properties.
        let fits = String(repeating: "x", count: 100 - 2 - 3 - 2 - 1)
        for _ in 0..<6 { publisher.publish("t", fits, .atLeastOnce) }
        #expect(members.map { $0.takePayloads().count } == [3, 0, 3])
        #expect(harness.core.counters.droppedTooLarge == 0)
        members[2].drop()
        for _ in 0..<6 { publisher.publish("t", large, .atLeastOnce) }
        #expect(harness.core.counters.droppedTooLarge == 6)
    }

    @Test(arguments: ProtocolVersion.allCases)
    func aDeniedPublishIsIgnoredOrEndsTheConnection(version: ProtocolVersion) {
        for action in Configuration.Authorization.DenyAction.allCases {
            let harness = RouterHarness { $0.authorization.denyAction = action }
            let subscriber = harness.client("subscriber")
            subscriber.connect()
            subscriber.subscribe("#")
            let client = harness.client("client", version)
            client.access = AccessRules(noMatch: .deny)
            client.connect()
            let answer = client.publish("t", "x", .atLeastOnce)
            switch action {
            case .ignore:
                // MQTT 3 has no code to say it with.
                #expect(answer == (version == .v5_0 ? .notAuthorized : .success))
                #expect(client.isOpen)
            case .disconnect:
                #expect(answer == nil)
                #expect(client.closeReason == .notAuthorized)
                let goodbye = Packet.disconnect(DisconnectPacket(reasonCode: .notAuthorized))
                #expect(client.takeAll() == (version == .v5_0 ? [goodbye] : []))
            }
            #expect(subscriber.takePublishes().isEmpty)
            #expect(harness.core.counters.publishesDenied == 1)
        }
    }
}
