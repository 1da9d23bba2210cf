import TestSupport
import Testing

/// The whole system on a simulated kernel, with faults: see Tests/Simulation. What a seed shows, `simulation SEED 1` shows again, step
/// by step.
@Suite struct SimulationTests {
    /// Of each of the two runs, which go side by side.
    private static let seeds = 1000

    /// The same seeds each time, so that what fails is what was changed; `make simulate` looks for more with new ones.
    @Test(arguments: [1, 1_000_001] as [UInt64]) func nothingThatWasPromisedIsLost(_ first: UInt64) throws {
        try self.run(first, count: Self.seeds)
    }

    /// Or what a seed shows could not be shown again.
    @Test func aSeedDoesTheSameEachTime() throws {
        let seed = testSeed()
        let outputs = try (0..<2).map { _ in try self.simulate(seed, count: 1).output }
        #expect(outputs[0] == outputs[1], "seed \(seed)")
        #expect(outputs[0].contains("trace "))
    }

    private func run(_ first: UInt64, count: Int) throws {
        let (status, output) = try self.simulate(first, count: count)
        let faults = output.split(separator: "\n").filter { $0.hasPrefix("seed ") }
        #expect(status == 0 && faults.isEmpty, "\(output.suffix(2000))")
        #expect(output.contains("\(count) seeds, "), "\(output.suffix(2000))")
    }

    private func simulate(_ seed: UInt64, count: Int) throws -> (status: Int32, output: String) {
        try runProcess(
            builtProgram("simulation"),
            arguments: ["\(seed)", "\(count)"]
        )
    }
}
