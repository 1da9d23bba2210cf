import Common
import TestSupport
import Testing

@testable import Listener

/// Whose place is given up when too many connections say nothing.
@Suite struct SilentConnectionsTests {
    private func source(_ bytes: [UInt8]) -> ConnectionSource? {
        ConnectionSource(SocketAddress(ListenAddress(bytes: bytes, port: 1)))
    }

    private func source(_ last: UInt8) -> ConnectionSource? { self.source([192, 0, 2, last]) }

    @Test func anAddressWithManyLosesItsOwnFirst() {
        var silent = SilentConnections()
        for number in 0..<3 as Range<Int32> { silent.insert(number, from: self.source(UInt8(number))) }
        for number in 10..<110 as Range<Int32> { silent.insert(number, from: self.source(9)) }
        for number in 3..<6 as Range<Int32> { silent.insert(number, from: self.source(UInt8(number))) }
        let gone = (0..<99).compactMap { _ in silent.removeOfMany() }
        #expect(gone.sorted() == Array(11..<110), "all but one of the address with a hundred")
        #expect(gone.first == 73, "the oldest of the many")
        // From where there is one only, the one that has been silent longest.
        #expect((0..<7).compactMap { _ in silent.removeOfMany() } == [0, 1, 2, 10, 3, 4, 5])
        #expect(silent.removeOfMany() == nil)
        #expect(silent.count == 0)
    }

    @Test func anIPv6NetworkIsOneAddress() {
        var silent = SilentConnections()
        silent.insert(1, from: self.source(1))
        for number in 2..<10 as Range<Int32> {
            silent.insert(number, from: self.source([0x20, 1, 0xD, 0xB8] + Array(repeating: UInt8(number), count: 12)))
        }
        for number in 20..<30 as Range<Int32> {
            let network: [UInt8] = [0x20, 1, 0xD, 0xB8, 0, 0, 0, 7]
            silent.insert(number, from: self.source(network + Array(repeating: UInt8(number), count: 8)))
        }
        #expect((0..<9).compactMap { _ in silent.removeOfMany() }.sorted() == Array(21..<30))
    }

    @Test func oneOfManyThatHaveSpokenIsNoLongerOneOfMany() {
        var silent = SilentConnections()
        for number in 0..<100 as Range<Int32> { silent.insert(number, from: self.source(1)) }
        for number in 0..<99 as Range<Int32> { silent.remove(number) }
        for number in 200..<210 as Range<Int32> { silent.insert(number, from: self.source(2)) }
        #expect((0..<9).compactMap { _ in silent.removeOfMany() }.sorted() == Array(201..<210))
        #expect(silent.count == 2)
    }

    /// Against a search through all: who loses one has more than half as many as the one with most, and nothing piles up.
    @Test func agreesWithASearch() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var silent = SilentConnections()
        var sources: [Int32: UInt8] = [:]
        var counts = [Int](repeating: 0, count: 256)
        var free = Array(0..<500 as Range<Int32>)
        func left(_ number: Int32) -> UInt8? {
            guard let source = sources.removeValue(forKey: number) else { return nil }
            counts[Int(source)] -= 1
            free.append(number)
            return source
        }
        for _ in 0..<30_000 {
            switch Int.random(in: 0..<6, using: &random) {
            case 0..<4:
                guard let number = free.popLast() else { continue }
                let source = min(
                    UInt8.random(in: 0..<40, using: &random),
                    UInt8.random(in: 0...255, using: &random)
                )
                silent.insert(number, from: self.source(source))
                sources[number] = source
                counts[Int(source)] += 1
            case 4:
                guard let number = sources.keys.min() else { continue }
                silent.remove(number)
                _ = left(number)
            default:
                let most = counts.max() ?? 0
                let gone = silent.removeOfMany()
                #expect((gone == nil) == sources.isEmpty, "seed \(seed)")
                guard let gone else { continue }
                guard let source = left(gone) else {
                    Issue.record("\(gone) had left before, seed \(seed)")
                    return
                }
                #expect(2 * (counts[Int(source)] + 1) > most, "seed \(seed)")
            }
            #expect(silent.count == sources.count, "seed \(seed)")
            #expect(silent.entryCount <= 2 * 500 + 65, "seed \(seed)")
        }
    }
}
