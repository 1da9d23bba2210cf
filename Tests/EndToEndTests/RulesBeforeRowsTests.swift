import Common
import TestSupport
import Testing

/// `authorization.acl: last`: what a rule denies no row of Redis allows.
@Suite struct RulesBeforeRowsTests {
    private static let authorization = """
        authorization:
          acl: last
          rules:
            default:
              - {deny: all, topics: ["secret/#"]}
              - {deny: subscribe, topics: ["eq #"]}
              - {allow: publish, topics: ["open/%C"]}
            everything: [{allow: all, topics: ["#"]}]

        """

    private let broker: TestBroker
    private let loop: EventLoop

    init() throws {
        let authentication = "super_command: GET super:%C\n  acl_command: HGETALL acl:%C"
        self.broker = try TestBroker(authentication: authentication) { text in
            text.split(separator: "authorization:\n", maxSplits: 1)[0] + Self.authorization
        }
        self.loop = try EventLoop()
        for worker in self.broker.authWorkers { try worker.waitForLog("changes of rows are told by Redis") }
    }

    private func connect(_ device: String, will: String? = nil) throws -> (client: TestClient, code: UInt8) {
        let tls = try self.broker.tlsContext(try self.broker.pki.device(device))
        let client = try TestClient(loop: self.loop, port: self.broker.tlsPort, version: .v5_0, tls: tls)
        let connack = try client.connect(
            clientIdentifier: device,
            userName: "u",
            password: "pw",
            will: will.map { .init(qos: .atLeastOnce, retain: false, topic: Array($0.utf8), payload: [1]) }
        )
        return (client, connack.returnCode)
    }

    /// The reason code of PUBACK.
    private func publish(_ client: TestClient, _ topic: String) throws -> UInt8 {
        client.publish(topic, [1], qos: .atLeastOnce, packetIdentifier: 7)
        guard case .puback(let acknowledgement) = try client.next("PUBACK") else {
            throw ProcessError(description: "the answer to PUBLISH is no PUBACK")
        }
        return acknowledgement.reasonCode.rawValue
    }

    @Test func whatARuleDeniesNoRowAllows() throws {
        try self.broker.provision("ruled", password: "pw")
        _ = try self.broker.redisCommand("HSET", "acl:ruled", "#", "all")
        let (client, code) = try self.connect("ruled")
        #expect(code == 0)
        #expect(try self.publish(client, "secret/a") == 0x87)
        #expect(try self.publish(client, "rows/a") < 0x80)
        #expect(try client.subscribe("#", qos: .atLeastOnce) == [0x87])
        #expect(try client.subscribe("secret/a", qos: .atLeastOnce) == [0x87])
        #expect(try client.subscribe("down/#", qos: .atLeastOnce) == [1])

        let certificate = try self.broker.pki.device("ruled").certificateFile
        let arguments = ["auth", "test", "--cert", certificate, "--password", "pw"]
        let shown = try runProcess(
            TestBroker.executable("martlet"),
            arguments: arguments + ["--config", self.broker.directory.file("martlet.yaml")]
        ).output
        let lines = shown.split(separator: "\n").filter { $0.hasPrefix("rule ") }.map {
            $0.split(separator: " ").dropFirst()
        }
        #expect(
            lines.map { $0.joined(separator: " ") } == [
                "deny all secret/#", "deny subscribe eq #", "allow publish open/ruled", "allow all #", "otherwise deny",
            ],
            "\(shown)"
        )

        // A row that changes is the live session's, and rules stay before it.
        _ = try self.broker.redisCommand("DEL", "acl:ruled")
        try waitUntil("the row is gone") { try self.publish(client, "rows/a") == 0x87 }
        #expect(try self.publish(client, "open/ruled") < 0x80)
        _ = try self.broker.redisCommand("HSET", "acl:ruled", "secret/#", "all", "rows/#", "publish")
        try waitUntil("the new row is there") { try self.publish(client, "rows/b") < 0x80 }
        #expect(try self.publish(client, "secret/a") == 0x87)
    }

    @Test func aWillThatARuleDeniesIsNotAllowedByARow() throws {
        try self.broker.provision("willing", password: "pw")
        _ = try self.broker.redisCommand("HSET", "acl:willing", "#", "all")
        let watcher = try TestClient(loop: self.loop, port: self.broker.plainPort, version: .v5_0)
        _ = try watcher.connect(clientIdentifier: "watcher")
        #expect(try watcher.subscribe("#", qos: .atLeastOnce) == [1])
        // The session of the first ends with the second's connection at the latest, and its will with it.
        for topic in ["secret/will", "rows/will"] {
            let (client, code) = try self.connect("willing", will: topic)
            #expect(code == 0)
            client.cut()
        }
        #expect(try watcher.nextMessage("the will").topic == Array("rows/will".utf8))
    }

    @Test func superusersAreNotAskedForRules() throws {
        try self.broker.provision("chief", password: "pw")
        _ = try self.broker.redisCommand("SET", "super:chief", "1")
        let (client, code) = try self.connect("chief")
        #expect(code == 0)
        #expect(try self.publish(client, "secret/a") < 0x80)
    }
}
