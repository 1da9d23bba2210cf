import Common
import TestSupport
import Testing

@testable import Router

/// Topic aliases towards clients (MQTT 5.0, section 3.3.2.3.4).
@Suite struct OutboundAliasTests {
    /// What a client makes of it: topics by alias, as they were introduced on its connection.
    private struct Decoder {
        var topics: [UInt16: [UInt8]] = [:]
        var introduced = 0
        var used = 0

        mutating func topic(_ publish: PublishPacket) -> String? {
            guard let alias = publish.properties.topicAlias else {
                return String(decoding: publish.topic, as: UTF8.self)
            }
            if publish.topic.isEmpty {
                self.used += 1
            } else {
                self.introduced += 1
                self.topics[alias] = publish.topic
            }
            return self.topics[alias].map { String(decoding: $0, as: UTF8.self) }
        }
    }

    private func subscriber(_ harness: RouterHarness, aliases: UInt16?, name: String = "subscriber") -> FakeClient {
        let client = harness.client(name)
        client.connect(clean: false, expiry: 100) { $0.properties.topicAliasMaximum = aliases }
        client.subscribe("devices/#", .atLeastOnce)
        return client
    }

    @Test func aTopicThatComesAgainGetsAnAlias() {
        let harness = RouterHarness()
        let publisher = harness.client("publisher")
        publisher.connect()
        let subscriber = self.subscriber(harness, aliases: 10)
        var decoder = Decoder()
        for _ in 0..<5 { publisher.publish("devices/1/state", "x", .atLeastOnce) }
        let publishes = subscriber.takePublishes()
        #expect(publishes.map { decoder.topic($0) } == Array(repeating: "devices/1/state", count: 5))
        #expect(decoder.introduced == 1)
        #expect(decoder.used == 3)
        #expect(publishes[0].properties.topicAlias == nil, "nobody knows yet that it comes again")
    }

    @Test func withoutAMaximumThereIsNoAlias() {
        for (aliases, ours, version) in [(nil, 16, .v5_0), (0, 16, .v5_0), (5, 0, .v5_0), (nil, 16, .v3_1_1)]
            as [(UInt16?, UInt16, ProtocolVersion)]
        {
            let harness = RouterHarness { $0.mqtt.topicAliasesToClients = ours }
            let publisher = harness.client("publisher")
            publisher.connect()
            let subscriber = harness.client("subscriber", version)
            subscriber.connect { if version == .v5_0 { $0.properties.topicAliasMaximum = aliases } }
            subscriber.subscribe("devices/#")
            for _ in 0..<5 { publisher.publish("devices/1/state", "x", .atLeastOnce) }
            #expect(subscriber.takePublishes().allSatisfy { $0.properties.topicAlias == nil && !$0.topic.isEmpty })
        }
    }

    @Test func aliasesNeverGoBeyondEitherMaximumAndBusyTopicsKeepTheirs() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for (theirs, most) in [(3, 3), (65_535, 16)] as [(UInt16, UInt16)] {
            let harness = RouterHarness()
            let publisher = harness.client("publisher")
            publisher.connect()
            let subscriber = self.subscriber(harness, aliases: theirs)
            var decoder = Decoder()
            var busy = 0
            for step in 0..<2000 {
                let isBusy = step % 2 == 0
                let topic = "devices/\(isBusy ? 0 : Int.random(in: 1...60, using: &random))/state"
                publisher.publish(topic, "x", step % 3 == 0 ? .atMostOnce : .atLeastOnce)
                for publish in subscriber.takePublishes() {
                    #expect(decoder.topic(publish) == topic, "seed \(seed)")
                    #expect(publish.properties.topicAlias.map { $0 >= 1 && $0 <= most } ?? true, "seed \(seed)")
                    if isBusy, publish.topic.isEmpty { busy += 1 }
                }
            }
            #expect(busy > 990, "seed \(seed)")
        }
    }

    @Test func aliasesAreOfOneConnection() {
        let harness = RouterHarness()
        let publisher = harness.client("publisher")
        publisher.connect()
        let subscriber = self.subscriber(harness, aliases: 10)
        subscriber.acknowledges = false
        for _ in 0..<4 { publisher.publish("devices/1/state", "x", .atLeastOnce) }
        #expect(subscriber.takePublishes().last?.topic == [])
        subscriber.drop()
        publisher.publish("devices/1/state", "while away", .atLeastOnce)
        // What was not acknowledged, and what waited, on a connection that knows no aliases yet; then on one without any.
        for aliases in [10, nil] as [UInt16?] {
            subscriber.connect(clean: false, expiry: 100) { $0.properties.topicAliasMaximum = aliases }
            publisher.publish("devices/1/state", "live", .atLeastOnce)
            var decoder = Decoder()
            let publishes = subscriber.takePublishes()
            #expect(publishes.count >= 6)
            #expect(publishes.allSatisfy { decoder.topic($0) == "devices/1/state" })
            #expect(publishes.first?.topic.isEmpty == false)
            if aliases == nil { #expect(decoder.used + decoder.introduced == 0) }
            subscriber.drop()
        }
    }

    @Test func messagesForManyKeepTheAliasesOfEachIntact() {
        let harness = RouterHarness()
        let publisher = harness.client("publisher")
        publisher.connect()
        let subscribers = (0..<4).map { self.subscriber(harness, aliases: $0 < 2 ? 5 : nil, name: "subscriber-\($0)") }
        subscribers[0].subscribe("own/0/state")
        subscribers[1].subscribe("own/1/state")
        var decoders = Array(repeating: Decoder(), count: 4)
        for step in 0..<50 {
            let topics = ["devices/\(step % 3)/state", "own/0/state", "own/1/state"]
            for topic in topics { publisher.publish(topic, topic, step % 2 == 0 ? .atMostOnce : .atLeastOnce) }
        }
        for (index, subscriber) in subscribers.enumerated() {
            let publishes = subscriber.takePublishes()
            #expect(publishes.count == (index < 2 ? 100 : 50))
            for publish in publishes {
                #expect(decoders[index].topic(publish) == String(decoding: publish.payload, as: UTF8.self))
            }
        }
        #expect(decoders[0].used > 40)
        #expect(decoders[2].used == 0)
    }

    @Test func anAliasNeverMakesAPacketTooLarge() {
        let harness = RouterHarness()
        let publisher = harness.client("publisher")
        publisher.connect()
        let subscriber = harness.client("subscriber")
        // The packet has 2 + 2 + 15 + 1 + 20 bytes.
        subscriber.connect {
            $0.properties.topicAliasMaximum = 5
            $0.properties.maximumPacketSize = 40
        }
        subscriber.subscribe("devices/#", .atMostOnce)
        for _ in 0..<5 { publisher.publish("devices/1/state", String(repeating: "x", count: 20)) }
        let publishes = subscriber.takePublishes()
        #expect(publishes.count == 5)
        #expect(publishes.allSatisfy { $0.properties.topicAlias == nil })
    }
}
