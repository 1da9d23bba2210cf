import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// SUBSCRIBE and UNSUBSCRIBE with so many topic filters that they take several turns.
@Suite struct ManyFiltersTests {
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        self.directory = try TemporaryDirectory()
        self.path = self.directory.file("store.db")
    }

    /// Everybody's turn is over after a slice.
    private func start(
        hasStore: Bool = false,
        workPerTurn: UInt64 = 20,
        _ configure: (inout Configuration) -> Void = { _ in }
    ) throws -> RouterHarness {
        let store = hasStore ? try StoreFile(path: self.path, survivesPowerLoss: false) : nil
        return RouterHarness(store: store, workPerTurn: workPerTurn) {
            $0.mqtt.session.maxSubscriptions = 5000
            configure(&$0)
        }
    }

    private func heavy(
        _ harness: RouterHarness,
        lasts: Bool = false,
        on listener: RouterHarness.FakeListener? = nil
    )
        -> FakeClient
    {
        let client = harness.client("heavy", on: listener)
        client.connect(clean: !lasts, expiry: lasts ? 3600 : nil)
        return client
    }

    private func subscribe(
        _ filters: some Sequence<String>,
        _ qos: QoS = .atLeastOnce,
        identifier: UInt16 = 77
    ) -> Packet {
        let subscriptions = filters.map { SubscribePacket.Subscription(filter: Array($0.utf8), qos: qos) }
        return .subscribe(SubscribePacket(packetIdentifier: identifier, subscriptions: subscriptions))
    }

    private func unsubscribe(_ filters: some Sequence<String>) -> Packet {
        .unsubscribe(UnsubscribePacket(packetIdentifier: 78, filters: filters.map { Array($0.utf8) }))
    }

    private func publish(_ topic: String, _ text: String, retain: Bool = false) -> Packet {
        .publish(PublishPacket(qos: .atMostOnce, retain: retain, topic: Array(topic.utf8), payload: Array(text.utf8)))
    }

    private static let filters = (0..<600).map { "f/\($0)" }

    private func codes(_ client: FakeClient) -> [UInt8]? {
        for packet in client.received {
            if case .suback(let suback) = packet { return suback.returnCodes }
        }
        return nil
    }

    private func isUnderWay(_ harness: RouterHarness) -> Bool {
        harness.core.sessions.contains { $0?.unfinishedFilters != nil }
    }

    // MARK: Turns

    @Test func othersGoFirstBetweenSlices() throws {
        let harness = try self.start(workPerTurn: 600)
        let watcher = harness.client("watcher")
        watcher.connect()
        watcher.subscribe("other")
        let other = harness.client("other")
        other.connect()
        let heavy = self.heavy(harness)
        let before = harness.core.subscriptionCount
        heavy.send(self.subscribe(Self.filters), flushes: false)
        other.send(self.publish("other", "first"), flushes: false)
        harness.handOver(to: [harness.listener])
        #expect(watcher.received.map(\.type) == [.publish])
        #expect(heavy.received == [] && self.isUnderWay(harness))
        var turns = 1
        while self.isUnderWay(harness), turns < 100 {
            harness.core.endTurn(now: harness.now)
            turns += 1
        }
        // Some 64 in a turn.
        #expect(turns > 5 && turns < 25, "\(turns)")
        harness.flush()
        #expect(self.codes(heavy) == [UInt8](repeating: 1, count: 600))
        #expect(harness.core.subscriptionCount == before + 600)
        #expect(!harness.hasWork)
    }

    @Test func whatComesBehindWaitsInOrder() throws {
        let harness = try self.start()
        let heavy = self.heavy(harness)
        heavy.send(
            self.subscribe(Self.filters, .atMostOnce),
            self.publish("f/599", "1"),
            self.unsubscribe(Self.filters + ["f/0"]),
            self.publish("f/599", "2"),
            flushes: false
        )
        for _ in 0..<3 { harness.core.endTurn(now: harness.now) }
        heavy.send(self.subscribe(["f/1"], identifier: 79), self.publish("f/1", "3"), flushes: false)
        heavy.send(.disconnect(DisconnectPacket(reasonCode: .success)))
        #expect(heavy.received.map(\.type) == [.suback, .publish, .unsuback, .suback, .publish])
        guard case .unsuback(let unsuback) = heavy.received[2] else { return }
        #expect(unsuback.reasonCodes == Array(repeating: .success, count: 600) + [.noSubscriptionExisted])
        #expect(!heavy.isOpen && harness.core.subscriptionCount == 0)
    }

    @Test func retainedMessagesComeBehindTheSubackAndBeforeWhatIsNewer() throws {
        let harness = try self.start()
        let other = harness.client("other")
        other.connect()
        other.publish("f/0", "kept", retain: true)
        let heavy = self.heavy(harness)
        heavy.send(self.subscribe(Self.filters), flushes: false)
        // Some are subscribed by then.
        while harness.core.subscriptionCount == 0 { harness.core.endTurn(now: harness.now) }
        #expect(self.isUnderWay(harness))
        other.send(self.publish("f/0", "live"), flushes: false)
        harness.flush()
        #expect(heavy.received.first?.type == .suback)
        #expect(heavy.takePayloads() == ["kept", "live"])
    }

    @Test func aBrokenFilterAtTheEndLeavesNothing() throws {
        let harness = try self.start()
        let heavy = self.heavy(harness)
        heavy.send(self.subscribe(Self.filters + ["a/#/b"]))
        #expect(heavy.closeReason == .topicFilterInvalid || heavy.closeReason == .malformedPacket)
        #expect(harness.core.subscriptionCount == 0 && !harness.hasWork)
    }

    @Test func aLargePacketCountsUntilItIsDone() throws {
        let harness = try self.start()
        let heavy = self.heavy(harness)
        let filters = (0..<1000).map { "\($0)/" + String(repeating: "x", count: 80) }
        heavy.send(bytes: self.subscribe(filters).bytes(.v5_0), flushes: false, partBytes: 60_000)
        let link = try #require(harness.core.links[harness.listener.index])
        #expect(self.isUnderWay(harness) && link.unfinishedFilterBytes > 80_000)
        harness.flush()
        #expect(link.unfinishedFilterBytes == 0)
        #expect(self.codes(heavy)?.count == 1000)
    }

    @Test func noMoreLargePacketsAreUnderWayThanThereIsRoomFor() throws {
        let harness = try self.start(workPerTurn: 2000) { $0.flowControl.partialPacketBytesMax = 1 << 20 }
        let filters = (0..<4000).map { "\($0)/" + String(repeating: "x", count: 150) }
        let clients = (0..<2).map { harness.client("heavy \($0)") }
        for client in clients { client.connect() }
        for client in clients {
            client.send(bytes: self.subscribe(filters).bytes(.v5_0), flushes: false, partBytes: 60_000)
        }
        #expect(self.isUnderWay(harness))
        harness.flush()
        #expect(self.codes(clients[0])?.count == filters.count)
        #expect(clients[1].closeReason == .quotaExceeded)
    }

    /// Their answer would have been larger than a frame may be.
    @Test func aPacketWithMoreFiltersThanAnAnswerHasRoomForIsRefused() throws {
        let harness = try self.start(workPerTurn: 1 << 30) { $0.mqtt.maxPacketSizeBytes = 16 << 20 }
        let heavy = self.heavy(harness)
        var buffer = ByteBuffer()
        buffer.write(PacketType.unsubscribe.rawValue << 4 | PacketType.unsubscribe.requiredFlags)
        let start = buffer.beginLength()
        buffer.write([0, 1, 0] as [UInt8])
        for _ in 0...RouterLimits.filtersPerPacketMax { buffer.write([0, 1, 0x61] as [UInt8]) }
        buffer.endLength(start)
        heavy.send(bytes: buffer.array)
        #expect(heavy.closeReason == .quotaExceeded)
    }

    // MARK: Ends in the middle

    @Test func aConnectionThatIsLostHasSubscribedAll() throws {
        let harness = try self.start()
        let heavy = self.heavy(harness, lasts: true)
        heavy.send(self.subscribe(Self.filters), flushes: false)
        heavy.drop()
        #expect(harness.core.subscriptionCount == 600 && harness.core.connectedCount == 0)
        #expect(!self.isUnderWay(harness) && !harness.hasWork)
    }

    @Test func aDeviceWithoutRightsIsGoneInTheMiddle() throws {
        let harness = try self.start()
        let heavy = self.heavy(harness)
        heavy.send(self.subscribe(Self.filters + (0..<4000).map { "\($0)/long/enough" }), flushes: false)
        let link = try #require(harness.core.links[harness.listener.index])
        #expect(link.unfinishedFilterBytes > 0)
        for _ in 0..<3 { harness.core.endTurn(now: harness.now) }
        heavy.drop(.revoked)
        #expect(harness.core.sessionCount == 0 && harness.core.subscriptionCount == 0)
        #expect(link.unfinishedFilterBytes == 0 && !harness.hasWork)
    }

    @Test func rulesThatChangeInTheMiddleApplyToTheRest() throws {
        for action in [Configuration.Authorization.DenyAction.ignore, .disconnect] {
            let harness = try self.start { $0.authorization.denyAction = action }
            let heavy = self.heavy(harness)
            heavy.send(self.subscribe(Self.filters), flushes: false)
            while harness.core.subscriptionCount == 0 { harness.core.endTurn(now: harness.now) }
            var rules = ByteBuffer()
            SessionRules.encode(AccessRules(noMatch: .deny), into: &rules, handle: heavy.handle)
            harness.deliver(rules, from: harness.listener)
            harness.flush()
            #expect(harness.core.subscriptionCount == 0)
            if action == .disconnect {
                #expect(heavy.closeReason == .notAuthorized)
            } else {
                #expect(self.codes(heavy)?.last == ReasonCode.notAuthorized.rawValue)
            }
        }
    }

    @Test func whoTakesTheSessionOverFindsAllSubscribed() throws {
        let harness = try self.start()
        let heavy = self.heavy(harness, lasts: true)
        let again = harness.client("heavy", on: harness.addListener())
        heavy.send(self.subscribe(Self.filters), flushes: false)
        again.prepare(clean: false, expiry: 3600)
        harness.flush()
        #expect(heavy.closeReason == .sessionTakenOver && self.codes(heavy)?.count == 600)
        guard case .connack(let connack)? = again.received.first else {
            Issue.record("no CONNACK")
            return
        }
        #expect(connack.sessionPresent && harness.core.subscriptionCount == 600)
    }

    @Test(arguments: [false, true]) func aListenerWhoseLinkBreaksSendsItAgain(_ lasts: Bool) throws {
        let harness = try self.start(hasStore: true)
        let listener = harness.addListener()
        let heavy = self.heavy(harness, lasts: lasts, on: listener)
        heavy.send(self.subscribe(Self.filters), flushes: false)
        for _ in 0..<3 { harness.core.endTurn(now: harness.now) }
        _ = harness.breakLink(listener)
        #expect(heavy.isOpen && heavy.received.map(\.type) == [.suback])
        #expect(self.codes(heavy) == [UInt8](repeating: 1, count: 600))
        #expect(harness.core.subscriptionCount == 600)
    }

    @Test(arguments: [false, true]) func aRouterThatIsKilledInTheMiddleLosesNothing(_ lasts: Bool) throws {
        var harness = try self.start(hasStore: true)
        let heavy = self.heavy(harness, lasts: lasts)
        heavy.send(self.subscribe(Self.filters.prefix(500)), flushes: false)
        while harness.core.subscriptionCount < 100 { harness.core.endTurn(now: harness.now) }
        harness.commit()
        #expect(self.isUnderWay(harness))
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        #expect(heavy.isOpen && heavy.received.map(\.type) == [.suback])
        #expect(harness.core.subscriptionCount == 500)
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        #expect(heavy.isOpen && harness.core.subscriptionCount == 500)
    }

    @Test func aRouterThatStopsAnswersFirst() throws {
        let harness = try self.start()
        let heavy = self.heavy(harness)
        heavy.send(self.subscribe(Self.filters), flushes: false)
        harness.core.announceStop()
        harness.drain()
        var isReady = harness.core.isReadyToStop
        #expect(!isReady)
        harness.flush()
        isReady = harness.core.isReadyToStop
        #expect(isReady && self.codes(heavy)?.count == 600)
    }

    // MARK: Durability

    /// In the last turns nothing is stored: those filters are refused.
    @Test(arguments: [false, true]) func theSubackWaitsForWhatEarlierTurnsStored(_ lasts: Bool) throws {
        let harness = try self.start(hasStore: true) { $0.mqtt.maxTopicLevels = 3 }
        harness.commitsAtOnce = false
        let heavy = self.heavy(harness, lasts: lasts)
        harness.commit()
        harness.flush()
        heavy.takeAll()
        heavy.send(self.subscribe(Self.filters.prefix(300) + (0..<300).map { "a/b/c/\($0)" }), flushes: false)
        while harness.core.subscriptionCount < 100 { harness.core.endTurn(now: harness.now) }
        harness.commit()
        harness.flush()
        #expect(!self.isUnderWay(harness) && heavy.received == [])
        harness.commit()
        harness.flush()
        #expect(self.codes(heavy) == [UInt8](repeating: 1, count: 300) + [UInt8](repeating: 0x8F, count: 300))
    }

    @Test func aFullDiskInTheMiddleKeepsNobodyFromTheSuback() throws {
        let harness = try self.start(hasStore: true)
        let heavy = self.heavy(harness)
        heavy.send(self.subscribe(Self.filters), flushes: false)
        while harness.core.subscriptionCount == 0 { harness.core.endTurn(now: harness.now) }
        harness.isDiskFull = true
        harness.flush()
        #expect(self.codes(heavy)?.count == 600 && heavy.isUnstored)
        harness.isDiskFull = false
        harness.flush()
        #expect(!heavy.isUnstored)
    }

    // MARK: Slices and all at once

    private func randomPacket(_ random: inout SeededRandom) -> Packet {
        let count = random.oneIn(3) ? 1 : Int.random(in: 1...180, using: &random)
        let names = (0..<count).map { _ in
            let number = Int.random(in: 0..<150, using: &random)
            return switch Int.random(in: 0..<8, using: &random) {
            case 0: "f/\(number % 10)/+"
            case 1: "f/#"
            case 2: "$share/g\(number % 3)/f/\(number)"
            case 3: "f/1/2/3/4/5/\(number)"
            default: "f/\(number)"
            }
        }
        switch Int.random(in: 0..<5, using: &random) {
        case 0: return self.publish("f/\(Int.random(in: 0..<150, using: &random))", "\(random.next())")
        case 1: return self.unsubscribe(names)
        default:
            let subscriptions = names.map { name in
                SubscribePacket.Subscription(
                    filter: Array(name.utf8),
                    qos: QoS(rawValue: UInt8.random(in: 0...1, using: &random)) ?? .atMostOnce,
                    retainHandling: .init(rawValue: UInt8.random(in: 0...2, using: &random)) ?? .send
                )
            }
            return .subscribe(SubscribePacket(packetIdentifier: 5, subscriptions: subscriptions))
        }
    }

    /// What a packet is, as far as somebody has to read it.
    private func summary(_ packet: Packet) -> String {
        switch packet {
        case .publish(let publish):
            let topic = String(decoding: publish.topic, as: UTF8.self)
            let text = String(decoding: publish.payload.suffix(3), as: UTF8.self)
            return "\(topic)=\(text) \(publish.packetIdentifier) \(publish.qos) \(publish.retain) \(publish.dup)"
        case .suback(let suback): return "SUBACK \(suback.packetIdentifier) \(suback.returnCodes)"
        case .unsuback(let unsuback): return "UNSUBACK \(unsuback.packetIdentifier) \(unsuback.reasonCodes)"
        default: return "\(packet)"
        }
    }

    private func run(_ harness: RouterHarness, seed: UInt64) -> [String] {
        var random = SeededRandom(seed: seed)
        let other = harness.client("other")
        other.connect()
        let heavy = self.heavy(harness, lasts: true)
        var came: [String] = []
        for _ in 0..<12 {
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                heavy.send(self.randomPacket(&random), flushes: false)
                if random.oneIn(3) { harness.core.endTurn(now: harness.now) }
            }
            harness.flush()
            heavy.acknowledgeAll()
            for _ in 0..<3 {
                let topic = "f/\(Int.random(in: 0..<150, using: &random))"
                other.publish(topic, "\(random.next())", .atLeastOnce, retain: random.oneIn(2))
            }
            heavy.acknowledgeAll()
            came += heavy.takeAll().map { self.summary($0) }
        }
        came.append("\(harness.core.subscriptionCount)")
        return came
    }

    @Test func slicesComeToTheSameAsAllAtOnce() throws {
        let configure: (inout Configuration) -> Void = {
            $0.mqtt.maxTopicLevels = 5
            $0.mqtt.session.maxSubscriptions = 300
        }
        var seed = testSeed()
        for _ in 0..<20 {
            // A packet a turn, as they come here when it is done at once: what is in one frame is answered before anything else is sent.
            let sliced = self.run(try self.start(workPerTurn: 1, configure), seed: seed)
            let whole = self.run(try self.start(workPerTurn: 1 << 40, configure), seed: seed)
            #expect(sliced.count == whole.count, "MARTLET_SEED=\(seed)")
            // Where they part.
            guard let place = sliced.indices.first(where: { $0 >= whole.count || sliced[$0] != whole[$0] }) else {
                continue
            }
            let around = max(0, place - 8)..<min(sliced.count, whole.count, place + 8)
            Issue.record("MARTLET_SEED=\(seed), from \(around): \(sliced[around]), and at once \(whole[around])")
            seed &+= 1
        }
    }
}
