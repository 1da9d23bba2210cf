import Common
import Glibc
import TLS
import TestSupport
import Testing

@testable import Listener

/// Who is next of those that wait for their handshake.
@Suite struct HandshakeQueueTests {
    private typealias Rank = HandshakeQueue.Rank

    private func source(_ number: Int) -> ConnectionSource {
        ConnectionSource(ListenAddress(bytes: [192, 0, 2, UInt8(number)], port: 1))
    }

    @Test func ticketsGoFirstAndStarveNobody() {
        var queue = HandshakeQueue()
        for number in 0..<400 as Range<Int32> {
            queue.append(number, Rank.allCases[Int(number) / 100], from: self.source(1))
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
            queue.append(number, .refused, from: self.source(1))
            #expect(queue.next() == number)
        }
        for number in 0..<60 as Range<Int32> {
            queue.append(number, number < 30 ? .refused : .known, from: self.source(1))
        }
        let first = (0..<14).compactMap { _ in queue.next() }
        #expect((1...3).contains(first.count { $0 < 30 }))
        for number in 100..<130 as Range<Int32> { queue.append(number, .ticket, from: self.source(1)) }
        let next = (0..<34).compactMap { _ in queue.next() }
        #expect(next.count { $0 >= 100 } >= 26)
    }

    /// As lists do it that are searched from their beginning.
    private struct Lists {
        var lists: [[(connection: Int32, source: Int)]] = [[], [], [], []]
        /// The addresses of each rank in the order of their turns.
        var turns: [[Int]] = [[], [], [], []]

        mutating func append(_ connection: Int32, _ rank: Int, _ source: Int) {
            self.lists[rank].append((connection, source))
            if !self.turns[rank].contains(source) { self.turns[rank].append(source) }
        }

        /// Of a rank; an address of which all have left keeps its turn until it comes.
        mutating func next(_ rank: Int, except excluded: Int?) -> Int32? {
            guard self.lists[rank].contains(where: { $0.source != excluded }) else { return nil }
            while let turn = self.turns[rank].firstIndex(where: { $0 != excluded || self.count(rank, $0) == 0 }) {
                let source = self.turns[rank].remove(at: turn)
                guard let place = self.lists[rank].firstIndex(where: { $0.source == source }) else { continue }
                if self.count(rank, source) > 1 { self.turns[rank].append(source) }
                return self.lists[rank].remove(at: place).connection
            }
            return nil
        }

        func count(_ rank: Int, _ source: Int) -> Int { self.lists[rank].count { $0.source == source } }

        func largest(_ rank: Int) -> Int { (0..<6).map { self.count(rank, $0) }.max() ?? 0 }
    }

    /// Random operations against lists; and no rank waits longer than its share says.
    @Test func agreesWithLists() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var queue = HandshakeQueue()
        var lists = Lists()
        var turnsSince = [0, 0, 0, 0]
        var changes = 0
        for number in 0..<30_000 as Range<Int32> {
            let what: Comment = "seed \(seed), step \(number)"
            for rank in 0..<4 where lists.lists[rank].isEmpty { turnsSince[rank] = 0 }
            let source = random.oneIn(2) ? 0 : Int.random(in: 0..<6, using: &random)
            switch Int.random(in: 0..<(number % 2000 < 1000 ? 9 : 14), using: &random) {
            case 0..<5:
                let rank = Int.random(in: 0..<4, using: &random)
                queue.append(number, Rank.allCases[rank], from: self.source(source))
                lists.append(number, rank, source)
            case 5:
                let rank = Int.random(in: 0..<4, using: &random)
                guard let entry = lists.lists[rank].randomElement(using: &random) else { continue }
                queue.remove(entry.connection, from: self.source(entry.source))
                lists.lists[rank].removeAll { $0.connection == entry.connection }
            case 6 where random.oneIn(4):
                changes += lists.count(2, source)
                queue.isRefused(self.source(source))
                for entry in lists.lists[2] where entry.source == source { lists.append(entry.connection, 3, source) }
                lists.lists[2].removeAll { $0.source == source }
            case 7:
                let gone = queue.removeRefused()
                let place = lists.lists[3].firstIndex { $0.connection == gone }
                #expect((gone == nil) == lists.lists[3].isEmpty && (gone == nil) == (place == nil), what)
                guard let place else { continue }
                let of = lists.lists[3][place].source
                #expect(lists.count(3, of) == lists.largest(3), what)
                #expect(lists.lists[3].firstIndex { $0.source == of } == place, what)
                lists.lists[3].remove(at: place)
            case 8:
                let largest = queue.largestNew
                #expect(largest?.count ?? 0 == lists.largest(2), what)
                guard let largest, let gone = queue.removeLastNew(from: largest.source) else { continue }
                let place = try #require(lists.lists[2].firstIndex { $0.connection == gone }, what)
                let of = lists.lists[2][place].source
                #expect(self.source(of) == largest.source && lists.count(2, of) == largest.count, what)
                #expect(lists.lists[2].lastIndex { $0.source == of } == place, what)
                lists.lists[2].remove(at: place)
            default:
                let excluded = random.oneIn(3) ? source : nil
                let withRefused = !random.oneIn(4)
                let next = queue.next(withRefused: withRefused, except: excluded.map { self.source($0) })
                let found = lists.lists.firstIndex { $0.contains { $0.connection == next } }
                #expect((next == nil) == (found == nil), what)
                guard let found else {
                    for rank in 0..<(withRefused ? 4 : 3) {
                        #expect(lists.next(rank, except: rank == 0 ? nil : excluded) == nil, what)
                    }
                    continue
                }
                #expect(lists.next(found, except: found == 0 ? nil : excluded) == next, what)
                for rank in 0..<4 {
                    let isExcluded = lists.lists[rank].allSatisfy { $0.source == excluded } || rank == 3 && !withRefused
                    turnsSince[rank] = rank == found || isExcluded ? 0 : turnsSince[rank] + 1
                    #expect(turnsSince[rank] <= 2 * 36 / Rank.allCases[rank].share + 3, what)
                }
            }
            #expect(queue.count == lists.lists.reduce(0) { $0 + $1.count }, what)
        }
        #expect(changes > 100)
    }

    /// The connections of one address went in the order of coming, before all that came later.
    @Test func theManyOfOneAddressAreNotAllBeforeTheOneOfAnother() {
        for rank in Rank.allCases {
            var queue = HandshakeQueue()
            for number in 0..<4000 as Range<Int32> { queue.append(number, rank, from: self.source(9)) }
            for number in 4000..<4003 as Range<Int32> {
                queue.append(number, rank, from: self.source(Int(number - 4000)))
            }
            let first = (0..<5).compactMap { _ in queue.next() }
            #expect(first == [0, 4000, 4001, 4002, 1], "\(rank)")
        }
    }

    @Test func theOldestOfTheAddressWithTheMostRefusedGivesUpItsPlace() {
        var queue = HandshakeQueue()
        for number in 0..<16 as Range<Int32> {
            queue.append(number, Rank.allCases[Int(number) % 4], from: self.source(number < 4 ? 1 : 2))
        }
        let given = (0..<2).map { _ in queue.removeRefused() }
        #expect(given == [7, 11])
        let rest = (0..<3).compactMap { _ in queue.removeRefused() }
        #expect(rest.sorted() == [3, 15])
    }

    @Test func anAddressThatTurnsOutBadWhileItWaitsCostsOtherNewOnesNothing() {
        var queue = HandshakeQueue()
        for number in 0..<2000 as Range<Int32> { queue.append(number, .new, from: self.source(9)) }
        queue.append(2000, .new, from: self.source(1))
        queue.isRefused(self.source(9))
        #expect(queue.next(withRefused: false) == 2000)
        #expect(queue.next(withRefused: false) == nil)
        #expect(queue.next() == 0)
    }

    @Test func addressesThatLeaveDoNotPileUp() {
        var queue = SourceQueue()
        for number in 0..<100_000 as Range<Int32> {
            let bytes = withUnsafeBytes(of: number.bigEndian) { Array($0) }
            let source = ConnectionSource(ListenAddress(bytes: bytes, port: 1))
            queue.append(number, from: source)
            let wasThere = queue.remove(number, from: source)
            #expect(wasThere)
            #expect(queue.turnCount <= 66)
        }
        #expect(queue.count == 0 && !queue.hasNext() && queue.largest == nil)
    }

    // MARK: Addresses

    private func address(_ text: String) throws -> ConnectionSource {
        var bytes = [UInt8](repeating: 0, count: text.contains(":") ? 16 : 4)
        let result = inet_pton(bytes.count == 4 ? AF_INET : AF_INET6, text, &bytes)
        try #require(result == 1)
        return ConnectionSource(ListenAddress(bytes: bytes, port: 1))
    }

    @Test func anAddressIsKnownByWhatCameFromIt() throws {
        var history = SourceHistory()
        let (device, stranger) = (try self.address("192.0.2.1"), try self.address("192.0.2.2"))
        #expect(history.rank(of: device) == .new)
        history.letIn(device)
        #expect(try history.rank(of: self.address("192.0.2.1")) == .known)
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
