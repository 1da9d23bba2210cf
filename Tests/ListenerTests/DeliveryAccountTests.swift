import TestSupport
import Testing

@testable import Listener

@Suite struct DeliveryAccountTests {
    @Test(
        "Credit returns late, never early; all of it when the output is drained; at most half the window is held back"
    )
    func property() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<200 {
            let window = Int.random(in: 1...5000, using: &random)
            var account = DeliveryAccount(sessionCredit: window)
            // The connection's output: runs of bytes that count and of bytes that do not.
            var output: [(isPublish: Bool, bytes: Int)] = []
            var queued = 0
            var written = 0
            var toLink = 0
            var toSession = 0
            for _ in 0..<60 {
                for _ in 0..<Int.random(in: 0...3, using: &random) {
                    let bytes = Int.random(in: 1...800, using: &random)
                    let isPublish = !random.oneIn(3)
                    output.append((isPublish, bytes))
                    guard isPublish else { continue }
                    account.queued(bytes)
                    queued += bytes
                }
                var space = random.oneIn(4) ? Int.max : Int.random(in: 0...1500, using: &random)
                while space > 0, let first = output.first {
                    let count = min(space, first.bytes)
                    space -= count
                    if first.isPublish { written += count }
                    if count == first.bytes { output.removeFirst() } else { output[0].bytes -= count }
                }
                let returned = account.written(pendingOutput: output.reduce(0) { $0 + $1.bytes })
                toLink += returned.link
                toSession += returned.session
                #expect(toLink <= written, "seed \(seed)")
                #expect(toLink + account.outstanding == queued, "seed \(seed)")
                #expect(toSession + account.unreported == toLink, "seed \(seed)")
                #expect(account.unreported < max(1, window / 2), "seed \(seed)")
                if output.isEmpty { #expect(toLink == queued, "seed \(seed)") }
            }
            #expect(account.close() == queued - toLink, "seed \(seed)")
            #expect(account.close() == 0)
        }
    }
}

@Suite struct DeliveryPressureTests {
    private func expect(
        _ pressure: inout DeliveryPressure,
        rises: Bool,
        isHigh: Bool,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let hasRisen = pressure.hasRisen()
        #expect(hasRisen == rises, sourceLocation: sourceLocation)
        #expect(pressure.isHigh == isHigh, sourceLocation: sourceLocation)
    }

    @Test func sessionsAreToldAtOnceFromHalfOfTheCreditOn() {
        var pressure = DeliveryPressure(credit: 1600)
        pressure.queued(800)
        self.expect(&pressure, rises: false, isHigh: false)
        pressure.queued(1)
        self.expect(&pressure, rises: true, isHigh: true)
        // Told once.
        self.expect(&pressure, rises: false, isHigh: true)
        pressure.released(200)
        // Not in and out with each message.
        self.expect(&pressure, rises: false, isHigh: true)
        pressure.released(1)
        self.expect(&pressure, rises: false, isHigh: false)
        pressure.queued(300)
        self.expect(&pressure, rises: true, isHigh: true)
    }

    @Test func clientsHaveToGoWhenNothingIsLeftUntilHalfIsFree() {
        var pressure = DeliveryPressure(credit: 6400)
        func ends(_ expected: Bool, sourceLocation: SourceLocation = #_sourceLocation) {
            let ends = pressure.endsClients()
            #expect(ends == expected, sourceLocation: sourceLocation)
        }
        pressure.queued(6300)
        ends(false)
        pressure.queued(1)
        #expect(pressure.isCritical)
        ends(true)
        pressure.released(1)
        #expect(!pressure.isCritical)
        ends(true)
        pressure.released(3100)
        ends(false)
        pressure.queued(3000)
        ends(false)
    }

    @Test func whatWasCollectedForASessionIsReportedOnRequest() {
        var account = DeliveryAccount(sessionCredit: 1000)
        account.queued(300)
        let first = account.written(pendingOutput: 0)
        #expect(first == (300, 0))
        account.queued(100)
        let second = account.written(pendingOutput: 60, reportsAll: true)
        #expect(second == (40, 340))
        let third = account.written(pendingOutput: 0)
        #expect(third == (60, 0), "collected again")
        let report = account.report()
        #expect(report == 60)
    }
}
