import Common
import TestSupport
import Testing

@Suite struct StatusReportTests {
    private func roundTrip(_ report: StatusReport) -> StatusReport {
        let body = WireSamples.body(WireSamples.bytes { report.encode(into: &$0) })
        return body.withUnsafeBytes { StatusReport.decode($0) }
    }

    @Test("Lines arrive in their order with their values")
    func roundTrip() {
        var report = StatusReport()
        report.add("connections", 12)
        report.add("refused_total{reason=\"not-mqtt\"}", UInt64.max)
        report.add("router", "up since 12 s")
        report.add("empty", "")
        #expect(self.roundTrip(report).lines == report.lines)
        #expect(self.roundTrip(StatusReport()).lines.isEmpty)
    }

    @Test("Regression: line ends in a value make no lines of their own", arguments: ["\n", "\r\n", "\r"])
    func lineEnds(lineEnd: String) {
        var report = StatusReport()
        report.add("failure", "one\(lineEnd)connections 99")
        report.add("after", 1)
        let lines = self.roundTrip(report).lines
        #expect(lines.map(\.name) == ["failure", "after"])
    }

    @Test("Any bytes make some report")
    func garbage() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            let bytes = random.bytes(Int.random(in: 0...60, using: &random)).map { random.oneIn(5) ? 0x0A : $0 }
            let report = bytes.withUnsafeBytes { StatusReport.decode($0) }
            #expect(report.lines.count <= bytes.count, "seed \(seed)")
        }
    }
}
