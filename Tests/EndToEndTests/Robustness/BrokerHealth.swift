import Common
import Glibc
import TestSupport
import Testing

/// What all roles of a broker weigh and write, before and after.
struct BrokerHealth {
    /// Whether the programs under test are not optimised.
    static var isDebugBuild: Bool {
        #if DEBUG
        ProcessEnvironment.current()["MARTLET_EXECUTABLES"] == nil
        #else
        false
        #endif
    }

    /// How long a message of a healthy client may take while a flood has to be worked off: a second, and more where that work is
    /// some thirty times slower and other tests run beside it.
    static var patienceSeconds: Int { Self.isDebugBuild ? 5 : 1 }

    private let broker: TestBroker
    private let processIDs: [pid_t]
    private let memoryBefore: [String: Int]
    private let logBefore: Int
    private let started = Clock.monotonic()

    init(_ broker: TestBroker) throws {
        self.broker = broker
        self.processIDs = broker.processes.map(\.processID)
        self.memoryBefore = try Self.memory(broker)
        self.logBefore = Self.logBytes(broker)
    }

    /// Kibibytes that each role alone is to be charged with (proportional set size).
    static func memory(_ broker: TestBroker) throws -> [String: Int] {
        var result: [String: Int] = [:]
        for process in broker.processes {
            let text = String(decoding: try readFile("/proc/\(process.processID)/smaps_rollup"), as: UTF8.self)
            guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("Pss:") }),
                let kibibytes = line.split(separator: " ").dropLast().last.flatMap({ Int($0) })
            else { throw ProcessError(description: "\(process.name): no Pss in \(text)") }
            result[process.name] = kibibytes
        }
        return result
    }

    private static func logBytes(_ broker: TestBroker) -> Int {
        broker.processes.reduce(0) { $0 + $1.log.utf8.count }
    }

    /// Nobody died, nobody grew by more than so many mebibytes, and logs stayed within so many kibibytes a second.
    func expectUnharmed(memoryGrowthMebibytes: Int, logKibibytesPerSecond: Int = 64, _ comment: Comment) throws {
        for process in self.broker.processes { #expect(process.isRunning, "\(process.name); \(comment)") }
        #expect(self.broker.processes.map(\.processID) == self.processIDs, comment)
        for (name, after) in try Self.memory(self.broker) {
            let growth = (after - (self.memoryBefore[name] ?? 0)) / 1024
            #expect(growth <= memoryGrowthMebibytes, "\(name) grew by \(growth) MiB; \(comment)")
        }
        let seconds = Int((Clock.monotonic() - self.started) / Nanoseconds.perSecond) + 1
        let logged = (Self.logBytes(self.broker) - self.logBefore) / 1024
        #expect(logged <= logKibibytesPerSecond * seconds, "\(logged) KiB of log in \(seconds) s; \(comment)")
    }

    func summary() throws -> String {
        let memory = try Self.memory(self.broker)
        let roles = memory.keys.sorted().map { "\($0) \(self.memoryBefore[$0] ?? 0) → \(memory[$0] ?? 0) KiB" }
        return roles.joined(separator: ", ") + ", log \((Self.logBytes(self.broker) - self.logBefore) / 1024) KiB"
    }
}
