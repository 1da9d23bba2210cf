import Common
import Glibc
import SimulatedKernel
import TestSupport

/// Runs simulations of the whole system, one for each seed from the first: `simulation SEED COUNT`.
///
/// Writes a line for each seed that showed a fault, and one at the end; of a single seed all that happens.
@main
struct Main {
    static func main() throws {
        try hashTheSameEachTime()
        let arguments = CommandLine.arguments
        guard arguments.count == 3, let first = UInt64(arguments[1]), let count = UInt64(arguments[2]) else {
            print("usage: simulation SEED COUNT")
            exit(2)
        }
        let directory = try TemporaryDirectory("martlet-simulation")
        var failed = 0
        var kills = 0
        var done = 0
        // Some seeds with faults say as much as many.
        for seed in (0..<count).lazy.map({ first &+ $0 }) where failed < 5 {
            done += 1
            let own = directory.file("\(seed)")
            mkdir(own, 0o700)
            let descriptors = entries(of: "/proc/self/fd").count
            var (faults, ownKills) = try run(seed, own, isVerbose: count == 1)
            kills += ownKills
            let more = entries(of: "/proc/self/fd").count - descriptors
            if more > 0 { faults.append("\(more) descriptors were left open") }
            if !faults.isEmpty {
                failed += 1
                print("seed \(seed): " + faults.joined(separator: "; "))
            }
            if count == 1 { print("trace \(simulated_trace())") }
            removeTree(own)
        }
        removeTree(directory.path)
        print("\(done) seeds, \(kills) kills, \(failed) seeds with faults")
        exit(failed == 0 ? 0 : 1)
    }
}

/// The order of dictionaries is that of their hashes.
private func hashTheSameEachTime() throws {
    let name = "SWIFT_DETERMINISTIC_HASHING"
    guard getenv(name) == nil else { return }
    setenv(name, "1", 1)
    var arguments = CommandLine.arguments.map { strdup($0) } + [nil]
    execv("/proc/self/exe", &arguments)
    throw SystemError("execv")
}

private func run(_ seed: UInt64, _ directory: String, isVerbose: Bool) throws -> (faults: [String], kills: Int) {
    let simulation = try Simulation(seed: seed, directory: directory)
    simulation.ledger.isVerbose = isVerbose
    return (try simulation.run(), simulation.kills)
}

/// Nothing where there is no such folder.
private func entries(of path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}

private func removeTree(_ path: String) {
    for name in entries(of: path) { removeTree("\(path)/\(name)") }
    remove(path)
}
