import Common
import Glibc

/// The roles as children of `martlet run`.
package enum RolePrograms {
    /// Where Redis stands, when we run it: before everything.
    package static let redisStage = 0

    /// - Parameters:
    ///   - file: of the configuration.
    ///   - settings: passed on as `--set`.
    ///   - firstStage: of router and auth workers; listeners come after it.
    package static func make(
        _ configuration: Configuration,
        file: String,
        settings: [String],
        firstStage: Int
    ) throws(CommandFailure) -> [ChildProgram] {
        let common = ["--config", file] + settings.flatMap { ["--set", $0] }
        let router = try Self.locate("martlet-router")
        let listener = try Self.locate("martlet-listener")
        var programs = [ChildProgram(name: "router", path: router, arguments: common, stage: firstStage)]
        if configuration.authentication.usesWorkers {
            let authWorker = try Self.locate("martlet-authworker")
            for instance in 1...configuration.processes.authWorkers {
                programs.append(
                    ChildProgram(
                        name: "authworker-\(instance)",
                        path: authWorker,
                        arguments: common + ["--instance", "\(instance)"],
                        stage: firstStage
                    )
                )
            }
        }
        for instance in 1...configuration.processes.listeners {
            programs.append(
                ChildProgram(
                    name: "listener-\(instance)",
                    path: listener,
                    arguments: common + ["--instance", "\(instance)"],
                    stage: firstStage + 1,
                    takesSockets: true
                )
            )
        }
        return programs
    }

    /// A program of ours: beside this one, or in PATH.
    private static func locate(_ name: String) throws(CommandFailure) -> String {
        if let directory = Executable.ownDirectory, Executable.isExecutable("\(directory)/\(name)") {
            return "\(directory)/\(name)"
        }
        guard let found = Executable.find(name) else {
            let beside = Executable.ownDirectory.map { "in \($0), where martlet is, nor " } ?? ""
            throw CommandFailure("\(name) is neither \(beside)in PATH; build it with `make build`")
        }
        return found
    }
}

/// Finding programs.
package enum Executable {
    /// The folder of this program.
    package static var ownDirectory: String? {
        var text = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &text, text.count)
        guard count > 0, count < text.count else { return nil }
        let bytes = text[..<count].map { UInt8(bitPattern: $0) }
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")), slash > 0 else { return nil }
        return String(decoding: bytes[..<slash], as: UTF8.self)
    }

    package static func isExecutable(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0
    }

    /// In PATH, or where Debian puts servers.
    package static func find(_ name: String, path: String? = ProcessEnvironment.current()["PATH"]) -> String? {
        let directories =
            (path ?? "").split(separator: ":").map(String.init) + ["/usr/local/bin", "/usr/bin", "/usr/sbin"]
        return directories.filter { $0.hasPrefix("/") }.map { "\($0)/\(name)" }.first { Self.isExecutable($0) }
    }
}
