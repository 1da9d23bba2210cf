import Common
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
        self.harness = try RouterHarness(storedIn: self.directory)
        self.publisher = self.harness.client("publisher")
        self.publisher.connect()
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
        again.access = AccessRules.allowing("+/both", "mine")
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
        device.rulesChanged(AccessRules.allowing("mine"))
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
        again.access = AccessRules.allowing("mine")
        again.connect(clean: false, expiry: 3600)
        #expect(self.topics(again).isEmpty)
        #expect(self.topics(other) == ["jobs"])
    }

    /// All were looked at in one turn, each with every filter: others waited for seconds.
    @Test("Regression: whose many filters end, with a full queue, keeps nobody waiting", arguments: [false, true])
    func manyFilters(isLive: Bool) throws {
        let (filters, messages) = (500, 2000)
        let device = self.harness.client("device")
        device.connect(clean: false, expiry: 3600, receiveMaximum: 1)
        for number in 0..<filters { device.subscribe("secret/+/+/+/\(number)", .atLeastOnce) }
        device.subscribe("+/+/+/both/1", .atLeastOnce)
        device.acknowledges = false
        self.publish("secret/1/1/1/1")
        if !isLive { device.drop() }
        for number in 0..<messages { self.publish("secret/1/1/\(number == 1000 ? "both" : "x")/\(number % 2)") }
        self.publish("secret/1/1/both/1")
        let queued = self.harness.core.queuedMessages
        #expect(queued == messages + 1)
        let again = isLive ? device : self.harness.client("device")
        again.access = AccessRules.allowing("+/+/+/both/1")
        let work = self.harness.core.work
        if isLive {
            var frame = ByteBuffer()
            SessionRules.encode(again.access, into: &frame, handle: again.handle)
            self.harness.deliver(frame, from: self.harness.listener)
        } else {
            again.prepare(clean: false, expiry: 3600)
        }
        // Of the messages only some were looked at, and others get their turn.
        #expect(self.harness.core.counters.subscriptionsEndedByRules == UInt64(filters))
        #expect(self.harness.core.queuedMessages > messages / 2 && self.harness.core.queuedMessages < queued)
        var turns = 0
        while self.harness.hasWork, turns < 1000 {
            let before = self.harness.core.work
            self.harness.core.endTurn(now: self.harness.now)
            #expect(self.harness.core.work - before < 2 * RouterLimits.queueCheckWorkPerTurn)
            turns += 1
        }
        // A message costs what a match costs.
        #expect(turns > 0 && self.harness.core.work - work < UInt64(messages * 20))
        #expect(self.harness.core.counters.droppedByRules == UInt64(messages))
        again.acknowledges = true
        #expect(self.topics(again).last == "secret/1/1/both/1")
        #expect(self.harness.core.queuedMessages == 0)
    }

    @Test("What comes, goes and ends while a queue is looked through changes nothing in who may have what")
    func changesMeanwhile() throws {
        let messages = 2000
        let harness = RouterHarness { $0.mqtt.session.maxQueuedMessages = messages }
        let publisher = harness.client("publisher")
        publisher.connect()
        let device = harness.client("device")
        device.connect(clean: false, expiry: 3600)
        for filter in ["secret/#", "mine/#"] { device.subscribe(filter, .atLeastOnce) }
        device.drop()
        for number in 0..<messages {
            publisher.publish(number % 4 == 0 ? "mine/\(number)" : "secret/\(number)", "x", .atLeastOnce)
        }
        let other = harness.client("device")
        other.access = AccessRules.allowing("mine/#", "other/1", "other/2", "other/3", "other/4", "other/5")
        other.prepare(clean: false, expiry: 3600)
        #expect(harness.hasWork)
        // The oldest make room for what comes.
        for number in 0..<1500 { publisher.publish("mine/\(messages + number)", "x", .atLeastOnce) { $0.dup = false } }
        other.drop()
        let again = harness.client("device")
        again.access = other.access
        again.connect(clean: false, expiry: 3600)
        let topics = self.topics(again)
        #expect(topics.allSatisfy { $0.hasPrefix("mine/") })
        #expect(topics.suffix(1500) == (0..<1500).map { "mine/\(messages + $0)" }[...])
        #expect(harness.core.queuedMessages == 0 && harness.core.queuedBytes == 0)
    }

    @Test("A will that is not allowed when the connection ends is not published later either")
    func will() throws {
        for (name, access) in [("allowed", AccessRules.allowing("wills")), ("not", AccessRules.allowing("mine"))] {
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
