import Common
import TestSupport
import Testing

@testable import Router

/// What a session's router remembers of the topic that it last published to must never outlive its truth.
@Suite struct RecentTopicTests {
    private let harness = RouterHarness()

    private func connected(_ name: String) -> FakeClient {
        let client = self.harness.client(name)
        client.connect()
        return client
    }

    @Test(arguments: [QoS.atMostOnce, .atLeastOnce, .exactlyOnce])
    func subscriptionsThatComeAndGoCountAtOnce(_ qos: QoS) {
        let publisher = self.connected("publisher")
        let readers = (0..<3).map { self.connected("reader \($0)") }
        func came() -> [Int] {
            publisher.publish("t/1", "x", qos)
            return readers.map { $0.takePublishes().count }
        }
        #expect(came() == [0, 0, 0])
        readers[0].subscribe("t/1", qos)
        #expect(came() == [1, 0, 0])
        #expect(came() == [1, 0, 0])
        readers[0].unsubscribe("t/1")
        #expect(came() == [0, 0, 0])
        readers[0].subscribe("t/1", qos)
        #expect(came() == [1, 0, 0])
        readers[2].subscribe("$share/g/t/#", qos)
        #expect(came() == [1, 0, 1])
        readers[1].subscribe("t/+", qos)
        #expect(came() == [1, 1, 1])
        readers[0].unsubscribe("t/1")
        #expect(came() == [0, 1, 1])
        readers[1].drop()
        #expect(came() == [0, 0, 1])
        readers[2].unsubscribe("$share/g/t/#")
        #expect(came() == [0, 0, 0])
        #expect(publisher.publish("t/1", "x", .atLeastOnce) == .noMatchingSubscribers)
        readers[0].subscribe("#", .atMostOnce)
        #expect(came() == [1, 0, 0])
    }

    @Test func optionsAndIdentifiersAreThoseOfTheLastSubscribe() {
        let publisher = self.connected("publisher")
        let reader = self.connected("reader")
        for (qos, identifier) in [(QoS.atLeastOnce, 7), (.atMostOnce, 8), (.exactlyOnce, 300)] as [(QoS, UInt32)] {
            reader.subscribe("t", qos, identifier: identifier)
            for _ in 0..<2 {
                publisher.publish("t", "x", .exactlyOnce)
                let got = reader.takePublishes()
                #expect(got.map(\.qos) == [qos] && got.map(\.properties.subscriptionIdentifiers) == [[identifier]])
            }
        }
    }

    @Test func noLocalHoldsForOneAndNotForAnother() {
        let both = self.connected("both")
        let other = self.connected("other")
        both.subscribe("t", .atMostOnce) { $0.noLocal = true }
        for _ in 0..<2 {
            both.publish("t", "own")
            other.publish("t", "of another")
            #expect(both.takePayloads() == ["of another"])
        }
    }

    @Test func eachQoSAndRetainIsAllowedForItselfAndOtherRulesCountAtOnce() {
        let publisher = self.harness.client("publisher")
        func rule(_ qosMask: UInt8, _ retain: AccessRule.RetainCondition) -> AccessRules {
            let filter = Array("t".utf8)
            let rule = AccessRule(
                permission: .allow,
                actions: .publish,
                filter: filter,
                qosMask: qosMask,
                retain: retain
            )
            return AccessRules(rules: [rule], noMatch: .deny)
        }
        publisher.access = rule(0b010, .onlyNotRetained)
        publisher.connect()
        for _ in 0..<2 {
            #expect(publisher.publish("t", "x", .atLeastOnce) == .noMatchingSubscribers)
            #expect(publisher.publish("t", "x", .exactlyOnce) == .notAuthorized)
            #expect(publisher.publish("t", "x", .atLeastOnce, retain: true) == .notAuthorized)
        }
        var frame = ByteBuffer()
        SessionRules.encode(rule(0b100, .any), into: &frame, handle: publisher.handle)
        self.harness.deliver(frame, from: publisher.listener)
        #expect(publisher.publish("t", "x", .atLeastOnce) == .notAuthorized)
        #expect(publisher.publish("t", "x", .exactlyOnce, retain: true) == .success)
    }

    /// A topic that is the beginning of another, or as long.
    @Test func otherTopicsAreOtherTopics() {
        let publisher = self.connected("publisher")
        let reader = self.connected("reader")
        reader.subscribe("t/1")
        for topic in ["t/1", "t/11", "t/2", "t/1", "t"] { publisher.publish(topic, topic) }
        #expect(reader.takePayloads() == ["t/1", "t/1"])
        publisher.publish("t/+", "x")
        #expect(publisher.closeReason == .malformedPacket)
    }
}
