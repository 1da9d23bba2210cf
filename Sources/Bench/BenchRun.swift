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

    /// How many clients there are at a time.
    package static func connections(_ kind: Kind, _ options: BenchOptions) -> Int {
        switch kind {
        case .connect, .storm: options.clients
        case .fanout, .fanin: options.publishers + options.subscribers
        case .pairs: 2 * options.clients
        // One more publishes.
        case .retained: options.subscribers + 1
        case .offline: options.clients + 1
        }
    }

    /// File descriptors that a run needs: a socket of each client, the event loop's, standard streams, and files that are read.
    package static func descriptors(_ kind: Kind, _ options: BenchOptions) -> Int {
        Self.connections(kind, options) + 16
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
