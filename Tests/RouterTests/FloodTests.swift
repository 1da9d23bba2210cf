import Common
import TestSupport
import Testing

@testable import Router

/// What a client or a listener can make the router do or keep, with packets and frames that are all in order.
@Suite struct FloodTests {
    @Test("Credit comes back for SUBSCRIBE and UNSUBSCRIBE as for PUBLISH, and none for acknowledgements")
    func credit() {
        let harness = RouterHarness { $0.flowControl.sessionCreditBytes = 1000 }
        let client = harness.client("c")
        client.connect()
        let puback = Packet.puback(AcknowledgementPacket(packetIdentifier: 1)).bytes(.v5_0)
        for _ in 0..<500 { client.send(bytes: puback) }
        #expect(client.publishCredit == 0)
        var sent = 0
        for number in 0..<60 {
            let filter = Array("filter/\(number)".utf8)
            let subscription = SubscribePacket.Subscription(filter: filter, qos: .atMostOnce)
            let subscribe = Packet.subscribe(SubscribePacket(packetIdentifier: 1, subscriptions: [subscription]))
            let unsubscribe = Packet.unsubscribe(UnsubscribePacket(packetIdentifier: 1, filters: [filter]))
            client.send(subscribe, unsubscribe)
            sent += subscribe.bytes(.v5_0).count + unsubscribe.bytes(.v5_0).count
        }
        #expect(client.publishCredit > sent - 250 && client.publishCredit <= sent)
    }

    @Test("A SUBSCRIBE with more filters than a session may have is refused filter by filter, and changes nothing")
    func tooManyFilters() {
        let harness = RouterHarness { $0.mqtt.session.maxSubscriptions = 10 }
        let client = harness.client("c")
        client.connect()
        let subscriptions = (0..<11).map {
            SubscribePacket.Subscription(filter: Array("f/\($0)".utf8), qos: .atMostOnce)
        }
        client.send(.subscribe(SubscribePacket(packetIdentifier: 7, subscriptions: subscriptions)))
        guard case .suback(let suback)? = client.received.last else {
            Issue.record("no SUBACK")
            return
        }
        #expect(suback.returnCodes == Array(repeating: ReasonCode.quotaExceeded.rawValue, count: 11))
        #expect(harness.core.subscriptionCount == 0)
        #expect(client.isOpen)
    }

    @Test("A client that subscribes again and again without reading gets no retained messages beyond its subscriptions")
    func cursors() {
        let harness = RouterHarness { $0.mqtt.session.maxSubscriptions = 5 }
        let publisher = harness.client("p")
        publisher.connect()
        publisher.publish("t", "kept", .atLeastOnce, retain: true)
        let client = harness.client("c")
        client.returnsCredit = false
        client.connect()
        // Uses up all credit, so that nothing retained can go.
        client.subscribe("large")
        for _ in 0..<6 { publisher.publish("large", String(repeating: "x", count: 60_000)) }
        for _ in 0..<20 { client.subscribe("t") }
        client.returnsCredit = true
        client.returnHeldCredit()
        #expect(client.takePayloads().filter { $0 == "kept" } == ["kept"], "one for all")
        #expect(client.isOpen)
    }

    @Test("A listener that grants more credit than is configured gets what is configured")
    func creditOfAStranger() {
        let harness = RouterHarness {
            $0.flowControl.sessionCreditBytes = 1000
            $0.flowControl.linkCreditBytes = 2000
        }
        let listener = harness.addListener(sessionCredit: Int(UInt32.max), linkCredit: Int(UInt32.max))
        listener.returnsLinkCredit = false
        let client = harness.client("c", on: listener)
        client.returnsCredit = false
        client.connect()
        client.subscribe("t")
        let publisher = harness.client("p", on: harness.addListener())
        publisher.connect()
        for _ in 0..<20 { publisher.publish("t", String(repeating: "x", count: 200), .atLeastOnce) }
        harness.flush()
        #expect(client.received.count { $0.type == .publish } < 8)
    }
}
