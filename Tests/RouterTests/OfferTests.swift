import Common
import TestSupport
import Testing

@testable import Router

/// Each listener offers what its configuration says: CONNACK announces just that, and it is enforced.
@Suite struct OfferTests {
    private static func harness() -> RouterHarness {
        RouterHarness { configuration in
            var least = Configuration.Listener(name: "least")
            least.offer.protocolVersions = [.init(.v5_0)]
            least.offer.maxQoS = .atLeastOnce
            least.offer.retainAvailable = false
            least.offer.wildcardSubscriptions = false
            least.offer.sharedSubscriptions = false
            least.offer.subscriptionIdentifiers = false
            least.offer.receiveMaximum = 3
            least.offer.topicAliasMaximum = 0
            least.offer.maxKeepAliveSeconds = 60
            least.offer.emptyClientID = .refuse
            var bound = Configuration.Listener(name: "bound")
            bound.clientID = .mustEqualCommonName
            var named = Configuration.Listener(name: "named")
            named.clientID = .fromCommonName
            configuration.listeners = [least, bound, named, Configuration.Listener(name: "devices")]
        }
    }

    @Test func connackAnnouncesWhatTheListenerOffers() throws {
        let harness = Self.harness()
        let client = harness.client("client")
        client.listenerName = "least"
        let properties = try #require(client.connect()).properties
        #expect(properties.maximumQoS == .atLeastOnce)
        #expect(properties.retainAvailable == false)
        #expect(properties.wildcardSubscriptionAvailable == false)
        #expect(properties.sharedSubscriptionAvailable == false)
        #expect(properties.subscriptionIdentifiersAvailable == false)
        #expect(properties.receiveMaximum == 3)
        #expect(properties.topicAliasMaximum == nil)
        #expect(properties.serverKeepAlive == 60)
        #expect(client.keepAliveInForce == 60)
        // The same client through another listener.
        client.listenerName = "devices"
        let other = try #require(client.connect()).properties
        #expect(other.maximumQoS == nil)
        #expect(other.retainAvailable == nil)
        #expect(other.wildcardSubscriptionAvailable == nil)
        #expect(other.sharedSubscriptionAvailable == nil)
        #expect(other.subscriptionIdentifiersAvailable == nil)
        #expect(other.receiveMaximum == 1000)
        #expect(other.topicAliasMaximum == 10)
        #expect(other.serverKeepAlive == nil)
    }

    @Test func whatTheListenerDoesNotOfferIsRefusedThereOnly() {
        for (listener, isOffered) in [("least", false), ("devices", true)] {
            let harness = Self.harness()
            func client() -> FakeClient {
                let client = harness.client("client")
                client.listenerName = listener
                client.connect()
                return client
            }
            let refusals: [(ReasonCode, (FakeClient) -> Void)] = [
                (.qosNotSupported, { $0.publish("t", "x", .exactlyOnce) }),
                (.retainNotSupported, { $0.publish("t", "x", retain: true) }),
                (.topicAliasInvalid, { $0.publish("t", "x") { $0.properties.topicAlias = 1 } }),
                (.subscriptionIdentifiersNotSupported, { $0.subscribe("t", identifier: 1) }),
            ]
            for (reason, act) in refusals {
                let client = client()
                act(client)
                #expect(client.closeReason == (isOffered ? nil : reason), "\(listener): \(reason)")
                client.drop()
            }
            let subscriber = client()
            #expect(subscriber.subscribe("a", .exactlyOnce) == (isOffered ? 2 : 1))
            #expect(subscriber.subscribe("a/+") == (isOffered ? 2 : 0xA2))
            #expect(subscriber.subscribe("$share/g/a") == (isOffered ? 2 : 0x9E))
            let old = harness.client("old", .v3_1_1)
            old.listenerName = listener
            #expect(old.connect()?.returnCode == (isOffered ? 0 : 1))
            let nameless = harness.client("")
            nameless.listenerName = listener
            #expect(nameless.connect()?.returnCode == (isOffered ? 0 : 0x85))
        }
    }

    @Test func moreInFlightThanTheListenerOffersClosesTheConnection() {
        let harness = Self.harness()
        for (listener, isOffered) in [("least", false), ("devices", true)] {
            let client = harness.client("client-\(listener)")
            client.listenerName = listener
            client.connect()
            var packets: [UInt8] = []
            for identifier in 1...4 as ClosedRange<UInt16> {
                let publish = PublishPacket(qos: .atLeastOnce, topic: [0x74], packetIdentifier: identifier)
                packets += Packet.publish(publish).bytes(.v5_0)
            }
            client.send(bytes: packets)
            #expect(client.closeReason == (isOffered ? nil : .receiveMaximumExceeded))
        }
    }

    @Test func aClientIdentifierBoundToTheCertificateCannotBeTaken() {
        let harness = Self.harness()
        let owner = harness.client("device-1")
        owner.listenerName = "bound"
        owner.commonName = "device-1"
        #expect(owner.connect()?.returnCode == 0)
        let thief = harness.client("device-1")
        thief.listenerName = "bound"
        thief.commonName = "device-2"
        #expect(thief.connect()?.returnCode == ReasonCode.clientIdentifierNotValid.rawValue)
        thief.commonName = nil
        #expect(thief.connect()?.returnCode == ReasonCode.clientIdentifierNotValid.rawValue)
        let old = harness.client("device-1", .v3_1_1)
        old.listenerName = "bound"
        old.commonName = "device-2"
        #expect(old.connect()?.returnCode == 2)
        #expect(owner.isOpen)
        // The owner itself takes over, as ever.
        let again = harness.client("device-1")
        again.listenerName = "bound"
        again.commonName = "device-1"
        #expect(again.connect()?.returnCode == 0)
        #expect(owner.closeReason == .sessionTakenOver)
    }

    @Test func theCommonNameCanBeTheClientIdentifier() {
        let harness = Self.harness()
        let first = harness.client("anything")
        first.listenerName = "named"
        first.commonName = "device-1"
        #expect(first.connect()?.properties.assignedClientIdentifier == nil)
        #expect(harness.core.sessionsByClient[Array("device-1".utf8)] != nil)
        #expect(harness.core.sessionCount == 1)
        // Another name in CONNECT, the same certificate: the same session.
        let second = harness.client("")
        second.listenerName = "named"
        second.commonName = "device-1"
        #expect(second.connect()?.properties.assignedClientIdentifier == Array("device-1".utf8))
        #expect(first.closeReason == .sessionTakenOver)
        #expect(harness.core.sessionCount == 1)
        let nobody = harness.client("x")
        nobody.listenerName = "named"
        #expect(nobody.connect()?.returnCode == ReasonCode.clientIdentifierNotValid.rawValue)
    }
}
