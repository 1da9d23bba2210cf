/// A run of the load generator, from the first connection to the report.
package enum BenchRun {
    package enum Kind: String, CaseIterable, Sendable {
        case connect
        case fanout
        case fanin
        case pairs
        case storm
        case retained
        case offline
    }

    /// - Parameter say: shows a line of progress, about once a second.
    /// - Throws: why it could not be made, as a sentence.
    package static func perform(
        _ kind: Kind,
        _ options: BenchOptions,
        say: @escaping (String) -> Void
    ) throws -> BenchReport {
        let fleet = try BenchFleet(options, say: say)
        let scenario: Scenario =
            switch kind {
            case .connect: ConnectScenario(fleet)
            case .fanout: TrafficScenario(fleet, .fanout)
            case .fanin: TrafficScenario(fleet, .fanin)
            case .pairs: TrafficScenario(fleet, .pairs)
            case .storm: StormScenario(fleet)
            case .retained: RetainedScenario(fleet)
            case .offline: OfflineScenario(fleet)
            }
        try scenario.run()
        return scenario.report
    }
}
