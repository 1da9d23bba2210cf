import Common
import TestSupport
import Testing

/// `martlet status` for programs, of real processes.
@Suite struct StatusCommandTests {
    private static let several = """
          sources:
            - name: file of ours
              source: embedded
            - name: anybody
              source: certificate

        """

    @Test(
        "JSON and Prometheus' text hold what the status shows, and every figure is known",
        arguments: ["  command: HMGET tls_domain:%C password\n", Self.several]
    )
    func programs(authentication: String) throws {
        let former = "  command: HMGET tls_domain:%C password\n"
        let broker = try TestBroker { text in
            authentication == former ? text : text.replacingRedis(with: authentication)
        }
        let loop = try EventLoop()
        let client = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        _ = try client.connect(clientIdentifier: "status")
        let stranger = try broker.tlsContext(try broker.pki.device("status-stranger"))
        _ = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: stranger)
            .connect(clientIdentifier: "", userName: "u", password: "x")
        func status(_ format: String) throws -> (status: Int32, output: String) {
            try runProcess(
                TestBroker.executable("martlet"),
                arguments: ["status", format, "--config", broker.directory.file("martlet.yaml")]
            )
        }

        let asked = try status("--json")
        #expect(asked.status == 0)
        let json = try #require(JSONValue(Array(asked.output.utf8)), "\(asked.output)")
        guard case .list(let processes)? = json["processes"] else { throw ProcessError(description: asked.output) }
        #expect(processes.map { $0["role"] } == ["router", "authworker", "listener"].map { .text(Array($0.utf8)) })
        #expect(processes.allSatisfy { $0["up"] == .flag(true) })
        #expect(processes[0]["values"]?["sessions_connected"] != .integer(0))
        for process in processes {
            // Of whichever allocator the program has.
            guard case .integer(let bytes)? = process["values"]?["heap_bytes"] else {
                throw ProcessError(description: asked.output)
            }
            #expect(bytes > 100_000 && bytes < 100_000_000)
        }
        if authentication != former {
            #expect(processes[1]["sources"]?["file of ours"]?["values"]?["queries"] == .integer(1))
        }

        let text = try status("--prometheus")
        #expect(text.status == 0)
        let families = try PrometheusText.parse(text.output)
        #expect(families.first { $0.name == "martlet_up" }?.samples.map(\.value) == ["1", "1", "1"])
        let unknown = families.filter { $0.type == "untyped" }.map(\.name)
        #expect(unknown.isEmpty, "StatusMetric.all lacks \(unknown)")
        let connections = families.first { $0.name == "martlet_listener_connections" }
        #expect(connections?.samples.first?.labels == ["process": "listener-1"])
        broker.killRouter()
        let down = try status("--prometheus")
        #expect(down.status == 1 && down.output.contains("martlet_up{process=\"router\"} 0\n"))
    }

    /// A second listener carried clients, and nobody saw it; a second auth worker was never asked.
    @Test("Processes beyond those of the configuration say so, and status shows them")
    func surplusProcesses() throws {
        let broker = try TestBroker(listeners: 2) { text in
            text.replacing("processes: {listeners: 2, ", with: "processes: {listeners: 1, ")
        }
        try broker.startAuthWorker(2)
        let file = broker.directory.file("martlet.yaml")
        #expect(broker.listeners[1].log.contains("processes.listeners is 1, and this is number 2"))
        #expect(broker.listeners[1].log.contains("raise processes.listeners in \(file)"))
        #expect(
            broker.authWorkers[1].log.contains("processes.auth_workers is 1, and this is number 2: no listener asks it")
        )
        for process in [broker.listeners[0], broker.authWorkers[0]] { #expect(!process.log.contains("this is number")) }
        func status(_ format: String) throws -> (status: Int32, output: String) {
            try runProcess(TestBroker.executable("martlet"), arguments: ["status", format, "--config", file])
        }
        let shown = try status("--prometheus")
        #expect(shown.status == 0)
        for line in [
            #"martlet_up{process="listener-2"} 1"#, #"martlet_alarms{process="listener-2"} 1"#,
            #"martlet_up{process="authworker-2"} 1"#, #"martlet_alarms{process="listener-1"} 0"#,
        ] { #expect(shown.output.contains(line), "\(line) is missing in\n\(shown.output)") }
        // What it left behind is no process.
        broker.listeners[1].killNow()
        let rest = try status("--json")
        #expect(rest.status == 0 && !rest.output.contains("listener-2"), "\(rest.output)")
    }
}
