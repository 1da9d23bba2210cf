import Common
import Glibc
import TestSupport
import Testing

/// Devices provisioned for EMQX 4 and EMQX 5, with real processes and a real Redis.
@Suite struct DialectTests {
    /// Which processes a test needs, and which client tries what.
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var authentication: String
        var authorization = "{rules: {default: [], everything: [{allow: all, topics: [\"#\"]}]}}"
        var redis: [[String]]
        var right: String?
        var wrong: String?
        /// A topic that may be published to, and one that may not.
        var allowed: String
        var forbidden: String

        var testDescription: String { self.name }
    }

    static let bcrypt = "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"

    static let cases: [Case] = [
        Case(
            name: "EMQX 4: salted hash, bit mask, super_cmd",
            authentication: """
                command: HMGET mqtt_user:%u password salt
                  password_hash: salt,sha256
                  super_command: HGET mqtt_user:%u is_superuser
                  acl_command: HGETALL mqtt_acl:%u
                """,
            authorization: "{acl: only, rules: {default: [{allow: all, topics: [\"open\"]}], everything: []}}",
            redis: [
                [
                    "HSET", "mqtt_user:fred", "password",
                    "bede90386d450cea8b77b822f8887065e4e5abf132c2f9dccfcc7fbd4cba5e35", "salt", "salt",
                ],
                ["HSET", "mqtt_acl:fred", "up/%u", "2", "down/%u", "1"],
            ],
            right: "secret",
            wrong: "salt",
            allowed: "up/fred",
            forbidden: "open"
        ),
        Case(
            name: "EMQX 4: a command of another kind, positional",
            authentication: """
                command: LRANGE "users %u" 0 -1
                  password_hash: pbkdf2,sha256,1000,20
                  acl_command: HGETALL mqtt_acl:%u
                """,
            redis: [
                ["RPUSH", "users fred", "a8df899f3c4f204d967e0ad63c092987c10055eb", "salt"],
                ["HSET", "mqtt_acl:fred", "up/#", "3"],
            ],
            right: "secret",
            wrong: "Secret",
            allowed: "up/x",
            forbidden: "down/x"
        ),
        Case(
            name: "EMQX 5: algorithm object, words and JSON",
            authentication: """
                command: HMGET mqtt:${username} password_hash salt is_superuser
                  password_hash: {name: sha256, salt_position: suffix}
                  acl_command: HGETALL acl:${clientid}
                """,
            redis: [
                [
                    "HSET", "mqtt:fred", "password_hash",
                    "F84FA2149DBB62ED4E0CF1F550D2949B33A6513D3A7707E08502511C79CCB0EE", "salt", "salt",
                ],
                ["HSET", "acl:client", "t/${username}", "publish", "t/+", #"{"action":"publish","qos":[2]}"#],
            ],
            right: "secret",
            wrong: "secretsalt",
            allowed: "t/fred",
            forbidden: "t/other"
        ),
        Case(
            name: "certificate, row and bcrypt",
            authentication: """
                command: HMGET tls_domain:%C password_hash is_superuser
                  password_hash: bcrypt
                """,
            authorization: "{rules: {default: [{allow: all, topics: [\"devices/%C/#\"]}], everything: []}}",
            redis: [["HSET", "tls_domain:dialect-device", "password_hash", Self.bcrypt]],
            right: "secret",
            wrong: "secreT",
            allowed: "devices/dialect-device/x",
            forbidden: "devices/other/x"
        ),
        Case(
            name: "certificate and row, no password",
            authentication: """
                command: EXISTS tls_domain:%C
                  password_hash: none
                  acl_command: HGETALL tls_acl:%C
                """,
            redis: [
                ["SET", "tls_domain:dialect-device", "x"], ["HSET", "tls_acl:dialect-device", "a/#", "all"],
            ],
            allowed: "a/b",
            forbidden: "b"
        ),
        Case(
            name: "certificate alone",
            authentication: "source: certificate",
            authorization: "{rules: {default: [{allow: all, topics: [\"devices/%C/#\"]}], everything: []}}",
            redis: [],
            allowed: "devices/dialect-device/x",
            forbidden: "devices/other/x"
        ),
    ]

    @Test(arguments: Self.cases)
    func devicesOfEMQXComeIn(_ example: Case) throws {
        let broker = try TestBroker { text in
            let head = text.split(separator: "authorization:\n", maxSplits: 1)[0]
            let lines = "  \(example.authentication)\n"
            let isRedis = !example.authentication.hasPrefix("source:")
            let former = "  command: HMGET tls_domain:%C password\n"
            return (isRedis ? String(head).replacing(former, with: lines) : String(head).replacingRedis(with: lines))
                + "authorization: \(example.authorization)\n"
        }
        for command in example.redis { _ = try broker.redisCommand(command) }
        let loop = try EventLoop()
        let tls = try broker.tlsContext(broker.pki.device("dialect-device"))
        func connect(_ password: String?) throws -> (TestClient, UInt8) {
            let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
            let connack = try client.connect(clientIdentifier: "client", userName: "fred", password: password)
            return (client, connack.returnCode)
        }
        if let wrong = example.wrong { #expect(try connect(wrong).1 == 0x86) }
        let (client, code) = try connect(example.right)
        try #require(code == 0, "refused with \(code)")
        #expect(try self.publish(client, example.allowed) < 0x80)
        #expect(try self.publish(client, example.forbidden) == 0x87)
        // From the cache, while Redis is away.
        guard !example.redis.isEmpty else { return }
        broker.stopRedis()
        let (again, second) = try connect(example.right)
        #expect(second == 0)
        #expect(try self.publish(again, example.forbidden) == 0x87)
    }

    /// The reason code of PUBACK.
    private func publish(_ client: TestClient, _ topic: String) throws -> UInt8 {
        client.publish(topic, [1], qos: .atLeastOnce, packetIdentifier: 7)
        guard case .puback(let acknowledgement) = try client.next("PUBACK") else {
            throw ProcessError(description: "the answer to PUBLISH is no PUBACK")
        }
        return acknowledgement.reasonCode.rawValue
    }
}
