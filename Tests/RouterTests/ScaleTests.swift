import Common
import TestSupport
import Testing

@testable import Router

/// What a fleet's worth of filters and retained topics costs. MARTLET_SCALE sets how many, 100,000 if it does not.
@Suite(.serialized) struct ScaleTests {
    private static let isMeasured = ProcessEnvironment.current()["MARTLET_SCALE"] != nil
    private static let count = ProcessEnvironment.current()["MARTLET_SCALE"].flatMap { Int($0) } ?? 100_000

    /// Exact filters, with `+`, and with `#`, in turns.
    private static func filter(_ index: Int) -> String {
        let device = "devices/346a004d-1dab-4016-bb38-\(index)"
        switch index % 3 {
        case 0: return "\(device)/cmd"
        case 1: return "\(device)/+/set"
        default: return "\(device)/#"
        }
    }

    /// Of the whole heap, for measuring alone: other tests run at the same time.
    private static func describe(_ what: String, since before: UInt64) -> String {
        let bytes = Double(HeapUsage.bytes) - Double(before)
        let each = (bytes / Double(Self.count)).rounded()
        return "\(Self.count) \(what)" + (Self.isMeasured ? ", \(Int(each)) bytes of heap each, texts included" : "")
    }

    @Test func aFilterCostsLessThan150BytesAndAMatchNotMoreWithMoreFilters() {
        let before = HeapUsage.bytes
        var trie = SubscriptionTrie(seed: 4)
        var visitedByFew = 0
        for index in 0..<Self.count {
            trie.add(Self.filter(index), session: UInt32(index))
            guard index == 99 else { continue }
            let matched = trie.match("devices/346a004d-1dab-4016-bb38-50/any/set").count
            visitedByFew = trie.nodesVisited
            #expect(matched == 1)
        }
        let perFilter = trie.heldBytes / Self.count
        #expect(perFilter < 150)
        print("\(Self.describe("filters", since: before)); \(perFilter) without texts; \(trie.nodeCount) nodes")
        let matched = trie.match("devices/346a004d-1dab-4016-bb38-50/any/set").count
        #expect(matched == 1)
        #expect([trie.nodesVisited] == [visitedByFew])
        let unmatched = trie.match("devices/unknown/any/set").count
        #expect(unmatched == 0)
        #expect([trie.nodesVisited] == [2])
    }

    /// Each took a look at all before it, three times over: a bridge's hundred thousand kept everybody waiting for minutes.
    @Test func aClientMayHaveManySubscriptions() {
        let harness = RouterHarness {
            $0.mqtt.session.maxSubscriptions = 1_000_000
            $0.mqtt.session.maxSubscriptionBytes = 1 << 30
        }
        let publisher = harness.client("publisher")
        publisher.connect()
        publisher.publish("devices/1/state", "kept", .atLeastOnce) { $0.retain = true }
        let bridge = harness.client("bridge")
        bridge.connect()
        for start in stride(from: 0, to: Self.count, by: 1000) {
            let filters = (start..<min(start + 1000, Self.count)).map {
                SubscribePacket.Subscription(filter: Array("devices/\($0)/state".utf8), qos: .atLeastOnce)
            }
            bridge.send(.subscribe(SubscribePacket(packetIdentifier: UInt16(1 + start / 1000), subscriptions: filters)))
        }
        #expect(harness.core.subscriptionCount == Self.count)
        #expect(bridge.takePayloads() == ["kept"])
        publisher.publish("devices/\(Self.count - 1)/state", "live", .atLeastOnce)
        #expect(bridge.takePayloads() == ["live"])
        bridge.drop()
        #expect(harness.core.subscriptionCount == 0)
    }

    @Test func aWildcardLookUpVisitsOnlyBranchesThatCanMatch() {
        let before = HeapUsage.bytes
        var store = RetainedStore(seed: 5, messagesMax: Int.max, bytesMax: Int.max)
        let payload = Array("21.5".utf8)
        for index in 0..<Self.count {
            Array("plants/\(index % 1000)/devices/\(index)/state".utf8).withUnsafeBytes { topic in
                payload.withUnsafeBytes { payload in
                    let view = MessageView(
                        topic: topic,
                        properties: UnsafeRawBufferPointer(start: nil, count: 0),
                        payload: payload,
                        expiry: Instant.max,
                        qos: .atLeastOnce,
                        retain: true
                    )
                    _ = store.store(Message.make(copying: view))
                }
            }
        }
        let perPlant = Self.count / 1000
        print("\(Self.describe("retained messages", since: before)); \(store.nodeCount) nodes")
        for (filter, messages, nodesMax) in [
            ("plants/7/#", perPlant, 4 + 2 * perPlant),
            ("plants/7/devices/+/state", perPlant, 4 + 2 * perPlant),
            ("plants/7/devices/7/+", 1, 6),
            ("plants/+/devices/7/state", 1, 2 + 2 * 1000 + 3),
            ("plants/none/#", 0, 2),
        ] {
            var budget = Int.max
            var cursor = Array(filter.utf8).withUnsafeBytes {
                RetainedCursor(filter: $0, options: .init(qos: .atMostOnce), store: &store)
            }
            var found = 0
            while case .message = cursor.next(&store, budget: &budget) { found += 1 }
            #expect(found == messages, "\(filter)")
            let visited = Int.max - budget
            #expect(visited <= nodesMax, "\(filter)")
        }
    }
}
