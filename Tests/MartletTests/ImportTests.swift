import Common
import TestSupport
import Testing

@testable import Martlet

@Suite struct ImportTests {
    private static let emqx4 = """
        ## EMQX 4
        allow_anonymous = true
        acl_nomatch = deny
        acl_deny_action = disconnect
        cluster.name = emqxcl
        listener.ssl.external = 8883
        listener.ssl.external.keyfile = /etc/emqx/certs/key.pem
        listener.ssl.external.certfile = /etc/emqx/certs/cert.pem
        listener.ssl.external.cacertfile = /etc/emqx/certs/cacert.pem
        listener.ssl.external.verify = verify_peer
        listener.ssl.external.fail_if_no_peer_cert = true
        listener.ssl.external.peer_cert_as_username = cn
        listener.ws.external = 8083
        auth.redis.type = sentinel
        auth.redis.server = 10.0.0.1:26379, 10.0.0.2:26379
        auth.redis.sentinel = mymaster
        auth.redis.database = 2
        auth.redis.password = top-secret
        auth.redis.auth_cmd = HMGET tls_subject:%d password salt
        auth.redis.password_hash = salt,sha256
        auth.redis.super_cmd = HGET mqtt_user:%u is_superuser
        auth.redis.acl_cmd = HGETALL mqtt_acl:%u
        auth.redis.ssl = on
        """

    private static let emqx5 = """
        # EMQX 5
        node { name = "emqx@127.0.0.1", cookie = "x" }
        mqtt.peer_cert_as_username = cn
        authentication = [
          {
            mechanism = password_based
            backend = redis
            cmd = "HMGET mqtt:${username} password_hash salt is_superuser"
            password_hash_algorithm { name = sha256, salt_position = suffix }
            redis_type = cluster
            servers = "10.0.0.1:6379,10.0.0.2:6379"
            username = "martlet"
            password = "top-secret"
            ssl { enable = true, verify = verify_peer, cacertfile = "/etc/ca.pem" }
          },
          { mechanism = jwt, from = password }
        ]
        authorization {
          no_match = allow
          deny_action = ignore
          sources = [
            { type = redis, redis_type = cluster, servers = ["10.0.0.1:6379", "10.0.0.2:6379"], cmd = "HGETALL acl:${username}" }
            { type = file, enable = true, path = "acl.conf" }
          ]
        }
        listeners.ssl.default {
          bind = "0.0.0.0:8883"
          ssl_options { cacertfile = "ca.pem", certfile = "cert.pem", keyfile = "key.pem", verify = verify_peer, fail_if_no_peer_cert = true }
        }
        listeners.ws.default { bind = "0.0.0.0:8083" }
        """

    private func configuration(_ imported: ImportedConfiguration) throws -> Configuration {
        let yaml = imported.yaml(passwordFiles: ["redis.password"])
        return try Configuration.parse(Array(yaml.utf8), file: "made.yaml", baseDirectory: "/base")
    }

    private func warns(_ imported: ImportedConfiguration, _ line: Int, _ text: String) -> Bool {
        imported.warnings.contains { $0.line == line && $0.text.contains(text) }
    }

    @Test func emqx4BecomesAGoodConfiguration() throws {
        let imported = EMQX4Reader.read(Self.emqx4)
        let configuration = try self.configuration(imported)
        let source = configuration.authentication.sources[0]
        #expect(source.command == "HMGET tls_subject:%d password salt")
        #expect(source.passwordHash == PasswordHash.saltedSHA256)
        #expect(source.superCommand == "HGET mqtt_user:%u is_superuser")
        #expect(source.accessCommand == "HGETALL mqtt_acl:%u")
        guard case .sentinel(let sentinel) = source.redis.topology else {
            return #expect(Bool(false), "\(source.redis.topology)")
        }
        #expect(sentinel.servers == [.tcp(host: "10.0.0.1", port: 26379), .tcp(host: "10.0.0.2", port: 26379)])
        #expect(sentinel.master == "mymaster" && source.redis.url.database == 2 && source.redis.url.usesTLS)
        #expect(source.redis.passwordFile == "/base/redis.password")
        #expect(configuration.authorization.noMatch == .deny)
        #expect(configuration.authorization.denyAction == .disconnect)
        #expect(configuration.authorization.accessRows == .only)
        let listener = configuration.listeners[0]
        #expect(listener.clientCertificate == .required && listener.userNameFrom == .commonName)
        #expect(listener.tls?.clientCAFile == "/etc/emqx/certs/cacert.pem")
        #expect(!imported.yaml(passwordFiles: ["f"]).contains("top-secret"))
    }

    @Test func whatEMQX4MeansOtherwiseIsNamedWithItsLine() {
        let imported = EMQX4Reader.read(Self.emqx4)
        #expect(self.warns(imported, 2, "allow_anonymous is true"))
        #expect(self.warns(imported, 13, "listener ws.external is not taken over"))
        #expect(self.warns(imported, 19, "splits the command at spaces afterwards"))
        #expect(self.warns(imported, 19, "%d is the whole subject"))
        #expect(self.warns(imported, 0, "did not verify Redis' certificate"))
        #expect(self.warns(imported, 0, "1 other setting (cluster) is not taken over"))
        // One by one, not as so many others.
        let zone = EMQX4Reader.read(
            "auth.redis.server = a:1\nzone.external.max_packet_size = 1MB\nzone.internal.acl_nomatch = deny\nmqtt.strict_mode = false\n"
        )
        #expect(self.warns(zone, 2, "zone.external.max_packet_size is not taken over: see mqtt.max_packet_size"))
        #expect(self.warns(zone, 3, "zone.internal.acl_nomatch is not taken over: authorization.no_match is one"))
        #expect(self.warns(zone, 4, "mqtt.strict_mode is not taken over"))
        #expect(!self.warns(zone, 0, "other settings"))
        let threeParts = EMQX4Reader.read("auth.redis.password_hash = salt,sha256,salt\n")
        #expect(self.warns(threeParts, 1, "EMQX 4 takes it as plain"))
        #expect(throws: ConfigurationError.self) { try self.configuration(threeParts) }
        #expect(self.warns(EMQX4Reader.read("log.level = debug\n"), 0, "acl_nomatch is allow by default"))
    }

    @Test func emqx5BecomesAGoodConfiguration() throws {
        let imported = try EMQX5Reader.read(Self.emqx5)
        let configuration = try self.configuration(imported)
        let source = configuration.authentication.sources[0]
        #expect(source.command == "HMGET mqtt:${username} password_hash salt is_superuser")
        #expect(source.passwordHash == PasswordHash(.digest(.sha256), salt: .suffix))
        #expect(source.accessCommand == "HGETALL acl:${username}")
        #expect(
            source.redis.topology
                == .cluster([.tcp(host: "10.0.0.1", port: 6379), .tcp(host: "10.0.0.2", port: 6379)])
        )
        #expect(source.redis.url.user == "martlet" && source.redis.url.usesTLS)
        #expect(source.redis.tls.caFile == "/etc/ca.pem")
        #expect(configuration.authorization.noMatch == .deny && configuration.authorization.accessRows == .first)
        #expect(configuration.listeners[0].userNameFrom == .commonName)
        #expect(configuration.listeners[0].tls?.keyFile == "/base/key.pem")
        #expect(!imported.yaml(passwordFiles: ["f"]).contains("top-secret"))
        #expect(imported.warnings.contains { $0.text.contains("authenticator jwt:") })
        #expect(self.warns(imported, 19, "authorization.no_match is allow"))
        #expect(imported.warnings.contains { $0.text.contains("authorization source file is not taken over") })
        #expect(imported.warnings.contains { $0.text.contains("listener ws:default") })
        #expect(self.warns(imported, 2, "not taken over: node"))
    }

    @Test func severalAuthenticatorsBecomeSources() throws {
        let text = """
            authentication = [
              {mechanism = password_based, backend = redis, server = "a:1", cmd = "HMGET a:${cert_common_name} password_hash salt"},
              {mechanism = password_based, backend = redis, server = "b:2", cmd = "HMGET b:${username} password_hash",
               password_hash_algorithm {name = bcrypt}}
            ]
            """
        let imported = try EMQX5Reader.read(text)
        let yaml = imported.yaml(passwordFiles: [nil, nil])
        let configuration = try Configuration.parse(Array(yaml.utf8), file: "made.yaml", baseDirectory: "/base")
        #expect(configuration.authentication.sources.map(\.name) == ["redis-1", "redis-2"])
        #expect(configuration.authentication.sources[1].redis.url == .tcp(host: "b", port: 2))
    }

    @Test(arguments: [
        ("a { b = 1, c.d : x }\n# c\na.e = [1, \"two\"] // end", #"["a"]"#), ("{ a = \"\"\"x\ny\"\"\" }", #"["a"]"#),
        ("", "[]"),
    ])
    func hoconIsRead(_ text: String, _ keys: String) throws {
        var parser = HOCONParser(text)
        #expect("\(try parser.parse().members.map(\.key))" == keys)
    }

    @Test func laterValuesWinAndObjectsAreMerged() throws {
        var parser = HOCONParser("a { b = 1, c = 2 }\na.b = 3\na { d = ${x}4 }\ninclude \"other.conf\"\n")
        let root = try parser.parse()
        #expect(root["a", "b"]?.text == "3" && root["a", "c"]?.text == "2" && root["a", "d"]?.text == "4")
        #expect(parser.problems.map(\.line) == [3, 4])
    }

    @Test(arguments: ["a {", "a = [", "a = \"x", "= 1", "a b", "a = \"\"\"x", String(repeating: "a{", count: 100)])
    func brokenHOCONIsRefusedWithItsLine(_ text: String) {
        var parser = HOCONParser("\n" + text)
        let failure = #expect(throws: HOCONParser.Failure.self) { try parser.parse() }
        #expect((failure?.line ?? 0) >= 2)
    }

    @Test(arguments: [
        (["emqx4"], "listeners.ssl.a {\n  bind = 1\n}\n", "martlet import emqx5"),
        (["emqx4"], "authentication = []\n", "martlet import emqx5"),
        (["emqx5"], "listener.ssl.a = 8883\n", "martlet import emqx4"),
        (
            ["emqx5"], "auth.redis.auth_cmd = HMGET u:%u password\nauth.redis.password_hash = salt,sha256\n",
            "martlet import emqx4"
        ),
        (["emqx4"], "log.level = debug\n", "name a file of EMQX 4"), (["emqx5"], "", "name a file of EMQX 5"),
    ])
    func `regression: the file of the other version ends with its command's name`(
        _ command: [String],
        _ text: String,
        _ advice: String
    ) throws {
        let folder = try TemporaryDirectory()
        let file = folder.file("emqx.conf")
        try writeFile(file, Array(text.utf8))
        let run = try runProcess(builtProgram("martlet"), arguments: ["import"] + command + [file])
        #expect(run.status == 1 && run.output.contains(advice), "\(run)")
    }

    @Test func noTextCrashesTheReaders() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let texts = [Self.emqx4, Self.emqx5] + ImportSamples.emqx4 + ImportSamples.emqx5
        let originals = texts.map { Array($0.utf8) }
        let inserted = Array("{}[]\"=,.$\n\\u~+1".utf8)
        for _ in 0..<1000 {
            var bytes = originals[Int.random(in: 0..<originals.count, using: &random)]
            for _ in 0..<Int.random(in: 1...20, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: place)
                default: bytes.insert(inserted[Int.random(in: 0..<inserted.count, using: &random)], at: place)
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            _ = EMQX4Reader.read(text).yaml(passwordFiles: [])
            _ = try? EMQX5Reader.read(text).yaml(passwordFiles: [])
        }
    }
}
