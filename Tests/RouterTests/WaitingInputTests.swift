import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// Clients whose packets cost more than their turn: what comes behind waits, in order, and others go first.
@Suite struct WaitingInputTests {
    private let directory: TemporaryDirectory

    init() throws {
        self.directory = try TemporaryDirectory()
    }

    /// Everybody's turn is over after a few messages.
    private func start(
        hasStore: Bool = false,
        _ configure: (inout Configuration) -> Void = { _ in }
    ) throws
        -> (harness: RouterHarness, watcher: FakeClient)
    {
        let path = self.directory.file("store.db")
        let store = hasStore ? try StoreFile(path: path, survivesPowerLoss: false) : nil
        let harness = RouterHarness(store: store, workPerTurn: 20, configure)
        let watcher = harness.client("watcher")
        watcher.connect()
        watcher.subscribe("#", .atLeastOnce)
        return (harness, watcher)
    }

    private func publish(_ text: String, _ qos: QoS = .atLeastOnce, identifier: UInt16 = 1) -> Packet {
        var packet = PublishPacket(qos: qos, topic: Array("from/\(text)".utf8), payload: Array(text.utf8))
        if qos.isAcknowledged { packet.packetIdentifier = identifier }
        return .publish(packet)
    }

    private func sendMany(_ client: FakeClient, _ count: Int = 20, _ qos: QoS = .atLeastOnce) {
        var bytes: [UInt8] = []
        for number in 0..<count {
            bytes += self.publish("\(number)", qos, identifier: UInt16(number + 1)).bytes(client.version)
        }
        client.send(bytes: bytes, flushes: false)
    }

    private static let numbers = (0..<20).map { "\($0)" }

    private func will(_ text: String) -> ConnectPacket.Will {
        ConnectPacket.Will(qos: .atLeastOnce, retain: false, topic: Array("wills".utf8), payload: Array(text.utf8))
    }

    private func session(_ name: String, _ harness: RouterHarness) -> Session? {
        harness.core.sessionsByClient[Array(name.utf8)].flatMap { harness.core.sessions[Int($0)] }
    }

    // MARK: Order

    @Test func othersGoFirstAndItsOwnOrderStays() throws {
        let (harness, watcher) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect()
        let other = harness.client("other")
        other.connect()
        self.sendMany(heavy)
        self.sendMany(heavy, 1)
        other.send(self.publish("other"), flushes: false)
        let texts = watcher.takePayloads()
        #expect(texts.filter { $0 != "other" } == Self.numbers + ["0"])
        let place = try #require(texts.firstIndex(of: "other"))
        #expect(place < 6, "\(texts)")
        #expect(harness.core.counters.inputsWaited > 0)
        #expect(!harness.hasWork)
    }

    @Test func whatComesInALaterTurnStaysBehindWhatWaits() throws {
        let (harness, watcher) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect()
        self.sendMany(heavy)
        for number in 20..<30 {
            harness.core.endTurn(now: harness.now)
            heavy.send(self.publish("\(number)", .atMostOnce), flushes: false)
        }
        #expect(watcher.takePayloads() == (0..<30).map { "\($0)" })
    }

    @Test func packetsOfAllKindsAreAnsweredInTheOrderInWhichTheyCame() throws {
        let (harness, watcher) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect(will: self.will("not to be seen"))
        self.sendMany(heavy)
        let filter = SubscribePacket.Subscription(filter: Array("own".utf8), qos: .atMostOnce)
        heavy.send(.subscribe(SubscribePacket(packetIdentifier: 77, subscriptions: [filter])), flushes: false)
        heavy.send(
            self.publish("21", .exactlyOnce, identifier: 78),
            .pubrel(AcknowledgementPacket(packetIdentifier: 78)),
            .disconnect(DisconnectPacket(reasonCode: .success)),
            flushes: false
        )
        harness.flush()
        let types = heavy.received.map(\.type)
        #expect(types == Array(repeating: .puback, count: 20) + [.suback, .pubrec, .pubcomp])
        #expect(watcher.takePayloads() == Self.numbers + ["21"])
        #expect(!heavy.isOpen)
    }

    @Test func aTurnThatCostMoreIsTakenFromTheNextOnes() throws {
        let (harness, watcher) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect()
        for number in 0..<100 { watcher.subscribe("from/\(number)/\(number)") }
        // 100 groups of which one member each gets a copy: more than five turns.
        for number in 0..<100 { watcher.subscribe("$share/g\(number)/from/0", .atMostOnce) }
        self.sendMany(heavy, 2)
        #expect(harness.hasWork)
        var turns = 0
        while harness.hasWork, turns < 100 {
            harness.core.endTurn(now: harness.now)
            turns += 1
        }
        #expect(turns > 5 && turns < 20, "\(turns)")
        #expect(watcher.takePayloads().count { $0 == "1" } == 1)
    }

    // MARK: The end of a connection

    @Test func whatCameBeforeTheConnectionWasLostComesBeforeItsWill() throws {
        let (harness, watcher) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect(will: self.will("will"))
        self.sendMany(heavy)
        heavy.drop()
        #expect(watcher.takePayloads() == Self.numbers + ["will"])
        #expect(self.session("heavy", harness) == nil)
        #expect(harness.core.connectedCount == 1)
    }

    @Test func thePlaceOfALostConnectionIsFreeWhileItsInputWaits() throws {
        let (harness, watcher) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect(will: self.will("will"))
        let handle = heavy.handle
        self.sendMany(heavy)
        var closed = ByteBuffer()
        SessionCloseCause.connectionLost.encode(into: &closed, handle: handle)
        harness.deliver(closed, from: harness.listener)
        harness.listener.give(back: handle)
        let other = harness.client("other")
        #expect(other.connect() != nil)
        #expect(other.handle & 0xFFFF_FFFF == handle & 0xFFFF_FFFF)
        #expect(watcher.takePayloads() == Self.numbers + ["will"])
        other.subscribe("to/other", .atLeastOnce)
        watcher.publish("to/other", "here")
        #expect(other.takePayloads() == ["here"])
        #expect(harness.core.connectedCount == 2)
        #expect(harness.core.links.compactMap { $0?.sessionCount } == [2])
    }

    @Test func aClientThatComesBackWaitsForWhatItSentBefore() throws {
        let (harness, watcher) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect(expiry: 100)
        let again = harness.client("heavy", on: harness.addListener())
        self.sendMany(heavy)
        let connack = try #require(self.connectBehind(heavy, again, harness))
        #expect(connack.sessionPresent)
        // Everything up to the CONNECT, and nothing of what came later.
        #expect(watcher.takePayloads() == Self.numbers)
        #expect(heavy.closeReason == .sessionTakenOver)
        #expect(heavy.received.count { $0.type == .puback } == 20)
        #expect(again.isOpen)
        #expect(harness.core.connectedCount == 2)
        #expect(harness.core.links.compactMap { $0?.sessionCount } == [1, 1])
    }

    /// - Returns: the CONNACK of the second connection, behind whose CONNECT the first one sends one more message.
    private func connectBehind(_ first: FakeClient, _ second: FakeClient, _ harness: RouterHarness) -> ConnackPacket? {
        second.prepare(clean: false, expiry: 100)
        first.send(self.publish("late"), flushes: false)
        harness.flush()
        guard case .connack(let connack)? = second.received.first else { return nil }
        return connack
    }

    @Test func ofSeveralConnectionsThatWaitTheNewestIsTaken() throws {
        let (harness, watcher) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect(expiry: 100)
        self.sendMany(heavy)
        let clients = (0..<3).map { _ in harness.client("heavy") }
        for client in clients { client.prepare(clean: false, expiry: 100) }
        harness.flush()
        #expect(clients.map(\.isOpen) == [false, false, true])
        #expect(clients.map(\.closeReason) == [.serverBusy, .serverBusy, nil])
        #expect(watcher.takePayloads() == Self.numbers)
    }

    @Test func aConnectionThatDoesNotWaitForItsTurnIsNeverMade() throws {
        let (harness, watcher) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect(expiry: 100)
        self.sendMany(heavy)
        let again = harness.client("heavy")
        again.prepare(clean: true, will: self.will("never"))
        again.drop()
        #expect(watcher.takePayloads() == Self.numbers)
        #expect(heavy.isOpen)
        #expect(harness.core.connectedCount == 2)
    }

    @Test func aDeviceWithoutRightsIsGoneAtOnce() throws {
        let (harness, watcher) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect(will: self.will("will"))
        self.sendMany(heavy)
        heavy.drop(.revoked)
        let texts = watcher.takePayloads()
        #expect(texts.count < 6 && texts == Array(Self.numbers.prefix(texts.count)), "\(texts)")
    }

    @Test func whatALostLinkBroughtIsSentAgainByItsListener() throws {
        let (harness, watcher) = try self.start(hasStore: true)
        let listener = harness.addListener()
        let heavy = harness.client("heavy", on: listener)
        heavy.connect()
        for number in 0..<20 {
            heavy.send(self.publish("\(number)", identifier: UInt16(number + 1)), flushes: false)
        }
        #expect(harness.hasWork)
        _ = harness.breakLink(listener)
        #expect(heavy.isOpen)
        let texts = watcher.takePayloads()
        #expect(Set(texts) == Set(Self.numbers))
        #expect(heavy.received.count { $0.type == .puback } == 20)
    }

    @Test func aRouterThatStopsHandlesWhatWaits() throws {
        let (harness, watcher) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect()
        self.sendMany(heavy)
        harness.core.announceStop()
        harness.drain()
        var isReady = harness.core.isReadyToStop
        #expect(!isReady)
        #expect(watcher.takePayloads() == Self.numbers)
        isReady = harness.core.isReadyToStop
        #expect(isReady)
    }

    // MARK: Bounds

    @Test func creditComesBackWhenInputIsHandledAndNotBefore() throws {
        let (harness, _) = try self.start { $0.flowControl.sessionCreditBytes = 1000 }
        let heavy = harness.client("heavy")
        heavy.connect()
        var sent = 0
        for _ in 0..<3 {
            self.sendMany(heavy)
            sent += (0..<20).reduce(0) { $0 + self.publish("\($1)").bytes(.v5_0).count }
        }
        let link = try #require(harness.core.links[harness.listener.index])
        #expect(link.consumedBytes < sent / 4)
        #expect(heavy.publishCredit == 0)
        harness.flush()
        #expect(heavy.publishCredit > sent - 250 && heavy.publishCredit <= sent)
    }

    @Test func creditOfInputThatComesToNothingReturnsToTheLink() throws {
        for partBytes in [50, 333, 1 << 20] {
            let (harness, _) = try self.start()
            let link = try #require(harness.core.links[harness.listener.index])
            let heavy = harness.client("heavy")
            heavy.connect()
            let before = link.consumedBytes
            let small = (0..<20).flatMap { self.publish("\($0)").bytes(.v5_0) }
            let large = Packet.publish(
                PublishPacket(topic: Array("large".utf8), payload: [UInt8](repeating: 0x30, count: 900))
            ).bytes(.v5_0)
            // A second CONNECT ends the connection; the large packet is under way then.
            let connect = Packet.connect(ConnectPacket(version: .v5_0, clientIdentifier: [0x61])).bytes(.v5_0)
            let bytes = small + connect + large + small
            heavy.send(bytes: Array(bytes[..<(bytes.count - 700)]), flushes: false, partBytes: partBytes)
            if partBytes < 100 { harness.flush() }
            heavy.send(bytes: Array(bytes[(bytes.count - 700)...]), flushes: false, partBytes: partBytes)
            harness.flush()
            #expect(heavy.closeReason == .protocolError)
            #expect(link.consumedBytes - before == bytes.count - connect.count, "\(partBytes)")
        }
    }

    @Test func acknowledgementsThatNobodyAskedForDoNotPileUp() throws {
        let (harness, _) = try self.start()
        let heavy = harness.client("heavy")
        heavy.connect()
        self.sendMany(heavy)
        let puback = Packet.puback(AcknowledgementPacket(packetIdentifier: 1)).bytes(.v5_0)
        let flood = [UInt8](repeating: 0, count: 10_000).flatMap { _ in puback }
        for _ in 0..<100 where self.session("heavy", harness) != nil { heavy.send(bytes: flood, flushes: false) }
        harness.flush()
        #expect(heavy.closeReason == .quotaExceeded)
    }
}
