import Common
import TestSupport
import Testing

@testable import Router

/// Filters of "+" and of a topic's own levels double, with each level, the nodes that a message to that topic looks at.
@Suite struct MatchBoundTests {
    private static let levels = 200
    /// All match the topic up to its last level.
    private static let filters = (0..<512).map { number in
        let first = (0..<9).map { number >> $0 & 1 == 0 ? "a" : "+" }
        return (first + Array(repeating: "a", count: Self.levels - 10) + ["nope"]).joined(separator: "/")
    }
    private static let topic = Array(repeating: "a", count: Self.levels).joined(separator: "/")

    private static func add(_ filter: String, to trie: inout SubscriptionTrie) {
        let subscriber = Subscriber(session: 7, options: Subscriber.Options(qos: .atMostOnce))
        _ = Array(filter.utf8).withUnsafeBytes { trie.add(filter: $0, subscriber) }
    }

    @Test func aMatchThatLooksAtTooManyNodesFindsNobody() {
        var trie = SubscriptionTrie(seed: 1)
        for filter in Self.filters { Self.add(filter, to: &trie) }
        Self.add("#", to: &trie)
        var result = MatchResult()
        Array(Self.topic.utf8).withUnsafeBytes { topic in
            let isBounded = trie.isMatchBounded(topic)
            #expect(!isBounded)
            let isWhole = trie.match(topic: topic, into: &result)
            #expect(!isWhole)
        }
        #expect(result.subscribers.isEmpty)
        let visited = trie.nodesVisited
        #expect(visited == RouterLimits.matchNodesMax + 1)
        Array("a/a/a".utf8).withUnsafeBytes { topic in
            let isWhole = trie.match(topic: topic, into: &result)
            #expect(isWhole)
        }
        #expect(result.subscribers.count == 1)
    }

    @Test func noFiltersKeepATopicOfFifteenLevelsFromItsSubscribers() {
        var trie = SubscriptionTrie(seed: 1)
        for number in 0..<1 << 15 {
            let filter = (0..<15).map { number >> $0 & 1 == 0 ? "a" : "+" }.joined(separator: "/")
            let subscriber = Subscriber(session: UInt32(number), options: Subscriber.Options(qos: .atMostOnce))
            _ = Array(filter.utf8).withUnsafeBytes { trie.add(filter: $0, subscriber) }
        }
        var result = MatchResult()
        Array(Array(repeating: "a", count: 15).joined(separator: "/").utf8).withUnsafeBytes { topic in
            let isBounded = trie.isMatchBounded(topic)
            #expect(isBounded)
            let isWhole = trie.match(topic: topic, into: &result)
            #expect(isWhole)
        }
        #expect(result.subscribers.count == 1 << 15)
        let visited = trie.nodesVisited
        #expect(visited == (1 << 16) - 1)
    }

    private func makeHarness() -> (RouterHarness, subscriber: FakeClient) {
        let harness = RouterHarness { $0.mqtt.session.maxSubscriptionBytes = 8 << 20 }
        let greedy = harness.client("greedy")
        greedy.connect()
        for filter in Self.filters { greedy.subscribe(filter) }
        let subscriber = harness.client("subscriber")
        subscriber.connect()
        subscriber.subscribe("#")
        return (harness, subscriber)
    }

    @Test func publishersThatCanHearAreToldThatTheirTopicMatchesTooMuch() {
        let (harness, subscriber) = self.makeHarness()
        let publisher = harness.client("publisher")
        publisher.connect()
        #expect(publisher.publish(Self.topic, "0") == nil)
        #expect(publisher.publish(Self.topic, "1", .atLeastOnce) == .quotaExceeded)
        #expect(publisher.publish(Self.topic, "2", .exactlyOnce) == .quotaExceeded)
        #expect(publisher.publish(Self.topic, "3", .atLeastOnce, retain: true) == .quotaExceeded)
        #expect(harness.core.retainedCount == 0)
        #expect(harness.core.counters.publishesBeyondMatch == 4)
        let client = harness.core.takeBeyondMatch()
        #expect(client == Array("publisher".utf8))
        let another = harness.core.takeBeyondMatch()
        #expect(another == nil)
        #expect(publisher.publish("a/b", "taken", .exactlyOnce) == .success)
        #expect(subscriber.takePayloads() == ["taken"])
    }

    @Test func otherPublishersLoseTheMessageAndItIsCounted() {
        let (harness, subscriber) = self.makeHarness()
        let publisher = harness.client("publisher", .v3_1_1)
        let will = ConnectPacket.Will(qos: .atLeastOnce, retain: true, topic: Array(Self.topic.utf8), payload: [1])
        publisher.connect(will: will)
        #expect(publisher.publish(Self.topic, "1", .atLeastOnce) == .success)
        #expect(publisher.publish(Self.topic, "2", .exactlyOnce) == .success)
        #expect(publisher.isOpen)
        publisher.drop()
        #expect(harness.core.counters.publishesBeyondMatch == 3)
        #expect(harness.core.retainedCount == 0)
        #expect(subscriber.takePayloads().isEmpty)
    }

    @Test func aMessageBetweenPublishAndPubrelIsCountedWhenFiltersCameMeanwhile() {
        let harness = RouterHarness { $0.mqtt.session.maxSubscriptionBytes = 8 << 20 }
        let publisher = harness.client("publisher")
        publisher.connect()
        var packet = PublishPacket(qos: .exactlyOnce, topic: Array(Self.topic.utf8), payload: [1])
        packet.packetIdentifier = 9
        publisher.send(.publish(packet))
        let greedy = harness.client("greedy")
        greedy.connect()
        for filter in Self.filters { greedy.subscribe(filter) }
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 9)))
        #expect(publisher.received.last?.type == .pubcomp)
        #expect(harness.core.counters.publishesBeyondMatch == 1)
    }
}
