import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// `mqtt.session.max_subscription_bytes`.
@Suite struct SubscriptionBytesTests {
    private let directory: TemporaryDirectory
    private var path: String { self.directory.file("store.db") }
    private static let quotaExceeded = ReasonCode.quotaExceeded.rawValue

    init() throws {
        self.directory = try TemporaryDirectory()
    }

    /// A thousand filters of 65 kB each were 62 MB of the router, for one client, and of the store.
    @Test func filtersAreBoundedInBytesToo() {
        let harness = RouterHarness { $0.mqtt.session.maxSubscriptionBytes = 2048 }
        let client = harness.client("c")
        client.connect()
        // Each counts 1,000 and 32.
        let (first, second) = (String(repeating: "a", count: 1000), String(repeating: "b", count: 1000))
        #expect(client.subscribe(first, .atLeastOnce) == 1)
        #expect(client.subscribe(second, .atLeastOnce) == Self.quotaExceeded)
        #expect(harness.core.counters.subscriptionsDenied == 1)
        #expect(client.subscribe(first, .exactlyOnce) == 2, "those it has it may change")
        #expect(client.subscribe("$share/" + second, .atLeastOnce) == nil && !client.isOpen, "no group, no filter")
        client.connect()
        let group = String(repeating: "g", count: 990)
        #expect(client.subscribe("$share/\(group)/t", .atLeastOnce) == 1)
        #expect(client.subscribe(second, .atLeastOnce) == Self.quotaExceeded, "group names count")
        #expect(client.unsubscribe("$share/\(group)/t")?.reasonCodes == [.success])
        #expect(client.subscribe(second, .atLeastOnce) == 1)
        // A level takes memory however short it is.
        let levels = String(repeating: "/", count: 31)
        #expect(client.subscribe(levels, .atLeastOnce) == Self.quotaExceeded)
        let old = harness.client("old", .v3_1_1)
        old.connect()
        #expect(old.subscribe(first, .atLeastOnce) == 1)
        #expect(old.subscribe(second, .atLeastOnce) == 0x80)
    }

    private struct Filter {
        let text: String
        let bytes: Int

        init(_ number: Int, _ random: inout SeededRandom) {
            let length = Int.random(in: 0...(random.oneIn(2) ? 60_000 : 50), using: &random)
            let levels = Int.random(in: 0...60, using: &random)
            var text = "\(number)/" + String(repeating: "x", count: length) + String(repeating: "/+", count: levels)
            if random.oneIn(3) { text = "$share/\(String(repeating: "g", count: number + 1))/" + text }
            self.text = text
            self.bytes = text.utf8.count + 32 * (2 + levels)
        }
    }

    /// SUBSCRIBE, UNSUBSCRIBE, further connections, restarts and attaching against a sum that is made anew each time.
    @Test func theSumIsRightWhateverHappens() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let limit = Configuration.MQTT.Session().maxSubscriptionBytes
        var harness = RouterHarness(store: try StoreFile(path: self.path, survivesPowerLoss: false))
        var client = harness.client("device")
        client.connect(clean: false, expiry: 3600)
        let filters = (0..<150).map { Filter($0, &random) }
        var held: Set<Int> = []
        func sum() -> Int { held.reduce(0) { $0 + filters[$1].bytes } }
        var refused = 0
        for step in 0..<800 {
            let what = "seed \(seed), step \(step)"
            let number = Int.random(in: filters.indices, using: &random)
            let filter = filters[number]
            switch Int.random(in: 0..<200, using: &random) {
            case 0, 1:
                harness = try harness.restart(self.path)
                client = harness.client("device")
                #expect(client.connect(clean: false, expiry: 3600)?.sessionPresent == true, "\(what)")
            case 2, 3:
                harness = try harness.replaceRouter(self.path)
                harness.flush()
                #expect(client.isOpen, "\(what)")
            case 4:
                client.drop()
                if random.oneIn(3) {
                    held = []
                    client.connect(clean: true, expiry: 3600)
                } else {
                    client.connect(clean: false, expiry: 3600)
                }
            case 5..<160:
                let isGranted = held.contains(number) || sum() + filter.bytes <= limit
                #expect(client.subscribe(filter.text, .atLeastOnce) == (isGranted ? 1 : Self.quotaExceeded), "\(what)")
                if isGranted { held.insert(number) } else { refused += 1 }
            default:
                let expected: ReasonCode = held.remove(number) != nil ? .success : .noSubscriptionExisted
                #expect(client.unsubscribe(filter.text)?.reasonCodes == [expected], "\(what)")
            }
            let session = harness.core.sessionsByClient[Array("device".utf8)].flatMap { harness.core.sessions[Int($0)] }
            #expect(session?.subscriptions.count == held.count, "\(what)")
            #expect(session?.subscriptions.countedBytes == sum(), "\(what)")
        }
        #expect(refused > 0, "seed \(seed)")
    }

    @Test func anotherRouterKeepsWhatIsBeyondALowerLimit() throws {
        let harness = RouterHarness(store: try StoreFile(path: self.path, survivesPowerLoss: false))
        let client = harness.client("device")
        client.connect(clean: false, expiry: 3600)
        let filter = String(repeating: "a", count: 5000)
        #expect(client.subscribe(filter, .atLeastOnce) == 1)
        let lower = try harness.restart(self.path) { $0.mqtt.session.maxSubscriptionBytes = 1024 }
        let again = lower.client("device")
        #expect(again.connect(clean: false, expiry: 3600)?.sessionPresent == true)
        #expect(again.subscribe(filter, .atMostOnce) == 0)
        #expect(again.subscribe("b", .atMostOnce) == Self.quotaExceeded)
        #expect(again.unsubscribe(filter)?.reasonCodes == [.success])
        #expect(again.subscribe("b", .atMostOnce) == 0)
    }
}
