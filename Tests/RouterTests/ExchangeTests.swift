import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// QoS 2 messages from and to sessions that end with their connections: listeners keep them, and nothing is stored.
@Suite struct ExchangeTests {
    private let directory: TemporaryDirectory
    private var path: String { self.directory.file("store.db") }

    init() throws {
        self.directory = try TemporaryDirectory()
    }

    private struct Setup {
        var harness: RouterHarness
        let publisher: FakeClient
        let reader: FakeClient

        func publish(_ text: String, _ identifier: UInt16, topic: String = "t", retain: Bool = false) {
            var packet = PublishPacket(qos: .exactlyOnce, topic: Array(topic.utf8), payload: Array(text.utf8))
            packet.packetIdentifier = identifier
            packet.retain = retain
            self.publisher.send(.publish(packet))
        }

        func release(_ identifier: UInt16, flushes: Bool = true) {
            self.publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: identifier)), flushes: flushes)
        }

        func session(_ name: String) -> Session? {
            guard let index = self.harness.core.sessionsByClient[Array(name.utf8)] else { return nil }
            return self.harness.core.sessions[Int(index)]
        }

        /// kill -9.
        mutating func kill(_ path: String) throws {
            self.harness = try self.harness.replaceRouter(path)
            self.harness.flush()
        }
    }

    /// - Parameters:
    ///   - readerFirst: its listener is the first one, which attaches first.
    ///   - expiry: of the reader's session, in seconds.
    private func start(readerFirst: Bool = false, expiry: UInt32 = 0, wireVersion: UInt8? = nil) throws -> Setup {
        let harness = RouterHarness(store: try StoreFile(path: self.path, survivesPowerLoss: false))
        let listeners = (0..<2).map { _ in harness.addListener(wireVersion: wireVersion ?? LinkHello.wireVersionMax) }
        let reader = harness.client("reader", on: listeners[readerFirst ? 0 : 1])
        reader.connect(clean: true, expiry: expiry)
        reader.subscribe("t", .exactlyOnce)
        let publisher = harness.client("publisher", on: listeners[readerFirst ? 1 : 0])
        publisher.connect(clean: true)
        return Setup(harness: harness, publisher: publisher, reader: reader)
    }

    /// The reader gets a message, and the publisher's listener no PUBCOMP before the router is killed: it does not come again.
    private func killBeforePubcomp(_ setup: inout Setup, retain: Bool = false) throws {
        setup.publish("1", 7, retain: retain)
        setup.publisher.takeAll()
        setup.publisher.listenerIsThere = false
        setup.release(7)
        #expect(setup.reader.takePayloads() == ["1"])
        try setup.kill(self.path)
        #expect(setup.reader.takePayloads() == [])
    }

    private static func answers(_ client: FakeClient) -> [PacketType] {
        client.takeAll().map(\.type)
    }

    @Test func nothingIsStored() throws {
        let setup = try self.start()
        setup.publisher.subscribe("other")
        let records = setup.harness.core.changes.records
        for number in 1...5 {
            setup.publish("\(number)", UInt16(number))
            setup.release(UInt16(number))
        }
        #expect(setup.reader.takePayloads() == ["1", "2", "3", "4", "5"])
        #expect(setup.harness.core.changes.records == records)
        #expect(Self.answers(setup.publisher) == (1...5).flatMap { _ in [PacketType.pubrec, .pubcomp] })
        #expect(setup.harness.core.queuedBytesTotal == 0)
    }

    @Test func aMessageThatWaitsForItsReleaseOutlivesTheRouter() throws {
        var setup = try self.start()
        setup.publish("1", 7)
        #expect(Self.answers(setup.publisher) == [.pubrec])
        for _ in 0..<3 { try setup.kill(self.path) }
        #expect(Self.answers(setup.publisher) == [], "it has its PUBREC")
        #expect(setup.reader.takePayloads() == [])
        setup.release(7)
        #expect(setup.reader.takePayloads() == ["1"])
        #expect(Self.answers(setup.publisher) == [.pubcomp])
    }

    /// The subscriber's listener has the message, and the publisher's no PUBCOMP.
    @Test(arguments: [false, true], [false, true]) func whatASubscriberHasDoesNotComeAgain(
        readerFirst: Bool,
        acknowledges: Bool
    ) throws {
        var setup = try self.start(readerFirst: readerFirst)
        setup.reader.acknowledges = acknowledges
        setup.publish("1", 7)
        #expect(Self.answers(setup.publisher) == [.pubrec])
        setup.publisher.listenerIsThere = false
        setup.release(7)
        #expect(setup.reader.takePayloads() == ["1"])
        try setup.kill(self.path)
        #expect(Self.answers(setup.publisher) == [.pubcomp])
        #expect(setup.reader.takePayloads() == [])
        #expect(setup.harness.core.queuedMessages == 0)
        // The same identifier with the same content is another message.
        setup.publish("1", 7)
        setup.release(7)
        setup.reader.acknowledges = true
        setup.reader.acknowledgeAll()
        #expect(setup.reader.takePayloads() == ["1"])
    }

    @Test(arguments: [false, true]) func whatNoSubscriberHasComesFromTheListener(readerFirst: Bool) throws {
        var setup = try self.start(readerFirst: readerFirst)
        setup.publish("1", 7)
        setup.publisher.takeAll()
        setup.reader.listenerIsThere = false
        setup.release(7)
        #expect(Self.answers(setup.publisher) == [], "it is nowhere but here")
        try setup.kill(self.path)
        #expect(setup.reader.takePayloads() == ["1"])
        #expect(Self.answers(setup.publisher) == [.pubcomp])
        try setup.kill(self.path)
        #expect(setup.reader.takePayloads() == [])
    }

    /// To a session that lasts all copies are stored, and that the message has gone on, as long as its publisher may not know.
    @Test func aStoredCopyDoesNotComeAgain() throws {
        var setup = try self.start(expiry: 3600)
        try self.killBeforePubcomp(&setup)
        #expect(Self.answers(setup.publisher) == [.pubcomp])
        for number in 8...20 as ClosedRange<UInt16> {
            setup.publish("\(number)", number)
            setup.release(number)
        }
        #expect(setup.reader.takePayloads().count == 13)
        let publisher = try #require(setup.session("publisher"))
        #expect(publisher.exchanges?.allStored.count == 2, "the last one, and the one of the former router")
        setup.publisher.send(.disconnect(DisconnectPacket(reasonCode: .success)))
        try setup.kill(self.path)
        #expect(setup.harness.core.sessionCount == 1)
    }

    /// Nobody says of a copy at QoS 0 or 1 who has it.
    @Test(arguments: [QoS.atMostOnce, .atLeastOnce]) func copiesOfALowerQoSDoNotComeAgain(_ qos: QoS) throws {
        var setup = try self.start()
        setup.reader.subscribe("t", qos)
        try self.killBeforePubcomp(&setup)
        #expect(Self.answers(setup.publisher) == [.pubcomp])
    }

    @Test func aSharedGroupGetsAMessageOnce() throws {
        var setup = try self.start()
        let members = (0..<3).map { setup.harness.client("member\($0)", on: setup.harness.listeners[1]) }
        for member in members {
            member.connect(clean: true)
            member.subscribe("$share/g/s", .exactlyOnce)
        }
        // From here on the next router would choose others.
        setup.publish("0", 9, topic: "s")
        setup.release(9)
        #expect(members.flatMap { $0.takePayloads() } == ["0"])
        for number in 1...6 as ClosedRange<UInt16> { setup.publish("\(number)", number, topic: "s") }
        setup.publisher.takeAll()
        setup.publisher.listenerIsThere = false
        for number in 1...6 as ClosedRange<UInt16> { setup.release(number) }
        #expect(members.flatMap { $0.takePayloads() }.sorted() == ["1", "2", "3", "4", "5", "6"])
        try setup.kill(self.path)
        #expect(members.flatMap { $0.takePayloads() } == [])
        #expect(Self.answers(setup.publisher) == (1...6).map { _ in .pubcomp })
    }

    /// The copy for the plain subscription was taken for the group's, which never got it.
    @Test(arguments: [false, true], [0, 3600] as [UInt32]) func eachGroupOfASessionGetsAMessageThatComesAgain(
        isPlain: Bool,
        expiry: UInt32
    ) throws {
        var setup = try self.start(expiry: expiry)
        setup.reader.subscribe(isPlain ? "s" : "$share/h/s", .exactlyOnce)
        setup.reader.subscribe("$share/g/s", .exactlyOnce)
        setup.publish("1", 7, topic: "s")
        setup.publisher.takeAll()
        try setup.kill(self.path)
        setup.release(7)
        #expect(setup.reader.takePayloads() == ["1", "1"])
        #expect(Self.answers(setup.publisher) == [.pubcomp])
        try setup.kill(self.path)
        #expect(setup.reader.takePayloads() == [])
    }

    /// One that has waited in the subscriber's queue is with its listener before the publisher is told.
    @Test func pubcompWaitsForAMessageThatLeavesTheQueue() throws {
        var setup = try self.start()
        let reader = setup.harness.client("slow", on: setup.harness.listeners[1])
        reader.acknowledges = false
        reader.connect(clean: true, receiveMaximum: 1)
        reader.subscribe("u", .exactlyOnce)
        for number in 1...2 as ClosedRange<UInt16> {
            setup.publish("\(number)", number, topic: "u")
            setup.release(number)
        }
        #expect(Self.answers(setup.publisher) == [.pubrec, .pubcomp, .pubrec])
        reader.listenerIsThere = false
        reader.send(.pubrec(AcknowledgementPacket(packetIdentifier: 1, reasonCode: .unspecifiedError)))
        #expect(Self.answers(setup.publisher) == [], "it is nowhere but here")
        try setup.kill(self.path)
        reader.acknowledges = true
        #expect(reader.takePayloads() == ["1", "2"])
        #expect(Self.answers(setup.publisher) == [.pubcomp])
    }

    @Test func aRetainedMessageIsStored() throws {
        var setup = try self.start()
        try self.killBeforePubcomp(&setup, retain: true)
        #expect(setup.harness.core.retainedCount == 1)
    }

    @Test func aLinkThatBreaksSendsNothingTwice() throws {
        let setup = try self.start()
        for number in 1...3 as ClosedRange<UInt16> { setup.publish("\(number)", number) }
        setup.publisher.takeAll()
        setup.release(1)
        setup.publisher.listenerIsThere = false
        setup.release(2)
        #expect(setup.reader.takePayloads() == ["1", "2"])
        _ = setup.harness.breakLink(setup.harness.listeners[0])
        #expect(setup.reader.takePayloads() == [])
        #expect(Self.answers(setup.publisher) == [.pubcomp, .pubcomp])
        _ = setup.harness.breakLink(setup.harness.listeners[0])
        setup.release(3)
        #expect(setup.reader.takePayloads() == ["3"])
    }

    /// Both routers got the PUBREL: the second one passed the message on, and lost the answer with its link.
    @Test func aLinkThatBreaksAfterAKillSendsNothingTwice() throws {
        var setup = try self.start()
        setup.publish("1", 7)
        setup.publisher.takeAll()
        for listener in setup.harness.listeners { listener.isUplinkLost = true }
        setup.release(7)
        setup.harness = try setup.harness.replaceRouter(self.path)
        setup.harness.listeners[0].isThere = false
        setup.harness.flush()
        #expect(setup.reader.takePayloads() == ["1"])
        _ = setup.harness.breakLink(setup.harness.listeners[0])
        #expect(setup.reader.takePayloads() == [])
        #expect(Self.answers(setup.publisher) == [.pubcomp])
    }

    /// It was in the socket of the link that broke, and acknowledged for that.
    @Test(arguments: [QoS.atLeastOnce, .exactlyOnce]) func whatAListenerHasNotReadOutlivesTheLinkAndTheRouter(
        _ qos: QoS
    ) throws {
        var setup = try self.start()
        let readers = setup.harness.listeners[1]
        readers.isThere = false
        #expect(setup.publisher.publish("t", "1", qos) == (qos == .exactlyOnce ? .success : nil))
        setup.harness.loseOutput(of: readers)
        setup.harness.flush()
        #expect(Self.answers(setup.publisher).last == (qos == .exactlyOnce ? .pubcomp : .puback))
        setup.harness.core.linkDown(readers.index, now: setup.harness.now)
        setup.harness.flush()
        try setup.kill(self.path)
        #expect(setup.reader.takePayloads() == ["1"])
    }

    @Test func listenersForgetWhatIsSettled() throws {
        var setup = try self.start()
        setup.harness.core.settling.messagesPerMark = 4
        func publish(_ count: Int) {
            for _ in 0..<count {
                setup.publish("x", 1)
                setup.release(1)
            }
            setup.publisher.takeAll()
        }
        publish(20)
        let first = setup.harness.listeners[1].marks
        #expect(first >= 4)
        try setup.kill(self.path)
        setup.harness.core.settling.messagesPerMark = 4
        publish(20)
        #expect(setup.harness.listeners[1].marks == first, "something may be sent again")
        setup.harness.pass(seconds: 6)
        publish(20)
        #expect(setup.harness.listeners[1].marks >= first + 4)
        #expect(setup.reader.takePayloads().count == 60)
        try setup.kill(self.path)
        let reader = try #require(setup.session("reader"))
        let delivered = try #require(reader.exchanges?.delivered.count)
        #expect(delivered >= 4 && delivered <= 12, "\(delivered)")
    }

    /// - Parameter isHeld: the PUBCOMP waits for a commit; otherwise its listener does not take it.
    @Test(arguments: [false, true]) func whatHasNoPubcompIsNotSettled(isHeld: Bool) throws {
        let setup = try self.start()
        setup.harness.core.settling.messagesPerMark = 1
        let listener = setup.harness.addListener()
        let other = setup.harness.client("other", on: listener)
        other.connect(clean: true)
        var packet = PublishPacket(qos: .exactlyOnce, topic: Array("t".utf8), payload: [1])
        packet.packetIdentifier = 1
        other.send(.publish(packet))
        let subscribe = SubscribePacket(packetIdentifier: 2, subscriptions: [.init(filter: [0x61], qos: .atMostOnce)])
        let pubrel = Packet.pubrel(AcknowledgementPacket(packetIdentifier: 1))
        if isHeld {
            setup.harness.commitsAtOnce = false
            other.send(.subscribe(subscribe), pubrel)
        } else {
            listener.isThere = false
            other.send(pubrel)
        }
        func publish() -> UInt64 {
            for _ in 0..<5 {
                setup.publish("x", 1)
                setup.release(1)
            }
            return setup.harness.listeners[1].marks
        }
        let before = publish()
        #expect(before <= 1)
        #expect(publish() == before)
        setup.harness.commitsAtOnce = true
        listener.isThere = true
        setup.harness.flush()
        #expect(publish() > before)
    }

    /// A message that had to be stored behind the fact is in the store with its packet identifier: when its name is forgotten that tells
    /// that the client has it.
    @Test func aMessageThatIsStoredLateDoesNotComeAgain() throws {
        var setup = try self.start()
        let (writers, readers) = (setup.harness.listeners[0], setup.harness.listeners[1])
        let lasting = setup.harness.client("lasting", on: writers)
        lasting.connect(clean: true, expiry: 3600)
        let other = setup.harness.client("other", on: writers)
        other.connect(clean: true)
        other.subscribe("u", .exactlyOnce)
        setup.reader.acknowledges = false
        setup.publish("1", 1)
        readers.isThere = false
        setup.release(1)
        _ = lasting.publish("t", "2", .exactlyOnce)
        readers.isThere = true
        setup.harness.flush()
        setup.harness.core.settling.messagesPerMark = 1
        for _ in 0..<10 {
            setup.publish("x", 2, topic: "u")
            setup.release(2)
        }
        #expect(writers.marks > 2)
        #expect(setup.reader.takePayloads() == ["1", "2"])
        try setup.kill(self.path)
        #expect(!setup.reader.takePayloads().contains("1"))
    }

    /// A client may send its PUBLISH again before PUBREC: the name is that of the last one, for the listener and for the router.
    @Test(arguments: [0, 3600] as [UInt32]) func aRepetitionOnTheSameConnectionIsTheSameMessage(expiry: UInt32) throws {
        var setup = try self.start(expiry: expiry)
        var packet = PublishPacket(qos: .exactlyOnce, topic: [0x74], payload: [0x31])
        packet.packetIdentifier = 7
        setup.publisher.send(.publish(packet))
        packet.dup = true
        setup.publisher.send(.publish(packet))
        #expect(Self.answers(setup.publisher) == [.pubrec, .pubrec])
        setup.publisher.listenerIsThere = false
        setup.release(7)
        #expect(setup.reader.takePayloads() == ["1"])
        try setup.kill(self.path)
        #expect(setup.reader.takePayloads() == [])
        #expect(Self.answers(setup.publisher) == [.pubcomp])
    }

    /// The copy that the former router left in the store goes out as soon as the subscriber's listener is there; the publisher's comes
    /// later, and sends the message again.
    @Test func whatComesFromTheStoreDoesNotComeFromTheListenerToo() throws {
        let setup = try self.start()
        let lasting = setup.harness.client("lasting", on: setup.harness.listeners[0])
        lasting.connect(clean: true, expiry: 3600)
        _ = lasting.publish("t", "0", .exactlyOnce)
        #expect(setup.reader.takePayloads() == ["0"])
        setup.publish("2", 7)
        setup.publisher.takeAll()
        setup.harness.commitsAtOnce = false
        var packet = PublishPacket(qos: .exactlyOnce, topic: [0x74], payload: [0x31])
        packet.packetIdentifier = 9
        lasting.send(.publish(packet))
        setup.harness.commit()
        lasting.send(.pubrel(AcknowledgementPacket(packetIdentifier: 9)))
        setup.release(7)
        setup.harness.commit()
        let harness = try setup.harness.replaceRouter(self.path, attaches: false)
        setup.reader.attach(to: harness, harness.listeners[1])
        #expect(setup.reader.takePayloads() == ["1", "2"])
        setup.publisher.attach(to: harness, harness.listeners[0])
        #expect(setup.reader.takePayloads() == [])
        harness.flush()
        #expect(Self.answers(setup.publisher) == [.pubcomp])
    }

    /// Otherwise a message that needs no store would overtake those that wait for their commit.
    @Test func aMessageStaysBehindThoseThatAreHeldBack() throws {
        let setup = try self.start()
        let lasting = setup.harness.client("lasting", on: setup.harness.listeners[0])
        lasting.connect(clean: true, expiry: 3600)
        setup.harness.commitsAtOnce = false
        _ = lasting.publish("t", "1", .exactlyOnce)
        setup.harness.commit()
        setup.harness.flush()
        lasting.send(.pubrel(AcknowledgementPacket(packetIdentifier: 1)))
        setup.publish("2", 1)
        setup.release(1)
        #expect(setup.reader.takePayloads() == [])
        setup.harness.commit()
        setup.harness.flush()
        #expect(setup.reader.takePayloads() == ["1", "2"])
    }

    @Test func listenersOfTheReleaseBeforeKnowNothingOfIt() throws {
        var setup = try self.start(wireVersion: SessionAttach.exchangesVersion - 1)
        let records = setup.harness.core.changes.records
        setup.publish("1", 7)
        #expect(setup.harness.core.changes.records > records)
        setup.release(7)
        #expect(setup.reader.takePayloads() == ["1"])
        #expect(setup.harness.listeners.allSatisfy { $0.unstoredExchanges == 0 })
        try setup.kill(self.path)
        #expect(setup.reader.takePayloads() == [])
    }

    /// What the store had of it stayed there without its session, and the next router did not start with that.
    @Test(arguments: [false, true], [false, true]) func whatALastingSessionLeftIsTheListenersWhenItComesAgain(
        isKilled: Bool,
        hasPubrec: Bool
    ) throws {
        var setup = try self.start()
        let first = setup.harness.client("lasting", on: setup.harness.listeners[0])
        first.connect(clean: true, expiry: 3600)
        first.beginExchange("t", "1", identifier: 30)
        if hasPubrec { #expect(Self.answers(first) == [.pubrec]) }
        first.drop()
        let again = setup.harness.client("lasting", on: setup.harness.listeners[0])
        #expect(again.connect(clean: false)?.sessionPresent == true)
        again.beginExchange("t", "1", identifier: 30, dup: true)
        #expect(Self.answers(again) == [.pubrec])
        if isKilled { try setup.kill(self.path) }
        again.send(.pubrel(AcknowledgementPacket(packetIdentifier: 30)))
        #expect(Self.answers(again) == [.pubcomp])
        #expect(setup.reader.takePayloads() == ["1"])
        again.disconnect()
        setup.reader.disconnect()
        setup.publisher.disconnect()
        setup.harness.commit()
        setup.harness.flush()
        _ = try setup.harness.restart(self.path)
        for kind in [StoreKey.received, StoreKey.completed, StoreKey.item, StoreKey.session] {
            #expect(try self.entries(kind) == 0, "\(kind)")
        }
    }

    private func entries(_ kind: UInt8) throws -> Int {
        var count = 0
        try StoreFile(path: self.path, survivesPowerLoss: false).rows.entries(kind) { _, _ in count += 1 }
        return count
    }

    /// A copy at QoS 0 left before it was stored that its message has gone on, and came again from the next router [MQTT-4.3.3-12].
    @Test(arguments: [UInt32(0), 3600], ["t", "$share/g/t"])
    func aCopyAtQoS0ComesOnce(publisherExpiry: UInt32, filter: String) throws {
        var setup = try self.start()
        // Its listener attaches first: at QoS 0 nothing waits for one that is late.
        let watcher = setup.harness.client("watcher", on: setup.harness.listeners[0])
        watcher.connect(clean: true)
        watcher.subscribe(filter, .atMostOnce)
        let publisher = setup.harness.client("second", on: setup.harness.listeners[1])
        publisher.connect(clean: true, expiry: publisherExpiry)
        publisher.beginExchange("t", "1", identifier: 7)
        #expect(Self.answers(publisher) == [.pubrec])
        setup.harness.commitsAtOnce = false
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 7)))
        let early = watcher.takePayloads()
        try setup.kill(self.path)
        #expect(early + watcher.takePayloads() == ["1"])
        #expect(setup.reader.takePayloads() == ["1"])
        publisher.beginExchange("t", "2", identifier: 8)
        #expect(Self.answers(publisher) == [.pubcomp, .pubrec])
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 8)))
        #expect(watcher.takePayloads() == ["2"], "and waits for nothing but the commit")
        #expect(setup.harness.core.queuedBytesTotal == 0)
    }

    /// Its copies at QoS 1 are stored, and their identifiers were not.
    @Test func whatIsWithAClientForAWhileDoesNotComeAgainAsNew() throws {
        var setup = try self.start()
        let slow = setup.harness.client("slow", on: setup.harness.listeners[1])
        slow.connect(clean: true)
        slow.subscribe("t", .atLeastOnce)
        slow.acknowledges = false
        setup.publish("1", 7)
        setup.release(7)
        let identifiers = slow.takePublishes().map(\.packetIdentifier)
        #expect(identifiers.count == 1)
        setup.harness.pass(seconds: 0.6)
        try setup.kill(self.path)
        #expect(slow.takePayloads() == [])
        slow.acknowledges = true
        for identifier in identifiers { slow.send(.puback(AcknowledgementPacket(packetIdentifier: identifier))) }
        setup.publish("2", 8)
        setup.release(8)
        #expect(slow.takePayloads() == ["2"])
        #expect(setup.session("slow")?.inflight.count == 0)
    }

    @Test func aLargeMessageGoesThroughTheStore() throws {
        var setup = try self.start()
        let text = String(repeating: "x", count: 200_000)
        setup.publish(text, 7)
        setup.publisher.takeAll()
        try setup.kill(self.path)
        setup.publisher.listenerIsThere = false
        setup.release(7)
        #expect(setup.reader.takePayloads() == [text])
        try setup.kill(self.path)
        #expect(setup.reader.takePayloads() == [])
    }
}
