import TestSupport
import Testing

@testable import Bench

@Suite struct HistogramTests {
    @Test("Quantiles are at most 0.8 % too large, against sorting")
    func quantiles() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var histogram = Histogram()
        var values: [UInt64] = []
        for _ in 0..<20_000 {
            let value = UInt64.random(in: 0..<(1 << UInt64.random(in: 1...39, using: &random)), using: &random)
            histogram.record(value)
            values.append(value)
        }
        values.sort()
        for share in [0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1] {
            let exact = values[Int((Double(values.count) * share).rounded(.up)) - 1]
            let given = histogram.quantile(share)
            #expect(
                given >= exact && Double(given) <= Double(exact) * 1.008 + 1,
                "seed \(seed), \(share): \(given), \(exact)"
            )
        }
        #expect(histogram.quantile(1) == values.last)
        #expect(Histogram().quantile(0.5) == 0)
    }
}
