import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

@Suite struct SessionTests {
    private func will(
        _ payload: String,
        qos: QoS = .atLeastOnce,
        retain: Bool = false,
        delay: UInt32? = nil
    )
        -> ConnectPacket.Will
    {
        var will = ConnectPacket.Will(qos: qos, retain: retain, topic: Array("will".utf8), payload: Array(payload.utf8))
        will.properties.willDelayInterval = delay
        return will
    }

    /// A client that sees all wills.
    private func watcher(_ harness: RouterHarness) -> FakeClient {
        let watcher = harness.client("watcher")
        watcher.connect()
        watcher.subscribe("will")
        return watcher
    }

    // MARK: Lifetime

    @Test func aSessionOutlivesItsConnectionForItsExpiryInterval() {
        let harness = RouterHarness()
        let publisher = harness.client("publisher")
        publisher.connect()
        let client = harness.client("client")
        #expect(client.connect(clean: false, expiry: 60)?.sessionPresent == false)
        client.subscribe("t")
        client.drop()
        publisher.publish("t", "1", .atLeastOnce)
        harness.pass(seconds: 59)
        #expect(client.connect(clean: false, expiry: 60)?.sessionPresent == true)
        #expect(client.takePayloads() == ["1"])
        client.drop()
        harness.pass(seconds: 61)
        #expect(harness.core.sessionCount == 1)
        #expect(harness.core.subscriptionCount == 0)
        #expect(publisher.publish("t", "2", .atLeastOnce) == .noMatchingSubscribers)
        #expect(client.connect(clean: false, expiry: 60)?.sessionPresent == false)
    }

    @Test func theLongestExpiryNeverEnds() {
        let harness = RouterHarness { $0.mqtt.session.maxExpirySeconds = UInt32.max }
        let client = harness.client("client")
        client.connect(clean: false, expiry: UInt32.max)
        client.drop()
        #expect(harness.core.nextDeadline == nil)
        harness.pass(seconds: 1e9)
        #expect(client.connect(clean: false)?.sessionPresent == true)
    }

    @Test func expiryIsLimitedAndTheClientTold() {
        let harness = RouterHarness { $0.mqtt.session.maxExpirySeconds = 100 }
        let client = harness.client("client")
        #expect(client.connect(expiry: 1000)?.properties.sessionExpiryInterval == 100)
        #expect(harness.client("other").connect(expiry: 50)?.properties.sessionExpiryInterval == nil)
    }

    @Test func expiryChangesAtDisconnect() {
        let harness = RouterHarness()
        let client = harness.client("client")
        client.connect(clean: false, expiry: 10)
        client.disconnect(expiry: 0)
        #expect(client.connect(clean: false, expiry: 10)?.sessionPresent == false)
        client.disconnect(expiry: 100)
        harness.pass(seconds: 50)
        #expect(client.connect(clean: false)?.sessionPresent == true)
        client.disconnect(expiry: 100)
        #expect(client.closeReason == .protocolError)
    }

    @Test(arguments: [ProtocolVersion.v3_1, .v3_1_1])
    func cleanSessionOfVersion3EndsWithTheConnection(version: ProtocolVersion) {
        let harness = RouterHarness()
        let client = harness.client("client", version)
        client.connect(clean: true)
        client.subscribe("t")
        client.drop()
        #expect(harness.core.sessionCount == 0)
        client.connect(clean: false)
        client.drop()
        harness.pass(seconds: 6 * 86_400)
        #expect(client.connect(clean: false)?.sessionPresent == (version == .v3_1_1))
        client.drop()
        client.connect(clean: true)
        #expect(harness.core.subscriptionCount == 0)
    }

    @Test func cleanStartForgetsTheSession() {
        let harness = RouterHarness()
        let client = harness.client("client")
        client.connect(clean: false, expiry: 100)
        client.subscribe("t")
        client.drop()
        #expect(client.connect(clean: true, expiry: 100)?.sessionPresent == false)
        #expect(harness.core.subscriptionCount == 0)
    }

    @Test func aNewConnectionTakesOver() {
        let harness = RouterHarness()
        let other = harness.addListener()
        let old = harness.client("client", on: other)
        let new = harness.client("client", on: harness.addListener())
        old.connect(clean: false, expiry: 100)
        old.subscribe("t")
        #expect(new.connect(clean: false, expiry: 100)?.sessionPresent == true)
        #expect(old.closeReason == .sessionTakenOver)
        guard case .disconnect(let disconnect) = old.received.last else { return #expect(Bool(false), "no DISCONNECT") }
        #expect(disconnect.reasonCode == .sessionTakenOver)
        // What the old connection still sends touches nothing.
        old.send(.disconnect(DisconnectPacket()))
        new.publish("t", "x")
        #expect(new.takePayloads() == ["x"])
        // One that connected earlier and comes later does not get the session.
        let late = harness.client("client", on: other)
        #expect(late.connect(clean: false, stamp: 1)?.returnCode == ReasonCode.serverBusy.rawValue)
        #expect(new.isOpen)
    }

    @Test func aLostListenerLosesConnectionsNotSessions() {
        let harness = RouterHarness()
        let gone = harness.addListener()
        let watcher = harness.client("watcher", on: harness.addListener())
        watcher.connect()
        watcher.subscribe("will")
        let client = harness.client("client", on: gone)
        client.connect(clean: false, expiry: 100, will: self.will("lost"))
        client.subscribe("t")
        harness.removeListener(gone)
        #expect(watcher.takePayloads() == ["lost"])
        watcher.publish("t", "kept", .atLeastOnce)
        let again = harness.client("client", on: harness.listeners[1])
        #expect(again.connect(clean: false)?.sessionPresent == true)
        #expect(again.takePayloads() == ["kept"])
    }

    @Test func clientIdentifiersAreAssignedAndLimited() {
        let harness = RouterHarness { $0.mqtt.maxClientIDLengthBytes = 10 }
        let first = harness.client().connect()?.properties.assignedClientIdentifier
        let second = harness.client().connect()?.properties.assignedClientIdentifier
        #expect(first != nil && second != nil && first != second)
        #expect(harness.client("12345678901").connect()?.returnCode == ReasonCode.clientIdentifierNotValid.rawValue)
        #expect(harness.client("", .v3_1_1).connect()?.returnCode == 0)
        #expect(harness.client("", .v3_1_1).connect(clean: false)?.returnCode == 2)
        let strict = RouterHarness { $0.mqtt.emptyClientID = .refuse }
        #expect(strict.client().connect()?.returnCode == ReasonCode.clientIdentifierNotValid.rawValue)
    }

    @Test func sessionsAreLimited() {
        let harness = RouterHarness { $0.mqtt.maxSessions = 1 }
        harness.client("a").connect()
        #expect(harness.client("b").connect()?.returnCode == ReasonCode.quotaExceeded.rawValue)
        #expect(harness.client("b", .v3_1_1).connect()?.returnCode == 3)
    }

    @Test func connackTellsWhatIsOffered() {
        let harness = RouterHarness {
            $0.mqtt.maxQoS = .atLeastOnce
            $0.mqtt.retainAvailable = false
            $0.mqtt.wildcardSubscriptions = false
            $0.mqtt.sharedSubscriptions = false
            $0.mqtt.subscriptionIdentifiers = false
            $0.mqtt.maxKeepAliveSeconds = 60
            $0.mqtt.receiveMaximum = 7
            $0.mqtt.topicAliasMaximum = 3
            $0.mqtt.maxPacketSizeBytes = 5000
        }
        let client = harness.client("client")
        let properties = client.connect { $0.keepAliveSeconds = 100 }?.properties
        #expect(properties?.maximumQoS == .atLeastOnce)
        #expect(properties?.retainAvailable == false)
        #expect(properties?.wildcardSubscriptionAvailable == false)
        #expect(properties?.sharedSubscriptionAvailable == false)
        #expect(properties?.subscriptionIdentifiersAvailable == false)
        #expect(properties?.serverKeepAlive == 60)
        #expect(properties?.receiveMaximum == 7)
        #expect(properties?.topicAliasMaximum == 3)
        #expect(properties?.maximumPacketSize == 5000)
        #expect(client.keepAliveInForce == 60)
        #expect(client.subscribe("a/+") == ReasonCode.wildcardSubscriptionsNotSupported.rawValue)
        #expect(client.subscribe("$share/g/a") == ReasonCode.sharedSubscriptionsNotSupported.rawValue)
        #expect(client.subscribe("a", .exactlyOnce) == 1)
        let old = harness.client("old", .v3_1_1)
        old.connect { $0.keepAliveSeconds = 100 }
        #expect(old.keepAliveInForce == 100)
        client.subscribe("b", identifier: 1)
        #expect(client.closeReason == .subscriptionIdentifiersNotSupported)
    }

    // MARK: Wills

    @Test func aWillIsPublishedWithAllItsProperties() {
        let harness = RouterHarness()
        let watcher = self.watcher(harness)
        let client = harness.client("client")
        var will = self.will("gone", qos: .exactlyOnce, retain: true)
        will.properties.payloadFormatIndicator = 1
        will.properties.contentType = Array("text".utf8)
        will.properties.responseTopic = Array("r".utf8)
        will.properties.correlationData = [9]
        will.properties.messageExpiryInterval = 30
        will.properties.userProperties = [.init(name: [0x61], value: [0x62])]
        client.connect(will: will)
        harness.pass(seconds: 1000)
        client.drop(.keepAliveTimeout)
        let publish = watcher.takePublishes().first
        var expected = will.properties
        expected.willDelayInterval = nil
        #expect(publish?.properties == expected)
        #expect(publish?.qos == .exactlyOnce)
        #expect(publish?.payload == Array("gone".utf8))
        #expect(harness.core.retainedCount == 1)
        harness.pass(seconds: 31)
        #expect(harness.core.retainedCount == 0)
    }

    @Test func disconnectTakesTheWillAwayUnlessItSaysOtherwise() {
        let harness = RouterHarness()
        let watcher = self.watcher(harness)
        let client = harness.client("client")
        client.connect(will: self.will("1"))
        client.disconnect()
        client.connect(will: self.will("2"))
        client.disconnect(.disconnectWithWill)
        client.connect(will: self.will("3"))
        client.send(.pingresp)
        #expect(client.closeReason == .protocolError)
        #expect(watcher.takePayloads() == ["2", "3"])
    }

    @Test func aDelayedWillIsCancelledByAReturn() {
        let harness = RouterHarness()
        let watcher = self.watcher(harness)
        let client = harness.client("client")
        client.connect(clean: false, expiry: 100, will: self.will("late", delay: 20))
        client.drop()
        harness.pass(seconds: 19)
        client.connect(clean: false, expiry: 100)
        harness.pass(seconds: 50)
        #expect(watcher.takePayloads() == [])
        client.drop()
        client.connect(clean: false, expiry: 100, will: self.will("late", delay: 20))
        client.drop()
        harness.pass(seconds: 21)
        #expect(watcher.takePayloads() == ["late"])
        #expect(client.connect(clean: false)?.sessionPresent == true)
    }

    @Test func aWillComesAtTheLatestWhenItsSessionEnds() {
        let harness = RouterHarness()
        let watcher = self.watcher(harness)
        let client = harness.client("client")
        client.connect(clean: false, expiry: 10, will: self.will("expired", delay: 1000))
        client.drop()
        harness.pass(seconds: 11)
        #expect(watcher.takePayloads() == ["expired"])
        client.connect(expiry: 100, will: self.will("cleaned", delay: 50))
        client.drop()
        client.connect(clean: true)
        #expect(watcher.takePayloads() == ["cleaned"])
        client.disconnect()
        client.connect(will: self.will("no session", delay: 50))
        client.drop()
        #expect(watcher.takePayloads() == ["no session"])
    }

    @Test func takeoverPublishesAWillWithoutDelay() {
        let harness = RouterHarness()
        let watcher = self.watcher(harness)
        harness.client("client").connect(clean: false, expiry: 10, will: self.will("now"))
        harness.client("client").connect(clean: false, expiry: 10, will: self.will("delayed", delay: 5))
        harness.client("client").connect(clean: false, expiry: 10)
        harness.pass(seconds: 100)
        #expect(watcher.takePayloads() == ["now"])
    }

    @Test func aWillNeedsTheRightToPublish() {
        let harness = RouterHarness()
        let watcher = self.watcher(harness)
        let client = harness.client("client")
        client.access = AccessRules(noMatch: .deny)
        client.connect(will: self.will("no"))
        client.drop()
        #expect(watcher.takePayloads() == [])
        #expect(harness.core.counters.publishesDenied == 1)
    }

    @Test func willsBeyondWhatIsOfferedAreRefused() {
        let harness = RouterHarness {
            $0.mqtt.maxQoS = .atMostOnce
            $0.mqtt.retainAvailable = false
        }
        #expect(harness.client("a").connect(will: self.will("x"))?.returnCode == ReasonCode.qosNotSupported.rawValue)
        let retained = self.will("x", qos: .atMostOnce, retain: true)
        #expect(harness.client("a").connect(will: retained)?.returnCode == ReasonCode.retainNotSupported.rawValue)
    }

    // MARK: In flight

    @Test func resumingSendsAgainInOrder() {
        let harness = RouterHarness()
        let publisher = harness.client("publisher")
        publisher.connect()
        let client = harness.client("client")
        client.acknowledges = false
        client.connect(clean: false, expiry: 100)
        client.subscribe("t")
        publisher.publish("t", "0", .atLeastOnce)
        publisher.publish("t", "1", .exactlyOnce)
        publisher.publish("t", "2", .atLeastOnce)
        publisher.publish("t", "3", .exactlyOnce)
        let first = client.takePublishes()
        #expect(first.map(\.dup) == [false, false, false, false])
        // PUBREC for the second: only its PUBREL comes again.
        client.send(.pubrec(AcknowledgementPacket(packetIdentifier: first[1].packetIdentifier)))
        client.takeAll()
        client.drop()
        publisher.publish("t", "4", .atLeastOnce)
        client.connect(clean: false, expiry: 100)
        let packets = client.takeAll()
        let expected: [PacketType] = [.pubrel, .publish, .publish, .publish, .publish]
        #expect(packets.map(\.type) == expected)
        var dups: [Bool] = []
        var identifiers: [UInt16] = []
        for case .publish(let publish) in packets {
            dups.append(publish.dup)
            identifiers.append(publish.packetIdentifier)
        }
        #expect(dups == [true, true, true, false])
        #expect(
            identifiers.prefix(3) == [first[0].packetIdentifier, first[2].packetIdentifier, first[3].packetIdentifier]
        )
        #expect(!first.map(\.packetIdentifier).contains(identifiers[3]))
    }

    @Test func exactlyOnceAcrossConnections() {
        let harness = RouterHarness()
        let subscriber = harness.client("subscriber")
        subscriber.connect()
        subscriber.subscribe("t")
        let publisher = harness.client("publisher")
        publisher.connect(clean: false, expiry: 100)
        let packet = PublishPacket(qos: .exactlyOnce, topic: [0x74], packetIdentifier: 5, payload: [1])
        publisher.send(.publish(packet))
        publisher.drop()
        publisher.connect(clean: false, expiry: 100)
        var again = packet
        again.dup = true
        publisher.send(.publish(again))
        #expect(publisher.takeAll().suffix(1) == [.pubrec(AcknowledgementPacket(packetIdentifier: 5))])
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 5)))
        #expect(publisher.takeAll() == [.pubcomp(AcknowledgementPacket(packetIdentifier: 5))])
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 5)))
        #expect(publisher.takeAll() == [.pubcomp(AcknowledgementPacket(packetIdentifier: 5))])
        #expect(subscriber.takePublishes().count == 1)
        // The identifier is free: the same one is a new message now.
        publisher.send(.publish(packet))
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 5)))
        #expect(subscriber.takePublishes().count == 1)
    }

    @Test func aMessageOfQoS2WaitsForItsPubrel() {
        let harness = RouterHarness()
        let subscriber = harness.client("subscriber")
        subscriber.connect()
        subscriber.subscribe("t")
        let publisher = harness.client("publisher")
        publisher.connect(clean: false, expiry: 100)
        let packet = PublishPacket(qos: .exactlyOnce, topic: [0x74], packetIdentifier: 5, payload: [1])
        publisher.send(.publish(packet))
        #expect(subscriber.takePublishes().isEmpty)
        #expect(harness.core.queuedBytesTotal > 0)
        publisher.drop()
        publisher.connect(clean: false, expiry: 100)
        // The PUBREC was lost: PUBREL comes after the PUBLISH was repeated, or at once if it was not.
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 5)))
        #expect(subscriber.takePublishes().map(\.payload) == [[1]])
        publisher.send(.publish(packet))
        publisher.drop()
        harness.pass(seconds: 101)
        #expect(subscriber.takePublishes().isEmpty)
        #expect(harness.core.queuedBytesTotal == 0)
    }

    @Test func anIdentifierUsedAgainAndAgainWithoutDupClosesTheConnection() {
        let harness = RouterHarness()
        let client = harness.client("client")
        client.connect()
        let packet = PublishPacket(qos: .exactlyOnce, topic: [0x74], packetIdentifier: 5, payload: [1])
        var repeated = packet
        repeated.dup = true
        for _ in 0..<5 { client.send(.publish(repeated)) }
        client.send(.publish(packet))
        let pubrec = Packet.pubrec(AcknowledgementPacket(packetIdentifier: 5))
        #expect(client.takeAll() == Array(repeating: pubrec, count: 6))
        client.send(.publish(packet))
        #expect(client.closeReason == .protocolError)
    }

    /// A device that keeps nothing, sends the same as each time that it starts, and loses power before PUBREL: it could never send that again.
    @Test(arguments: ProtocolVersion.allCases, [false, true])
    func aDeviceThatBeginsAnewMaySendTheSameAgainEachTime(_ version: ProtocolVersion, _ losesRouter: Bool) throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("store.db")
        var harness = RouterHarness(store: try StoreFile(path: path, survivesPowerLoss: false))
        var client = harness.client("device", version)
        let packet = PublishPacket(qos: .exactlyOnce, topic: [0x74], packetIdentifier: 1, payload: [1])
        let pubrec = Packet.pubrec(AcknowledgementPacket(packetIdentifier: 1))
        for _ in 0..<5 {
            client.connect(clean: false, expiry: version == .v5_0 ? 600 : nil)
            client.send(.publish(packet))
            #expect(client.takeAll() == [pubrec])
            // Once more on each connection, as on the first one.
            client.send(.publish(packet))
            #expect(client.takeAll() == [pubrec])
            client.drop()
            guard losesRouter else { continue }
            harness = try harness.restart(path)
            client = harness.client("device", version)
        }
        let subscriber = harness.client("subscriber")
        subscriber.connect()
        subscriber.subscribe("t")
        client.connect(clean: false, expiry: version == .v5_0 ? 600 : nil)
        client.send(.pubrel(AcknowledgementPacket(packetIdentifier: 1)))
        #expect(client.takeAll().map(\.type) == [.pubcomp])
        #expect(subscriber.takePublishes().count == 1)
    }

    /// A client that has lost what it knew, or was told what did not reach the store.
    @Test(arguments: [false, true]) func anIdentifierThatComesWithAnotherMessageStandsForThat(_ dup: Bool) {
        let harness = RouterHarness()
        let subscriber = harness.client("subscriber")
        subscriber.connect()
        subscriber.subscribe("#")
        let client = harness.client("client")
        client.connect()
        var packet = PublishPacket(qos: .exactlyOnce, topic: [0x74], packetIdentifier: 5, payload: [1])
        client.send(.publish(packet))
        packet.payload = [2]
        packet.dup = dup
        client.send(.publish(packet))
        client.send(.pubrel(AcknowledgementPacket(packetIdentifier: 5)))
        #expect(client.takeAll().map(\.type) == [.pubrec, .pubrec, .pubcomp])
        #expect(subscriber.takePublishes().map(\.payload) == [[2]])
        #expect(harness.core.queuedBytesTotal == 0)
    }

    @Test func heldMessagesAreBounded() {
        let harness = RouterHarness { $0.mqtt.session.maxQueuedBytes = 5_000 }
        for version in [ProtocolVersion.v5_0, .v3_1_1] {
            let client = harness.client("client", version)
            client.connect()
            for identifier in 1...3 as ClosedRange<UInt16> {
                let payload = [UInt8](repeating: 0, count: 2_000)
                client.send(
                    .publish(
                        PublishPacket(
                            qos: .exactlyOnce,
                            topic: [0x74],
                            packetIdentifier: identifier,
                            payload: payload
                        )
                    )
                )
            }
            if version == .v5_0 {
                let refused = AcknowledgementPacket(packetIdentifier: 3, reasonCode: .quotaExceeded)
                #expect(client.takeAll().last == .pubrec(refused))
                #expect(client.isOpen)
            } else {
                #expect(client.closeReason == .quotaExceeded)
            }
        }
    }

    @Test func anExpiredMessageOfQoS2IsDroppedAndItsExchangeCompleted() {
        let harness = RouterHarness()
        let subscriber = harness.client("subscriber")
        subscriber.connect()
        subscriber.subscribe("t")
        let publisher = harness.client("publisher")
        publisher.connect()
        var packet = PublishPacket(qos: .exactlyOnce, topic: [0x74], packetIdentifier: 5, payload: [1])
        packet.properties.messageExpiryInterval = 1
        publisher.send(.publish(packet))
        harness.pass(seconds: 2)
        publisher.takeAll()
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 5)))
        #expect(publisher.takeAll() == [.pubcomp(AcknowledgementPacket(packetIdentifier: 5))])
        #expect(subscriber.takePublishes().isEmpty)
        #expect(harness.core.counters.droppedExpired == 1)
    }

    @Test func reasonStringsGoToThoseWhoAskForThem() {
        let harness = RouterHarness()
        for wanted in [nil, false, true] as [Bool?] {
            let client = harness.client("client")
            client.connect { $0.properties.requestProblemInformation = wanted }
            client.send(.pingresp)
            guard case .disconnect(let disconnect) = client.takeAll().last else {
                return #expect(Bool(false), "no DISCONNECT")
            }
            #expect(disconnect.reasonCode == .protocolError)
            #expect((disconnect.properties.reasonString != nil) == (wanted == true))
        }
        let small = harness.client("small")
        small.connect {
            $0.properties.requestProblemInformation = true
            $0.properties.maximumPacketSize = 30
        }
        small.send(.pingresp)
        #expect(small.takeAll().last == .disconnect(DisconnectPacket(reasonCode: .protocolError)))
    }

    @Test func nothingLargerThanTheClientTakesIsSent() {
        let harness = RouterHarness()
        let tiny = harness.client("tiny")
        #expect(tiny.connect { $0.properties.maximumPacketSize = 4 } == nil)
        #expect(!tiny.isOpen)
        #expect(tiny.received.isEmpty)
        let small = harness.client("small")
        #expect(small.connect { $0.properties.maximumPacketSize = 30 }?.returnCode == 0)
        let subscriptions = (0..<40).map {
            SubscribePacket.Subscription(filter: Array("f/\($0)".utf8), qos: .atMostOnce)
        }
        small.send(.subscribe(SubscribePacket(packetIdentifier: 1, subscriptions: subscriptions)))
        #expect(small.takeAll() == [.disconnect(DisconnectPacket(reasonCode: .packetTooLarge))])
    }

    /// - Returns: the second acknowledges nothing by itself, takes three messages at a time, and has subscribed to `t`.
    private func publisherAndSlowClient() -> (publisher: FakeClient, client: FakeClient) {
        let harness = RouterHarness()
        let publisher = harness.client("publisher")
        publisher.connect()
        let client = harness.client("client")
        client.acknowledges = false
        client.connect(clean: false, expiry: 100, receiveMaximum: 3)
        client.subscribe("t", .exactlyOnce)
        return (publisher, client)
    }

    @Test func neverMoreInFlightThanTheClientTakes() {
        let (publisher, client) = self.publisherAndSlowClient()
        for index in 0..<10 { publisher.publish("t", "\(index)", index % 2 == 0 ? .atLeastOnce : .exactlyOnce) }
        let first = client.takePublishes()
        #expect(first.count == 3)
        client.send(.puback(AcknowledgementPacket(packetIdentifier: first[0].packetIdentifier)))
        #expect(client.takePublishes().count == 1)
        // A PUBREC does not end the exchange, a failure in it does.
        client.send(.pubrec(AcknowledgementPacket(packetIdentifier: first[1].packetIdentifier)))
        #expect(client.takePublishes().count == 0)
        client.send(.pubcomp(AcknowledgementPacket(packetIdentifier: first[1].packetIdentifier)))
        #expect(client.takePublishes().count == 1)
        // After resuming with less, what was in flight counts too.
        client.drop()
        client.connect(clean: false, expiry: 100, receiveMaximum: 1)
        #expect(client.takePublishes().map(\.payload) == [Array("2".utf8)])
        client.acknowledges = true
        client.send(.puback(AcknowledgementPacket(packetIdentifier: first[2].packetIdentifier)))
        #expect(client.takePayloads() == (3..<10).map { "\($0)" })
    }

    /// Their PUBREL was sent, so that their PUBLISH does not come again; until PUBCOMP they count [MQTT-3.3.4-9].
    @Test func releasedMessagesCountAfterResuming() {
        let (publisher, client) = self.publisherAndSlowClient()
        for index in 0..<6 { publisher.publish("t", "\(index)", .exactlyOnce) }
        let identifiers = client.takePublishes().map(\.packetIdentifier)
        for identifier in identifiers.dropFirst() {
            client.send(.pubrec(AcknowledgementPacket(packetIdentifier: identifier)))
        }
        client.drop()
        client.takeAll()
        client.connect(clean: false, expiry: 100, receiveMaximum: 2)
        let pubrels = identifiers.dropFirst().map { Packet.pubrel(AcknowledgementPacket(packetIdentifier: $0)) }
        #expect(client.takeAll() == pubrels)
        client.send(.pubcomp(AcknowledgementPacket(packetIdentifier: identifiers[1])))
        #expect(client.takePublishes().map(\.payload) == [Array("0".utf8)])
        client.send(.pubcomp(AcknowledgementPacket(packetIdentifier: identifiers[2])))
        #expect(client.takePublishes().map(\.payload) == [Array("3".utf8)])
    }

    @Test func queuedMessagesWaitForFreeIdentifiers() {
        let harness = RouterHarness {
            $0.mqtt.session.maxInflight = UInt16.max
            $0.mqtt.session.maxQueuedMessages = 100_000
            $0.mqtt.session.maxQueuedBytes = 1 << 30
        }
        let listener = harness.addListener(sessionCredit: 1 << 30, linkCredit: 1 << 30)
        let publisher = harness.client("publisher", on: listener)
        publisher.connect()
        let client = harness.client("client", on: listener)
        client.acknowledges = false
        client.connect(receiveMaximum: UInt16.max)
        client.subscribe("t")
        let count = 66_000
        var packets: [UInt8] = []
        for index in 0..<count {
            let payload: [UInt8] = [UInt8(index >> 16), UInt8(index >> 8 & 0xFF), UInt8(index & 0xFF)]
            let packet = PublishPacket(qos: .atLeastOnce, topic: [0x74], packetIdentifier: 1, payload: payload)
            packets += Packet.publish(packet).bytes(.v5_0)
            if index % 500 == 499 {
                publisher.send(bytes: packets)
                packets = []
            }
        }
        let first = client.takePublishes()
        #expect(first.count == 65_535)
        #expect(Set(first.map(\.packetIdentifier)).count == 65_535)
        client.acknowledges = true
        for publish in first {
            client.send(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)), flushes: false)
        }
        #expect(client.takePublishes().count == count - 65_535)
    }
}
