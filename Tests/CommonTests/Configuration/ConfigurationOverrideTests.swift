import Glibc
import TestSupport
import Testing

@testable import Common

@Suite struct ConfigurationOverrideTests {
    @Test func environmentOverFileAndFlagsOverBoth() throws {
        let text = "log: {level: error, refused_per_second: 1}\nmqtt: {max_qos: 0}\n" + smallestConfiguration
        let configuration = try parseConfiguration(
            text,
            environment: ["MARTLET_LOG__LEVEL": "notice", "MARTLET_LOG__REFUSED_PER_SECOND": "2", "PATH": "/bin"],
            settings: ["log.level=debug", "authentication.redis.url=redis://h:1/2"]
        )
        #expect("\(configuration.log.level)" == "debug")
        #expect(configuration.log.refusedPerSecond == 2)
        #expect(configuration.mqtt.maxQoS == .atMostOnce)
        #expect(configuration.authentication.redis.url == .tcp(host: "h", port: 1, database: 2))
    }

    @Test func anotherSourceForATrialNeedsNoOtherFile() throws {
        let text = "authentication: {command: \"HMGET a:%C password\"}\n" + smallestConfiguration
        let configuration = try parseConfiguration(text, settings: ["authentication.source=certificate"])
        #expect(configuration.authentication.sources[0].kind == .certificate)
    }

    @Test func keysOfTheTopLevelAsVariables() throws {
        let environment = ["MARTLET_RUNTIME_DIRECTORY": "/tmp/r", "MARTLET_LINK_USERS": "a,b"]
        let configuration = try parseConfiguration(smallestConfiguration, environment: environment)
        #expect(configuration.runtimeDirectory == "/tmp/r")
        #expect(configuration.linkUsers == ["a", "b"])
    }

    @Test func listElementsByIndexAndByName() throws {
        let configuration = try parseConfiguration(
            smallestConfiguration,
            environment: ["MARTLET_LISTENERS__DEVICES__TLS__KEY_FILE": "/k"],
            settings: [
                "listeners.0.tls.certificate_file=/c", "listeners.devices.max_connections=5",
                "listeners.devices.addresses=[\"127.0.0.1:1\", \"[::1]:1\"]",
                "authorization.rules.default.0.topics.1=b",
                "listeners.1={name: two, anonymous: true, transport: tcp, addresses: [\"127.0.0.1:2\"]}",
                "listeners.two.addresses.1=[::1]:2",
            ]
        )
        let listener = try #require(configuration.listeners.first)
        #expect(listener.tls?.keyFile == "/k")
        #expect(listener.tls?.certificateFile == "/c")
        #expect(listener.maxConnections == 5)
        #expect(listener.addresses.map(\.description) == ["127.0.0.1:1", "[::1]:1"])
        #expect(configuration.listeners.last?.addresses.map(\.description) == ["127.0.0.1:2", "[::1]:2"])
        #expect(configuration.authorization.ruleSet(named: "default")?.rules.first?.topics.count == 2)
    }

    @Test func aNameWithHyphensAsVariable() throws {
        let text = """
            listeners: [{name: back-end, tls: {}}]
            authorization: {rules: {default: []}}
            """
        let configuration = try parseConfiguration(
            text,
            environment: ["MARTLET_LISTENERS__BACK_END__MAX_CONNECTIONS": "3"]
        )
        #expect(configuration.listeners.first?.maxConnections == 3)
    }

    @Test func addressesWithoutBracketsOfAList() throws {
        let configuration = try parseConfiguration(
            smallestConfiguration,
            environment: ["MARTLET_LISTENERS__0__ADDRESSES": "[::]:1,127.0.0.1:2"]
        )
        #expect(configuration.listeners.first?.addresses.map(\.description) == ["[::]:1", "127.0.0.1:2"])
    }

    @Test func allWithoutAFile() throws {
        let configuration = try parseConfiguration(
            "",
            settings: [
                "listeners.0.name=x", "listeners.0.tls.key_file=/k",
                "authorization.rules.default.0={deny: all, topics: [\"#\"]}",
            ]
        )
        #expect(configuration.listeners.map(\.name) == ["x"])
    }

    @Test(arguments: [
        (
            "log.level=loud",
            "--set log.level: log.level: \"loud\" is not trace, debug, info, notice, warning, error or critical"
        ),
        ("log.levle=info", "--set log.levle: log.levle: unknown key; did you mean level?"),
        ("log=info", "--set log: log: is a single value; a section of keys is needed here"),
        ("log.level", "--set log.level: has no value; write --set key.path=value"),
        ("=x", "--set : is not a key; write --set key.path=value, such as --set log.level=debug"),
        ("log..level=x", "--set log..level: is not a key; write --set key.path=value, such as --set log.level=debug"),
        ("log.level=", "--set log.level: log.level: is empty; give it a value, or remove the key for its default"),
        ("log.level.x=1", "--set log.level.x: log.level: is a section; a single value is needed here"),
        (
            "listeners.2.name=x",
            "--set listeners.2.name: listeners.2.name: listeners has no element 2; it has 1, counted from 0, and 1 would append one"
        ),
        (
            "listeners.office.name=x",
            "--set listeners.office.name: listeners.office.name: listeners has no element office; it has 1, counted from 0, and 1 would append one"
        ),
        (
            "listeners.0.name.x=x",
            "--set listeners.0.name.x: listeners.0.name.x: listeners.0.name is a single value without keys of its own"
        ),
        ("log={level: debug, level: info}", "--set log: level: is there twice; remove one"),
    ])
    func mistakesNameTheFlag(setting: String, line: String) {
        #expect(configurationMistakes(smallestConfiguration, settings: [setting]) == [line])
    }

    @Test(arguments: [
        (
            "MARTLET_LOG__LEVEL", "loud",
            "MARTLET_LOG__LEVEL: log.level: \"loud\" is not trace, debug, info, notice, warning, error or critical"
        ),
        ("MARTLET_LOGG__LEVEL", "info", "MARTLET_LOGG__LEVEL: logg: unknown key; did you mean log?"),
        (
            "MARTLET_RUNTIMEDIRECTORY", "/r",
            "MARTLET_RUNTIMEDIRECTORY: runtimedirectory: unknown key; did you mean MARTLET_RUNTIME_DIRECTORY?"
        ),
        ("MARTLET_LOG____LEVEL", "info", "MARTLET_LOG____LEVEL: is not a key; write MARTLET_LOG__LEVEL for log.level"),
    ])
    func mistakesNameTheVariable(name: String, value: String, line: String) {
        #expect(configurationMistakes(smallestConfiguration, environment: [name: value]) == [line])
    }

    @Test func otherVariablesAreLeftAlone() {
        let environment = ["MARTLET_PORT": "1", "MARTLET_SEED": "1", "MARTLET_FUZZ": "1", "LOG__LEVEL": "x"]
        #expect(configurationMistakes(smallestConfiguration, environment: environment) == [])
    }
}

/// Whatever is in the file, variables and flags: an answer, never a crash.
@Suite struct ConfigurationRandomTests {
    private static let pieces = [
        "log", "level", "listeners", "name", "tls", "mqtt", "authorization", "rules", "default", "allow", "all",
        "topics",
        ": ", ":", "\n", "\n  ", "\n    ", "- ", "[", "]", "{", "}", ",", "\"", "'", "#", "&a", "*a", "!!x", "|", ">",
        "?", "---",
        "...", "%", "@", "`", "\t", "~", "1", "-1", "99999999999999999999", "1KiB", "15s", "\u{FEFF}", "é", "\u{212A}",
        "[::]:8883", "addresses", "true", "${", "}", "%C", "redis://", "a/#", "\0",
    ]

    @Test func randomTextNeverCrashes() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var refused = 0
        for _ in 0..<3000 {
            let count = Int.random(in: 0...40, using: &random)
            let text = (0..<count).compactMap { _ in Self.pieces.randomElement(using: &random) }.joined()
            let setting = (0..<4).compactMap { _ in Self.pieces.randomElement(using: &random) }.joined(separator: ".")
            let mistakes = configurationMistakes(
                text,
                environment: ["MARTLET_" + setting: text],
                settings: [setting + "=" + text]
            )
            if !mistakes.isEmpty { refused += 1 }
        }
        #expect(refused == 3000, "seed \(seed)")
    }

    @Test func mutationsOfTheExampleNeverCrash() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let example = Array(try documentedConfiguration().utf8)
        for _ in 0..<400 {
            var bytes = example
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let position = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[position] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: position)
                default:
                    bytes.insert(
                        contentsOf: Array((Self.pieces.randomElement(using: &random) ?? "").utf8),
                        at: position
                    )
                }
            }
            do throws(ConfigurationError) {
                _ = try Configuration.parse(bytes, file: "m.yaml", baseDirectory: "/")
            } catch {
                #expect(!error.problems.isEmpty, "seed \(seed)")
                #expect(error.lines.allSatisfy { $0.hasPrefix("m.yaml") }, "seed \(seed)")
            }
        }
    }
}

@Suite struct ConfigurationCheckTests {
    @Test func namesEveryFileThatCannotBeRead() throws {
        let directory = try TemporaryDirectory()
        var configuration = Configuration()
        configuration.runtimeDirectory = directory.file("run")
        configuration.stateDirectory = "/dev/null"
        configuration.authentication.cache.directory = directory.file("cache")
        configuration.authentication.redis.passwordFile = "/dev/null"
        configuration.linkUsers = ["root", "no-such-user-here"]
        var listener = Configuration.Listener(name: "devices")
        var tls = Configuration.Listener.TLS()
        tls.certificateFile = #filePath
        tls.keyFile = directory.file("none.key")
        tls.clientCAFile = directory.path
        listener.tls = tls
        configuration.listeners = [listener]
        #expect(
            configuration.check().map { "\($0.key): \($0.message)" } == [
                "listeners.devices.tls.key_file: \(tls.keyFile): not readable: No such file or directory",
                "listeners.devices.tls.client_ca_file: \(directory.path): not readable: not a regular file",
                "authentication.redis.password_file: /dev/null: not readable: not a regular file",
                "state_directory: /dev/null: is not a directory",
                "link_users: this host has no user no-such-user-here",
            ]
        )
    }

    /// Devices were said to be safe from others that use their ids.
    @Test("A warning says where ids that are bound to certificates can be used through another listener all the same")
    func warnsOfClientIdsOfOtherListeners() throws {
        func warnings(_ policies: String...) throws -> [String] {
            let entries = policies.enumerated().map { "  - {name: l\($0), addresses: [\"[::]:0\"], tls: {}\($1)}\n" }
            let text = smallestConfiguration.replacing("  - name: devices\n    tls: {}\n", with: entries.joined())
            let problems = try parseConfiguration(text).check().filter { $0.key.hasSuffix("client_id") }
            return problems.map { "\($0.isWarning) \($0.key): \($0.message)" }
        }
        let bound = ", client_id: must_equal_cn"
        #expect(try warnings("", "").isEmpty)
        #expect(try warnings(bound, ", client_id: from_cn").isEmpty)
        // They may have no certificate that an id could be compared with.
        #expect(try warnings(bound, ", client_certificate: optional").isEmpty)
        let reason =
            "any: clients of this listener can take over sessions of devices on l1, which has must_equal_cn, for all "
            + "listeners share the client ids; must_equal_cn or from_cn here prevents it"
        #expect(
            try warnings("", bound, ", client_id: any") == [
                "true listeners.l0.client_id: \(reason)", "true listeners.l2.client_id: \(reason)",
            ]
        )
    }

    /// Listeners found out at their start.
    @Test func namesTicketSecretsThatCannotBeUsed() throws {
        let directory = try TemporaryDirectory()
        let (short, open, good) = (directory.file("short"), directory.file("open"), directory.file("good"))
        try writeFile(short, [UInt8](repeating: 1, count: 31))
        for path in [open, good] { try writeFile(path, Array(1...32)) }
        chmod(short, 0o600)
        chmod(open, 0o644)
        chmod(good, 0o640)
        func problems(_ keys: String) throws -> [String] {
            let text = smallestConfiguration.replacing("tls: {}", with: "tls: {\(keys)}")
            let configuration = try parseConfiguration(text)
            let secrets = configuration.check().filter { $0.key.contains("ticket") }
            return ConfigurationError(file: "m.yaml", problems: secrets).lines
        }
        #expect(
            try problems("ticket_secret_file: \(short), previous_ticket_secret_file: \(directory.file("none"))") == [
                "m.yaml:3:31: listeners.devices.tls.ticket_secret_file: \(short): has 31 bytes, at least 32 random ones are "
                    + "needed; make them with openssl rand -out \(short) 48",
                "m.yaml:3:\(62 + short.utf8.count): listeners.devices.tls.previous_ticket_secret_file: "
                    + "\(directory.file("none")): not readable: No such file or directory",
            ]
        )
        let shared = try problems("ticket_secret_file: \(open)")
        #expect(shared.count == 1 && shared[0].hasSuffix("every user of this host may use it; chmod o= \(open)"))
        #expect(try problems("ticket_secret_file: \(good)").isEmpty)
        #expect(try problems("session_tickets: false, ticket_secret_file: \(short)").isEmpty)
    }

    /// The marks were taken for a part of it.
    @Test func quotationMarksOfAnOverrideAreThoseOfTheFile() throws {
        let configuration = try parseConfiguration(
            smallestConfiguration,
            environment: ["MARTLET_STATE_DIRECTORY": "'/it''s'"],
            settings: [#"log.level="debug""#, #"runtime_directory="/tmp/a\u0020b""#, "bans_file=/it\"s"]
        )
        #expect("\(configuration.log.level)" == "debug")
        #expect(configuration.runtimeDirectory == "/tmp/a b")
        #expect(configuration.stateDirectory == "/it's")
        #expect(configuration.bansFile == "/it\"s")
        let open = configurationMistakes(smallestConfiguration, settings: [#"log.level="debug"#])
        #expect(open.count == 1 && open[0].contains(#""debug" is not trace, debug"#), "\(open)")
    }

    /// The largest packet that is documented was refused, for the default was four bytes less.
    @Test func partialPacketsFollowTheLargestPacket() throws {
        let largest = "mqtt: {max_packet_size: 268435460B}\n" + smallestConfiguration
        #expect(try parseConfiguration(largest).flowControl.partialPacketBytesMax == 268_435_460)
        #expect(try parseConfiguration(smallestConfiguration).flowControl.partialPacketBytesMax == 256 << 20)
        let less = configurationMistakes("flow_control: {partial_packets: 256MiB}\n" + largest)
        #expect(less.contains { $0.contains("partial_packets: is less than mqtt.max_packet_size") }, "\(less)")
    }
}
