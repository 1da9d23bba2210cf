import Common
import Glibc
import TestSupport
import Testing

/// Client libraries of strangers over mutual TLS, each through the same scenarios: every QoS, retained messages, wills, sessions,
/// shared subscriptions, large payloads, requests and responses.
@Suite struct ClientLibraryTests {
    private static let device = "346a004d-1dab-4016-bb38-03cca7094415"

    private static func run(_ program: String, _ arguments: [String], protocolLevel: Int) throws {
        let broker = try TestBroker()
        try broker.provision(Self.device, password: "public")
        let credentials = try broker.pki.device(Self.device)
        let (status, output) = try runProcess(
            program,
            arguments: arguments + [
                "\(protocolLevel)", "\(broker.tlsPort)", broker.pki.caFile, credentials.certificateFile,
                credentials.keyFile, Self.device, "public",
            ]
        )
        #expect(status == 0, "\(output)")
        var scenarios = ["round_trip", "retained", "will", "session", "shared", "large"]
        if protocolLevel == 5 { scenarios.append("request") }
        for scenario in scenarios { #expect(output.contains("ok \(scenario)\n"), "\(output)") }
        for process in broker.processes { #expect(process.isRunning, "\(process.log)") }
    }

    @Test(arguments: [3, 4, 5])
    func `Debian's paho-mqtt for Python`(protocolLevel: Int) throws {
        try Self.run(
            ClientPrograms.python,
            [ClientPrograms.script("with_paho.py")],
            protocolLevel: protocolLevel
        )
    }

    @Test(arguments: [3, 4, 5])
    func `Debian's paho-mqtt for C`(protocolLevel: Int) throws {
        let directory = try TemporaryDirectory("martlet-paho")
        let program = try ClientPrograms.compilePaho(into: directory)
        try Self.run(program, [], protocolLevel: protocolLevel)
    }

    @Test(
        .enabled("clients from PyPI: the package index has to be within reach") { ClientPrograms.hasEnvironment },
        arguments: [
            ("with_paho.py", 4), ("with_paho.py", 5), ("with_gmqtt.py", 4), ("with_gmqtt.py", 5),
            ("with_aiomqtt.py", 4), ("with_aiomqtt.py", 5),
        ]
    )
    func `PyPI's paho-mqtt 2, gmqtt and aiomqtt`(script: String, protocolLevel: Int) throws {
        let python = try ClientPrograms.environmentPython.get()
        try Self.run(python, [ClientPrograms.script(script)], protocolLevel: protocolLevel)
    }

    @Test(arguments: ["mqttv311", "mqttv5"])
    func `mosquitto_rr asks and gets its answer`(version: String) throws {
        let broker = try TestBroker()
        try broker.provision(Self.device, password: "public")
        let credentials = try broker.pki.device(Self.device)
        let loop = try EventLoop()
        let responder = try TestClient(
            loop: loop,
            port: broker.tlsPort,
            version: version == "mqttv5" ? .v5_0 : .v3_1_1,
            tls: try broker.tlsContext(credentials)
        )
        let connack = try responder.connect(clientIdentifier: "responder", userName: "u", password: "public")
        #expect(connack.returnCode == 0)
        let topic = "devices/\(Self.device)"
        #expect(try responder.subscribe("\(topic)/request", qos: .atLeastOnce) == [1])
        let output = broker.directory.file("answer")
        let asker = try ChildProcess(
            "/bin/sh",
            arguments: ["-c", "exec mosquitto_rr \"$@\" > \(output)", "sh"]
                + broker.mosquittoOptions(credentials) + ["-u", "u", "-P", "public", "-V", version, "-q", "1"]
                + ["-t", "\(topic)/request", "-e", "\(topic)/response", "-m", "2+2", "-W", "30"]
                + (version == "mqttv5" ? ["-D", "publish", "correlation-data", "seven"] : []),
            name: "mosquitto_rr",
            logFile: broker.directory.file("mosquitto_rr.log")
        )
        guard case .publish(let request) = try responder.next("the request") else {
            Issue.record("the responder got something other than the request")
            return
        }
        responder.send(.puback(AcknowledgementPacket(packetIdentifier: request.packetIdentifier)))
        #expect(request.payload == Array("2+2".utf8))
        var properties = Properties()
        if version == "mqttv5" {
            #expect(request.properties.responseTopic == Array("\(topic)/response".utf8))
            #expect(request.properties.correlationData == Array("seven".utf8))
            properties.correlationData = request.properties.correlationData
        }
        responder.publish(
            "\(topic)/response",
            Array("4".utf8),
            qos: .atLeastOnce,
            packetIdentifier: 1,
            properties: properties
        )
        #expect(try responder.next("PUBACK").type == .puback)
        #expect(try asker.waitForExit() == 0, "\(asker.log)")
        #expect(String(decoding: try readFile(output), as: UTF8.self) == "4\n")
    }
}
