import Common
import TestSupport
import Testing

@testable import Router

@Suite struct RetainedTests {
    @Test func aSubscriberGetsTheLastRetainedMessageOfEachTopic() {
        let harness = RouterHarness()
        let publisher = harness.client("publisher")
        publisher.connect()
        for (topic, payload) in [("a/1", "old"), ("a/1", "new"), ("a/2", "x"), ("b/1", "y"), ("$d/1", "z"), ("a", "p")]
        {
            publisher.publish(topic, payload, .atLeastOnce, retain: true)
        }
        publisher.publish("a/2", "", retain: true)
        let subscriber = harness.client("subscriber")
        subscriber.connect()
        for (filter, expected) in [
            ("a/1", ["new"]), ("a/+", ["new"]), ("a/#", ["new", "p"]), ("#", ["new", "p", "y"]), ("+/1", ["new", "y"]),
            ("$d/+", ["z"]), ("c/#", []), ("+", ["p"]),
        ] {
            subscriber.subscribe(filter, .atLeastOnce, identifier: 8)
            let publishes = subscriber.takePublishes()
            #expect(publishes.map { String(decoding: $0.payload, as: UTF8.self) }.sorted() == expected, "\(filter)")
            #expect(publishes.allSatisfy { $0.retain && $0.properties.subscriptionIdentifiers == [8] })
            #expect(publishes.allSatisfy { $0.qos == .atLeastOnce })
            subscriber.unsubscribe(filter)
        }
    }

    @Test func retainHandlingDecidesAtSubscribe() {
        let harness = RouterHarness()
        let client = harness.client("client")
        client.connect()
        client.publish("t", "x", retain: true)
        client.subscribe("t") { $0.retainHandling = .doNotSend }
        #expect(client.takePayloads() == [])
        client.subscribe("t") { $0.retainHandling = .sendIfNew }
        #expect(client.takePayloads() == [])
        client.subscribe("t") { $0.retainHandling = .send }
        #expect(client.takePayloads() == ["x"])
        client.unsubscribe("t")
        client.subscribe("t") { $0.retainHandling = .sendIfNew }
        #expect(client.takePayloads() == ["x"])
        client.subscribe("$share/g/t")
        #expect(client.takePayloads() == [])
    }

    @Test func retainedMessagesExpire() {
        let harness = RouterHarness()
        let client = harness.client("client")
        client.connect()
        client.publish("t", "x", .atLeastOnce, retain: true) { $0.properties.messageExpiryInterval = 10 }
        client.publish("t/2", "y", .atLeastOnce, retain: true)
        harness.pass(seconds: 4)
        client.subscribe("t")
        #expect(client.takePublishes().map(\.properties.messageExpiryInterval) == [6])
        harness.pass(seconds: 7)
        #expect(harness.core.retainedCount == 1)
        #expect(harness.core.nextDeadline == nil)
    }

    /// Whoever published something then waited for all of them.
    @Test func oneTurnForgetsNoMoreThanItsShareOfRetainedMessages() {
        let harness = RouterHarness { $0.mqtt.retained.maxMessages = 5000 }
        let client = harness.client("client")
        client.connect()
        for number in 0..<5000 {
            client.publish("t/\(number)", "x", retain: true) { $0.properties.messageExpiryInterval = 10 }
        }
        harness.now += 11 * Nanoseconds.perSecond
        harness.core.timePassed(now: harness.now)
        #expect(harness.core.retainedCount == 5000 - RouterLimits.expiredPerTurn)
        let goesOn = harness.core.nextDeadline.map { $0 <= harness.now } ?? false
        #expect(goesOn)
        harness.pass(seconds: 0)
        #expect(harness.core.retainedCount == 0)
    }

    @Test(arguments: [QoS.atMostOnce, .atLeastOnce]) func expiredRetainedMessagesLeaveTheirRoom(_ qos: QoS) {
        let harness = RouterHarness { $0.mqtt.retained.maxMessages = 2 }
        let client = harness.client("client")
        client.connect()
        for topic in ["a", "b"] {
            client.publish(topic, "x", .atLeastOnce, retain: true) { $0.properties.messageExpiryInterval = 10 }
        }
        harness.now += 11 * Nanoseconds.perSecond
        client.publish("c", "live", qos, retain: true)
        #expect(harness.core.counters.retainedRefused == 0)
        client.subscribe("#")
        #expect(client.takePayloads() == ["live"])
    }

    @Test func theStoreIsLimited() {
        let harness = RouterHarness { $0.mqtt.retained.maxMessages = 2 }
        let client = harness.client("client")
        client.connect()
        client.subscribe("#")
        #expect(client.publish("a", "1", .atLeastOnce, retain: true) == .success)
        #expect(client.publish("b", "1", .atLeastOnce, retain: true) == .success)
        client.takeAll()
        #expect(client.publish("c", "1", .atLeastOnce, retain: true) == .quotaExceeded)
        #expect(client.takePayloads() == [])
        #expect(client.publish("a", "2", .atLeastOnce, retain: true) == .success)
        client.takeAll()
        // Those who cannot be told still reach the subscribers.
        client.publish("c", "2", retain: true)
        #expect(client.takePayloads() == ["2"])
        #expect(harness.core.retainedCount == 2)
        #expect(harness.core.counters.retainedRefused == 2)
        let bytes = RouterHarness { $0.mqtt.retained.maxBytes = 1000 }
        let other = bytes.client("client")
        other.connect()
        #expect(other.publish("a", String(repeating: "x", count: 1000), .atLeastOnce, retain: true) == .quotaExceeded)
    }

    @Test func deliveryFollowsCreditWhileTheStoreChanges() {
        let harness = RouterHarness()
        let listener = harness.addListener(sessionCredit: 200)
        let publisher = harness.client("publisher", on: listener)
        publisher.connect()
        for index in 0..<200 { publisher.publish("r/\(index)", "\(index)", .atLeastOnce, retain: true) }
        let subscriber = harness.client("subscriber", on: listener)
        subscriber.connect()
        subscriber.returnsCredit = false
        subscriber.subscribe("r/#", .atMostOnce)
        var seen = Set(subscriber.takePayloads())
        #expect(seen.count > 3 && seen.count < 50)
        // Removed before it came: not seen. Changed meanwhile: seen once, live. New: seen once, live.
        for index in 0..<200 where index % 3 == 0 { publisher.publish("r/\(index)", "", .atLeastOnce, retain: true) }
        publisher.publish("r/1", "changed", .atLeastOnce, retain: true)
        publisher.publish("r/new", "new", .atLeastOnce, retain: true)
        subscriber.returnsCredit = true
        subscriber.returnHeldCredit()
        let rest = subscriber.takePayloads()
        #expect(rest.filter { $0 == "changed" }.count == 1)
        #expect(rest.filter { $0 == "new" }.count == 1)
        seen.formUnion(rest)
        for index in 0..<200 where index % 3 != 0 && index != 1 { #expect(seen.contains("\(index)"), "\(index)") }
        for index in 0..<200 { publisher.publish("r/\(index)", "", .atLeastOnce, retain: true) }
        publisher.publish("r/new", "", retain: true)
        let nodes = harness.core.retained.nodeCount
        #expect(nodes == 0)
    }

    @Test func aCursorLetsGoWhenItsClientLeaves() {
        let harness = RouterHarness()
        let listener = harness.addListener(sessionCredit: 10)
        let client = harness.client("client", on: listener)
        client.connect()
        for index in 0..<20 { client.publish("r/\(index)", "x", .atLeastOnce, retain: true) }
        client.returnsCredit = false
        client.subscribe("r/+", .atMostOnce)
        client.drop()
        let cleaner = harness.client("cleaner", on: listener)
        cleaner.connect()
        for index in 0..<20 { cleaner.publish("r/\(index)", "", .atLeastOnce, retain: true) }
        let nodes = harness.core.retained.nodeCount
        #expect(nodes == 0)
    }

    private static func tenRetained(_ harness: RouterHarness) {
        let publisher = harness.client("publisher")
        publisher.connect()
        for number in 0..<10 { publisher.publish("r/\(number)", "\(number)", .atLeastOnce, retain: true) }
    }

    /// A session that lasts, and has asked for the ten.
    private static func subscriberOfTen(_ harness: RouterHarness, receiveMaximum: UInt16) -> FakeClient {
        Self.tenRetained(harness)
        let client = harness.client("client")
        client.acknowledges = false
        client.connect(clean: false, expiry: 100, receiveMaximum: receiveMaximum)
        client.subscribe("r/+", .atLeastOnce)
        return client
    }

    /// It does not subscribe again, and never got the rest.
    @Test func aSessionThatComesBackGetsTheRest() {
        let harness = RouterHarness()
        let client = Self.subscriberOfTen(harness, receiveMaximum: 3)
        let first = client.takePayloads()
        #expect(first.count == 3)
        client.drop()
        client.acknowledges = true
        #expect(client.connect(clean: false, expiry: 100, receiveMaximum: 3)?.sessionPresent == true)
        let rest = client.takePayloads()
        #expect(Set(first + rest) == Set((0..<10).map { "\($0)" }) && rest.count == 10, "\(first) \(rest)")
        client.drop()
        client.connect(clean: true)
        for number in 0..<10 { client.publish("r/\(number)", "", .atLeastOnce, retain: true) }
        let nodes = harness.core.retained.nodeCount
        #expect(nodes == 0)
    }

    @Test func whatIsUnsubscribedOrSubscribedAnewBringsNothingMore() {
        let harness = RouterHarness()
        Self.tenRetained(harness)
        let client = harness.client("client")
        client.acknowledges = false
        client.connect(receiveMaximum: 2)
        client.subscribe("r/+", .atLeastOnce, identifier: 1)
        let first = client.takePublishes()
        #expect(first.map(\.properties.subscriptionIdentifiers) == [[1], [1]])
        // What was sent keeps its identifier; the others come with the new one, each once.
        client.subscribe("r/+", .atLeastOnce, identifier: 2)
        client.acknowledges = true
        for publish in first {
            client.send(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
        }
        let second = client.takePublishes()
        #expect(second.count == 10 && second.allSatisfy { $0.properties.subscriptionIdentifiers == [2] })

        client.acknowledges = false
        client.subscribe("r/+", .atLeastOnce, identifier: 3)
        let third = client.takePublishes()
        #expect(third.count == 2)
        client.unsubscribe("r/+")
        client.acknowledges = true
        for publish in third {
            client.send(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
        }
        #expect(client.takePublishes().isEmpty)
    }

    /// Clients subscribe anew after a reconnect, and do not want again what they have: those that were still to come did not.
    @Test(
        "Regression: subscribing again without retained messages takes none away that were asked for",
        arguments: [UInt8(1), 2]
    )
    func subscribingAgainTakesNothingAway(_ retainHandling: UInt8) {
        let harness = RouterHarness()
        let client = Self.subscriberOfTen(harness, receiveMaximum: 2)
        let first = client.takePublishes()
        #expect(first.count == 2)
        client.drop()
        client.connect(clean: false, expiry: 100, receiveMaximum: 2)
        client.acknowledges = true
        client.subscribe("r/+", .atLeastOnce) { $0.retainHandling = .init(rawValue: retainHandling) ?? .send }
        client.acknowledgeAll()
        let topics = Set((first + client.takePublishes()).map { String(decoding: $0.topic, as: UTF8.self) })
        #expect(topics.count == 10, "\(topics)")
    }

    @Test func wildcardsFindWhatTheNaiveMatcherFinds() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var store = RetainedStore(seed: random.next(), messagesMax: 1_000_000, bytesMax: 1 << 30)
        var model: Set<String> = []
        for step in 0..<3000 {
            let topic = randomTopic(&random)
            let bytes = Array(topic.utf8)
            if random.oneIn(3) {
                _ = bytes.withUnsafeBytes { store.remove(topic: $0) }
                model.remove(topic)
            } else {
                bytes.withUnsafeBytes { topic in
                    let none = UnsafeRawBufferPointer(start: nil, count: 0)
                    let view = MessageView(
                        topic: topic,
                        properties: none,
                        payload: none,
                        expiry: Instant.max,
                        qos: .atMostOnce,
                        retain: true
                    )
                    _ = store.store(Message.make(copying: view))
                }
                model.insert(topic)
            }
            guard step % 5 == 0 else { continue }
            let filter = randomFilter(&random)
            var cursor = Array(filter.utf8).withUnsafeBytes {
                RetainedCursor(filter: $0, options: .init(qos: .atMostOnce), store: &store)
            }
            var found: [String] = []
            var budget = 1
            cursor: while true {
                switch cursor.next(&store, budget: &budget) {
                case .message(let message): found.append(String(decoding: message.view.topic, as: UTF8.self))
                case .paused: budget = 1
                case .finished: break cursor
                }
            }
            let expected = model.filter { naiveMatch(filter: filter, topic: $0) }
            #expect(found.sorted() == expected.sorted(), "seed \(seed), filter \(filter)")
        }
        for topic in model { _ = Array(topic.utf8).withUnsafeBytes { store.remove(topic: $0) } }
        #expect([store.nodeCount, store.count, store.bytes] == [0, 0, 0], "seed \(seed)")
    }
}
