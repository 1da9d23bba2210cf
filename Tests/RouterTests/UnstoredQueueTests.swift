import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// QoS 1 messages that wait for a client whose session ends with its connection.
@Suite struct UnstoredQueueTests {
    private let directory: TemporaryDirectory
    private var path: String { self.directory.file("store.db") }

    init() throws {
        self.directory = try TemporaryDirectory()
    }

    private struct Setup {
        var harness: RouterHarness
        let reader: FakeClient
        let publisher: FakeClient

        func takePubacks() -> [UInt16] { self.publisher.takePubacks() }
    }

    /// A reader that takes one message at a time, and a publisher on another listener.
    private func start(_ qos: QoS = .atLeastOnce) throws -> Setup {
        let harness = RouterHarness(store: try StoreFile(path: self.path, survivesPowerLoss: false))
        let reader = harness.client("reader", on: harness.addListener())
        reader.acknowledges = false
        reader.connect(clean: true, receiveMaximum: 1)
        reader.subscribe("t", qos)
        let publisher = harness.client("publisher", on: harness.addListener())
        publisher.connect(clean: true)
        return Setup(harness: harness, reader: reader, publisher: publisher)
    }

    @Test func publishersHaveTheirAnswersWhenTheMessagesAreOnTheirWay() throws {
        let setup = try self.start()
        let records = setup.harness.core.changes.records
        #expect(setup.publisher.publish("t", "1", .atLeastOnce) == .success)
        for text in ["2", "3", "4"] { #expect(setup.publisher.publish("t", text, .atLeastOnce) == nil) }
        var answers: [[UInt16]] = []
        for _ in 0..<3 {
            // The one that goes now was sent when the one before it was acknowledged.
            for case .publish(let publish) in setup.reader.takeAll() {
                setup.reader.send(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
            }
            answers.append(setup.takePubacks())
        }
        #expect(answers == [[2], [3], [4]])
        #expect(setup.harness.core.changes.records == records, "nothing was stored")
    }

    @Test func whatWaitsLongIsStoredAndWhatComesThenToo() throws {
        var setup = try self.start()
        for text in ["1", "2", "3"] { setup.publisher.publish("t", text, .atLeastOnce) }
        setup.publisher.takeAll()
        setup.harness.commitsAtOnce = false
        setup.harness.pass(seconds: 0.021)
        #expect(setup.takePubacks() == [])
        setup.harness.commitsAtOnce = true
        setup.harness.flush()
        #expect(setup.takePubacks() == [2, 3])
        #expect(setup.publisher.publish("t", "4", .atLeastOnce) == .success, "nobody waits for a slow reader again")
        setup.harness = try setup.harness.replaceRouter(self.path)
        setup.harness.flush()
        setup.reader.acknowledges = true
        #expect(setup.reader.takePayloads() == ["1", "2", "3", "4"])
    }

    @Test func aMessageThatLeavesTheQueueMustAlsoReachTheListener() throws {
        let setup = try self.start()
        for text in ["1", "2"] { setup.publisher.publish("t", text, .atLeastOnce) }
        #expect(setup.takePubacks() == [])
        setup.harness.listeners[0].isThere = false
        setup.reader.send(.puback(AcknowledgementPacket(packetIdentifier: 1)))
        #expect(setup.harness.core.queuedBytesTotal == 0)
        #expect(setup.takePubacks() == [])
        setup.harness.listeners[0].isThere = true
        setup.harness.flush()
        #expect(setup.takePubacks() == [2])
    }

    /// One that was dropped behind it counted as if it had gone.
    @Test func aMessageIsWaitedForThoughRulesTakeAnotherOut() throws {
        let setup = try self.start()
        setup.reader.subscribe("secret", .atLeastOnce)
        setup.publisher.publish("t", "under way", .atLeastOnce)
        setup.publisher.takeAll()
        for topic in ["t", "secret", "t"] { setup.publisher.publish(topic, "waits", .atLeastOnce) }
        #expect(setup.takePubacks() == [])
        setup.harness.commitsAtOnce = false
        let rule = AccessRule(permission: .allow, actions: .all, filter: Array("t".utf8))
        var rules = ByteBuffer()
        SessionRules.encode(AccessRules(rules: [rule], noMatch: .deny), into: &rules, handle: setup.reader.handle)
        setup.harness.deliver(rules, from: setup.reader.listener)
        setup.harness.flush()
        #expect(setup.harness.core.counters.droppedByRules == 1)
        #expect(setup.takePubacks() == [], "nothing is stored, and nothing has left the queue")
        setup.harness.commitsAtOnce = true
        setup.harness.flush()
        #expect(setup.takePubacks().count == 3)
    }

    @Test func whatWaitsAtAKillComesFromItsPublisherAgain() throws {
        var setup = try self.start()
        for text in ["1", "2", "3"] { setup.publisher.publish("t", text, .atLeastOnce) }
        #expect(setup.takePubacks() == [])
        setup.harness = try setup.harness.replaceRouter(self.path)
        setup.harness.flush()
        setup.reader.acknowledges = true
        #expect(setup.reader.takePayloads() == ["1", "2", "3"])
        #expect(setup.takePubacks() == [2, 3])
    }

    @Test func whatIsStoredComesAfterWhatWaits() throws {
        var setup = try self.start(.exactlyOnce)
        for text in ["1", "2"] { setup.publisher.publish("t", text, .atLeastOnce) }
        #expect(setup.takePubacks() == [])
        let other = setup.harness.client("other", on: setup.harness.listeners[1])
        other.connect(clean: true, expiry: 3600)
        #expect(other.publish("t", "3", .exactlyOnce) == .success)
        #expect(setup.takePubacks() == [2], "it was stored with the one behind it")
        setup.harness = try setup.harness.replaceRouter(self.path)
        setup.harness.flush()
        setup.reader.acknowledges = true
        #expect(setup.reader.takePayloads() == ["1", "2", "3"])
    }

    @Test func aReaderThatLeavesKeepsNobodyWaiting() throws {
        let setup = try self.start()
        for text in ["1", "2", "3"] { setup.publisher.publish("t", text, .atLeastOnce) }
        #expect(setup.takePubacks() == [])
        setup.reader.drop()
        #expect(setup.takePubacks() == [2, 3])
        #expect(setup.harness.core.queuedBytesTotal == 0)
    }

    /// Its publisher had its answer, the member's listener died with the message, and the router died before another had it.
    @Test(arguments: [false, true]) func whatGoesToAnotherMemberIsStored(_ isFirstAway: Bool) throws {
        var setup = try self.start()
        setup.reader.unsubscribe("t")
        setup.reader.subscribe("$share/g/t", .atLeastOnce)
        for text in ["1", "2"] { setup.publisher.publish("t", text, .atLeastOnce) }
        setup.harness.pass(seconds: 0.1)
        let second = setup.harness.client("second", on: setup.harness.listeners[1])
        second.acknowledges = false
        second.connect(clean: true, receiveMaximum: isFirstAway ? 1 : 10)
        second.subscribe("$share/g/t", .atLeastOnce)
        setup.harness.listeners[1].isThere = false
        setup.reader.drop()
        setup.harness.listeners[1].isThere = true
        setup.harness = try setup.harness.replaceRouter(self.path)
        setup.harness.flush()
        second.acknowledges = true
        #expect(second.takePayloads() == ["1", "2"])
    }

    @Test func aLinkThatBreaksHasWhatWaitsForItStored() throws {
        var setup = try self.start()
        let listener = setup.harness.listeners[0]
        listener.isThere = false
        setup.publisher.publish("t", "1", .atLeastOnce)
        setup.publisher.publish("t", "2", .atLeastOnce)
        #expect(setup.takePubacks() == [])
        setup.harness.commitsAtOnce = false
        setup.harness.core.linkDown(listener.index, now: setup.harness.now)
        setup.harness.flush()
        #expect(setup.takePubacks() == [])
        setup.harness.commitsAtOnce = true
        setup.harness.flush()
        #expect(setup.takePubacks() == [1, 2])
        setup.harness = try setup.harness.replaceRouter(self.path)
        setup.harness.flush()
        setup.reader.acknowledges = true
        #expect(setup.reader.takePayloads() == ["1", "2"])
    }

    @Test func aStopStoresIt() throws {
        var setup = try self.start()
        for text in ["1", "2", "3"] { setup.publisher.publish("t", text, .atLeastOnce) }
        #expect(setup.takePubacks() == [])
        setup.harness.core.announceStop()
        setup.harness.core.recordForRestart()
        setup.harness.flush()
        #expect(setup.takePubacks() == [2, 3])
        setup.harness = try setup.harness.replaceRouter(self.path)
        setup.harness.flush()
        setup.reader.acknowledges = true
        #expect(setup.reader.takePayloads() == ["1", "2", "3"])
    }
}
