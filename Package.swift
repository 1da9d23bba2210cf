// swift-tools-version: 6.2

import PackageDescription

// Martlet ships executables, not a library: what crosses a target is `package`, nothing is `public`.
let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
    // Debug builds, and so all tests, check for overlapping accesses; in release the checks cost 20 to 30 % of the router's
    // instructions.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

var targets: [Target] = [
    // C libraries and kernel interfaces: module maps, and shims for macros.
    .target(name: "CLinux", linkerSettings: [.linkedLibrary("crypt")]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CHiredis", pkgConfig: "hiredis", providers: [.apt(["libhiredis-dev"])]),
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),

    // Shared by all roles.
    .target(name: "Common", dependencies: ["CLinux", "CYAML", logging], exclude: ["README.md", "Wire/README.md"]),
    .target(name: "TLS", dependencies: ["Common", "COpenSSL"]),
    .target(name: "SQLite", dependencies: ["Common", "CSQLite"]),
    .target(name: "Devices", dependencies: ["Common", "TLS", "SQLite"]),
    .target(name: "AuthCache", dependencies: ["Common", "SQLite", "TLS"]),
    .target(name: "Bench", dependencies: ["CLinux", "Common", "TLS"]),
    .target(name: "RouterStore", dependencies: ["Common", "SQLite"]),
    .target(name: "RoleCommand", dependencies: ["Common", argumentParser]),

    // The roles: a library each, and a main of a few lines.
    .target(name: "Router", dependencies: ["Common", "RouterStore", "SQLite", logging], exclude: ["Main"]),
    .target(name: "Listener", dependencies: ["Common", "TLS", logging], exclude: ["Main"]),
    .target(
        name: "AuthWorker",
        dependencies: ["Common", "TLS", "SQLite", "AuthCache", "Devices", "CHiredis", "CLinux", logging],
        exclude: ["Main"]
    ),
    .executableTarget(
        name: "martlet-router",
        dependencies: ["Router", "Common", "RoleCommand", argumentParser],
        path: "Sources/Router/Main"
    ),
    .executableTarget(
        name: "martlet-listener",
        dependencies: ["Listener", "Common", "RoleCommand", argumentParser],
        path: "Sources/Listener/Main"
    ),
    .executableTarget(
        name: "martlet-authworker",
        dependencies: ["AuthWorker", "Common", "RoleCommand", argumentParser],
        path: "Sources/AuthWorker/Main",
        linkerSettings: [.linkedLibrary("jemalloc")]
    ),

    // The command-line tool.
    .target(
        name: "Martlet",
        dependencies: [
            "Common", "TLS", "Devices", "AuthCache", "Bench", "RouterStore", "SQLite", logging, argumentParser,
        ],
        exclude: ["Main"]
    ),
    .executableTarget(name: "martlet", dependencies: ["Martlet", argumentParser], path: "Sources/Martlet/Main"),

    // Tests.
    .target(name: "TestSupport", dependencies: ["Common", "TLS"], path: "Tests/Support"),
    .target(name: "SimulatedKernel", path: "Tests/SimulatedKernel"),
    // A program of its own: its definitions of libc's functions are not for other tests.
    .executableTarget(
        name: "simulation",
        dependencies: ["SimulatedKernel", "Router", "Listener", "AuthWorker", "Common", "TestSupport", logging],
        path: "Tests/Simulation"
    ),
    .testTarget(name: "CommonTests", dependencies: ["Common", "TestSupport", logging]),
    .testTarget(name: "TLSTests", dependencies: ["TLS", "Common", "TestSupport"]),
    .testTarget(name: "BenchTests", dependencies: ["Bench", "Common", "TestSupport"]),
    .testTarget(name: "DevicesTests", dependencies: ["Devices", "Common", "TestSupport"]),
    .testTarget(
        name: "RouterTests",
        dependencies: ["Router", "RouterStore", "Listener", "Common", "SQLite", "TestSupport", logging]
    ),
    .testTarget(name: "ListenerTests", dependencies: ["Listener", "Common", "TLS", "TestSupport", logging]),
    .testTarget(
        name: "AuthWorkerTests",
        dependencies: ["AuthWorker", "AuthCache", "Common", "SQLite", "TLS", "TestSupport"]
    ),
    .testTarget(
        name: "MartletTests",
        dependencies: [
            "Martlet", "AuthCache", "Common", "Devices", "SQLite", "TLS", "TestSupport", "martlet", "martlet-router",
            "martlet-listener", "martlet-authworker",
        ]
    ),
    .testTarget(
        name: "EndToEndTests",
        dependencies: [
            "Common", "SQLite", "TLS", "TestSupport", "martlet", "martlet-router", "martlet-listener",
            "martlet-authworker",
        ],
        exclude: ["Clients"]
    ),
    .testTarget(name: "SimulationTests", dependencies: ["TestSupport", "simulation"]),
    .testTarget(name: "TidyTests", dependencies: ["TestSupport"]),
]

// `make fuzz`: libFuzzer targets, built on demand, so that they see `package` declarations and cost nobody else time. What they
// test is compiled with the same flags, for the fuzzer looks for inputs that reach new code in it.
if Context.environment["MARTLET_FUZZ"] == "1" {
    let sanitizers = ["-sanitize=fuzzer,address"]
    targets.append(.target(name: "FuzzSupport", path: "Fuzz/Support"))
    let fuzzers: [(name: String, path: String, tests: [Target.Dependency])] = [
        ("fuzz-packet-decoder", "PacketDecoder", []),
        ("fuzz-connect-path", "ConnectPath", ["Listener", "Router"]),
        ("fuzz-link-frames", "LinkFrames", []),
        ("fuzz-router-core", "RouterCore", ["Router"]),
        ("fuzz-configuration", "Configuration", []),
        ("fuzz-redis-replies", "RedisReplies", ["AuthWorker"]),
        ("fuzz-command-templates", "CommandTemplates", []),
    ]
    for fuzzer in fuzzers {
        targets.append(
            .executableTarget(
                name: fuzzer.name,
                dependencies: ["Common", "FuzzSupport"] + fuzzer.tests,
                path: "Fuzz/\(fuzzer.path)",
                swiftSettings: [.unsafeFlags(["-parse-as-library"])],
                linkerSettings: [.unsafeFlags(sanitizers + ["-use-ld=lld"])]
            )
        )
    }
    let fuzzed = ["Common", "Listener", "Router", "AuthWorker", "FuzzSupport"]
    for target in targets where fuzzed.contains(target.name) || target.name.hasPrefix("fuzz-") {
        target.swiftSettings = (target.swiftSettings ?? []) + [.unsafeFlags(sanitizers + ["-enable-testing"])]
    }
}

// Load drivers for what no other broker's clients can drive, built on demand; see Benchmarks/.
if Context.environment["MARTLET_BENCHMARKS"] == "1" {
    targets.append(.target(name: "BenchmarkSupport", dependencies: ["Common"], path: "Benchmarks/Support"))
    let drivers: [(name: String, path: String, tests: [Target.Dependency])] = [
        ("auth-load", "AuthLoad", []), ("router-load", "RouterLoad", []),
        ("micro", "Micro", ["Router", "RouterStore", "AuthWorker"]),
    ]
    for driver in drivers {
        targets.append(
            .executableTarget(
                name: driver.name,
                dependencies: ["Bench", "Common", "BenchmarkSupport"] + driver.tests,
                path: "Benchmarks/\(driver.path)"
            )
        )
    }
}

for target in targets where target.type != .system && !["CLinux", "SimulatedKernel"].contains(target.name) {
    target.swiftSettings = (target.swiftSettings ?? []) + swiftSettings
}

let package = Package(
    name: "martlet",
    products: [
        .executable(name: "martlet", targets: ["martlet"]),
        .executable(name: "martlet-router", targets: ["martlet-router"]),
        .executable(name: "martlet-listener", targets: ["martlet-listener"]),
        .executable(name: "martlet-authworker", targets: ["martlet-authworker"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: targets
)
