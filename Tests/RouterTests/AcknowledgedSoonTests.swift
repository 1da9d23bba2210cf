import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// QoS 1 messages to clients whose sessions last, and that acknowledge soon: stored only when they do not.
@Suite struct AcknowledgedSoonTests {
    private let directory: TemporaryDirectory
    private var path: String { self.directory.file("store.db") }

    init() throws {
        self.directory = try TemporaryDirectory()
    }

    private struct Setup {
        var harness: RouterHarness
        let reader: FakeClient
        let publisher: FakeClient
        /// Identifiers of what the reader has and did not acknowledge.
        private(set) var held: [UInt16] = []

        init(_ harness: RouterHarness, _ reader: FakeClient, _ publisher: FakeClient) {
            self.harness = harness
            self.reader = reader
            self.publisher = publisher
        }

        func takePubacks() -> [UInt16] { self.publisher.takePubacks() }

        /// - Returns: the new messages, and whether each is marked as one that comes again.
        mutating func read() -> [String] {
            var texts: [String] = []
            for case .publish(let publish) in self.reader.takeAll() {
                self.held.append(publish.packetIdentifier)
                texts.append(String(decoding: publish.payload, as: UTF8.self) + (publish.dup ? " again" : ""))
            }
            return texts
        }

        mutating func acknowledge(_ position: Int = 0) {
            let identifier = self.held.remove(at: position)
            self.reader.send(.puback(AcknowledgementPacket(packetIdentifier: identifier)))
        }
    }

    /// A reader that has shown that it is prompt, and a publisher on another listener, or the same.
    private func start(
        sameListener: Bool = false,
        isPrompt: Bool = true,
        receiveMaximum: UInt16? = nil
    ) throws -> Setup {
        let harness = RouterHarness(store: try StoreFile(path: self.path, survivesPowerLoss: false))
        let reader = harness.client("reader", on: harness.addListener())
        reader.acknowledges = false
        reader.connect(clean: false, expiry: 3600, receiveMaximum: receiveMaximum)
        reader.subscribe("t", .exactlyOnce)
        let publisher = harness.client("publisher", on: sameListener ? harness.listeners[0] : harness.addListener())
        publisher.connect(clean: true)
        var setup = Setup(harness, reader, publisher)
        #expect(publisher.publish("t", "0", .atLeastOnce) == .success, "nothing is known of the reader: it is stored")
        if !isPrompt { harness.pass(seconds: 0.005) }
        #expect(setup.read() == ["0"])
        setup.acknowledge()
        return setup
    }

    @Test(arguments: [false, true]) func publishersHaveTheirAnswersWhenTheReaderHasGivenIts(_ sameListener: Bool) throws
    {
        var setup = try self.start(sameListener: sameListener)
        let records = setup.harness.core.changes.records
        for text in ["1", "2", "3"] { #expect(setup.publisher.publish("t", text, .atLeastOnce) == nil) }
        #expect(setup.read() == ["1", "2", "3"])
        #expect(setup.takePubacks() == [])
        setup.acknowledge()
        #expect(setup.takePubacks() == [2])
        setup.acknowledge()
        setup.acknowledge()
        #expect(setup.takePubacks() == [3, 4])
        #expect(setup.harness.core.changes.records == records, "nothing was stored")
        let waits = setup.harness.core.waitsForHandOver
        #expect(!waits)
    }

    @Test func acknowledgementsOutOfOrder() throws {
        var setup = try self.start()
        for text in ["1", "2", "3"] { setup.publisher.publish("t", text, .atLeastOnce) }
        #expect(setup.read() == ["1", "2", "3"])
        setup.acknowledge(1)
        setup.acknowledge(1)
        #expect(setup.takePubacks() == [], "the first message is with nobody else")
        setup.acknowledge(0)
        #expect(setup.takePubacks() == [2, 3, 4])
        setup.publisher.publish("t", "4", .atLeastOnce)
        #expect(setup.read() == ["4"])
        setup.acknowledge()
        #expect(setup.takePubacks() == [5])
    }

    @Test func forAReaderThatIsNotPromptTheyAreStored() throws {
        var setup = try self.start(isPrompt: false)
        #expect(setup.publisher.publish("t", "1", .atLeastOnce) == .success)
        setup.harness = try setup.harness.replaceRouter(self.path)
        setup.harness.flush()
        #expect(setup.read().contains("1"))
    }

    @Test func whatIsNotAcknowledgedSoonIsStoredAndWhatComesThenToo() throws {
        var setup = try self.start()
        setup.publisher.publish("t", "1", .atLeastOnce)
        setup.harness.commitsAtOnce = false
        setup.harness.pass(seconds: 0.021)
        #expect(setup.takePubacks() == [], "it is not committed")
        setup.harness.commitsAtOnce = true
        setup.harness.flush()
        #expect(setup.takePubacks() == [2])
        #expect(setup.publisher.publish("t", "2", .atLeastOnce) == .success, "nobody waits for a slow reader again")
        #expect(setup.read() == ["1", "2"])
        setup.acknowledge()
        setup.acknowledge()
        #expect(setup.publisher.publish("t", "3", .atLeastOnce) == .success, "it took 21 ms for the first")
        #expect(setup.read() == ["3"])
        setup.acknowledge()
        #expect(setup.publisher.publish("t", "4", .atLeastOnce) == nil, "it is prompt again")
    }

    @Test func whatWaitsAtAKillComesFromItsPublisherAgain() throws {
        var setup = try self.start()
        for text in ["1", "2"] { setup.publisher.publish("t", text, .atLeastOnce) }
        #expect(setup.read() == ["1", "2"])
        setup.harness = try setup.harness.replaceRouter(self.path)
        setup.harness.flush()
        #expect(setup.read() == ["1", "2"])
        #expect(setup.takePubacks() == [2, 3])
    }

    /// The reader's connection ends: its messages are stored, with their identifiers, and come again.
    @Test(arguments: [false, true]) func aReaderThatGoesGetsThemAgain(_ isKilled: Bool) throws {
        var setup = try self.start()
        for text in ["1", "2"] { setup.publisher.publish("t", text, .atLeastOnce) }
        #expect(setup.read() == ["1", "2"])
        let identifiers = setup.held
        setup.harness.commitsAtOnce = false
        setup.reader.drop()
        #expect(setup.takePubacks() == [])
        setup.harness.commitsAtOnce = true
        setup.harness.flush()
        #expect(setup.takePubacks() == [2, 3])
        if isKilled { setup.harness = try setup.harness.restart(self.path) }
        let again = setup.harness.client("reader")
        again.acknowledges = false
        again.connect(clean: false, expiry: 3600)
        var next = Setup(setup.harness, again, setup.publisher)
        #expect(next.read() == ["1 again", "2 again"])
        #expect(next.held == identifiers)
        again.acknowledges = true
        again.acknowledgeAll()
    }

    /// Identifiers are stored in order of sending; what was not stored when those of others were must not be left out [MQTT-4.4.0-1].
    @Test func whatIsStoredLateComesAgainWithItsIdentifier() throws {
        var setup = try self.start()
        setup.harness.pass(seconds: 0.495)
        setup.publisher.publish("t", "1", .atLeastOnce)
        #expect(setup.read() == ["1"])
        let identifiers = setup.held
        // The identifiers are stored of what was sent half a second ago; then the message; then its own.
        setup.harness.pass(seconds: 0.006)
        setup.harness.pass(seconds: 0.040)
        setup.harness.pass(seconds: 0.6)
        #expect(setup.takePubacks() == [2])
        setup.reader.drop()
        setup.harness = try setup.harness.restart(self.path)
        let again = setup.harness.client("reader")
        again.acknowledges = false
        again.connect(clean: false, expiry: 3600)
        var next = Setup(setup.harness, again, setup.publisher)
        #expect(next.read() == ["1 again"])
        #expect(next.held == identifiers)
    }

    /// Nobody waits for a session that is no more.
    @Test(arguments: [false, true]) func aSessionThatEndsKeepsNobodyWaiting(_ isTakenOver: Bool) throws {
        let setup = try self.start()
        setup.publisher.publish("t", "1", .atLeastOnce)
        #expect(setup.takePubacks() == [])
        if isTakenOver {
            let other = setup.harness.client("reader", on: setup.harness.listeners[1])
            other.connect(clean: true)
        } else {
            setup.reader.disconnect(expiry: 0)
        }
        setup.harness.flush()
        #expect(setup.takePubacks() == [2])
    }

    @Test func aLinkThatBreaksHasThemStored() throws {
        var setup = try self.start()
        setup.publisher.publish("t", "1", .atLeastOnce)
        #expect(setup.takePubacks() == [])
        setup.harness.removeListener(setup.harness.listeners[0])
        #expect(setup.takePubacks() == [2])
        setup.harness = try setup.harness.restart(self.path)
        let again = setup.harness.client("reader")
        again.connect(clean: false, expiry: 3600)
        #expect(again.takePayloads() == ["1"])
    }

    /// A router that ends in order has nothing come twice.
    @Test func aStopStoresThemWithTheirIdentifiers() throws {
        var setup = try self.start()
        for text in ["1", "2"] { setup.publisher.publish("t", text, .atLeastOnce) }
        #expect(setup.read() == ["1", "2"])
        setup.harness.core.announceStop()
        setup.harness.core.recordForRestart()
        setup.harness.flush()
        #expect(setup.takePubacks() == [2, 3])
        setup.harness = try setup.harness.replaceRouter(self.path)
        setup.harness.flush()
        #expect(setup.read() == [])
        setup.acknowledge()
        setup.acknowledge()
    }

    /// Regression: what left a queue after the identifiers were stored came twice, the second time as a new message.
    @Test(arguments: [false, true]) func nothingIsTakenFromQueuesWhenTheIdentifiersAreStored(_ hasWill: Bool) throws {
        var setup = try self.start(receiveMaximum: hasWill ? 10 : 1)
        let other = setup.harness.client("other", on: setup.harness.listeners[1])
        let will = ConnectPacket.Will(
            qos: .atLeastOnce,
            retain: false,
            topic: Array("t".utf8),
            payload: Array("2".utf8)
        )
        other.connect(clean: true, will: will)
        setup.publisher.publish("t", "1", .atLeastOnce)
        if !hasWill { setup.publisher.publish("t", "2", .atLeastOnce) }
        #expect(setup.read() == ["1"])
        setup.harness.core.announceStop()
        setup.harness.core.recordForRestart()
        setup.harness.flush()
        if hasWill { other.drop() } else { setup.acknowledge() }
        let first = setup.read()
        if hasWill {
            // As before the links close.
            setup.harness.core.recordForRestart()
            setup.harness.flush()
        }
        setup.harness = try setup.harness.replaceRouter(self.path)
        setup.harness.flush()
        let second = setup.read()
        // With a receive maximum of 1 a repetition would wait for this.
        while !setup.held.isEmpty { setup.acknowledge() }
        #expect(first + second + setup.read() == ["2"])
    }

    /// A stored one must not come before those that are not [MQTT-4.6.0-5].
    @Test func whatIsStoredComesAfterThem() throws {
        var setup = try self.start(receiveMaximum: 2)
        for text in ["1", "2"] { setup.publisher.publish("t", text, .atLeastOnce) }
        #expect(setup.takePubacks() == [])
        // It has to wait in the queue.
        #expect(setup.publisher.publish("t", "3", .atLeastOnce) == .success, "that is the answer to the first")
        #expect(setup.takePubacks() == [3, 4], "they were stored before the one behind them")
        setup.harness = try setup.harness.restart(self.path)
        let again = setup.harness.client("reader")
        again.connect(clean: false, expiry: 3600)
        #expect(again.takePayloads() == ["1", "2", "3"])
    }

    /// A full disk does not keep messages from readers, nor answers from publishers, as long as nothing has to be stored.
    @Test func aFullDiskDoesNotMatterToThem() throws {
        var setup = try self.start()
        setup.publisher.publish("t", "1", .atLeastOnce)
        setup.harness.isDiskFull = true
        setup.harness.core.storeIsInTrouble(true)
        #expect(setup.takePubacks() == [])
        #expect(setup.read() == ["1"])
        setup.acknowledge()
        #expect(setup.takePubacks() == [2])
    }

    /// The answer to a message to many would wait for the last of them: it is stored for all.
    @Test(arguments: [false, true]) func severalReaders(_ areMany: Bool) throws {
        let setup = try self.start()
        var readers = [setup.reader]
        for number in 1..<RouterLimits.awaitedReceiversMax + (areMany ? 1 : 0) {
            let reader = setup.harness.client("reader-\(number)")
            reader.connect(clean: false, expiry: 3600)
            reader.subscribe("t", .atLeastOnce)
            readers.append(reader)
        }
        setup.publisher.publish("t", "1", .atLeastOnce)
        setup.reader.acknowledges = true
        for reader in readers { #expect(reader.takePayloads() == ["1"]) }
        setup.publisher.takeAll()
        for reader in readers { reader.acknowledges = false }
        let records = setup.harness.core.changes.records
        let answer = setup.publisher.publish("t", "2", .atLeastOnce)
        #expect(answer == (areMany ? .success : nil))
        #expect((setup.harness.core.changes.records == records) == !areMany)
        for reader in readers.dropFirst() {
            reader.acknowledges = true
            #expect(reader.takePayloads() == ["2"])
        }
        #expect(setup.takePubacks() == [])
        setup.reader.acknowledges = true
        #expect(setup.reader.takePayloads() == ["2"])
        #expect(setup.takePubacks() == (areMany ? [] : [3]))
    }
}
