import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// What a router that is killed and started again still knows, and what it said before it was sure of that.
@Suite struct DurabilityTests {
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        self.directory = try TemporaryDirectory()
        self.path = self.directory.file("store.db")
    }

    private func start() throws -> RouterHarness {
        RouterHarness(store: try StoreFile(path: self.path, survivesPowerLoss: false))
    }

    /// A client with a session that lasts.
    private func lasting(_ name: String, _ harness: RouterHarness) -> FakeClient {
        let client = harness.client(name)
        client.connect(clean: false, expiry: 3600)
        return client
    }

    /// One with a session that ends with its connection.
    private func passing(_ name: String, _ harness: RouterHarness) -> FakeClient {
        let client = harness.client(name)
        client.connect()
        return client
    }

    private func texts(_ publishes: [PublishPacket]) -> [String] {
        publishes.map { String(decoding: $0.payload, as: UTF8.self) }
    }

    // MARK: What came due

    /// A client that was back within the first seconds found its session, and its will was never published.
    @Test func whatCameDueWhileNobodyWasThereComesFirst() throws {
        var harness = try self.start()
        let device = harness.client("device")
        let topic = Array("wills".utf8)
        var will = ConnectPacket.Will(qos: .atLeastOnce, retain: false, topic: topic, payload: Array("gone".utf8))
        will.properties.willDelayInterval = 2
        device.connect(clean: false, expiry: 4, will: will)
        device.subscribe("t", .atLeastOnce)
        device.drop()
        harness = try harness.restart(self.path, after: 3)
        let watcher = harness.client("watcher")
        watcher.connect()
        watcher.subscribe("wills", .atLeastOnce)
        let again = harness.client("device")
        #expect(again.connect(clean: false, expiry: 4)?.sessionPresent == true)
        #expect(watcher.takePayloads() == ["gone"])
        again.drop()
        harness = try harness.restart(self.path, after: 5)
        let late = harness.client("device")
        #expect(late.connect(clean: false, expiry: 4)?.sessionPresent == false)
    }

    // MARK: What goes

    /// Folding the log takes as long as entries are changed by it: a message that came and went in between is none.
    @Test(arguments: [QoS.atLeastOnce, .exactlyOnce]) func aMessageThatIsDoneWithLeavesNothingToFold(_ qos: QoS) throws
    {
        let store = try StoreFile(path: self.path, survivesPowerLoss: false)
        let harness = RouterHarness(store: store)
        let reader = self.lasting("reader", harness)
        reader.subscribe("t", .exactlyOnce)
        let publishers = [self.lasting("lasting", harness), self.passing("passing", harness)]
        for publisher in publishers { publisher.subscribe("other") }
        try store.fold()
        for number in 0..<20 {
            for publisher in publishers { #expect(publisher.publish("t", "\(number)", qos) == .success) }
            // Of a reader that acknowledges sooner nothing would be stored.
            harness.pass(seconds: 0.005)
            #expect(reader.takePublishes().count == 2)
        }
        store.noteCommitted()
        #expect(store.logBytes > 0)
        // That the passing one's last message went on is known until its listener has heard so.
        #expect(store.changedEntries == (qos == .exactlyOnce ? 1 : 0))
    }

    /// What is stored until its PUBREL is what its copies name afterwards: it is not written a second time.
    @Test(arguments: [false, true]) func aQoS2MessageThatIsReleasedIsNotStoredAgain(_ isRestarted: Bool) throws {
        var harness = try self.start()
        for number in 0..<3 { self.lasting("device-\(number)", harness).subscribe("t") }
        var publisher = self.lasting("publisher", harness)
        let payload = String(repeating: "z", count: 10_000)
        publisher.beginExchange("t", payload, identifier: 7)
        #expect(publisher.takeAll().map(\.type) == [.pubrec])
        if isRestarted {
            harness = try harness.restart(self.path)
            publisher = self.lasting("publisher", harness)
        }
        harness.commitsAtOnce = false
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 7)))
        #expect(1..<2_000 ~= harness.core.uncommittedBytes)
        harness.commitsAtOnce = true
        harness.commit()
        harness.flush()
        #expect(publisher.takeAll().map(\.type) == [.pubcomp])

        harness = try harness.restart(self.path)
        for number in 0..<3 {
            let device = self.lasting("device-\(number)", harness)
            #expect(device.takePayloads() == [payload])
        }
        harness = try harness.restart(self.path)
        #expect(self.lasting("device-0", harness).takePayloads() == [])
    }

    // MARK: What comes back

    /// They came with new ones, and as if for the first time, when the router was killed while the client was away [MQTT-4.4.0-1].
    @Test(arguments: [false, true]) func messagesUnderWayKeepTheirIdentifiers(_ isTakenOver: Bool) throws {
        var harness = try self.start()
        let publisher = self.passing("publisher", harness)
        var device = self.lasting("device", harness)
        device.acknowledges = false
        device.subscribe("t", .atLeastOnce)
        for number in 0..<4 { publisher.publish("t", "\(number)", .atLeastOnce) }
        let first = device.takePublishes()
        device.send(.puback(AcknowledgementPacket(packetIdentifier: first[1].packetIdentifier)))
        if isTakenOver {
            device = harness.client("device")
            device.acknowledges = false
            device.connect(clean: false, expiry: 3600)
            _ = device.takePublishes()
        }
        device.drop()
        publisher.publish("t", "4", .atLeastOnce)
        harness = try harness.restart(self.path)
        device = harness.client("device")
        device.acknowledges = false
        device.connect(clean: false, expiry: 3600)
        let again = device.takePublishes()
        #expect(self.texts(again) == ["0", "2", "3", "4"])
        #expect(again.prefix(3).map(\.packetIdentifier) == [0, 2, 3].map { first[$0].packetIdentifier })
        #expect(again.map(\.dup) == [true, true, true, false])
    }

    @Test func sessionsSubscriptionsAndQueuesComeBack() throws {
        var harness = try self.start()
        var device = self.lasting("device", harness)
        device.subscribe("a/+", .atLeastOnce, identifier: 7) { $0.retainAsPublished = true }
        device.subscribe("b", .exactlyOnce)
        device.subscribe("gone")
        device.unsubscribe("gone")
        device.drop()
        let publisher = self.passing("publisher", harness)
        for number in 1...5 { publisher.publish("a/\(number)", "\(number)", .atLeastOnce) }
        publisher.publish("b", "b", .exactlyOnce)
        publisher.publish("gone", "gone", .atLeastOnce)
        publisher.publish("a/0", "QoS 0 does not wait", .atMostOnce)
        #expect(harness.core.queuedMessages == 6)

        harness = try harness.restart(self.path)
        // The publisher's listener may still attach its connection.
        #expect(harness.core.sessionCount == 2)
        harness.pass(seconds: 5)
        #expect(harness.core.sessionCount == 1)
        #expect(harness.core.subscriptionCount == 2)
        #expect(harness.core.queuedMessages == 6)
        device = harness.client("device")
        #expect(device.connect(clean: false, expiry: 3600)?.sessionPresent == true)
        let came = device.takePublishes()
        #expect(self.texts(came) == ["1", "2", "3", "4", "5", "b"])
        #expect(came.first?.properties.subscriptionIdentifiers == [7])
        #expect(came.last?.qos == .exactlyOnce)

        // What was acknowledged is gone for good.
        harness = try harness.restart(self.path)
        device = harness.client("device")
        #expect(device.connect(clean: false, expiry: 3600)?.sessionPresent == true)
        #expect(device.takePublishes() == [])
        #expect(harness.core.queuedBytesTotal == 0)
    }

    @Test func groupsOfSharedSubscriptionsComeBackWithTheirMembers() throws {
        var harness = try self.start()
        for name in ["first", "second"] {
            let member = self.lasting(name, harness)
            member.subscribe("$share/workers/jobs/#", .atLeastOnce)
            member.drop()
        }
        self.passing("publisher", harness).publish("jobs/0", "before", .atLeastOnce)
        harness = try harness.restart(self.path)
        let publisher = self.passing("publisher", harness)
        for number in 1...10 { publisher.publish("jobs/\(number)", "\(number)", .atLeastOnce) }
        #expect(harness.core.queuedMessages == 11)
        let members = ["first", "second"].map { self.lasting($0, harness) }
        let got = members.map { self.texts($0.takePublishes()) }
        #expect(Set(got[0] + got[1]) == Set(["before"] + (1...10).map { "\($0)" }) && got[0].count + got[1].count == 11)
        #expect(got.allSatisfy { $0.count >= 5 })
        // Both connected: they take turns.
        for number in 1...4 { publisher.publish("jobs/\(number)", "\(number)", .atLeastOnce) }
        #expect(members.map { $0.takePublishes().count } == [2, 2])
    }

    @Test func aSessionThatEndsWithItsConnectionWaitsForItsListenerAndThenEnds() throws {
        var harness = try self.start()
        let device = self.passing("device", harness)
        device.subscribe("t")
        let ended = self.lasting("ended", harness)
        ended.subscribe("t")
        ended.disconnect(expiry: 0)
        harness = try harness.restart(self.path)
        #expect(harness.core.sessionCount == 1)
        harness.pass(seconds: 4.9)
        #expect(harness.core.subscriptionCount == 1)
        harness.pass(seconds: 0.2)
        #expect(harness.core.sessionCount == 0)
        #expect(harness.core.subscriptionCount == 0)
        harness = try harness.restart(self.path)
        #expect(harness.core.sessionCount == 0)
    }

    @Test func expiryGoesOnWhileNoRouterRuns() throws {
        var harness = try self.start()
        let device = harness.client("device")
        device.connect(clean: false, expiry: 60)
        device.subscribe("t")
        device.drop()
        let publisher = self.passing("publisher", harness)
        publisher.publish("t", "short", .atLeastOnce) { $0.properties.messageExpiryInterval = 20 }
        publisher.publish("t", "long", .atLeastOnce) { $0.properties.messageExpiryInterval = 50 }
        harness = try harness.restart(self.path, after: 30)
        let back = harness.client("device")
        #expect(back.connect(clean: false, expiry: 60)?.sessionPresent == true)
        let came = back.takePublishes()
        #expect(self.texts(came) == ["long"])
        #expect(came.first?.properties.messageExpiryInterval == 20)
        back.drop()
        harness = try harness.restart(self.path, after: 61)
        // For the publisher's listener.
        harness.pass(seconds: 5)
        #expect(harness.core.sessionCount == 0)
    }

    /// Will delay and expiry began when the router came, however long ago the client had gone.
    @Test(arguments: [false, true]) func timesOfAClientThatLeftWhileNoRouterRanBeginThen(_ saysGoodbye: Bool) throws {
        var harness = try self.start()
        let watcher = self.lasting("watcher", harness)
        watcher.subscribe("w")
        let device = harness.client("device", on: harness.addListener())
        device.connect(clean: false, expiry: 60, will: self.will("gone", delay: 30))
        device.subscribe("t")
        harness = try harness.replaceRouter(self.path, after: 100, attaches: false)
        watcher.attach(to: harness, harness.listeners[0])
        device.attach(to: harness, harness.listeners[1])
        if saysGoodbye { device.disconnect(.disconnectWithWill) }
        device.drop(secondsAgo: 40)
        // Another listener may have a newer connection.
        #expect(watcher.takePayloads() == [])
        harness.pass(seconds: 2.1)
        #expect(watcher.takePayloads() == ["gone"])
        harness.pass(seconds: 17)
        #expect(harness.core.sessionCount == 2)
        harness.pass(seconds: 1)
        #expect(harness.core.sessionCount == 1)
    }

    @Test func whoComesBackTooLateFindsNoSession() throws {
        var harness = try self.start()
        let watcher = self.lasting("watcher", harness)
        watcher.subscribe("w")
        let device = harness.client("device", on: harness.addListener())
        device.connect(clean: false, expiry: 60, will: self.will("gone", delay: 90))
        harness = try harness.replaceRouter(self.path, after: 100, attaches: false)
        watcher.attach(to: harness, harness.listeners[0])
        device.attach(to: harness, harness.listeners[1])
        device.drop(secondsAgo: 70)
        let again = harness.client("device")
        #expect(again.connect(clean: false, expiry: 60)?.sessionPresent == false)
        #expect(watcher.takePayloads() == ["gone"])
        // What no listener can mean.
        again.drop(secondsAgo: UInt64.max / Nanoseconds.perSecond)
        harness.pass(seconds: 3)
        #expect(harness.core.sessionCount == 1)
    }

    /// It could not be stored when the disk was full, and is told later than the end of the one before it.
    @Test func aNewerConnectionKeepsASessionThatWouldBeOver() throws {
        var harness = try self.start()
        let (first, second) = (harness.addListener(), harness.addListener())
        let former = harness.client("device", on: first)
        former.connect(clean: false, expiry: 60)
        former.subscribe("t")
        harness.isDiskFull = true
        harness.core.storeIsInTrouble(true)
        let device = harness.client("device", on: second)
        device.connect(clean: false, expiry: 60)
        harness = try harness.replaceRouter(self.path, after: 100, attaches: false)
        former.attach(to: harness, harness.listeners[0])
        former.drop(secondsAgo: 90)
        harness.pass(seconds: 1)
        device.attach(to: harness, harness.listeners[1])
        harness.pass(seconds: 10)
        #expect(device.isOpen && harness.core.subscriptionCount == 1)
    }

    @Test func retainedMessagesComeBack() throws {
        var harness = try self.start()
        let publisher = self.passing("publisher", harness)
        publisher.publish("r/1", "old", .atLeastOnce, retain: true)
        publisher.publish("r/1", "new", .atMostOnce, retain: true)
        publisher.publish("r/2", "removed", .atLeastOnce, retain: true)
        publisher.publish("r/2", "", .atLeastOnce, retain: true)
        publisher.publish("r/3", "expires", .atLeastOnce, retain: true) { $0.properties.messageExpiryInterval = 5 }
        harness = try harness.restart(self.path, after: 10)
        harness.pass(seconds: 0)
        #expect(harness.core.retainedCount == 1)
        let client = self.passing("client", harness)
        client.subscribe("r/#")
        let came = client.takePublishes()
        #expect(self.texts(came) == ["new"])
        #expect(came.first?.retain == true)
    }

    @Test func aQoS2MessageUnderWayIsSentAgainWithItsIdentifier() throws {
        var harness = try self.start()
        var device = harness.client("device")
        device.acknowledges = false
        device.connect(clean: false, expiry: 3600)
        device.subscribe("t")
        let publisher = self.passing("publisher", harness)
        publisher.publish("t", "1", .exactlyOnce)
        publisher.publish("t", "2", .exactlyOnce)
        let sent = device.takePublishes()
        #expect(self.texts(sent) == ["1", "2"])
        // The first one is half done.
        device.send(.pubrec(AcknowledgementPacket(packetIdentifier: sent[0].packetIdentifier)))
        #expect(device.takeAll().map(\.type) == [.pubrel])

        harness = try harness.restart(self.path)
        device = harness.client("device")
        device.acknowledges = false
        device.connect(clean: false, expiry: 3600)
        let again = device.takeAll()
        #expect(again.map(\.type) == [.pubrel, .publish])
        if case .pubrel(let pubrel) = again.first { #expect(pubrel.packetIdentifier == sent[0].packetIdentifier) }
        if case .publish(let publish) = again.last {
            #expect(publish.packetIdentifier == sent[1].packetIdentifier)
            #expect(publish.dup)
            #expect(publish.payload == Array("2".utf8))
        }
        // A new message gets another identifier.
        let next = self.passing("publisher", harness)
        next.publish("t", "3", .exactlyOnce)
        let third = device.takePublishes()
        #expect(self.texts(third) == ["3"])
        #expect(![sent[0].packetIdentifier, sent[1].packetIdentifier].contains(third[0].packetIdentifier))
    }

    @Test func aQoS2MessageThatCameIsPublishedOnceThoughItsPubrelComesAfterTheRestart() throws {
        var harness = try self.start()
        let subscriber = self.lasting("subscriber", harness)
        subscriber.subscribe("t")
        subscriber.drop()
        let publisher = self.lasting("publisher", harness)
        publisher.beginExchange("t", "once", identifier: 9)
        #expect(publisher.takeAll().map(\.type) == [.pubrec])

        harness = try harness.restart(self.path)
        let back = self.lasting("publisher", harness)
        back.beginExchange("t", "once", identifier: 9, dup: true)
        #expect(back.takeAll().map(\.type) == [.pubrec])
        back.send(.pubrel(AcknowledgementPacket(packetIdentifier: 9)))
        #expect(back.takeAll().map(\.type) == [.pubcomp])

        harness = try harness.restart(self.path)
        let publisherAgain = self.lasting("publisher", harness)
        publisherAgain.send(.pubrel(AcknowledgementPacket(packetIdentifier: 9)))
        #expect(publisherAgain.takeAll().map(\.type) == [.pubcomp])
        let device = self.lasting("subscriber", harness)
        #expect(device.takePayloads() == ["once"])
    }

    // MARK: Wills

    private func will(_ payload: String, delay: UInt32? = nil) -> ConnectPacket.Will {
        var will = ConnectPacket.Will(
            qos: .atLeastOnce,
            retain: false,
            topic: Array("w".utf8),
            payload: Array(payload.utf8)
        )
        will.properties.willDelayInterval = delay
        return will
    }

    @Test func aWillIsPublishedAfterTheRestartUnlessItsClientComesBack() throws {
        var harness = try self.start()
        let watcher = self.lasting("watcher", harness)
        watcher.subscribe("w")
        for (name, expiry) in [("lost", 3600), ("back", 3600), ("short", 0)] as [(String, UInt32)] {
            harness.client(name).connect(clean: false, expiry: expiry, will: self.will(name))
        }
        harness.client("in time").connect(clean: false, expiry: 3600, will: self.will("in time", delay: 1))
        let polite = harness.client("polite")
        polite.connect(clean: false, expiry: 3600, will: self.will("polite"))
        polite.disconnect()
        let pending = harness.client("pending")
        pending.connect(clean: false, expiry: 3600, will: self.will("pending", delay: 30))
        pending.drop()

        harness = try harness.restart(self.path, after: 10)
        let seen = self.lasting("watcher", harness)
        // Not yet: their connections may live.
        #expect(seen.takePayloads() == [])
        harness.client("in time").connect(clean: false, expiry: 3600)
        #expect(seen.takePayloads() == [])
        // Whatever became of its connection, it has ended.
        harness.client("back").connect(clean: false, expiry: 3600)
        #expect(seen.takePayloads() == ["back"])
        harness.pass(seconds: 6)
        #expect(seen.takePayloads().sorted() == ["lost", "short"])
        harness.pass(seconds: 15)
        #expect(seen.takePayloads() == ["pending"])
        harness = try harness.restart(self.path, after: 60)
        harness.pass(seconds: 60)
        let last = self.lasting("watcher", harness)
        #expect(last.takePayloads() == [])
    }

    /// They were back before anybody knew that their connections were lost, and it was never told.
    @Test func aWillWithoutDelayIsPublishedWhenItsClientIsBackBeforeItsListener() throws {
        let harness = try self.start()
        let watcher = harness.client("watcher", on: harness.addListener())
        watcher.connect()
        watcher.subscribe("w")
        let listener = harness.addListener()
        for (name, delay) in [("lost", nil), ("in time", 1)] as [(String, UInt32?)] {
            let device = harness.client(name, on: listener)
            device.connect(clean: false, expiry: 3600, will: self.will(name, delay: delay))
        }
        harness.removeListener(listener)
        #expect(watcher.takePayloads() == [], "it may be the link alone")
        for name in ["lost", "in time"] { harness.client(name).connect(clean: false, expiry: 3600) }
        #expect(watcher.takePayloads() == ["lost"])
        harness.pass(seconds: 10)
        #expect(watcher.takePayloads() == [])
    }

    @Test func aConnectionThatIsReplacedBeforeItsListenerIsBackHasItsWillPublishedOnce() throws {
        var harness = try self.start()
        let watcher = self.lasting("watcher", harness)
        watcher.subscribe("w")
        let former = harness.client("device", on: harness.addListener())
        former.connect(clean: false, expiry: 3600, will: self.will("former"))
        harness = try harness.replaceRouter(self.path, attaches: false)
        watcher.attach(to: harness, harness.listeners[0])
        let device = harness.client("device")
        device.connect(clean: false, expiry: 3600, will: self.will("newer"))
        #expect(watcher.takePayloads() == ["former"])
        former.attach(to: harness, harness.listeners[1])
        harness.flush()
        #expect(!former.isOpen && device.isOpen)
        harness.pass(seconds: 10)
        #expect(watcher.takePayloads() == [])
    }

    /// One that the router before did not get to, and whose client has gone elsewhere since.
    @Test func anOlderConnectionDoesNotReplaceOneThatMayLive() throws {
        var harness = try self.start()
        let watcher = self.lasting("watcher", harness)
        watcher.subscribe("w")
        let device = harness.client("device", on: harness.addListener())
        device.connect(clean: false, expiry: 3600, will: self.will("newer"), stamp: 70)
        harness = try harness.replaceRouter(self.path, attaches: false)
        harness.core.startStamp = 100
        watcher.attach(to: harness, harness.listeners[0])
        let older = harness.client("device")
        older.connect(clean: false, expiry: 3600, stamp: 50)
        device.attach(to: harness, harness.listeners[1])
        harness.flush()
        #expect(device.isOpen && !older.isOpen)
        #expect(watcher.takePayloads() == [])
        device.drop()
        #expect(watcher.takePayloads() == ["newer"])
    }

    // MARK: Promises

    @Test func nothingIsAcknowledgedBeforeItIsCommitted() throws {
        let harness = try self.start()
        let parked = self.lasting("parked", harness)
        parked.subscribe("t")
        parked.drop()
        let publisher = self.passing("publisher", harness)
        let other = self.passing("other", harness)
        harness.commitsAtOnce = false
        #expect(publisher.publish("t", "1", .atLeastOnce) == nil)
        #expect(publisher.publish("r", "kept", .atLeastOnce, retain: true) == nil)
        // Another one that has to be kept nowhere waits behind those, in order [MQTT-4.6.0-2].
        #expect(publisher.publish("nobody", "2", .atLeastOnce) == nil)
        #expect(other.publish("nobody", "3", .atLeastOnce) == .noMatchingSubscribers)
        let subscriber = harness.client("subscriber")
        subscriber.connect(clean: false, expiry: 60)
        #expect(subscriber.takeAll() == [], "no CONNACK either")
        #expect(subscriber.subscribe("x") == nil)
        harness.commit()
        harness.flush()
        let answers = publisher.takeAll().compactMap { packet -> UInt16? in
            if case .puback(let ack) = packet { return ack.packetIdentifier }
            return nil
        }
        #expect(answers == [1, 2, 3])
        #expect(subscriber.takeAll().map(\.type) == [.connack, .suback])
    }

    @Test func aQoS2MessageLeavesOnlyWithACommittedIdentifier() throws {
        let harness = try self.start()
        let device = self.lasting("device", harness)
        device.subscribe("t")
        let publisher = self.passing("publisher", harness)
        harness.commitsAtOnce = false
        publisher.publish("t", "1", .atLeastOnce)
        publisher.publish("t", "0", .atMostOnce)
        harness.flush()
        // Routing does not wait for the disk.
        #expect(device.takeAll().map(\.type) == [.publish, .publish])
        harness.commit()
        harness.flush()
        publisher.beginExchange("t", "2", identifier: 77)
        publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 77)))
        #expect(device.takeAll() == [])
        harness.commit()
        harness.flush()
        let sent = device.takeAll()
        #expect(sent.map(\.type) == [.publish])
        guard case .publish(let publish) = sent.first else { return }
        device.send(.pubrec(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
        #expect(device.takeAll() == [])
        harness.commit()
        harness.flush()
        #expect(device.takeAll().map(\.type) == [.pubrel])
    }

    @Test func whatIsSentAgainComesBehindAConnackThatWaitsForItsCommit() throws {
        let harness = try self.start()
        let device = self.lasting("device", harness)
        device.acknowledges = false
        device.subscribe("t", .atLeastOnce)
        let publisher = self.passing("publisher", harness)
        publisher.publish("t", "x", .atLeastOnce)
        #expect(self.texts(device.takePublishes()) == ["x"])
        device.drop()

        harness.commitsAtOnce = false
        let again = harness.client("device")
        again.acknowledges = false
        again.connect(clean: false, expiry: 3600)
        #expect(again.received == [])
        harness.commit()
        harness.flush()
        guard again.received.count == 2, case .connack = again.received[0],
            case .publish(let publish) = again.received[1]
        else {
            Issue.record("not CONNACK and PUBLISH came, but \(again.received)")
            return
        }
        #expect(publish.dup && publish.payload == Array("x".utf8))
    }

    @Test func aFullDiskRefusesPromisesAndNothingElse() throws {
        let harness = try self.start()
        let device = self.passing("device", harness)
        device.subscribe("t")
        let publisher = self.passing("publisher", harness)
        let old = harness.client("old", .v3_1_1)
        old.connect()
        harness.core.storeIsInTrouble(true)
        #expect(publisher.publish("t", "1", .atLeastOnce) == .quotaExceeded)
        #expect(publisher.publish("t", "2", .exactlyOnce) == .quotaExceeded)
        #expect(old.publish("t", "3", .atLeastOnce) == nil)
        #expect(old.isOpen)
        publisher.publish("t", "0", .atMostOnce)
        #expect(device.takePayloads() == ["0"])
        #expect(harness.core.counters.publishesNotStored == 3)
        harness.core.storeIsInTrouble(false)
        #expect(publisher.publish("t", "4", .atLeastOnce) == .success)
        #expect(device.takePayloads() == ["4"])
        // With the next commit.
        _ = self.lasting("another", harness)
        #expect(!old.isOpen && harness.core.counters.closedUnanswered == 1)
        #expect(harness.core.counters.closedForErrors == 0)
    }

    /// The first commit of a router that starts on a full disk fails while a SUBACK waits for it: it came when there was room again.
    @Test func aSubackDoesNotWaitForACommitThatFails() throws {
        let harness = try self.start()
        self.passing("publisher", harness).publish("r/1", "kept", .atLeastOnce, retain: true)
        harness.commitsAtOnce = false
        harness.isDiskFull = true
        let device = self.passing("device", harness)
        #expect(device.subscribe("r/#", .atLeastOnce) == nil, "nobody knows yet that it cannot be stored")
        let lasting = harness.client("lasting")
        #expect(lasting.connect(clean: false, expiry: 3600) == nil)
        harness.commit()
        harness.flush()
        #expect(device.takeAll().map(\.type) == [.suback, .publish])
        #expect(device.isUnstored)
        // Nor does what comes behind it.
        #expect(device.publish("t", "refused", .atLeastOnce) == .quotaExceeded)
        #expect(device.unsubscribe("r/#") != nil)
        #expect(device.subscribe("other") == 2)
        #expect(lasting.takeAll().map(\.type) == [.connack])
        #expect(lasting.subscribe("t") == nil, "its session is promised more")
        harness.isDiskFull = false
        harness.commit()
        harness.flush()
        #expect(!device.isUnstored)
        #expect(lasting.takeAll().map(\.type) == [.suback])
    }

    /// The PUBLISH was to be sent again behind the CONNACK, and waited for its commit when that had left without.
    @Test func whatIsSentAgainDoesNotWaitForACommitThatFails() throws {
        let harness = try self.start()
        let device = self.lasting("device", harness)
        device.acknowledges = false
        device.subscribe("t", .atLeastOnce)
        self.passing("publisher", harness).publish("t", "x", .atLeastOnce)
        device.drop()
        harness.commitsAtOnce = false
        harness.isDiskFull = true
        let again = harness.client("device")
        again.acknowledges = false
        again.connect(clean: false, expiry: 3600)
        #expect(again.received == [])
        harness.commit()
        harness.flush()
        #expect(again.takeAll().map(\.type) == [.connack, .publish])
    }

    @Test func aDisconnectWithNothingToStoreIsAnsweredWhileNothingCanBe() throws {
        let harness = try self.start()
        let device = self.passing("device", harness)
        let lasting = self.lasting("lasting", harness)
        harness.isDiskFull = true
        harness.core.storeIsInTrouble(true)
        lasting.disconnect()
        #expect(lasting.isOpen, "its listener has it until it is stored")
        device.disconnect()
        #expect(!device.isOpen)
    }

    /// It left with the SUBACK, and the message with the router.
    @Test func aPubcompWaitsThoughASubackOfTheSameFrameNeedNot() throws {
        var harness = try self.start()
        let parked = self.lasting("parked", harness)
        parked.subscribe("t")
        parked.drop()
        let device = self.passing("device", harness)
        device.beginExchange("t", "x", identifier: 9)
        #expect(device.takeAll().map(\.type) == [.pubrec])
        harness.isDiskFull = true
        harness.core.storeIsInTrouble(true)
        let subscription = SubscribePacket.Subscription(filter: Array("other".utf8), qos: .atMostOnce)
        device.send(
            .pubrel(AcknowledgementPacket(packetIdentifier: 9)),
            .subscribe(SubscribePacket(packetIdentifier: 10, subscriptions: [subscription]))
        )
        #expect(device.takeAll() == [])
        harness.isDiskFull = false
        harness.flush()
        #expect(device.takeAll().map(\.type) == [.pubcomp, .suback])
        harness = try harness.restart(self.path)
        #expect(self.texts(self.lasting("parked", harness).takePublishes()) == ["x"])
    }

    /// It had waited for ever: what is not acknowledged is sent again on the next connection, and only then.
    @Test func aClientWithoutAnAnswerComesBackWhenTheDiskHasRoom() throws {
        let harness = try self.start()
        let device = self.passing("device", harness)
        device.subscribe("t")
        let old = harness.client("old", .v3_1_1)
        old.connect(clean: false, will: self.will("gone"))
        harness.core.storeIsInTrouble(true)
        #expect(old.publish("t", "1", .atLeastOnce) == nil)
        #expect(old.publish("t", "2", .exactlyOnce) == nil)
        harness.core.storeIsInTrouble(false)
        #expect(old.isOpen)
        // Before the first commit: the ones before it come first.
        #expect(old.publish("t", "3", .atLeastOnce) == nil)
        #expect(!old.isOpen)
        old.connect(clean: false)
        for (index, qos) in [QoS.atLeastOnce, .exactlyOnce, .atLeastOnce].enumerated() {
            #expect(old.publish("t", "\(index + 1)", qos) == .success)
        }
        #expect(device.takePayloads() == ["1", "2", "3"])
        harness.pass(seconds: 60)
        #expect(device.takePayloads() == [], "its will is not published: it was back")
    }

    @Test func largeQoS2MessagesWaitToo() throws {
        var harness = try self.start()
        let device = self.lasting("device", harness)
        device.subscribe("t")
        let publisher = self.passing("publisher", harness)
        let large = String(repeating: "x", count: 200_000)
        publisher.publish("t", large, .exactlyOnce)
        publisher.publish("t", "small", .exactlyOnce)
        #expect(device.takePayloads() == [large, "small"])
        device.drop()
        publisher.publish("t", large, .exactlyOnce)
        publisher.publish("t", "small", .exactlyOnce)
        harness = try harness.restart(self.path)
        let back = self.lasting("device", harness)
        #expect(back.takePayloads() == [large, "small"])
    }

    /// The credit is used up by the first to the byte, the second waits for some, and the third's commit comes later: it overtook the second.
    @Test func whatWaitsBehindALargeMessageIsNotOvertaken() throws {
        let harness = try self.start()
        let device = harness.client("device", on: harness.addListener(sessionCredit: 256 << 10))
        device.connect(clean: false, expiry: 3600)
        device.subscribe("t", .exactlyOnce)
        device.returnsCredit = false
        let publisher = self.passing("publisher", harness)
        publisher.acknowledges = false
        // A header of 4 bytes, the topic, the identifier, no properties.
        let payloads = [String(repeating: "x", count: (256 << 10) - 10), "second", "third"]
        for (index, payload) in payloads.enumerated() {
            publisher.beginExchange("t", payload, identifier: UInt16(index + 1))
        }
        harness.commitsAtOnce = false
        func release(_ identifiers: UInt16...) throws -> UInt64 {
            for identifier in identifiers {
                publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: identifier)))
            }
            let group = harness.core.takeChanges()?.group
            return try #require(group)
        }
        let first = try release(1, 2)
        let second = try release(3)
        for group in [first, second] {
            harness.core.committed(upTo: group, now: harness.now)
            harness.flush()
        }
        device.returnHeldCredit()
        harness.flush()
        device.returnHeldCredit()
        var came: [String] = []
        for case .publish(let publish) in device.takeAll() {
            came.append(String(decoding: publish.payload, as: UTF8.self))
        }
        #expect(came.map(\.count) == payloads.map(\.count))
        #expect(came == payloads)
    }

    @Test func aMessageForManySessionsIsStoredOnce() throws {
        let harness = try self.start()
        for number in 0..<50 {
            let device = harness.client("device-\(number)")
            device.connect(clean: false, expiry: 3600)
            device.subscribe("t")
            device.drop()
        }
        let publisher = self.passing("publisher", harness)
        harness.commitsAtOnce = false
        publisher.publish("t", String(repeating: "y", count: 10_000), .atLeastOnce)
        #expect(harness.core.uncommittedBytes < 20_000)
    }
}
