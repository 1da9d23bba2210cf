import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// Rules that became others while a session could not be told.
@Suite struct RulesTests {
    private let directory: TemporaryDirectory
    private let harness: RouterHarness
    private let publisher: FakeClient

    init() throws {
        self.directory = try TemporaryDirectory()
        self.harness = RouterHarness(
            store: try StoreFile(path: self.directory.file("store.db"), survivesPowerLoss: false)
        )
        self.publisher = self.harness.client("publisher")
        self.publisher.connect()
    }

    private static func allowing(_ filters: String...) -> AccessRules {
        AccessRules(
            rules: filters.map { AccessRule(permission: .allow, actions: .all, filter: Array($0.utf8)) },
            noMatch: .deny
        )
    }

    private func topics(_ client: FakeClient) -> [String] {
        client.takePublishes().map { String(decoding: $0.topic, as: UTF8.self) }
    }

    private func publish(_ topics: String...) {
        for topic in topics { self.publisher.publish(topic, "x", .atLeastOnce) }
    }

    @Test(
        "Who may less when he comes back gets nothing that only former subscriptions brought",
        arguments: [false, true]
    )
    func narrowedWhileAway(isRestarted: Bool) throws {
        var harness = self.harness
        let device = harness.client("device")
        device.connect(clean: false, expiry: 3600)
        device.subscribe("secret/#", .atLeastOnce)
        device.subscribe("+/both", .atLeastOnce)
        device.subscribe("mine", .atLeastOnce)
        device.drop()
        self.publish("secret/a", "secret/both", "mine")
        if isRestarted { harness = try harness.restart(self.directory.file("store.db")) }
        let again = harness.client("device")
        again.access = Self.allowing("+/both", "mine")
        #expect(again.connect(clean: false, expiry: 3600)?.sessionPresent == true)
        #expect(self.topics(again) == ["secret/both", "mine"])
        let publisher = harness.client("another publisher")
        publisher.connect()
        for topic in ["secret/a", "secret/both", "mine"] { publisher.publish(topic, "x", .atLeastOnce) }
        #expect(self.topics(again) == ["secret/both", "mine"])
        #expect(harness.core.counters.subscriptionsEndedByRules == 1)
        #expect(harness.core.counters.droppedByRules == 1)
    }

    @Test("Rules that became narrower while there was no router are in force when the session is attached")
    func narrowedBetweenRouters() throws {
        let device = self.harness.client("device")
        device.connect(clean: true)
        device.subscribe("secret/#", .atLeastOnce)
        device.subscribe("mine", .atLeastOnce)
        device.rulesChanged(Self.allowing("mine"))
        let harness = try self.harness.replaceRouter(self.directory.file("store.db"))
        let publisher = harness.client("another publisher")
        publisher.connect()
        for topic in ["secret/a", "mine"] { publisher.publish(topic, "x", .atLeastOnce) }
        #expect(device.isOpen)
        #expect(self.topics(device) == ["mine"])
        #expect(harness.core.counters.subscriptionsEndedByRules == 1)
    }

    @Test("What waited in a shared group goes to its other members when one may not have it any more")
    func sharedMessages() throws {
        let device = self.harness.client("device")
        device.connect(clean: false, expiry: 3600)
        device.subscribe("$share/group/jobs", .atLeastOnce)
        device.drop()
        self.publish("jobs")
        let other = self.harness.client("other")
        other.connect()
        other.subscribe("$share/group/jobs", .atLeastOnce)
        let again = self.harness.client("device")
        again.access = Self.allowing("mine")
        again.connect(clean: false, expiry: 3600)
        #expect(self.topics(again).isEmpty)
        #expect(self.topics(other) == ["jobs"])
    }

    @Test("A will that is not allowed when the connection ends is not published later either")
    func will() throws {
        for (name, access) in [("allowed", Self.allowing("wills")), ("not", Self.allowing("mine"))] {
            let device = self.harness.client(name)
            device.access = access
            let topic = Array("wills".utf8)
            var will = ConnectPacket.Will(qos: .atLeastOnce, retain: false, topic: topic, payload: Array(name.utf8))
            will.properties.willDelayInterval = 5
            device.connect(clean: false, expiry: 3600, will: will)
            device.drop()
        }
        let harness = try self.harness.restart(self.directory.file("store.db"), after: 1)
        let watcher = harness.client("watcher")
        watcher.connect()
        watcher.subscribe("#", .atLeastOnce)
        harness.pass(seconds: 10)
        #expect(watcher.takePublishes().map { String(decoding: $0.payload, as: UTF8.self) } == ["allowed"])
    }
}
