import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// A store that works, and is slower for a while than what comes: nobody's messages are refused for that.
@Suite struct StoreBehindTests {
    private static let uncommittedBytesMax = 20_000
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        self.directory = try TemporaryDirectory()
        self.path = self.directory.file("store.db")
    }

    /// Nothing is committed until a test says so.
    private func start(workPerTurn: UInt64 = RouterLimits.workPerTurn) throws -> RouterHarness {
        let store = try StoreFile(path: self.path, survivesPowerLoss: false)
        let harness = RouterHarness(store: store, workPerTurn: workPerTurn)
        harness.core.uncommittedBytesMax = Self.uncommittedBytesMax
        return harness
    }

    private func client(_ name: String, _ harness: RouterHarness, _ version: ProtocolVersion = .v5_0) -> FakeClient {
        let client = harness.client(name, version)
        client.connect()
        return client
    }

    /// Has so much wait for its commit that clients' messages do.
    private func fill(_ harness: RouterHarness, by filler: FakeClient) {
        harness.commitsAtOnce = false
        for number in 0..<100 where harness.core.uncommittedBytes < Self.uncommittedBytesMax {
            filler.publish("kept/\(number)", String(repeating: "x", count: 1000), .atLeastOnce, retain: true)
        }
        #expect(harness.core.uncommittedBytes >= Self.uncommittedBytesMax)
        filler.received = []
    }

    private func catchUp(_ harness: RouterHarness) {
        harness.commitsAtOnce = true
        harness.commit()
        harness.flush()
    }

    private func will(_ payload: String, delay: UInt32? = nil) -> ConnectPacket.Will {
        var will = ConnectPacket.Will(
            qos: .atLeastOnce,
            retain: true,
            topic: Array("wills/\(payload.prefix(4))".utf8),
            payload: Array(payload.utf8)
        )
        will.properties.willDelayInterval = delay
        return will
    }

    // MARK: Clients

    @Test func messagesWaitUntilTheStoreHasCaughtUpAndAreNotRefused() throws {
        let harness = try self.start()
        let reader = self.client("reader", harness)
        reader.subscribe("t", .exactlyOnce)
        let publisher = self.client("publisher", harness)
        let old = self.client("old", harness, .v3_1_1)
        let unhurried = self.client("unhurried", harness)
        self.fill(harness, by: self.client("filler", harness))
        #expect(publisher.publish("t", "1", .atLeastOnce) == nil)
        publisher.beginExchange("t", "2", identifier: 77)
        #expect(publisher.subscribe("u") == nil)
        publisher.publish("t", "3")
        #expect(old.publish("t", "4", .atLeastOnce) == nil)
        unhurried.publish("t", "0")
        #expect(reader.takePayloads() == ["0"], "what need not be stored goes on")
        #expect(!harness.hasWork, "the loop would run idle until the commit")
        #expect(publisher.isOpen && old.isOpen)
        #expect(harness.core.uncommittedBytes < 2 * Self.uncommittedBytesMax)
        self.catchUp(harness)
        #expect(publisher.takeAll().map(\.type) == [.puback, .pubrec, .suback])
        #expect(old.takeAll().map(\.type) == [.puback])
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 77)))
        #expect(Set(reader.takePayloads()) == ["1", "2", "3", "4"])
        #expect(harness.core.counters.publishesNotStored == 0)
        #expect(harness.core.counters.closedUnanswered == 0)
    }

    @Test func aMessageThatIsReleasedWaitsToo() throws {
        let harness = try self.start()
        let parked = harness.client("parked")
        parked.connect(clean: false, expiry: 3600)
        parked.subscribe("t", .exactlyOnce)
        parked.drop()
        let publisher = self.client("publisher", harness)
        publisher.beginExchange("t", "x", identifier: 9)
        #expect(publisher.takeAll().map(\.type) == [.pubrec])
        self.fill(harness, by: self.client("filler", harness))
        let before = harness.core.uncommittedBytes
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 9)))
        #expect(harness.core.uncommittedBytes == before)
        #expect(publisher.takeAll().isEmpty)
        self.catchUp(harness)
        #expect(publisher.takeAll().map(\.type) == [.pubcomp])
        let again = harness.client("parked")
        again.connect(clean: false, expiry: 3600)
        #expect(again.takePayloads() == ["x"])
    }

    /// What a listener sends again comes with the names of its exchanges in front, which must not get lost while it waits.
    @Test func aMessageThatIsSentAgainWaitsAndComesOnce() throws {
        var harness = try self.start()
        let publisher = self.client("publisher", harness)
        let reader = self.client("reader", harness)
        reader.subscribe("t", .exactlyOnce)
        let filler = self.client("filler", harness)
        for listener in harness.listeners { listener.isUplinkLost = true }
        publisher.beginExchange("t", "x", identifier: 9)
        harness = try harness.replaceRouter(self.path, attaches: false)
        harness.core.uncommittedBytesMax = Self.uncommittedBytesMax
        filler.attach(to: harness, harness.listener)
        reader.attach(to: harness, harness.listener)
        self.fill(harness, by: filler)
        publisher.attach(to: harness, harness.listener)
        harness.flush()
        #expect(publisher.takeAll().isEmpty && publisher.isOpen)
        self.catchUp(harness)
        #expect(publisher.takeAll().map(\.type) == [.pubrec])
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 9)))
        #expect(publisher.takeAll().map(\.type) == [.pubcomp])
        #expect(reader.takePayloads() == ["x"])
    }

    /// They wait for a turn first, and the store is behind when that comes.
    @Test func messagesThatAreSentAgainAndWaitForATurnAndThenForTheStoreComeOnceEach() throws {
        var harness = try self.start(workPerTurn: 1)
        let publisher = self.client("publisher", harness)
        let reader = self.client("reader", harness)
        reader.subscribe("t", .exactlyOnce)
        let filler = self.client("filler", harness)
        for listener in harness.listeners { listener.isUplinkLost = true }
        for identifier in 1...3 as ClosedRange<UInt16> {
            publisher.beginExchange("t", "\(identifier)", identifier: identifier)
        }
        harness = try harness.replaceRouter(self.path, attaches: false)
        harness.core.uncommittedBytesMax = Self.uncommittedBytesMax
        for client in [filler, reader, publisher] { client.attach(to: harness, harness.listener) }
        harness.commitsAtOnce = false
        var large = PublishPacket(qos: .atLeastOnce, retain: true, topic: Array("kept".utf8), packetIdentifier: 1)
        large.payload = [UInt8](repeating: 7, count: Self.uncommittedBytesMax)
        filler.send(.publish(large))
        #expect(publisher.takeAll().isEmpty && publisher.isOpen)
        #expect(!harness.hasWork, "all that is left waits for the store")
        self.catchUp(harness)
        #expect(publisher.takeAll().map(\.type) == [.pubrec, .pubrec, .pubrec])
        for identifier in 1...3 as ClosedRange<UInt16> {
            publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: identifier)))
        }
        #expect(publisher.takeAll().map(\.type) == [.pubcomp, .pubcomp, .pubcomp])
        #expect(reader.takePayloads() == ["1", "2", "3"])
    }

    @Test func messagesThatWaitAreRefusedOnceTheDiskIsFull() throws {
        let harness = try self.start()
        let publisher = self.client("publisher", harness)
        self.fill(harness, by: self.client("filler", harness))
        #expect(publisher.publish("t", "1", .atLeastOnce) == nil)
        harness.isDiskFull = true
        harness.commit()
        #expect(harness.hasWork)
        harness.flush()
        guard case .puback(let answer) = publisher.takeAll().first else {
            Issue.record("no answer")
            return
        }
        #expect(answer.reasonCode == .quotaExceeded)
        #expect(harness.core.counters.publishesNotStored == 1)
    }

    // MARK: What the router does by itself

    @Test(arguments: [nil, 3600] as [UInt32?])
    func clientsThatVanishTogetherDoNotHoldUpWhatOthersPublish(_ expiry: UInt32?) throws {
        let harness = try self.start()
        let publisher = self.client("publisher", harness)
        let watcher = self.client("watcher", harness)
        watcher.subscribe("wills/+", .atLeastOnce)
        let vanishing = (0..<100).map { number in
            let client = harness.client("client-\(number)")
            let text = String(1000 + number) + String(repeating: "w", count: 1000)
            client.connect(clean: false, expiry: expiry, will: self.will(text))
            return client
        }
        harness.commitsAtOnce = false
        for client in vanishing { client.drop(flushes: false) }
        harness.flush()
        #expect(harness.core.uncommittedBytes < Self.uncommittedBytesMax)
        #expect(publisher.publish("kept", "x", .atLeastOnce, retain: true) == nil)
        harness.commit()
        harness.flush()
        #expect(publisher.takeAll().map(\.type) == [.puback])
        let first = watcher.takePublishes().count
        #expect((1..<100).contains(first), "the rest waits for the next commits")
        var rounds = 0
        while harness.core.counters.willsPublished < 100, rounds < 100 {
            harness.pass(seconds: 0.001)
            #expect(harness.core.uncommittedBytes < Self.uncommittedBytesMax)
            harness.commit()
            rounds += 1
        }
        self.catchUp(harness)
        #expect(first + watcher.takePublishes().count == 100)
        #expect(harness.core.retainedCount == 101)
        #expect(harness.core.counters.willsPublished == 100 && harness.core.counters.willsHeld > 0)
        #expect(harness.core.sessionCount == (expiry == nil ? 2 : 102))
        #expect(publisher.isOpen && harness.core.counters.publishesNotStored == 0)
    }

    @Test(arguments: [nil, 3600] as [UInt32?])
    func aWillThatWaitsIsPublishedBeforeItsClientIsBack(_ expiry: UInt32?) throws {
        let harness = try self.start()
        let device = harness.client("device")
        device.connect(clean: false, expiry: expiry, will: self.will("gone"))
        let watcher = self.client("watcher", harness)
        watcher.subscribe("wills/+")
        self.fill(harness, by: self.client("filler", harness))
        device.drop()
        #expect(harness.core.counters.willsHeld == 1)
        #expect(watcher.takePayloads().isEmpty)
        let again = harness.client("device")
        again.connect(clean: false, expiry: expiry)
        #expect(watcher.takePayloads() == ["gone"])
        self.catchUp(harness)
        harness.pass(seconds: 10)
        #expect(again.isOpen)
        #expect(watcher.takePayloads().isEmpty)
        guard case .connack(let connack) = again.takeAll().first else {
            Issue.record("no CONNACK")
            return
        }
        #expect(connack.sessionPresent == (expiry != nil))
    }

    @Test(arguments: [nil, 3600] as [UInt32?])
    func aWillThatWaitsOutlivesTheRouter(_ expiry: UInt32?) throws {
        var harness = try self.start()
        let device = harness.client("device")
        device.connect(clean: false, expiry: expiry, will: self.will("gone"))
        self.fill(harness, by: self.client("filler", harness))
        device.drop()
        #expect(harness.core.counters.willsHeld == 1)
        harness = try harness.restart(self.path)
        let watcher = self.client("watcher", harness)
        watcher.subscribe("wills/+")
        harness.pass(seconds: 6)
        #expect(watcher.takePayloads() == ["gone"])
        harness = try harness.restart(self.path)
        #expect(harness.core.sessionCount == (expiry == nil ? 1 : 2), "the watcher, and who lasts")
    }

    @Test func sessionsThatExpireTogetherLetTheStoreCatchUp() throws {
        let harness = try self.start()
        for number in 0..<100 {
            let client = harness.client("client-\(number)")
            client.connect(clean: false, expiry: 10)
            for filter in 0..<20 { client.subscribe("some/filter/\(filter)") }
            client.drop()
        }
        harness.commitsAtOnce = false
        harness.pass(seconds: 11)
        #expect(harness.core.uncommittedBytes < Self.uncommittedBytesMax)
        #expect((1..<100).contains(Int(harness.core.counters.sessionsExpired)))
        harness.commitsAtOnce = true
        for _ in 0..<100 where harness.core.sessionCount > 0 { harness.pass(seconds: 0.001) }
        #expect(harness.core.counters.sessionsExpired == 100)
    }

    @Test func onAFullDiskWillsDoNotWait() throws {
        let harness = try self.start()
        let device = harness.client("device")
        device.connect(will: self.will("gone"))
        let watcher = self.client("watcher", harness)
        watcher.subscribe("wills/+")
        self.fill(harness, by: self.client("filler", harness))
        harness.isDiskFull = true
        harness.commit()
        device.drop()
        #expect(watcher.takePayloads() == ["gone"])
        #expect(harness.core.counters.willsHeld == 0)
    }
}
