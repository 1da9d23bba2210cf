internal import ArgumentParser
import Bench
import Common
import Glibc

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract:
            "Measures an MQTT broker, of whatever make: rates, latencies, CPU and memory, and whether messages are lost.",
        discussion: """
            Scenarios: connect (open and hold --number connections; with --churn close and open again), fanout (--publishers to one \
            topic, heard by --subscribers), fanin (a topic of each publisher, heard by all subscribers), pairs (--number publishers, \
            each heard by one), storm (all are cut at once and come back), retained (--count messages, then --subscribers ask for \
            all), offline (--count messages for each of --number clients that are away, who then come for them).

            Without --rate each publisher has up to --window messages under way, and latency shows little more than the window; with \
            --rate latency counts from the moment at which a message was due. Exits with 0 when all messages arrived as they \
            should, 1 when not, 2 when the run could not be made. The first Ctrl-C ends the run: it cleans up, and reports what \
            there is; the second one ends it at once. Run it on another machine than the broker, or see own_cores: one \
            thread does all of it.
            """
    )

    @Argument(help: "connect, fanout, fanin, pairs, storm, retained or offline.")
    var scenario: String

    @OptionGroup(title: "Broker") var target: BenchTarget
    @OptionGroup(title: "Load") var load: BenchLoad

    @Flag(help: "Prints one line of JSON.")
    var json = false

    @Flag(help: "No progress on standard error.")
    var quiet = false

    func validate() throws {
        guard BenchRun.Kind(rawValue: self.scenario) != nil else {
            let known = BenchRun.Kind.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("There is no scenario \(self.scenario); there are: \(known).")
        }
        try self.target.check()
        try self.load.check(of: self.scenario)
        guard !self.load.resume || self.target.usesTLS else {
            throw ValidationError("--resume is for sessions of TLS: add --tls, --ca, --cert or --cert-pattern.")
        }
    }

    func run() throws {
        guard let kind = BenchRun.Kind(rawValue: self.scenario) else { throw ExitCode(2) }
        var options = BenchOptions()
        self.target.fill(&options)
        self.load.fill(&options)
        if !self.quiet { self.load.warnings(of: self.scenario).forEach { Terminal.complain($0) } }
        let report: BenchReport
        do {
            try Self.raiseDescriptorLimit(for: kind, options)
            let interruption = Interruption()
            report = try BenchRun.perform(kind, options, wantsEnd: { interruption.hasCome }) { line in
                if !self.quiet { Terminal.complain(line) }
            }
        } catch {
            Terminal.complain("\(error)")
            throw ExitCode(2)
        }
        if self.json { Terminal.give(report.json) } else { Terminal.say(report.people) }
        if !report.isGood { throw ExitCode(1) }
    }

    /// - Throws: when all clients together are more than this process may open.
    private static func raiseDescriptorLimit(for kind: BenchRun.Kind, _ options: BenchOptions) throws {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let needed = BenchRun.descriptors(kind, options)
        guard limit.rlim_cur < needed else { return }
        throw CommandFailure(
            """
            \(BenchRun.connections(kind, options)) connections need \(needed) file descriptors, and this process may have \
            \(limit.rlim_cur) (ulimit -n): take fewer clients, or raise the limit, as root with `ulimit -n \(needed)`, for a user \
            with nofile in /etc/security/limits.conf, for a container with --ulimit nofile=\(needed)
            """
        )
    }
}

/// Which broker, and as whom.
struct BenchTarget: ParsableArguments {
    @Option(help: "Name or address.")
    var host = "127.0.0.1"

    @Option(help: "Port; without it 1883, or 8883 with TLS.")
    var port: UInt16?

    @Option(help: "MQTT version: 3.1.1 or 5.")
    var mqtt = "5"

    @Flag(help: "TLS; also switched on by --ca, --cert and --cert-pattern.")
    var tls = false

    @Option(help: "Authorities that the server's certificate is verified with, PEM; without it those of the system.")
    var ca: String?

    @Option(help: "The clients' certificate, PEM.")
    var cert: String?

    @Option(help: "A certificate for each client: a path with %d in it for its number.")
    var certPattern: String?

    @Option(help: "How many certificates there are, counted from 0. (default: 1)")
    var certCount: Int?

    @Option(help: "The key of all these certificates, PEM.")
    var key: String?

    @Flag(help: "Any certificate of the server will do.")
    var insecure = false

    @Option(help: "The user name; %d in it is the client's number.")
    var user: String?

    @Option(help: "The password.")
    var password: String?

    @Option(help: "The client id, with %d in it for the client's number.")
    var clientId = "martlet-bench-%d"

    @Option(help: "Process ids of the broker, with commas between them: their CPU time and memory are reported.")
    var pid: String?

    var usesTLS: Bool { self.tls || self.ca != nil || self.cert != nil || self.certPattern != nil }

    func check() throws {
        guard ["3.1.1", "5"].contains(self.mqtt) else { throw ValidationError("--mqtt is 3.1.1 or 5.") }
        guard self.certCount ?? 1 >= 1 else { throw ValidationError("--cert-count is at least 1.") }
        guard (self.cert == nil && self.certPattern == nil) || self.key != nil else {
            throw ValidationError("A certificate needs its --key.")
        }
        guard self.key == nil || self.cert != nil || self.certPattern != nil else {
            throw ValidationError("--key is the key of a certificate: add --cert or --cert-pattern.")
        }
        guard self.certCount == nil || self.certPattern != nil else {
            throw ValidationError("--cert-count counts the files of --cert-pattern, which is missing.")
        }
        guard !self.insecure || self.usesTLS else {
            throw ValidationError(
                "--insecure is for the server's certificate: add --tls, --ca, --cert or --cert-pattern."
            )
        }
        guard self.certPattern?.contains("%d") ?? true else { throw ValidationError("--cert-pattern has no %d in it.") }
        guard self.clientId.contains("%d") else { throw ValidationError("--client-id has no %d in it.") }
        for (place, text) in self.processTexts.enumerated() {
            guard !text.isEmpty else { throw ValidationError("--pid: there is a number missing beside a comma.") }
            guard let process = Int32(text) else { throw ValidationError("--pid: \(text) is no number.") }
            guard !self.processTexts[..<place].contains(where: { Int32($0) == process }) else {
                throw ValidationError("--pid: \(text) is there twice.")
            }
            guard Folder.exists("/proc/\(process)/task") else {
                throw ValidationError("--pid: there is no process \(process) on this host.")
            }
        }
    }

    private var processTexts: [Substring] { self.pid?.split(separator: ",", omittingEmptySubsequences: false) ?? [] }

    func fill(_ options: inout BenchOptions) {
        options.usesTLS = self.usesTLS
        options.host = self.host
        options.port = self.port ?? (options.usesTLS ? 8883 : 1883)
        options.version = self.mqtt == "5" ? .v5_0 : .v3_1_1
        options.caFile = self.ca
        options.certificateFile = self.cert
        options.keyFile = self.key
        options.certificatePattern = self.certPattern
        options.certificateCount = self.certCount ?? 1
        options.verifiesServer = !self.insecure
        options.userNamePattern = self.user
        options.password = self.password
        options.clientIdentifierPattern = self.clientId
        options.processes = self.processTexts.compactMap { Int32($0) }
    }
}

/// How much of what. What is nil was not given, and what was given must mean something to the scenario.
struct BenchLoad: ParsableArguments {
    @Option(name: .shortAndLong, help: "connect, pairs, storm and offline: clients, or pairs of them. (default: 100)")
    var number: Int?

    @Option(help: "fanout and fanin: publishers. (default: 1)")
    var publishers: Int?

    @Option(help: "fanout, fanin and retained: subscribers. (default: 10)")
    var subscribers: Int?

    @Option(name: .shortAndLong, help: "Quality of service. (default: 0; offline: 1)")
    var qos: UInt8?

    @Option(help: "Bytes of a payload; at least 16. (default: 128)")
    var bytes: Int?

    @Option(help: "Messages that a publisher may have under way. (default: 16)")
    var window: Int?

    @Option(help: "fanout, fanin and pairs: messages per second of all publishers together.")
    var rate: Double?

    @Option(
        help:
            "Seconds that are measured: fanout, fanin, pairs, connect --churn; storm: at most, if over 30. (default: 10)"
    )
    var seconds: Double?

    @Option(help: "fanout, fanin and pairs: seconds before. (default: 1)")
    var warmUp: Double?

    @Option(help: "Connections that are being opened at a time.")
    var inflight = 32

    @Option(help: "connect: seconds for which connections are held. (default: 0)")
    var hold: Double?

    @Flag(help: "connect: close and open again, for --seconds.")
    var churn = false

    @Flag(help: "connect --churn and storm: TLS sessions are resumed.")
    var resume = false

    @Option(help: "retained: messages; offline: messages for each client. (default: 1000)")
    var count: Int?

    @Flag(help: "fanout, fanin and pairs: sessions that outlive their connections; they are ended at the end.")
    var persistent = false

    private static let traffic = ["fanout", "fanin", "pairs"]
    private static let messages = traffic + ["retained", "offline"]

    /// Options that were given, and the scenarios that they mean something to.
    private var given: [(option: String, scenarios: [String])] {
        let all: [(option: String, isGiven: Bool, scenarios: [String])] = [
            ("--number", self.number != nil, ["connect", "pairs", "storm", "offline"]),
            ("--publishers", self.publishers != nil, ["fanout", "fanin"]),
            ("--subscribers", self.subscribers != nil, ["fanout", "fanin", "retained"]),
            ("--qos", self.qos != nil, Self.messages), ("--bytes", self.bytes != nil, Self.messages),
            ("--window", self.window != nil, Self.messages), ("--rate", self.rate != nil, Self.traffic),
            ("--hold", self.hold != nil, ["connect"]), ("--churn", self.churn, ["connect"]),
            ("--resume", self.resume, ["connect", "storm"]), ("--count", self.count != nil, ["retained", "offline"]),
            ("--persistent", self.persistent, Self.traffic),
        ]
        return all.filter(\.isGiven).map { ($0.option, $0.scenarios) }
    }

    /// How long a run takes may be said for all scenarios alike, by scripts that run several.
    func warnings(of scenario: String) -> [String] {
        var warnings: [String] = []
        let hasTime = Self.traffic.contains(scenario) || scenario == "storm" || self.churn
        if self.seconds != nil, !hasTime { warnings.append("--seconds means nothing to \(scenario)") }
        if self.warmUp != nil, !Self.traffic.contains(scenario) {
            warnings.append("--warm-up means nothing to \(scenario)")
        }
        return warnings
    }

    func check(of scenario: String) throws {
        for (option, scenarios) in self.given where !scenarios.contains(scenario) {
            throw ValidationError(
                "\(option) means nothing to \(scenario); it is for \(scenarios.joined(separator: ", "))."
            )
        }
        guard !self.churn || self.hold == nil else {
            throw ValidationError("--churn holds no connections: choose one of --churn and --hold.")
        }
        guard !self.resume || self.churn || scenario == "storm" else {
            throw ValidationError("Without --churn no client comes back that could resume its session.")
        }
        guard scenario != "offline" || self.qos != 0 else {
            throw ValidationError("With --qos 0 nothing is kept for clients that are away: it is 1 or 2.")
        }
        guard self.qos ?? 0 <= 2 else { throw ValidationError("--qos is 0, 1 or 2.") }
        try self.checkBounds()
        // Messages have numbers of 32 bits.
        guard scenario != "offline" || (self.number ?? 100) * (self.count ?? 1000) <= 4_000_000_000 else {
            throw ValidationError("--number times --count is at most 4000000000.")
        }
    }

    private func checkBounds() throws {
        let counts: [(option: String, value: Int?, bounds: ClosedRange<Int>)] = [
            ("--number", self.number, 1...1_000_000), ("--publishers", self.publishers, 1...1_000_000),
            ("--subscribers", self.subscribers, 1...1_000_000), ("--bytes", self.bytes, 16...268_000_000),
            ("--window", self.window, 1...1_000_000), ("--inflight", self.inflight, 1...1_000_000),
            ("--count", self.count, 1...100_000_000),
        ]
        for (option, value, bounds) in counts {
            guard let value, !bounds.contains(value) else { continue }
            throw ValidationError("\(option) is from \(bounds.lowerBound) to \(bounds.upperBound).")
        }
        let times: [(option: String, value: Double?, maximum: Int, mayBeZero: Bool)] = [
            ("--seconds", self.seconds, 86_400, false), ("--warm-up", self.warmUp, 86_400, true),
            ("--hold", self.hold, 86_400, true), ("--rate", self.rate, 10_000_000, false),
        ]
        for (option, value, maximum, mayBeZero) in times {
            // Written so that what is no number is outside.
            guard let value, !((mayBeZero ? value >= 0 : value > 0) && value <= Double(maximum)) else { continue }
            throw ValidationError("\(option) is \(mayBeZero ? "from 0 to" : "more than 0 and at most") \(maximum).")
        }
    }

    func fill(_ options: inout BenchOptions) {
        options.clients = self.number ?? options.clients
        options.publishers = self.publishers ?? options.publishers
        options.subscribers = self.subscribers ?? options.subscribers
        options.qos = self.qos.flatMap { QoS(rawValue: $0) } ?? options.qos
        options.payloadBytes = self.bytes ?? options.payloadBytes
        options.window = self.window ?? options.window
        options.rate = self.rate
        options.seconds = self.seconds ?? options.seconds
        options.warmUpSeconds = self.warmUp ?? options.warmUpSeconds
        options.connectsAtATime = self.inflight
        options.holdSeconds = self.hold ?? options.holdSeconds
        options.isChurning = self.churn
        options.resumes = self.resume
        options.count = self.count ?? options.count
        options.keepsSessions = self.persistent
    }
}
