import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// Connections that a router finds when it starts.
@Suite struct AttachTests {
    private let directory: TemporaryDirectory
    private var path: String { self.directory.file("store.db") }

    init() throws {
        self.directory = try TemporaryDirectory()
    }

    private func start() throws -> RouterHarness {
        RouterHarness(store: try StoreFile(path: self.path, survivesPowerLoss: false))
    }

    private func texts(_ client: FakeClient) -> [String] {
        client.takePublishes().map { String(decoding: $0.payload, as: UTF8.self) }
    }

    private func will(_ text: String) -> ConnectPacket.Will {
        ConnectPacket.Will(qos: .atLeastOnce, retain: false, topic: Array("wills".utf8), payload: Array(text.utf8))
    }

    @Test func subscriptionsRulesAndWillsAreThoseOfBefore() throws {
        var harness = try self.start()
        let watcher = harness.client("watcher")
        watcher.connect(clean: true)
        watcher.subscribe("#", .atLeastOnce)
        let device = harness.client("device", .v3_1_1)
        device.access = AccessRules(
            isSuperuser: false,
            rules: [AccessRule(permission: .allow, actions: .all, filter: Array("mine/#".utf8))],
            noMatch: .deny
        )
        // Its rules do not allow this will.
        device.connect(clean: true, will: self.will("forbidden"))
        let other = harness.client("other")
        other.connect(clean: true, will: self.will("of the other"))
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        #expect(watcher.isOpen && device.isOpen && other.isOpen)
        #expect(harness.core.connectedCount == 3)
        harness.pass(seconds: 10)
        #expect(harness.core.sessionCount == 3, "attached sessions do not end")
        device.publish("yours", "1", .atLeastOnce)
        device.publish("mine/t", "2", .atLeastOnce)
        #expect(self.texts(watcher) == ["2"])
        device.drop()
        other.drop()
        #expect(self.texts(watcher) == ["of the other"])
    }

    /// Its identifier stayed taken at the client, which would have dropped the next message that had it.
    @Test func aPubrelThatNoListenerSawIsSentByTheNextRouter() throws {
        var harness = try self.start()
        let publisher = harness.client("publisher")
        publisher.connect()
        let device = harness.client("device", on: harness.addListener())
        device.acknowledges = false
        device.connect(clean: false, expiry: 3600)
        device.subscribe("t", .exactlyOnce)
        publisher.publish("t", "x", .exactlyOnce)
        let identifier = try #require(device.takePublishes().first?.packetIdentifier)
        device.send(.pubrec(AcknowledgementPacket(packetIdentifier: identifier)))
        let pubrel = Packet.pubrel(AcknowledgementPacket(packetIdentifier: identifier))
        #expect(device.takeAll() == [pubrel])
        // It comes nowhere: the device's network is gone.
        device.drop()
        harness.listeners[1].isLostAfterAccepted = true
        device.connect(clean: false, expiry: 3600)
        #expect(device.takeAll() == [])
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        #expect(device.takeAll() == [pubrel])
        // What its listener saw is not sent again.
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        #expect(device.takeAll() == [])
        #expect(device.isOpen)
    }

    /// Its will and its expiry were those of the connection before.
    @Test func aConnectionThatAFullDiskKeptFromBeingStoredIsTheOneThatCounts() throws {
        var harness = try self.start()
        let watcher = harness.client("watcher", on: harness.addListener())
        watcher.connect(clean: false, expiry: 3600)
        watcher.subscribe("wills", .atLeastOnce)
        let device = harness.client("device")
        device.connect(clean: false, expiry: 3600, will: self.will("first"))
        device.drop()
        #expect(self.texts(watcher) == ["first"])
        device.connect(clean: false, expiry: 3600, will: self.will("second"))
        harness.isDiskFull = true
        harness.core.storeIsInTrouble(true)
        device.drop()
        device.connect(clean: false, expiry: 3600, will: self.will("third"))
        _ = self.texts(watcher)
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        #expect(device.isOpen)
        device.drop()
        #expect(self.texts(watcher) == ["third"])
    }

    /// The link breaks, and the router lives: it has taken PUBREC, which is not stored yet, and PUBREL was lost with the link.
    @Test func aPubrelWaitsForItsCommitOnTheNextLinkToo() throws {
        let harness = try self.start()
        let publisher = harness.client("publisher", on: harness.addListener())
        publisher.connect()
        let device = harness.client("device")
        device.acknowledges = false
        device.connect(clean: false, expiry: 3600)
        device.subscribe("t", .exactlyOnce)
        publisher.publish("t", "x", .exactlyOnce)
        let identifier = try #require(device.takePublishes().first?.packetIdentifier)
        harness.commitsAtOnce = false
        device.send(.pubrec(AcknowledgementPacket(packetIdentifier: identifier)))
        #expect(device.takeAll() == [])
        let former = harness.listeners[0]
        harness.core.linkDown(former.index, now: harness.now)
        former.isThere = false
        let again = harness.addListener()
        again.takeOver(former)
        device.attach(to: harness, again)
        harness.flush()
        #expect(device.takeAll() == [])
        harness.commit()
        harness.flush()
        #expect(device.takeAll() == [.pubrel(AcknowledgementPacket(packetIdentifier: identifier))])
    }

    /// Parts of 400 bytes, and a device that has room for `room` bytes of PUBLISH packets.
    private func startWithSmallParts(
        _ qos: QoS,
        lasts: Bool,
        room: Int = 1000
    ) throws -> (harness: RouterHarness, publisher: FakeClient, device: FakeClient) {
        let harness = RouterHarness(
            store: try StoreFile(path: self.path, survivesPowerLoss: false),
            packetPartBytes: 400
        )
        let publisher = harness.client("publisher", on: harness.addListener())
        publisher.connect()
        let device = harness.client("device", on: harness.addListener(sessionCredit: room))
        device.returnsCredit = false
        device.connect(clean: !lasts, expiry: lasts ? 3600 : nil)
        device.subscribe("t", qos)
        return (harness, publisher, device)
    }

    private static let large = String((0..<3000).map { Character(UnicodeScalar(UInt8(97 + $0 * 7 % 26))) })

    /// A client that has part of a large packet when the router is killed gets the rest from the next one, and what comes behind it.
    @Test(arguments: [QoS.atLeastOnce, .exactlyOnce], [false, true])
    func aLargePacketIsContinued(_ qos: QoS, _ lasts: Bool) throws {
        let (harness, publisher, device) = try self.startWithSmallParts(qos, lasts: lasts)
        for text in ["first", Self.large, "last"] { publisher.publish("t", text, qos) }
        #expect(self.texts(device) == ["first"])
        let next = try harness.replaceRouter(self.path)
        next.flush()
        #expect(device.isOpen && self.texts(device) == [Self.large, "last"])
    }

    /// The same when first the link breaks, and the router that lives on is killed then.
    @Test(arguments: [QoS.atLeastOnce, .exactlyOnce], [false, true])
    func aLargePacketIsContinuedAfterItsLinkBroke(_ qos: QoS, _ lasts: Bool) throws {
        let (harness, publisher, device) = try self.startWithSmallParts(qos, lasts: lasts)
        for text in ["first", Self.large, "last"] { publisher.publish("t", text, qos) }
        _ = harness.breakLink(device.listener, sessionCredit: 1000)
        #expect(device.isOpen && device.isInsidePacket && self.texts(device) == ["first"])
        let next = try harness.replaceRouter(self.path)
        next.flush()
        #expect(device.isOpen && self.texts(device) == [Self.large, "last"])
    }

    /// One for a session that ends with its connection is not stored, and is acknowledged when the session's listener has its beginning.
    @Test func aLargePacketIsKeptInsteadOfStored() throws {
        let (harness, publisher, device) = try self.startWithSmallParts(.atLeastOnce, lasts: false)
        device.returnsCredit = true
        device.listener.isThere = false
        _ = publisher.takeAll()
        let records = harness.core.changes.records
        publisher.publish("t", Self.large, .atLeastOnce)
        #expect(publisher.takeAll().isEmpty)
        #expect(harness.keptPackets.values.map { [UInt8]($0.view.payload) } == [Array(Self.large.utf8)])
        device.listener.isThere = true
        harness.flush()
        #expect(publisher.takeAll().count == 1)
        #expect(self.texts(device) == [Self.large])
        #expect(harness.keptPackets.isEmpty && harness.core.unfinished.count == 0)
        #expect(harness.core.changes.records == records)
    }

    /// Two are not kept, and the one before it may still be in the router. Its publisher has it meanwhile.
    @Test func aLargePacketWaitsForTheOneBeforeItInsteadOfBeingStored() throws {
        let (harness, publisher, device) = try self.startWithSmallParts(.atLeastOnce, lasts: false, room: 10_000)
        device.returnsCredit = true
        device.listener.isThere = false
        _ = publisher.takeAll()
        let records = harness.core.changes.records
        let other = String(Self.large.reversed())
        for text in [Self.large, other, "last"] { publisher.publish("t", text, .atLeastOnce) }
        #expect(harness.core.waitsForUnfinished.count == 1)
        #expect(harness.keptPackets.values.map { [UInt8]($0.view.payload) } == [Array(Self.large.utf8)])
        #expect(publisher.takeAll().isEmpty)
        device.listener.isThere = true
        harness.flush()
        #expect(self.texts(device) == [Self.large, other, "last"])
        #expect(publisher.takeAll().count == 3)
        #expect(harness.core.changes.records == records)
    }

    /// They wait behind it with their identifiers, as repetitions do, and were taken for such [MQTT-3.3.1-1].
    @Test(arguments: [false, true]) func whatWaitsBehindALargePacketIsNoRepetition(_ lasts: Bool) throws {
        let (harness, publisher, device) = try self.startWithSmallParts(.exactlyOnce, lasts: lasts, room: 10_000)
        device.returnsCredit = true
        let texts = [Self.large, "one", "two"]
        for (index, text) in texts.enumerated() {
            var packet = PublishPacket(qos: .exactlyOnce, topic: Array("t".utf8), payload: Array(text.utf8))
            packet.packetIdentifier = UInt16(index + 101)
            publisher.send(.publish(packet))
        }
        // All are stored with their identifiers, and wait for that.
        harness.commitsAtOnce = false
        for index in texts.indices {
            publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: UInt16(index + 101))))
        }
        harness.commitsAtOnce = true
        harness.flush()
        let received = device.takePublishes()
        #expect(received.map { String(decoding: $0.payload, as: UTF8.self) } == [Self.large, "one", "two"])
        #expect(received.map(\.dup) == [false, false, false])
    }

    /// A client that takes its time with PUBACK got all of them again, with other identifiers, on the connection that it has.
    @Test func whatIsWithTheClientForAWhileIsNotSentAgain() throws {
        let (harness, publisher, device) = try self.startWithSmallParts(.atLeastOnce, lasts: true, room: 10_000)
        device.returnsCredit = true
        device.acknowledges = false
        for number in 0..<4 { publisher.publish("t", "\(number)", .atLeastOnce) }
        let first = device.takePublishes()
        device.send(.puback(AcknowledgementPacket(packetIdentifier: first[1].packetIdentifier)))
        harness.pass(seconds: 1)
        let next = try harness.replaceRouter(self.path)
        next.flush()
        #expect(device.isOpen && device.takePublishes().isEmpty)
        #expect(next.core.queuedMessages == 0)
        for place in [0, 2, 3] {
            device.send(.puback(AcknowledgementPacket(packetIdentifier: first[place].packetIdentifier)))
        }
        let last = try next.replaceRouter(self.path)
        last.flush()
        #expect(device.isOpen && device.takePublishes().isEmpty)
        let publisherAgain = last.client("another", on: last.addListener())
        publisherAgain.connect()
        publisherAgain.publish("t", "4", .atLeastOnce)
        #expect(self.texts(device) == ["4"])
    }

    /// Of a QoS 0 packet nobody had the rest, and the client lost its connection.
    @Test(arguments: [false, true], [0, 1, 2]) func aLargeQoS0PacketIsContinued(_ lasts: Bool, _ kills: Int) throws {
        let (harness, publisher, device) = try self.startWithSmallParts(.atMostOnce, lasts: lasts)
        publisher.publish("t", Self.large, .atMostOnce)
        #expect(device.isInsidePacket)
        var next = harness
        for _ in 0..<kills {
            next = try next.replaceRouter(self.path, sessionCredit: 1000)
            next.flush()
            // Room for a part.
            next.returnCredit(device.listener, [(device.handle, 400)])
            next.pass(seconds: 61)
        }
        // The link breaks, the router lives.
        if kills == 0 { _ = next.breakLink(device.listener, sessionCredit: 1000) }
        #expect(device.isOpen && device.isInsidePacket)
        device.returnsCredit = true
        device.returnHeldCredit()
        next.pass(seconds: 0)
        publisher.publish("t", "last", .atMostOnce)
        #expect(device.isOpen && self.texts(device) == [Self.large, "last"])
        #expect(next.keptPackets.isEmpty)
    }

    /// Its connection was lost with the router that it began with.
    @Test func aPacketThatBeganOnAFullDiskIsContinued() throws {
        let (harness, publisher, device) = try self.startWithSmallParts(.atLeastOnce, lasts: true)
        let other = String(Self.large.reversed())
        for text in [other, Self.large] { publisher.publish("t", text, .atLeastOnce) }
        harness.isDiskFull = true
        harness.core.storeIsInTrouble(true)
        device.returnHeldCredit()
        device.returnHeldCredit()
        #expect(self.texts(device) == [other] && device.isInsidePacket)
        let next = try harness.replaceRouter(self.path)
        next.flush()
        device.returnHeldCredit()
        #expect(device.isOpen && self.texts(device).first == Self.large)
        device.acknowledgeAll()
        #expect(next.keptPackets.isEmpty && next.core.unfinished.count == 0)
    }

    /// Were the second one kept in place of the first, whose end may never leave the router, its rest would be taken for the first one's.
    @Test func aLargePacketWaitsUntilTheOneBeforeItIsWithTheListener() throws {
        let (harness, publisher, device) = try self.startWithSmallParts(.atMostOnce, lasts: true, room: 10_000)
        device.returnsCredit = true
        device.listener.isThere = false
        let other = String(Self.large.reversed())
        let small = (0..<5).map { "\($0)" }
        for text in [Self.large, other] + small { publisher.publish("t", text, .atMostOnce) }
        harness.flush()
        #expect(harness.core.waitsForUnfinished.count == 1)
        #expect(harness.core.unfinished.count == 1)
        #expect(harness.keptPackets.values.map { [UInt8]($0.view.payload) } == [Array(Self.large.utf8)])
        device.listener.isThere = true
        harness.flush()
        #expect(self.texts(device) == [Self.large, other] + small)
        #expect(harness.keptPackets.isEmpty && harness.core.unfinished.count == 0)
    }

    @Test func whatNobodyAsksForIsNotKeptForEver() throws {
        let (harness, publisher, device) = try self.startWithSmallParts(.atMostOnce, lasts: true)
        publisher.publish("t", Self.large, .atMostOnce)
        #expect(harness.keptPackets.count == 1)
        let next = try harness.replaceRouter(self.path, attaches: false)
        next.pass(seconds: 59)
        #expect(next.keptPackets.count == 1)
        next.pass(seconds: 2)
        #expect(next.keptPackets.isEmpty && next.core.unfinished.count == 0)
        #expect(device.isInsidePacket)
    }

    @Test func aPacketEndsWithItsConnection() throws {
        let (harness, publisher, device) = try self.startWithSmallParts(.atMostOnce, lasts: true)
        publisher.publish("t", Self.large, .atMostOnce)
        device.drop()
        #expect(harness.keptPackets.isEmpty && harness.core.unfinished.count == 0)
    }

    /// What the listener says can't be right: the packet is longer than the message would make it, or its head was not passed whole.
    @Test(arguments: [1000, 100_000_000, nil] as [UInt32?])
    func aPacketThatIsNotTheStoredOneIsNotContinued(_ furtherBytes: UInt32?) throws {
        let (harness, publisher, device) = try self.startWithSmallParts(.atLeastOnce, lasts: true)
        publisher.publish("t", String(repeating: "x", count: 3000), .atLeastOnce)
        device.changesPartial = { partial in
            if let furtherBytes { partial.packetBytes += furtherBytes } else { partial.passedBytes = 1 }
        }
        let next = try harness.replaceRouter(self.path)
        next.flush()
        #expect(!device.isOpen)
    }

    /// The listener's link broke, and with it was lost that a SUBACK would be for this router alone: what the client was told when it
    /// asked again was lost with the router, and it kept its connection.
    @Test func whatIsNotStoredIsSaidAgainOnTheNextLink() throws {
        let harness = try self.start()
        let listener = harness.addListener()
        let device = harness.client("device", on: listener)
        device.connect(clean: true)
        harness.isDiskFull = true
        harness.core.storeIsInTrouble(true)
        let subscription = SubscribePacket.Subscription(filter: Array("t".utf8), qos: .atLeastOnce)
        device.send(.subscribe(SubscribePacket(packetIdentifier: 1, subscriptions: [subscription])), flushes: false)
        harness.loseOutput(of: listener)
        #expect(!device.isUnstored)
        _ = harness.breakLink(listener)
        #expect(device.received.count == 1)
        #expect(device.isUnstored)
    }

    /// The client was told that it is subscribed, and the next router did not know of it: nothing came any more, and nobody said so.
    @Test(arguments: [false, true]) func aSubscriptionThatIsNotStoredEndsWithItsRouter(_ hasRoomAgain: Bool) throws {
        let harness = try self.start()
        let publisher = harness.client("publisher", on: harness.addListener())
        publisher.connect(clean: false, expiry: 3600)
        let device = harness.client("device")
        device.connect(clean: true)
        harness.isDiskFull = true
        harness.core.storeIsInTrouble(true)
        #expect(device.subscribe("t", .atLeastOnce) == 1)
        #expect(device.isUnstored)
        if hasRoomAgain {
            harness.isDiskFull = false
            harness.flush()
            #expect(!device.isUnstored)
        }
        let next = try harness.replaceRouter(self.path)
        next.flush()
        #expect(device.isOpen == hasRoomAgain)
        guard hasRoomAgain else { return }
        publisher.publish("t", "x", .atLeastOnce)
        #expect(self.texts(device) == ["x"])
    }

    @Test func aNewerConnectionKeepsItsSession() throws {
        var harness = try self.start()
        let former = harness.client("device")
        former.connect(clean: false, expiry: 3600)
        let next = try harness.replaceRouter(self.path, attaches: false)
        // The device is back through another listener before the former one reports.
        let newer = next.client("device", on: next.addListener())
        #expect(newer.connect(clean: false, expiry: 3600, stamp: 1_000_000)?.sessionPresent == true)
        former.attach(to: next, next.listeners[0])
        next.flush()
        #expect(!former.isOpen && former.closeReason == .sessionTakenOver)
        #expect(newer.isOpen)
        harness = next
        newer.subscribe("t")
        newer.publish("t", "x", .atLeastOnce)
        #expect(self.texts(newer) == ["x"])
    }

    /// Its listener was slow: it has not heard that the device is back elsewhere, and is the first to report to the next router.
    @Test func theFormerConnectionGetsNothingThoughItReportsFirst() throws {
        let harness = try self.start()
        let (slow, other) = (harness.addListener(), harness.addListener())
        let former = harness.client("device", on: slow)
        former.connect(clean: false, expiry: 3600, stamp: 5)
        slow.isThere = false
        let newer = harness.client("device", on: other)
        newer.connect(clean: false, expiry: 3600, stamp: 6)
        newer.subscribe("t", .atLeastOnce)

        let next = try harness.replaceRouter(self.path, attaches: false)
        next.listeners[0].takeOver(slow)
        next.listeners[1].takeOver(other)
        former.attach(to: next, next.listeners[0])
        next.flush()
        #expect(!former.isOpen && former.closeReason == .sessionTakenOver)
        newer.attach(to: next, next.listeners[1])
        next.flush()
        #expect(newer.isOpen)
        newer.publish("t", "x", .atLeastOnce)
        #expect(self.texts(newer) == ["x"])
    }

    @Test func aWillWaitsForTheListenerThatMayStillHaveTheConnection() throws {
        let harness = try self.start()
        let (first, second) = (harness.addListener(), harness.addListener())
        let watcher = harness.client("watcher", on: first)
        watcher.connect(clean: true)
        watcher.subscribe("wills", .atLeastOnce)
        let alive = harness.client("alive", on: second)
        alive.connect(clean: true, will: self.will("of the living"))
        let gone = harness.client("gone", on: second)
        gone.connect(clean: true, will: self.will("of the dead"))

        let next = try harness.replaceRouter(self.path, attaches: false)
        next.listeners[0].takeOver(first)
        next.listeners[1].takeOver(second)
        watcher.attach(to: next, next.listeners[0])
        next.pass(seconds: 2)
        alive.attach(to: next, next.listeners[1])
        #expect(self.texts(watcher) == [])
        next.pass(seconds: 10)
        #expect(alive.isOpen && self.texts(watcher) == ["of the dead"])
        alive.drop()
        #expect(self.texts(watcher) == ["of the living"])
    }

    /// What the store knows is that the device is away, and its will and its session came due while no router was there.
    @Test func whatCameDueWaitsForTheConnectionThatWasNotStored() throws {
        let harness = try self.start()
        let (first, second) = (harness.addListener(), harness.addListener())
        let watcher = harness.client("watcher", on: first)
        watcher.connect(clean: false, expiry: 3600)
        watcher.subscribe("wills", .atLeastOnce)
        var will = self.will("in time")
        will.properties.willDelayInterval = 1
        let device = harness.client("device", on: second)
        device.connect(clean: false, expiry: 2, will: will)
        device.subscribe("t", .atLeastOnce)
        device.drop()
        harness.isDiskFull = true
        harness.core.storeIsInTrouble(true)
        device.connect(clean: false, expiry: 2)

        let next = try harness.replaceRouter(self.path, after: 3, attaches: false)
        next.listeners[0].takeOver(first)
        next.listeners[1].takeOver(second)
        watcher.attach(to: next, next.listeners[0])
        next.pass(seconds: 1)
        device.attach(to: next, next.listeners[1])
        next.pass(seconds: 10)
        #expect(device.isOpen && self.texts(watcher) == [])
        watcher.publish("t", "x", .atLeastOnce)
        #expect(self.texts(device) == ["x"])
    }

    /// What its client sent on it was refused on the next one, where it sent it again.
    @Test(arguments: [false, true])
    func whatComesAgainFromAConnectionThatWasLeftIsForgotten(_ isKnownElsewhere: Bool) throws {
        let harness = try self.start()
        let (slow, other) = (harness.addListener(), harness.addListener())
        let former = harness.client("device", on: slow)
        former.connect(clean: false, expiry: 3600, stamp: 5)
        slow.isThere = false
        harness.isDiskFull = true
        harness.client("filler", on: other).connect(clean: false, expiry: 3600)
        former.publish("t", "1", .exactlyOnce)
        let newer = harness.client("device", on: other)
        newer.connect(clean: false, expiry: 3600, stamp: 6)
        #expect(newer.publish("t", "1", .exactlyOnce) { $0.dup = true } == .quotaExceeded)

        let next = try harness.replaceRouter(self.path, attaches: false)
        next.core.startStamp = 8
        next.listeners[0].takeOver(slow)
        next.listeners[1].takeOver(other)
        former.attach(to: next, next.listeners[0])
        next.flush()
        #expect(next.core.queuedBytesTotal > 0)
        if isKnownElsewhere {
            newer.attach(to: next, next.listeners[1])
            next.flush()
        } else {
            // It left that one too, and its listener had not sent on the CONNECT of the third one.
            let third = next.client("device", on: next.listeners[0])
            third.connect(clean: false, expiry: 3600, stamp: 7)
        }
        #expect(next.core.queuedBytesTotal == 0)
        guard isKnownElsewhere else { return }
        newer.subscribe("t", .atLeastOnce)
        #expect(newer.publish("t", "2", .exactlyOnce) == .success)
        #expect(self.texts(newer) == ["2"])
    }

    @Test func asTheFormerConnectionAfterANewerOneThatEndedItHasNothing() throws {
        let harness = try self.start()
        let former = harness.client("device")
        former.connect(clean: true)
        let newer = harness.client("device", on: harness.addListener())
        newer.connect(clean: true)
        let next = try harness.replaceRouter(self.path, attaches: false)
        // A listener that did not get the word that its connection was taken over.
        former.isOpen = true
        next.listeners[0].clients[former.handle] = former
        former.attach(to: next, next.listeners[0])
        newer.attach(to: next, next.listeners[1])
        next.flush()
        #expect(!former.isOpen && former.closeReason == .serverShuttingDown)
        #expect(newer.isOpen && next.core.connectedCount == 1)
    }

    @Test func aStoreThatKnowsNothingEndsTheConnection() throws {
        let harness = try self.start()
        let device = harness.client("device", .v3_1_1)
        device.connect(clean: true)
        let modern = harness.client("modern")
        modern.connect(clean: true)
        for client in [device, modern] { client.subscribe("t") }
        let next = RouterHarness(store: try StoreFile(path: self.directory.file("other.db"), survivesPowerLoss: false))
        let listener = next.addListener()
        listener.takeOver(harness.listeners[0])
        for client in [device, modern] { client.attach(to: next, listener) }
        next.flush()
        #expect(!device.isOpen && device.takeAll() == [])
        #expect(modern.takeAll() == [.disconnect(DisconnectPacket(reasonCode: .serverShuttingDown))])
    }

    @Test func aConnectWhoseAnswerWasLostIsNoResumption() throws {
        let harness = try self.start()
        let listener = harness.addListener()
        harness.commitsAtOnce = false
        let device = harness.client("device", on: listener)
        #expect(device.connect(clean: false, expiry: 3600) == nil)
        listener.isThere = false
        harness.commit()
        let stamp = harness.nextStamp() - 1
        let next = try harness.replaceRouter(self.path, attaches: false)
        #expect(next.core.sessionCount == 1)
        let again = next.client("device", on: next.listeners[0])
        #expect(again.connect(clean: false, expiry: 3600, stamp: stamp)?.sessionPresent == false)
        again.drop()
        let later = next.client("device", on: next.listeners[0])
        #expect(later.connect(clean: false, expiry: 3600)?.sessionPresent == true)
    }

    @Test func retainedMessagesThatWereOnTheirWayGoOn() throws {
        var harness = try self.start()
        let publisher = harness.client("publisher")
        publisher.connect(clean: true)
        for number in 0..<50 { publisher.publish("t/\(number)", "\(number)", .atLeastOnce, retain: true) }
        let reader = harness.client("reader")
        reader.connect(clean: true, receiveMaximum: 10)
        reader.acknowledges = false
        reader.subscribe("t/#", .atLeastOnce)
        let first = reader.takeAll().count { $0.type == .publish }
        #expect(first == 10)
        harness = try harness.replaceRouter(self.path)
        reader.acknowledges = true
        for identifier in 1...10 as ClosedRange<UInt16> {
            reader.send(.puback(AcknowledgementPacket(packetIdentifier: identifier)))
        }
        #expect(Set(self.texts(reader)).count == 50)
        // Then it is over for good.
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        #expect(self.texts(reader) == [])
    }

    @Test func topicAliasesStayInForce() throws {
        var harness = try self.start()
        let reader = harness.client("reader")
        reader.connect(clean: true)
        reader.subscribe("long/topic", .atMostOnce)
        let device = harness.client("device")
        device.connect(clean: true)
        device.publish("long/topic", "1") { $0.properties.topicAlias = 5 }
        harness = try harness.replaceRouter(self.path)
        device.publish("", "2", .atLeastOnce) { $0.properties.topicAlias = 5 }
        #expect(self.texts(reader) == ["1", "2"])
    }

    @Test func aStopLeavesNothingToBeSentAgain() throws {
        var harness = try self.start()
        let publisher = harness.client("publisher")
        publisher.connect(clean: true)
        let lasting = harness.client("lasting")
        lasting.connect(clean: false, expiry: 3600)
        let passing = harness.client("passing")
        passing.connect(clean: true)
        for reader in [lasting, passing] {
            reader.acknowledges = false
            reader.subscribe("t", .exactlyOnce)
        }
        for number in 0..<4 { publisher.publish("t", "\(number)", number < 2 ? .atLeastOnce : .exactlyOnce) }
        harness.core.announceStop()
        harness.flush()
        #expect(harness.listener.isAskedToDrain)
        var isReady = harness.core.isReadyToStop
        #expect(!isReady)
        harness.drain()
        isReady = harness.core.isReadyToStop
        #expect(isReady)
        harness.core.recordForRestart()
        harness.commit()
        let before = [lasting, passing].map { $0.takePublishes().count }
        #expect(before == [4, 4])
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        #expect(lasting.takeAll() == [] && passing.takeAll() == [])
        for reader in [lasting, passing] {
            for identifier in 1...2 as ClosedRange<UInt16> {
                reader.send(.puback(AcknowledgementPacket(packetIdentifier: identifier)))
            }
            for identifier in 3...4 as ClosedRange<UInt16> {
                reader.send(.pubrec(AcknowledgementPacket(packetIdentifier: identifier)))
                reader.send(.pubcomp(AcknowledgementPacket(packetIdentifier: identifier)))
            }
            #expect(reader.takeAll().map(\.type) == [.pubrel, .pubrel])
        }
        #expect(lasting.isOpen && passing.isOpen)
        for reader in [lasting, passing] { reader.acknowledges = true }
        publisher.publish("t", "more", .atLeastOnce)
        #expect(self.texts(lasting) == ["more"] && self.texts(passing) == ["more"])
        harness = try harness.restart(self.path)
        #expect(harness.core.queuedBytesTotal == 0)
    }

    @Test func aLinkThatBreaksCostsNoConnection() throws {
        let harness = try self.start()
        let listener = harness.addListener()
        let reader = harness.client("reader", on: listener)
        reader.connect(clean: true, will: self.will("gone"))
        reader.subscribe("#", .exactlyOnce)
        let publisher = harness.client("publisher", on: harness.addListener())
        publisher.connect(clean: true)
        harness.core.linkDown(listener.index, now: harness.now)
        listener.isThere = false
        publisher.publish("t", "1", .atLeastOnce)
        publisher.publish("t", "2", .exactlyOnce)
        let again = harness.addListener()
        again.takeOver(listener)
        reader.attach(to: harness, again)
        harness.flush()
        #expect(self.texts(reader) == ["1", "2"])
        // The next time the listener is gone for good.
        let watcher = harness.client("watcher", on: harness.listeners[1])
        watcher.connect(clean: true)
        watcher.subscribe("wills", .atLeastOnce)
        harness.core.linkDown(again.index, now: harness.now)
        again.isThere = false
        harness.pass(seconds: 1.9)
        #expect(watcher.takePublishes() == [])
        harness.pass(seconds: 0.2)
        #expect(self.texts(watcher) == ["gone"])
        #expect(harness.core.sessionCount == 2)
    }

    @Test func acknowledgementsWaitForAnotherListenerThatDoesNotRead() throws {
        let harness = try self.start()
        let stopped = harness.addListener()
        let reader = harness.client("reader", on: stopped)
        reader.connect(clean: true)
        reader.subscribe("t", .atLeastOnce)
        let publisher = harness.client("publisher", on: harness.addListener())
        publisher.connect(clean: true)
        stopped.isThere = false
        #expect(publisher.publish("t", "1", .atLeastOnce) == nil)
        #expect(publisher.publish("u", "2", .atLeastOnce) == nil, "in order")
        let other = harness.client("other", on: harness.listeners[1])
        other.connect(clean: true)
        #expect(other.publish("u", "3", .atLeastOnce) == .noMatchingSubscribers)
        stopped.isThere = true
        harness.flush()
        let answers = publisher.takeAll().compactMap { packet -> UInt16? in
            if case .puback(let ack) = packet { return ack.packetIdentifier }
            return nil
        }
        #expect(answers == [1, 2])
    }

    @Test func theEndOfASessionIsConfirmedOnceItIsStored() throws {
        let harness = try self.start()
        let device = harness.client("device")
        device.connect(clean: true)
        device.subscribe("t")
        harness.commitsAtOnce = false
        device.drop()
        #expect(harness.listener.goneSessions == [])
        harness.commit()
        harness.flush()
        #expect(harness.listener.goneSessions == [device.handle])
    }

    @Test func brokenAttachFramesEndTheLinkAndNothingElse() throws {
        let harness = try self.start()
        let listener = harness.addListener()
        var frame = ByteBuffer()
        frame.writeFrameHeader(.sessionAttach, handle: 1, bodyBytes: 3)
        frame.write([1, 2, 3] as [UInt8])
        guard case .frame(let broken) = FrameReader.frame(in: frame.readable, at: 0) else {
            Issue.record("no frame")
            return
        }
        #expect(harness.core.received(broken, on: listener.index, now: harness.now) != nil)
    }
}
