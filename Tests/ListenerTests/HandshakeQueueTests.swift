import Common
import Glibc
import TLS
import TestSupport
import Testing

@testable import Listener

/// Who is next of those that wait for their handshake.
@Suite struct HandshakeQueueTests {
    private typealias Rank = HandshakeQueue.Rank

    @Test func ticketsGoFirstAndStarveNobody() {
        var queue = HandshakeQueue()
        for number in 0..<400 as Range<Int32> {
            queue.append(number, Rank.allCases[Int(number) / 100])
        }
        var order: [Int32] = []
        while let next = queue.next() { order.append(next) }
        let ranks = order.prefix(72).map { Int($0) / 100 }
        #expect(Rank.allCases.map { rank in ranks.count { $0 == rank.rawValue } } == [54, 12, 4, 2])
        // With the others alone, the shares stay what they are to each other.
        let rest = order.filter { $0 >= 100 }.prefix(18).map { Int($0) / 100 }
        #expect((1...3).map { rank in rest.count { $0 == rank } } == [12, 4, 2])
        #expect(order.sorted() == Array(0..<400))
        for rank in 0..<4 as Range<Int32> {
            #expect(order.filter { $0 / 100 == rank } == Array(rank * 100..<rank * 100 + 100), "in the order of coming")
        }
        #expect(queue.next() == nil)
    }

    /// One that was alone for long has not run up a debt, and one that comes anew has no claim.
    @Test func whatWasNotWaitedForIsNotMadeUpFor() {
        var queue = HandshakeQueue()
        for number in 0..<1000 as Range<Int32> {
            queue.append(number, .refused)
            #expect(queue.next() == number)
        }
        for number in 0..<60 as Range<Int32> { queue.append(number, number < 30 ? .refused : .known) }
        let first = (0..<14).compactMap { _ in queue.next() }
        #expect((1...3).contains(first.count { $0 < 30 }))
        for number in 100..<130 as Range<Int32> { queue.append(number, .ticket) }
        let next = (0..<34).compactMap { _ in queue.next() }
        #expect(next.count { $0 >= 100 } >= 26)
    }

    /// Against lists: each in its order, and none waits longer than its share says.
    @Test func agreesWithLists() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var queue = HandshakeQueue()
        var lists: [[Int32]] = [[], [], [], []]
        var turnsSince = [0, 0, 0, 0]
        for number in 0..<20_000 as Range<Int32> {
            if Bool.random(using: &random) {
                let rank = Int.random(in: 0..<4, using: &random)
                queue.append(number, Rank.allCases[rank])
                lists[rank].append(number)
                continue
            }
            let next = queue.next()
            #expect((next == nil) == lists.allSatisfy(\.isEmpty), "seed \(seed)")
            guard let found = lists.firstIndex(where: { $0.first != nil && $0.first == next }) else { continue }
            lists[found].removeFirst()
            for rank in 0..<4 {
                turnsSince[rank] = rank == found || lists[rank].isEmpty ? 0 : turnsSince[rank] + 1
                #expect(turnsSince[rank] <= 2 * 36 / Rank.allCases[rank].share + 3, "seed \(seed)")
            }
        }
    }

    @Test func theOldestOfTheRefusedGivesUpItsPlace() {
        var queue = HandshakeQueue()
        for number in 0..<8 as Range<Int32> { queue.append(number, Rank.allCases[Int(number) % 4]) }
        #expect(queue.removeRefused() == 3)
        #expect(queue.removeRefused() == 7)
        #expect(queue.removeRefused() == nil)
    }

    @Test func oneThatTurnsOutBadWhileItWaitsCostsOtherNewOnesNothing() {
        var queue = HandshakeQueue()
        for number in 0..<2000 as Range<Int32> { queue.append(number, .new) }
        queue.append(2000, .new)
        for number in 0..<2000 as Range<Int32> {
            #expect(queue.firstNew == number)
            queue.moveFirstNewToRefused()
        }
        #expect(queue.next(withRefused: false) == 2000)
        #expect(queue.next(withRefused: false) == nil)
        #expect(queue.next() == 0)
    }

    // MARK: Addresses

    private func address(_ text: String, port: UInt16 = 1) throws -> SocketAddress {
        var bytes = [UInt8](repeating: 0, count: text.contains(":") ? 16 : 4)
        let result = inet_pton(bytes.count == 4 ? AF_INET : AF_INET6, text, &bytes)
        try #require(result == 1)
        return SocketAddress(ListenAddress(bytes: bytes, port: port))
    }

    @Test func anAddressIsKnownByWhatCameFromIt() throws {
        var history = SourceHistory()
        let (device, stranger) = (try self.address("192.0.2.1"), try self.address("192.0.2.2"))
        #expect(history.rank(of: device) == .new)
        history.letIn(device)
        #expect(try history.rank(of: self.address("192.0.2.1", port: 9)) == .known)
        #expect(try history.rank(of: self.address("::ffff:192.0.2.1")) == .known, "the same through an IPv6 socket")
        history.refused(stranger)
        #expect(history.rank(of: stranger) == .refused)
        // One of several behind one address does not cost the others their place.
        for _ in 0..<4 {
            history.letIn(device)
            for _ in 0..<7 { history.refused(device) }
        }
        #expect(history.rank(of: device) == .known)
        // Nor is it known for ever for what it once was.
        for _ in 0..<100 { history.letIn(device) }
        for _ in 0..<65 { history.refused(device) }
        #expect(history.rank(of: device) == .refused)
        for _ in 0..<1000 { history.refused(stranger) }
        for _ in 0..<9 { history.letIn(stranger) }
        #expect(history.rank(of: stranger) == .known)
    }

    @Test func devicesOfOneIPv6NetworkAreOne() throws {
        var history = SourceHistory()
        history.letIn(try self.address("2001:db8:1:2::1"))
        #expect(try history.rank(of: self.address("2001:db8:1:2:aaaa::7")) == .known)
        #expect(try history.rank(of: self.address("2001:db8:1:3::1")) == .new)
    }

    @Test func whatIsRememberedIsBounded() throws {
        var history = SourceHistory(sourcesMax: 100)
        let kept = try self.address("192.0.2.1")
        for number in 0..<1000 {
            history.refused(try self.address("10.0.\(number / 250).\(number % 250)"))
            if number % 20 == 0 { history.letIn(kept) }
            #expect(history.count <= 100)
        }
        #expect(history.rank(of: kept) == .known, "of it something is heard again and again")
        #expect(try history.rank(of: self.address("10.0.0.1")) == .new)
        #expect(try history.rank(of: self.address("10.0.3.249")) == .refused)
    }

    @Test func onlyWhatAClientIsSpeaksAgainstItsAddress() {
        let against: [RefusalReason] = [
            .tls(.noClientCertificate), .tls(.certificateRevoked), .tls(.notTLS), .auth(.noSuchDevice),
            .auth(.wrongPassword),
            .banned, .handshakeTimeout, .notMQTT,
        ]
        let ours: [RefusalReason] = [
            .tls(.connectionReset), .tls(.revocationUnknown), .auth(.redisUnavailable), .auth(.overloaded),
            .authWorkerUnavailable, .routerUnavailable, .router(.serverBusy), .tooManyConnections, .noPlace,
        ]
        #expect(against.filter { !$0.speaksAgainstSource } == [])
        #expect(ours.filter { $0.speaksAgainstSource } == [])
    }
}
