import Common
import TestSupport
import Testing

@testable import Router

/// Statements of the standard that no other test of the router shows.
@Suite struct StatementTests {
    private func connected(_ harness: RouterHarness, _ name: String, _ version: ProtocolVersion = .v5_0) -> FakeClient {
        let client = harness.client(name, version)
        client.connect()
        return client
    }

    // MARK: Retained messages

    @Test(arguments: ProtocolVersion.allCases)
    func retainedMessagesOutliveTheSessionThatSentThem(version: ProtocolVersion) {
        let harness = RouterHarness()
        let publisher = self.connected(harness, "publisher", version)
        publisher.publish("t", "kept", .atLeastOnce, retain: true)
        publisher.disconnect()
        harness.pass(seconds: 1)
        #expect(harness.core.sessionCount == 0)
        let subscriber = self.connected(harness, "subscriber", version)
        subscriber.subscribe("t")
        #expect(subscriber.takePayloads() == ["kept"])
    }

    @Test func onlyRetainedMessagesChangeTheStore() {
        let harness = RouterHarness()
        let client = self.connected(harness, "client")
        client.publish("t", "kept", retain: true)
        client.publish("t", "passing")
        client.publish("t", "")
        client.subscribe("t")
        #expect(client.takePayloads() == ["kept"])
        client.publish("t", "newer", .exactlyOnce, retain: true)
        #expect(client.takePayloads() == ["newer"])
        client.publish("t", "", retain: true)
        #expect(client.takePayloads() == [""])
        client.publish("other", "", retain: true)
        #expect(harness.core.retainedCount == 0)
    }

    @Test func aRetainedWillIsRetained() {
        let harness = RouterHarness()
        for retain in [false, true] {
            let client = harness.client("client")
            let will = ConnectPacket.Will(qos: .atLeastOnce, retain: retain, topic: Array("w".utf8), payload: [1])
            client.connect(will: will)
            client.drop()
            let subscriber = self.connected(harness, "subscriber")
            subscriber.subscribe("w")
            let publishes = subscriber.takePublishes()
            #expect(publishes.map(\.retain) == (retain ? [true] : []))
            #expect(publishes.map(\.qos) == (retain ? [.atLeastOnce] : []))
        }
    }

    // MARK: Subscriptions

    @Test func subscribingAgainReplacesTheSubscription() {
        let harness = RouterHarness()
        let client = self.connected(harness, "client")
        client.subscribe("t", .atMostOnce, identifier: 1)
        client.subscribe("t", .atLeastOnce, identifier: 2)
        client.publish("t", "x", .exactlyOnce)
        let publishes = client.takePublishes()
        #expect(publishes.map(\.qos) == [.atLeastOnce])
        #expect(publishes.map(\.properties.subscriptionIdentifiers) == [[2]])
        client.subscribe("t", .atLeastOnce)
        client.publish("t", "x")
        #expect(client.takePublishes().map(\.properties.subscriptionIdentifiers) == [[]])
        #expect(harness.core.subscriptionCount == 1)
    }

    @Test(arguments: QoS.allCases, QoS.allCases)
    func theLowerOfBothQoSIsUsed(published: QoS, granted: QoS) {
        let harness = RouterHarness()
        let client = self.connected(harness, "client")
        client.publish("t", "retained", published, retain: true)
        client.subscribe("t", granted)
        client.publish("t", "live", published)
        #expect(client.takePublishes().map(\.qos) == [min(published, granted), min(published, granted)])
        let other = self.connected(harness, "other", .v3_1_1)
        other.subscribe("#", .atMostOnce)
        other.subscribe("t", granted)
        other.subscribe("+", .atMostOnce)
        other.takePublishes().forEach { #expect($0.retain) }
        client.publish("t", "overlapping", published)
        // [MQTT-3.3.4-2]: one copy, of the highest QoS.
        #expect(other.takePublishes().map(\.qos) == [min(published, granted)])
    }

    @Test func unsubscribingEndsWhatComesNotWhatIsUnderWay() {
        let harness = RouterHarness()
        let client = harness.client("client")
        client.acknowledges = false
        client.connect(clean: false, expiry: 100)
        client.subscribe("t")
        let publisher = self.connected(harness, "publisher")
        publisher.publish("t", "under way", .exactlyOnce)
        let sent = client.takePublishes()
        #expect(client.unsubscribe("t")?.reasonCodes == [.success])
        publisher.publish("t", "later", .atLeastOnce)
        #expect(client.takePublishes().isEmpty)
        client.drop()
        client.connect(clean: false, expiry: 100)
        let again = client.takePublishes()
        #expect(again.map(\.packetIdentifier) == sent.map(\.packetIdentifier))
        client.send(.pubrec(AcknowledgementPacket(packetIdentifier: again.first?.packetIdentifier ?? 1)))
        #expect(client.takeAll().map(\.type) == [.pubrel])
    }

    @Test func topicsAreComparedByteByByte() {
        let harness = RouterHarness()
        let client = self.connected(harness, "client")
        // The first is one character, the second the same with a combining one: equal as text, not as bytes.
        client.subscribe("caf\u{E9}")
        for topic in ["cafe\u{301}", "CAF\u{C9}", "caf\u{E9}/", "/caf\u{E9}", " caf\u{E9}"] {
            client.publish(topic, topic)
        }
        #expect(client.takePayloads().isEmpty)
        client.subscribe("a//b")
        client.publish("a/b", "no")
        client.publish("a//b", "yes")
        client.publish("caf\u{E9}", "yes")
        #expect(client.takePayloads() == ["yes", "yes"])
        #expect(client.unsubscribe("cafe\u{301}")?.reasonCodes == [.noSubscriptionExisted])
    }

    // MARK: Delivery

    @Test func dupIsOfTheBrokersOwnSending() {
        let harness = RouterHarness()
        let client = self.connected(harness, "client")
        client.subscribe("t")
        client.publish("t", "x", .atLeastOnce) { $0.dup = true }
        client.publish("t", "y", .exactlyOnce) { $0.dup = true }
        client.publish("t", "z")
        #expect(client.takePublishes().map(\.dup) == [false, false, false])
    }

    @Test func whatIsUnderWayDoesNotExpire() {
        let harness = RouterHarness()
        let client = harness.client("client")
        client.acknowledges = false
        client.connect(clean: false, expiry: 100)
        client.subscribe("t")
        let publisher = self.connected(harness, "publisher")
        publisher.publish("t", "x", .exactlyOnce) { $0.properties.messageExpiryInterval = 1 }
        let identifier = client.takePublishes().first?.packetIdentifier ?? 0
        harness.pass(seconds: 5)
        client.drop()
        client.connect(clean: false, expiry: 100)
        #expect(client.takePublishes().map(\.packetIdentifier) == [identifier])
        client.send(.pubrec(AcknowledgementPacket(packetIdentifier: identifier)))
        #expect(client.takeAll().map(\.type) == [.pubrel])
    }

    @Test func whoseQuotaIsUsedUpGetsEverythingElse() {
        let harness = RouterHarness()
        let client = harness.client("client")
        client.acknowledges = false
        client.connect(receiveMaximum: 1)
        client.subscribe("t")
        client.subscribe("zero", .atMostOnce)
        let publisher = self.connected(harness, "publisher")
        publisher.publish("t", "first", .exactlyOnce)
        publisher.publish("t", "second", .exactlyOnce)
        let first = client.takePublishes()
        #expect(first.map(\.payload) == [Array("first".utf8)])
        let identifier = first.first?.packetIdentifier ?? 0
        #expect(client.subscribe("more") == 2)
        #expect(client.publish("elsewhere", "x", .exactlyOnce) == .success)
        // The place is taken until PUBCOMP.
        client.send(.pubrec(AcknowledgementPacket(packetIdentifier: identifier)))
        #expect(client.takeAll() == [.pubrel(AcknowledgementPacket(packetIdentifier: identifier))])
        client.send(.pubcomp(AcknowledgementPacket(packetIdentifier: identifier)))
        #expect(client.takePublishes().map(\.payload) == [Array("second".utf8)])
    }

    @Test func failuresEndAnExchange() {
        let harness = RouterHarness()
        let client = harness.client("client")
        client.acknowledges = false
        client.connect(clean: false, expiry: 100, receiveMaximum: 1)
        client.subscribe("t")
        let publisher = self.connected(harness, "publisher")
        publisher.publish("t", "1", .atLeastOnce)
        publisher.publish("t", "2", .exactlyOnce)
        publisher.publish("t", "3", .exactlyOnce)
        for type in [PacketType.puback, .pubrec] {
            let identifier = client.takePublishes().first?.packetIdentifier ?? 0
            let failure = AcknowledgementPacket(packetIdentifier: identifier, reasonCode: .quotaExceeded)
            client.send(type == .puback ? .puback(failure) : .pubrec(failure))
        }
        #expect(client.takePublishes().map(\.payload) == [Array("3".utf8)])
        client.drop()
        client.connect(clean: false, expiry: 100)
        #expect(client.takePublishes().map(\.payload) == [Array("3".utf8)])
    }

    @Test func messagesOfOnePublisherStayInOrder() {
        let harness = RouterHarness { $0.mqtt.session.maxInflight = 7 }
        let publisher = self.connected(harness, "publisher")
        let clients = ProtocolVersion.allCases.map { version in
            let client = self.connected(harness, "client-\(version)", version)
            client.subscribe("t", .atLeastOnce)
            return client
        }
        for number in 0..<100 { publisher.publish("t", "\(number)", .atLeastOnce) }
        for client in clients { #expect(client.takePayloads() == (0..<100).map { "\($0)" }) }
    }

    // MARK: CONNECT

    @Test func aLongKeepAliveIsReplacedAndTheClientTold() {
        let harness = RouterHarness { $0.mqtt.maxKeepAliveSeconds = 60 }
        let client = harness.client("client")
        for (asked, told) in [(30, nil), (60, nil), (61, 60), (0, 60)] as [(UInt16, UInt16?)] {
            let connack = client.connect { $0.keepAliveSeconds = asked }
            #expect(connack?.properties.serverKeepAlive == told)
            #expect(client.keepAliveInForce == told ?? asked)
        }
        let old = harness.client("old", .v3_1_1)
        old.connect { $0.keepAliveSeconds = 90 }
        #expect(old.keepAliveInForce == 90)
    }

    @Test func expiryAfterDisconnectNeedsExpiryAtConnect() {
        let harness = RouterHarness()
        let subscriber = self.connected(harness, "subscriber")
        subscriber.subscribe("w")
        for asked in [nil, 0] as [UInt32?] {
            let client = harness.client("client")
            let will = ConnectPacket.Will(qos: .atMostOnce, retain: false, topic: Array("w".utf8), payload: [1])
            client.connect(expiry: asked, will: will)
            client.disconnect(expiry: 5)
            #expect(client.closeReason == .protocolError)
            // It was no proper DISCONNECT: the will is published, the session ends.
            #expect(subscriber.takePublishes().count == 1)
            #expect(harness.core.sessionCount == 1)
        }
    }
}
