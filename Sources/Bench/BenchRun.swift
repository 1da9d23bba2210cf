import Common

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

    /// - Parameters:
    ///   - wantsEnd: whether somebody wants the run to end: then it cleans up, and reports what there is.
    ///   - say: shows a line of progress, about once a second.
    /// - Throws: why it could not be made, as a sentence.
    package static func perform(
        _ kind: Kind,
        _ options: BenchOptions,
        wantsEnd: @escaping () -> Bool = { false },
        say: @escaping (String) -> Void
    ) throws -> BenchReport {
        let fleet = try BenchFleet(options, wantsEnd: wantsEnd, say: say)
        try fleet.prepareTLS(Self.connections(kind, options))
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
        if fleet.isInterrupted { scenario.report.complain("the run was interrupted") }
        return scenario.report
    }
}
