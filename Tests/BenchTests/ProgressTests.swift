import Testing

@testable import Bench

@Suite struct ProgressTests {
    /// 7 refused of 10 were shown as `7 of 10 connected`.
    @Test func `regression: connections that failed are not shown as connected`() {
        #expect(Scenario.progress(connected: 3, failed: 0, of: 10) == "3 of 10 connected")
        #expect(Scenario.progress(connected: 3, failed: 7, of: 10) == "3 of 10 connected, 7 failed")
    }

    @Test func `a run needs a descriptor for each client of its scenario`() {
        var options = BenchOptions()
        (options.clients, options.publishers, options.subscribers) = (100, 3, 40)
        let counts = BenchRun.Kind.allCases.map { BenchRun.connections($0, options) }
        #expect(counts == [100, 43, 43, 200, 100, 41, 101])
        #expect(BenchRun.descriptors(.pairs, options) == 216)
    }
}
