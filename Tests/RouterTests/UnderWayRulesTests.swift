import Common
import TestSupport
import Testing

@testable import Router

/// What is under way when a client comes to the session whose rules are others: it may be another client.
@Suite struct UnderWayRulesTests {
    private let directory: TemporaryDirectory
    private let harness: RouterHarness
    private let publisher: FakeClient

    init() throws {
        self.directory = try TemporaryDirectory()
        self.harness = try RouterHarness(storedIn: self.directory)
        self.publisher = self.harness.client("publisher")
        self.publisher.connect()
    }

    /// A device that has got what is published next, and acknowledges nothing.
    private func device(_ filters: String..., qos: QoS = .exactlyOnce, version: ProtocolVersion = .v5_0) -> FakeClient {
        let device = self.harness.client("device", version)
        device.acknowledges = false
        self.connect(device)
        for filter in filters { device.subscribe(filter, qos) }
        return device
    }

    @discardableResult
    private func connect(_ client: FakeClient, receiveMaximum: UInt16? = nil) -> ConnackPacket? {
        let hasProperties = client.version == .v5_0
        return client.connect(
            clean: false,
            expiry: hasProperties ? 3600 : nil,
            receiveMaximum: hasProperties ? receiveMaximum : nil
        )
    }

    private func topics(_ client: FakeClient) -> [String] { client.takePublishes().map(Self.topic) }

    private static func topic(_ publish: PublishPacket) -> String { String(decoding: publish.topic, as: UTF8.self) }

    private func rulesChange(_ client: FakeClient, _ access: AccessRules) {
        client.rulesChanged(access)
        var frame = ByteBuffer()
        SessionRules.encode(access, into: &frame, handle: client.handle)
        client.harness.deliver(frame, from: client.harness.listener)
        client.harness.flush()
    }

    @Test(
        "Who comes with another client's id is not sent what that one has not acknowledged and he may not have",
        arguments: [QoS.atLeastOnce, .exactlyOnce],
        [ProtocolVersion.v3_1_1, .v5_0]
    )
    func whoTakesASessionIsNotSentWhatHeMayNotHave(qos: QoS, version: ProtocolVersion) throws {
        for isRestarted in [false, true] {
            let path = self.directory.file("store.db")
            let device = self.device("secret/#", "+/both", "mine", version: version)
            for topic in ["secret/a", "secret/both", "mine", "secret/b"] { self.publisher.publish(topic, "x", qos) }
            #expect(self.topics(device) == ["secret/a", "secret/both", "mine", "secret/b"])
            var harness = self.harness
            if isRestarted { harness = try harness.restart(path) }
            let other = harness.client("device", version)
            other.access = AccessRules.allowing("+/both", "mine")
            #expect(self.connect(other)?.sessionPresent == true)
            #expect(self.topics(other) == ["secret/both", "mine"])
            #expect(harness.core.counters.droppedByRules == 2)
            #expect(harness.core.counters.subscriptionsEndedByRules == 1)
            guard isRestarted else {
                other.drop()
                let owner = harness.client("device", version)
                self.connect(owner)
                #expect(self.topics(owner).isEmpty)
                owner.connect(clean: true)
                owner.drop()
                continue
            }
            // What was dropped is not in the store either.
            let last = try harness.restart(path)
            let owner = last.client("device", version)
            #expect(self.connect(owner)?.sessionPresent == true)
            #expect(self.topics(owner).isEmpty)
            #expect(last.core.queuedMessages == 0)
        }
    }

    @Test("Of QoS 2 messages that are withheld the client forgets the identifiers, and what has its PUBREC goes on")
    func released() throws {
        let device = self.device("secret/#", "mine")
        for topic in ["secret/a", "secret/b"] { self.publisher.publish(topic, "x", .exactlyOnce) }
        let identifiers = device.takePublishes().map(\.packetIdentifier)
        device.send(.pubrec(AcknowledgementPacket(packetIdentifier: identifiers[0])))
        device.drop()
        let other = self.harness.client("device")
        other.acknowledges = false
        other.access = AccessRules.allowing("mine")
        self.connect(other, receiveMaximum: 2)
        let answers = other.takeAll()
        #expect(answers.map(\.type) == [.pubrel, .pubrel])
        // Both exchanges are under way, and count, until their PUBCOMPs.
        self.publisher.publish("mine", "1", .exactlyOnce)
        #expect(self.topics(other).isEmpty)
        let unknown = AcknowledgementPacket(packetIdentifier: identifiers[1], reasonCode: .packetIdentifierNotFound)
        other.send(.pubcomp(unknown))
        #expect(self.topics(other) == ["mine"])
        other.send(.pubcomp(AcknowledgementPacket(packetIdentifier: identifiers[0])))
        self.publisher.publish("mine", "2", .exactlyOnce)
        self.publisher.publish("mine", "3", .exactlyOnce)
        #expect(self.topics(other) == ["mine"])
    }

    @Test(
        "A late acknowledgement of what was withheld acknowledges nothing else, and makes no room",
        arguments: [ProtocolVersion.v3_1_1, .v5_0]
    )
    func lateAcknowledgements(version: ProtocolVersion) throws {
        let device = self.device("secret/#", "mine", qos: .atLeastOnce, version: version)
        for number in 0..<40 { self.publisher.publish("secret/\(number)", "x", .atLeastOnce) }
        let withheld = Set(device.takePublishes().map(\.packetIdentifier))
        #expect(withheld.count == 40)
        device.drop()
        let other = self.harness.client("device", version)
        other.acknowledges = false
        other.access = AccessRules.allowing("mine")
        self.connect(other, receiveMaximum: 20)
        for number in 0..<60 { self.publisher.publish("mine", "\(number)", .atLeastOnce) }
        let sent = other.takePublishes()
        #expect(sent.count == (version == .v5_0 ? 20 : 60))
        #expect(withheld.isDisjoint(with: sent.map(\.packetIdentifier)))
        for identifier in withheld.sorted() {
            other.send(.puback(AcknowledgementPacket(packetIdentifier: identifier)))
        }
        #expect(other.isOpen)
        #expect(other.takePublishes().isEmpty)
        // Nothing of them was acknowledged.
        other.drop()
        let again = self.harness.client("device", version)
        again.access = AccessRules.allowing("mine")
        self.connect(again)
        #expect(again.takePublishes().count == 60)
    }

    @Test("What a client has not acknowledged when its rules change stays with it, and is not sent again to it")
    func liveSession() throws {
        let device = self.device("secret/#", "mine")
        for topic in ["secret/a", "mine", "secret/b"] { self.publisher.publish(topic, "x", .atLeastOnce) }
        let identifiers = device.takePublishes().map(\.packetIdentifier)
        #expect(identifiers.count == 3)
        self.rulesChange(device, AccessRules.allowing("mine"))
        #expect(self.harness.core.counters.droppedByRules == 0)
        device.send(.puback(AcknowledgementPacket(packetIdentifier: identifiers[0])))
        #expect(device.isOpen)
        device.drop()
        self.connect(device)
        #expect(self.topics(device) == ["mine"])
        #expect(self.harness.core.counters.droppedByRules == 1)
    }

    @Test("What a client unsubscribed from is sent again while its rules are the same")
    func unsubscribed() throws {
        let rules = AccessRules(
            rules: [AccessRule(permission: .allow, actions: .all, filter: Array("+/a".utf8), isLiteral: true)],
            noMatch: .deny
        )
        let device = self.harness.client("device")
        device.acknowledges = false
        device.access = rules
        self.connect(device)
        #expect(device.subscribe("+/a", .atLeastOnce) == 1)
        self.publisher.publish("x/a", "x", .atLeastOnce)
        #expect(self.topics(device) == ["x/a"])
        device.unsubscribe("+/a")
        device.drop()
        self.connect(device)
        #expect(self.topics(device) == ["x/a"])
        #expect(self.harness.core.counters.droppedByRules == 0)
    }

    @Test("What waited for another client that had unsubscribed from it is not sent to one who may not have it")
    func unsubscribedAndQueued() throws {
        let device = self.device("secret/#", "mine")
        device.drop()
        for topic in ["secret/a", "mine"] { self.publisher.publish(topic, "x", .atLeastOnce) }
        self.connect(device, receiveMaximum: 1)
        #expect(self.topics(device) == ["secret/a"])
        device.unsubscribe("secret/#")
        device.drop()
        let other = self.harness.client("device")
        other.access = AccessRules.allowing("mine")
        self.connect(other)
        #expect(self.topics(other) == ["mine"])
    }

    @Test("What one had of a shared group and may not have any more goes to another member")
    func shared() throws {
        let device = self.device("$share/group/jobs", "mine", qos: .atLeastOnce)
        self.publisher.publish("jobs", "x", .atLeastOnce)
        #expect(self.topics(device) == ["jobs"])
        let member = self.harness.client("member")
        member.connect()
        member.subscribe("$share/group/jobs", .atLeastOnce)
        device.drop()
        let other = self.harness.client("device")
        other.access = AccessRules.allowing("mine")
        self.connect(other)
        #expect(self.topics(other).isEmpty)
        #expect(self.topics(member) == ["jobs"])
    }

    @Test("Whose connection outlives the router is not sent what never came, and other rules do not allow")
    func attached() throws {
        let device = self.device("secret/#", "mine")
        device.listenerIsThere = false
        for topic in ["secret/a", "mine"] {
            self.harness.core.endTurn(now: self.harness.now)
            let other = self.harness.addListener()
            let publisher = self.harness.client("publisher of \(topic)", on: other)
            publisher.connect()
            publisher.publish(topic, "x", .exactlyOnce)
        }
        device.rulesChanged(AccessRules.allowing("mine"))
        let harness = try self.harness.replaceRouter(self.directory.file("store.db"))
        harness.flush()
        #expect(device.isOpen)
        #expect(self.topics(device) == ["mine"])
        #expect(harness.core.counters.droppedByRules == 1)
    }
}
