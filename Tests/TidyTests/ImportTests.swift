import Testing

/// Who may import whom. A rule of the architecture: what is not imported can neither be attacked nor slow anything down.
@Suite struct ImportTests {
    /// The longest prefix of a file's path that is here decides.
    private static let allowed: [String: Set<String>] = [
        "Sources/Common/": ["Glibc", "CLinux", "Logging"],
        "Sources/Common/Configuration/": ["Glibc", "CLinux", "CYAML", "Logging"],
        "Sources/TLS/": ["Common", "COpenSSL", "Glibc"],
        "Sources/SQLite/": ["Common", "CSQLite", "Glibc"],
        "Sources/Devices/": ["Common", "Glibc", "SQLite", "TLS"],
        "Sources/Bench/": ["CLinux", "Common", "Glibc", "TLS"],
        "Sources/AuthCache/": ["Common", "Glibc", "SQLite", "Synchronization", "TLS"],
        "Sources/RouterStore/": ["Common", "Glibc", "SQLite"],
        "Sources/RoleCommand/": ["ArgumentParser", "Common", "Glibc"],
        "Sources/Router/": ["Common", "Glibc", "CLinux", "Logging", "RouterStore"],
        // The store, and nothing else of the router.
        "Sources/Router/Store/": ["Common", "Glibc", "CLinux", "Logging", "RouterStore", "SQLite"],
        "Sources/Router/Main/": ["ArgumentParser", "Common", "Glibc", "RoleCommand", "Router"],
        "Sources/Listener/": ["Common", "Glibc", "CLinux", "Logging", "TLS"],
        "Sources/Listener/Main/": ["ArgumentParser", "Common", "Glibc", "Listener", "RoleCommand"],
        "Sources/AuthWorker/": ["AuthCache", "Common", "Glibc", "CLinux", "Logging", "TLS"],
        "Sources/AuthWorker/Decision/": ["AuthCache", "Common", "Synchronization", "TLS"],
        "Sources/AuthWorker/Cache/": ["AuthCache", "Common", "Glibc", "CLinux", "Logging", "SQLite", "TLS"],
        "Sources/AuthWorker/Embedded/": ["Common", "Devices", "Glibc", "Logging", "SQLite", "TLS"],
        "Sources/AuthWorker/Redis/": ["Common", "Glibc", "CLinux", "CHiredis", "TLS"],
        "Sources/AuthWorker/Main/": ["ArgumentParser", "AuthWorker", "Common", "Glibc", "RoleCommand"],
        // The tool links no role: it starts them as programs and speaks to them over their control sockets.
        "Sources/Martlet/": [
            "ArgumentParser", "Bench", "Common", "Glibc", "CLinux", "Devices", "Logging", "Synchronization", "TLS",
        ],
        "Sources/Martlet/Devices/": ["Common", "Devices", "Glibc", "SQLite", "TLS"],
        "Sources/Martlet/Cache/": ["AuthCache", "Common", "Glibc", "SQLite", "TLS"],
        "Sources/Martlet/Store/": ["Common", "Glibc", "RouterStore", "SQLite", "TLS"],
        "Sources/Martlet/Main/": ["ArgumentParser", "Martlet"],
    ]

    /// C libraries have one door each.
    private static let homes = [
        "COpenSSL": "Sources/TLS/", "CHiredis": "Sources/AuthWorker/Redis/", "CSQLite": "Sources/SQLite/",
        "CYAML": "Sources/Common/Configuration/",
    ]

    @Test("Each file imports only what its folder may")
    func folders() {
        for file in SourceTree.sources {
            let prefix = Self.allowed.keys.filter { file.path.hasPrefix($0) }.max { $0.utf8.count < $1.utf8.count }
            guard let prefix, let allowed = Self.allowed[prefix] else {
                Issue.record("\(file.path): no rule says what this folder may import")
                continue
            }
            for module in file.imports where !allowed.contains(module) {
                Issue.record("\(file.path) imports \(module); \(prefix) may import \(allowed.sorted())")
            }
        }
    }

    @Test("C libraries are imported in one folder each, tests included")
    func doors() {
        for file in SourceTree.swiftFiles {
            for module in file.imports {
                guard let home = Self.homes[module], !file.path.hasPrefix(home) else { continue }
                Issue.record("\(file.path) imports \(module), which is wrapped in \(home)")
            }
        }
    }

    @Test("No Foundation and nothing that brings it, in no role and no test")
    func noFoundation() {
        let banned: Set<String> = [
            "Foundation", "FoundationEssentials", "FoundationNetworking", "Dispatch", "NIO", "NIOCore", "NIOPosix",
            "XCTest",
        ]
        for file in SourceTree.swiftFiles {
            for module in file.imports where banned.contains(module) {
                Issue.record("\(file.path) imports \(module)")
            }
        }
    }

    @Test("Roles meet in Common alone: none imports another one")
    func roles() {
        let roles: Set<String> = ["Router", "Listener", "AuthWorker", "Martlet"]
        for file in SourceTree.sources {
            let own = file.path.split(separator: "/")[1]
            for module in file.imports where roles.contains(module) && module != own {
                Issue.record("\(file.path) imports \(module)")
            }
        }
    }
}
