import Common
import TestSupport
import Testing

@testable import Router

/// Clients that read nothing, beside others on the same link.
@Suite struct SharedCreditTests {
    private struct Setup {
        let harness: RouterHarness
        let listener: RouterHarness.FakeListener
        let publisher: FakeClient
        let reader: FakeClient
        var others: [FakeClient] = []
    }

    /// - Parameter others: clients that subscribe to `g/#` and read nothing.
    private func start(
        others count: Int,
        linkCredit: Int = 64 << 10,
        features: LinkHello.Features = .all
    ) -> Setup {
        let harness = RouterHarness()
        let listener = harness.addListener(sessionCredit: 4096, linkCredit: linkCredit, features: features)
        listener.keepsUnread = true
        var setup = Setup(
            harness: harness,
            listener: listener,
            publisher: harness.client("publisher"),
            reader: harness.client("reader")
        )
        setup.publisher.connect()
        setup.reader.connect()
        setup.reader.subscribe("h", .atLeastOnce)
        for index in 0..<count {
            let other = harness.client("other-\(index)", on: listener)
            other.connect()
            other.subscribe("g/#", .atLeastOnce)
            other.returnsCredit = false
            setup.others.append(other)
        }
        return setup
    }

    private static func payload(_ index: Int, _ bytes: Int = 100) -> String {
        "\(index)" + String(repeating: ".", count: bytes)
    }

    private static func numbers(_ payloads: [String]) -> [Int?] {
        payloads.map { Int($0.prefix { $0 != "." }) }
    }

    @Test(arguments: [10, 100, 600], [QoS.atMostOnce, .atLeastOnce])
    func clientsThatDoNotReadLeaveRoomForThoseThatDo(others: Int, qos: QoS) {
        let setup = self.start(others: others, linkCredit: 256 << 10)
        for index in 0..<60 { setup.publisher.publish("g/x", Self.payload(index), qos) }
        for index in 0..<200 { setup.publisher.publish("h", Self.payload(index), qos) }
        #expect(Self.numbers(setup.reader.takePayloads()) == Array(0..<200))
        #expect(setup.others.allSatisfy { !$0.received.isEmpty }, "each of the others has had something")
        // Who comes later is no worse off.
        let late = setup.harness.client("late", on: setup.listener)
        late.connect()
        late.subscribe("h", .atLeastOnce)
        setup.publisher.publish("h", Self.payload(200), qos)
        #expect(Self.numbers(late.takePayloads()) == [200])
    }

    @Test func whoReadsAgainGetsTheRestInOrder() {
        let setup = self.start(others: 60)
        for index in 0..<60 { setup.publisher.publish("g/x", Self.payload(index), .atLeastOnce) }
        let before = setup.others.map { $0.takePayloads() }
        #expect(before.allSatisfy { $0.count < 40 })
        for (other, first) in zip(setup.others, before) {
            other.returnsCredit = true
            other.returnHeldCredit()
            #expect(Self.numbers(first + other.takePayloads()) == Array(0..<60))
        }
        #expect(setup.harness.core.queuedBytesTotal == 0)
    }

    /// Nothing tells the others of it but the link's credit.
    @Test func whenSomeGoTheOthersGetMore() {
        let setup = self.start(others: 60)
        for index in 0..<40 { setup.publisher.publish("g/x", Self.payload(index), .atLeastOnce) }
        let stayed = setup.others[0]
        let before = stayed.received.count
        for other in setup.others[1...] { other.drop() }
        setup.harness.returnCredit(setup.listener, [])
        setup.harness.flush()
        #expect(stayed.received.count > before)
        #expect(stayed.heldCredit > 3000, "as much as its own credit allows")
    }

    @Test func aSessionOnAnAmpleLinkMayUseAllOfItsCredit() {
        let setup = self.start(others: 1)
        for index in 0..<60 { setup.publisher.publish("g/x", Self.payload(index), .atLeastOnce) }
        #expect(setup.others[0].heldCredit >= 4096)
    }

    /// It tells late what its clients have taken, so that nothing can be concluded from that.
    @Test func aListenerOfAnEarlierReleaseIsGivenItsWholeCredit() {
        let setup = self.start(others: 60, features: [])
        for index in 0..<60 { setup.publisher.publish("g/x", Self.payload(index), .atLeastOnce) }
        #expect(setup.others.reduce(0) { $0 + $1.heldCredit } >= 64 << 10)
    }

    @Test(arguments: 1...20)
    func readersGetEverythingWhateverTheOthersDo(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        let setup = self.start(others: 0, linkCredit: 96 << 10)
        var expected: [[Int]] = []
        var clients: [FakeClient] = []
        for index in 0..<80 {
            let client = setup.harness.client("client-\(index)", on: setup.listener)
            client.connect()
            client.subscribe("all", .atLeastOnce)
            clients.append(client)
            expected.append([])
        }
        for step in 0..<300 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0...6:
                setup.publisher.publish(
                    "all",
                    Self.payload(step, Int.random(in: 0..<300, using: &random)),
                    .atLeastOnce
                )
                for index in clients.indices { expected[index].append(step) }
            case 7, 8:
                clients[Int.random(in: clients.indices, using: &random)].returnsCredit = false
            default:
                let client = clients[Int.random(in: clients.indices, using: &random)]
                client.returnsCredit = true
                client.returnHeldCredit()
            }
            for (index, client) in clients.enumerated() where client.returnsCredit {
                let got = Self.numbers(
                    client.received.compactMap { packet in
                        if case .publish(let publish) = packet {
                            String(decoding: publish.payload, as: UTF8.self)
                        } else {
                            nil
                        }
                    }
                )
                #expect(got == expected[index], "seed \(seed), step \(step): client \(index)")
                guard got == expected[index] else { return }
            }
        }
    }
}
