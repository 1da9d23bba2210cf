import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// Messages that expire while they wait in queues: see docs/adr/0026.
@Suite struct QueuedExpiryTests {
    private func away(_ name: String, _ harness: RouterHarness, filter: String? = nil) {
        let client = harness.client(name)
        client.connect(clean: false, expiry: 10_000)
        client.subscribe(filter ?? name, .atLeastOnce)
        client.drop()
    }

    private func takePayloads(of name: String, _ harness: RouterHarness) -> [String] {
        let client = harness.client(name)
        client.connect(clean: false, expiry: 10_000)
        return client.takePayloads()
    }

    private func publisher(_ harness: RouterHarness) -> FakeClient {
        let publisher = harness.client("publisher")
        publisher.connect()
        return publisher
    }

    private static func expires(_ seconds: UInt32) -> (inout PublishPacket) -> Void {
        { $0.properties.messageExpiryInterval = seconds }
    }

    // MARK: Room

    /// Live messages were thrown away for those that nobody would get any more.
    @Test(arguments: [Configuration.MQTT.Session.QueueFull.dropOldest, .dropNewest], [true, false])
    func expiredMessagesLeaveTheirRoomToLiveOnes(policy: Configuration.MQTT.Session.QueueFull, isSwept: Bool) {
        let harness = RouterHarness {
            $0.mqtt.session.maxQueuedMessages = 100
            $0.mqtt.session.queueFull = policy
        }
        self.away("away", harness)
        let publisher = self.publisher(harness)
        for number in 0..<10 { publisher.publish("away", "kept \(number)", .atLeastOnce) }
        for number in 0..<90 { publisher.publish("away", "short \(number)", .atLeastOnce, Self.expires(1)) }
        // Once its queue is found full before anything else looked for what has expired.
        if isSwept { harness.pass(seconds: 6) } else { harness.now += 6 * Nanoseconds.perSecond }
        for number in 0..<20 { publisher.publish("away", "fresh \(number)", .atLeastOnce) }
        let expected = (0..<10).map { "kept \($0)" } + (0..<20).map { "fresh \($0)" }
        #expect(self.takePayloads(of: "away", harness) == expected)
        #expect(harness.core.counters.droppedExpired == 90)
        #expect(harness.core.counters.droppedQueueFull == 0)
        #expect(harness.core.queuedBytesTotal == 0)
    }

    /// No more of them go than are needed, and those first that expired first.
    @Test func aFullQueueGivesUpNoMoreThanItMust() {
        let harness = RouterHarness { $0.mqtt.session.maxQueuedMessages = 6 }
        self.away("away", harness)
        let publisher = self.publisher(harness)
        for (text, seconds) in [("a", 50), ("b", 2), ("c", 0), ("d", 1), ("e", 50), ("f", 0)] as [(String, UInt32)] {
            publisher.publish("away", text, .atLeastOnce) {
                if seconds > 0 { $0.properties.messageExpiryInterval = seconds }
            }
        }
        harness.now += 6 * Nanoseconds.perSecond
        publisher.publish("away", "g", .atLeastOnce)
        #expect(harness.core.counters.droppedExpired == 1)
        publisher.publish("away", "h", .atLeastOnce)
        #expect(harness.core.counters.droppedExpired == 2)
        publisher.publish("away", "i", .atLeastOnce)
        #expect(harness.core.counters.droppedQueueFull == 1)
        #expect(self.takePayloads(of: "away", harness) == ["c", "e", "f", "g", "h", "i"])
    }

    @Test(arguments: [true, false]) func expiredMessagesOfOthersLeaveTheirRoomInTheWhole(isSwept: Bool) {
        let harness = RouterHarness {
            $0.mqtt.session.maxQueuedBytes = 20_000
            $0.mqtt.maxQueuedBytesTotal = 100_000
        }
        for index in 0..<20 { self.away("away-\(index)", harness) }
        self.away("late", harness)
        let publisher = self.publisher(harness)
        let payload = String(repeating: "x", count: 900)
        for index in 0..<20 {
            for _ in 0..<20 { publisher.publish("away-\(index)", payload, .atLeastOnce, Self.expires(2)) }
        }
        #expect(harness.core.queuedBytesTotal > 90_000)
        let dropped = harness.core.counters.droppedTotalFull
        if isSwept { harness.pass(seconds: 13) } else { harness.now += 13 * Nanoseconds.perSecond }
        for number in 0..<12 { publisher.publish("late", "\(number) " + payload, .atLeastOnce) }
        #expect(harness.core.counters.droppedTotalFull == dropped)
        #expect(self.takePayloads(of: "late", harness).map { $0.prefix { $0 != " " } } == (0..<12).map { "\($0)" })
    }

    @Test func expiredMessagesLeaveTheirRoomToMessagesThatWaitForPubrel() {
        let harness = RouterHarness { $0.mqtt.maxQueuedBytesTotal = 10_000 }
        self.away("away", harness)
        let publisher = self.publisher(harness)
        let payload = String(repeating: "x", count: 400)
        for _ in 0..<40 { publisher.publish("away", payload, .atLeastOnce, Self.expires(2)) }
        harness.now += 13 * Nanoseconds.perSecond
        #expect(publisher.publish("other", String(repeating: "y", count: 8000), .exactlyOnce) != .quotaExceeded)
        #expect(harness.core.counters.droppedExpired > 0)
    }

    @Test func whatHasExpiredIsInNoFigure() {
        let harness = RouterHarness()
        self.away("away", harness)
        let publisher = self.publisher(harness)
        for _ in 0..<10 { publisher.publish("away", "short", .atLeastOnce, Self.expires(5)) }
        publisher.publish("away", "kept", .atLeastOnce)
        #expect(harness.core.queuedMessages == 11)
        harness.pass(seconds: 4.9)
        #expect(harness.core.queuedMessages == 11)
        harness.pass(seconds: 0.4)
        #expect(harness.core.queuedMessages == 1)
        #expect(harness.core.queuedBytesTotal == 64 + 8)
        #expect(harness.core.counters.droppedExpired == 10)
    }

    @Test func whatWaitsForASlowClientExpiresToo() {
        let harness = RouterHarness { $0.mqtt.session.maxQueuedMessages = 4 }
        let listener = harness.addListener(sessionCredit: 300)
        let reader = harness.client("reader", on: listener)
        reader.connect()
        reader.subscribe("#", .atLeastOnce)
        reader.returnsCredit = false
        let publisher = self.publisher(harness)
        publisher.publish("t", String(repeating: "x", count: 400), .atLeastOnce)
        for qos in [QoS.atMostOnce, .atLeastOnce] {
            for _ in 0..<2 { publisher.publish("t", "short", qos, Self.expires(1)) }
        }
        harness.now += 3 * Nanoseconds.perSecond
        for number in 0..<4 { publisher.publish("t", "\(number)", .atMostOnce) }
        #expect(harness.core.counters.droppedExpired == 4)
        reader.returnsCredit = true
        reader.returnHeldCredit()
        #expect(reader.takePayloads().suffix(4) == ["0", "1", "2", "3"])
        #expect(harness.core.counters.droppedQoS0 == 0)
    }

    @Test func messagesOfASharedGroupExpireInTheirMembersQueueAndAreNotPassedOn() {
        let harness = RouterHarness { $0.mqtt.session.maxQueuedMessages = 3 }
        let leaving = harness.client("leaving")
        leaving.connect(clean: false, expiry: 10)
        leaving.subscribe("$share/g/t", .atLeastOnce)
        leaving.drop()
        let publisher = self.publisher(harness)
        for _ in 0..<3 { publisher.publish("t", "short", .atLeastOnce, Self.expires(9)) }
        harness.pass(seconds: 9.5)
        #expect(harness.core.queuedMessages == 0)
        publisher.publish("t", "fresh", .atLeastOnce)
        for _ in 0..<2 { publisher.publish("t", "short", .atLeastOnce, Self.expires(1)) }
        self.away("other", harness, filter: "$share/g/t")
        // The member's session ends when two of its messages have expired.
        harness.pass(seconds: 2)
        #expect(self.takePayloads(of: "other", harness) == ["fresh"])
        #expect(harness.core.counters.droppedExpired == 5)
    }

    /// It pushed out what was there.
    @Test func aMessageThatCameTooLatePushesNothingOut() {
        let harness = RouterHarness { $0.mqtt.session.maxQueuedMessages = 1 }
        self.away("away", harness)
        let publisher = self.publisher(harness)
        publisher.publish("away", "live", .atLeastOnce)
        publisher.publish("away", "expired", .atLeastOnce, Self.expires(0))
        #expect(self.takePayloads(of: "away", harness) == ["live"])
        #expect(harness.core.counters.droppedExpired == 1)
    }

    // MARK: Work

    @Test func oneTurnTakesOutNoMoreThanItsShare() {
        let harness = RouterHarness()
        for index in 0..<3 { self.away("away-\(index)", harness, filter: "t") }
        let publisher = self.publisher(harness)
        for _ in 0..<2000 { publisher.publish("t", "short", .atLeastOnce, Self.expires(1)) }
        harness.now += 2 * Nanoseconds.perSecond
        for left in [6000 - RouterLimits.expiredPerTurn, 6000 - 2 * RouterLimits.expiredPerTurn, 0] {
            let isDue = harness.core.nextDeadline.map { $0 <= harness.now } ?? false
            #expect(isDue)
            harness.core.timePassed(now: harness.now)
            #expect(harness.core.queuedMessages == left)
        }
        let isDue = harness.core.nextDeadline.map { $0 <= harness.now } ?? false
        #expect(!isDue)
    }

    // MARK: The store

    private func restart(_ harness: RouterHarness, _ path: String) throws -> RouterHarness {
        try harness.restart(path, after: 1)
    }

    @Test(arguments: [true, false]) func whatExpiredDoesNotComeBackAfterAKill(isSwept: Bool) throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("store.db")
        var harness = RouterHarness(store: try StoreFile(path: path, survivesPowerLoss: false)) {
            $0.mqtt.session.maxQueuedMessages = 9
        }
        self.away("away", harness)
        let publisher = self.publisher(harness)
        for number in 0..<3 {
            publisher.publish("away", "kept \(number)", .atLeastOnce)
            publisher.publish("away", "short \(number)", .atLeastOnce, Self.expires(1))
            publisher.publish("away", "long \(number)", .atLeastOnce, Self.expires(1000))
        }
        if isSwept { harness.pass(seconds: 3) } else { harness.now += 3 * Nanoseconds.perSecond }
        for number in 0..<3 { publisher.publish("away", "fresh \(number)", .atLeastOnce) }
        #expect(harness.core.counters.droppedExpired == 3)
        harness.flush()
        harness = try self.restart(harness, path)
        #expect(harness.core.queuedMessages == 9)
        let expected = (0..<3).flatMap { ["kept \($0)", "long \($0)"] } + (0..<3).map { "fresh \($0)" }
        #expect(self.takePayloads(of: "away", harness) == expected)
        #expect(harness.core.counters.droppedExpired == 0, "they are in the store no more")
    }

    /// Nobody has to come for that.
    @Test func whatExpiredWhileNoRouterRanGivesItsRoomBack() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("store.db")
        var harness = RouterHarness(store: try StoreFile(path: path, survivesPowerLoss: false))
        self.away("away", harness)
        let publisher = self.publisher(harness)
        for _ in 0..<5 { publisher.publish("away", "short", .atLeastOnce, Self.expires(10)) }
        publisher.publish("away", "kept", .atLeastOnce)
        harness = try harness.restart(path, after: 20)
        harness.pass(seconds: 0.1)
        #expect(harness.core.queuedMessages == 1)
        harness = try harness.restart(path)
        #expect(harness.core.queuedMessages == 1)
        #expect(self.takePayloads(of: "away", harness) == ["kept"])
    }

    /// Publishers whose messages wait in a queue without being stored are not told that they are safe because others expired.
    @Test func answersStillWaitForWhatHasNotExpired() throws {
        let directory = try TemporaryDirectory()
        let store = try StoreFile(path: directory.file("store.db"), survivesPowerLoss: false)
        let harness = RouterHarness(store: store) { $0.mqtt.session.maxQueuedMessages = 3 }
        let reader = harness.client("reader", on: harness.addListener())
        reader.acknowledges = false
        reader.connect(clean: true, receiveMaximum: 1)
        reader.subscribe("t", .atLeastOnce)
        let publisher = harness.client("publisher", on: harness.addListener())
        publisher.connect(clean: true)
        publisher.publish("t", "under way", .atLeastOnce)
        publisher.takeAll()
        for text in ["first", "second"] { publisher.publish("t", text, .atLeastOnce) }
        publisher.publish("t", "short", .atLeastOnce, Self.expires(1))
        #expect(publisher.takePubacks() == [])
        harness.commitsAtOnce = false
        harness.now += 2 * Nanoseconds.perSecond
        publisher.publish("t", "third", .atLeastOnce)
        #expect(harness.core.counters.droppedExpired == 1)
        #expect(publisher.takePubacks() == [], "nothing is committed")
        harness.commitsAtOnce = true
        harness.flush()
        #expect(publisher.takePubacks().count == 4)
    }

    @Test func noMoreAreTakenOutWhileManyChangesWaitForTheirCommit() throws {
        let directory = try TemporaryDirectory()
        let store = try StoreFile(path: directory.file("store.db"), survivesPowerLoss: false)
        let harness = RouterHarness(store: store)
        self.away("away", harness)
        let publisher = self.publisher(harness)
        for _ in 0..<4 { publisher.publish("away", "short", .atLeastOnce, Self.expires(1)) }
        harness.commitsAtOnce = false
        let large = String(repeating: "x", count: 1_000_000)
        for _ in 0..<5 { publisher.publish("away", large, .atLeastOnce) }
        harness.pass(seconds: 2)
        #expect(harness.core.queuedMessages == 9)
        let looksAgain = harness.core.nextDeadline.map { $0 > harness.now } ?? false
        #expect(looksAgain)
        harness.commitsAtOnce = true
        harness.flush()
        harness.pass(seconds: 1)
        #expect(harness.core.queuedMessages == 5)
    }
}
