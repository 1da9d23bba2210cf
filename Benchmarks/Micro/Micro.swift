import Common
import Glibc

/// One small thing, done so many times: what `Benchmarks/micro-check` counts instructions and allocations of.
///
///     micro CASE ITERATIONS
@main
struct Micro {
    private static let cases: [(name: String, run: @Sendable (Int) throws -> Void)] = [
        ("decode-publish", { try CodecCases.decodePublish($0) }),
        ("split-frames", { try CodecCases.splitFrames($0) }),
        ("route-qos0", { try RouterCases.route($0, qos: .atMostOnce) }),
        ("route-qos0-among-100k-filters", { try RouterCases.route($0, qos: .atMostOnce, otherFilters: 100_000) }),
        ("route-qos1", { try RouterCases.route($0, qos: .atLeastOnce) }),
        (
            "route-qos1-lasting",
            { iterations in
                try TemporaryStore.with { try RouterCases.route(iterations, qos: .atLeastOnce, lasts: true, store: $0) }
            }
        ),
        (
            // To clients that take longer to acknowledge than messages may be without being stored.
            "route-qos1-stored",
            { iterations in
                try TemporaryStore.with {
                    try RouterCases.route(
                        iterations,
                        qos: .atLeastOnce,
                        lasts: true,
                        store: $0,
                        turnNanoseconds: 5_000_000
                    )
                }
            }
        ),
        (
            "route-qos2",
            { iterations in try TemporaryStore.with { try RouterCases.route(iterations, qos: .exactlyOnce, store: $0) }
            }
        ),
        (
            "route-qos2-lasting",
            { iterations in
                try TemporaryStore.with {
                    try RouterCases.route(iterations, qos: .exactlyOnce, lasts: true, store: $0)
                }
            }
        ),
        ("fan-out-to-50", { try RouterCases.route($0, qos: .atMostOnce, receivers: 50) }),
        ("cached-login", { try LoginCases.cached($0) }),
        ("fetched-login", { try LoginCases.fetched($0) }),
        ("store-commit", { try StoreCases.commit($0) }),
    ]

    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3, let iterations = Int(arguments[2]),
            let found = Self.cases.first(where: { $0.name == arguments[1] })
        else {
            for entry in Self.cases { print(entry.name) }
            exit(arguments.count == 1 ? 0 : 2)
        }
        try found.run(iterations)
    }
}
