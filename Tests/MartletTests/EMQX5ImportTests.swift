import Common
import Testing

@testable import Martlet

/// What `martlet import emqx5` lost, or took for something else.
@Suite struct EMQX5ImportTests {
    private static func redis(_ name: String) -> String {
        #"{mechanism = password_based, backend = redis, server = "\#(name):6379", cmd = "HMGET \#(name):${username} password_hash salt"}"#
    }

    private func warns(_ imported: ImportedConfiguration, _ line: Int, _ text: String) -> Bool {
        imported.warnings.contains { $0.line == line && $0.text.contains(text) }
    }

    private func configuration(_ imported: ImportedConfiguration) throws -> Configuration {
        let yaml = imported.yaml(passwordFiles: imported.sources.map { $0.password.map { _ in "redis.password" } })
        return try Configuration.parse(Array(yaml.utf8), file: "made.yaml", baseDirectory: "/base")
    }

    private func commands(_ text: String) throws -> [String] {
        try EMQX5Reader.read(text).sources.map { String($0.command.dropFirst(6).prefix(1)) }
    }

    @Test(arguments: ImportSamples.emqx5) func windowsLineEndsAndByteOrderMarksChangeNothing(_ text: String) throws {
        let plain = try EMQX5Reader.read(text + "\n")
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(!plain.sources.isEmpty)
        #expect(try EMQX5Reader.read(lines.joined(separator: "\r\n") + "\r\n") == plain)
        #expect(try EMQX5Reader.read("\u{FEFF}" + text + "\n") == plain)
    }

    @Test func anAuthenticatorThatIsAppendedLeavesTheOthers() throws {
        for text in [
            "authentication = [\(Self.redis("a"))]\nauthentication += \(Self.redis("b"))",
            "authentication += \(Self.redis("a"))\nauthentication += \(Self.redis("b"))",
            "authentication = \(Self.redis("a"))\nauthentication += [\(Self.redis("b"))]",
            "authentication.1 \(Self.redis("a"))\nauthentication += \(Self.redis("b"))",
        ] {
            #expect(try self.commands(text) == ["a", "b"], "\(text)")
        }
        let nested = """
            authentication = \(Self.redis("a"))
            authorization { sources = [{type = file}] }
            authorization { sources += {type = redis, server = "a:6379", cmd = "HGETALL acl:${username}"} }
            """
        #expect(try EMQX5Reader.read(nested).sources[0].accessCommand == "HGETALL acl:${username}")
    }

    @Test func numbersAreElementsOfAList() throws {
        let text = """
            authentication.2 \(Self.redis("b"))
            authentication.1 \(Self.redis("a"))
            authorization.sources.1 { type = redis, server = "a:6379", cmd = "HGETALL acl:${username}" }
            """
        let imported = try EMQX5Reader.read(text)
        #expect(imported.sources.map(\.servers) == [["a:6379"], ["b:6379"]])
        #expect(imported.sources[0].accessCommand == "HGETALL acl:${username}")
        #expect(!imported.warnings.contains { $0.text.contains("not taken over") })
        #expect(try self.configuration(imported).authentication.sources.count == 2)
    }

    @Test func aNumberOverridesAnElementOfTheList() throws {
        let list = "authentication = [\(Self.redis("a")), \(Self.redis("b"))]\n"
        let overridden = try EMQX5Reader.read(
            list + "authentication.2.cmd = \"HMGET c:${username} password\"\nauthentication {1 {cmd = x}}"
        )
        #expect(overridden.sources.map(\.command) == ["x", "HMGET c:${username} password"])
        #expect(overridden.sources.map(\.servers) == [["a:6379"], ["b:6379"]])
        #expect(try self.commands(list + "authentication.3 = \(Self.redis("d"))") == ["a", "b", "d"])
    }

    @Test(arguments: ["0.cmd = x", "4.cmd = x", "cmd = x", "99999999999999999999.cmd = x"])
    func whatNamesNoElementIsNamedWithItsLine(_ rest: String) throws {
        let imported = try EMQX5Reader.read(
            "authentication = [\(Self.redis("a")), \(Self.redis("b"))]\nauthentication.\(rest)"
        )
        #expect(imported.sources.map(\.servers) == [["a:6379"], ["b:6379"]])
        #expect(self.warns(imported, 2, "names no element of the list"))
        #expect(!imported.sources.contains { $0.command == "x" })
    }

    @Test func numbersWithAGapAreNamedWithTheirLines() throws {
        let imported = try EMQX5Reader.read(
            "authentication.0 \(Self.redis("z"))\nauthentication.1 \(Self.redis("a"))\nauthentication.3 \(Self.redis("c"))"
        )
        #expect(imported.sources.map(\.servers) == [["a:6379"]])
        #expect(self.warns(imported, 1, "authentication.0 is left out"))
        #expect(self.warns(imported, 3, "authentication.3 is left out"))
    }

    @Test func aListenerMayHaveANumberForItsName() throws {
        let imported = try EMQX5Reader.read("authentication = \(Self.redis("a"))\nlisteners.ssl.1 { bind = 8883 }")
        #expect(imported.listeners.map(\.name) == ["ssl-1"])
    }

    @Test(arguments: [
        ("8883", "[::]:8883"), ("\":8883\"", "[::]:8883"), ("\"*:8883\"", "[::]:8883"), ("\":::8883\"", "[::]:8883"),
        ("\"0.0.0.0:8883\"", "0.0.0.0:8883"), ("\"[::1]:8883\"", "[::1]:8883"), ("\"::1:8883\"", "[::1]:8883"),
        ("\"localhost:8883\"", "127.0.0.1:8883"),
    ])
    func addressesAreWrittenAsMartletWantsThem(_ bind: String, _ address: String) throws {
        let imported = try EMQX5Reader.read("authentication = \(Self.redis("a"))\nlisteners.ssl.default.bind = \(bind)")
        #expect(try self.configuration(imported).listeners[0].addresses == [ListenAddress.parse(address)])
    }

    @Test(arguments: ["enable = false", "enabled = off"])
    func aListenerThatIsOffIsLeftOutByName(_ setting: String) throws {
        let text = """
            authentication = \(Self.redis("a"))
            listeners.tcp.default { bind = 1883, \(setting) }
            listeners.tcp.local { bind = "127.0.0.1:1883" }
            """
        let imported = try EMQX5Reader.read(text)
        #expect(self.warns(imported, 2, "listener tcp:default is off, and left out"))
        #expect(imported.listeners.map(\.name) == ["tcp-local"])
        #expect(!imported.warnings.contains { $0.text.contains("open to the network") })
    }

    @Test func partsOfTheCertificateThatMartletDoesNotUseAreNamedOnce() throws {
        let text = """
            authentication = \(Self.redis("a"))
            mqtt { peer_cert_as_username = cn, peer_cert_as_clientid = dn }
            listeners.ssl.a { bind = 1, ssl_options.verify = verify_peer }
            listeners.ssl.b { bind = 2, ssl_options.verify = verify_peer }
            listeners.ssl.c { bind = 3, ssl_options.verify = verify_none }
            """
        let imported = try EMQX5Reader.read(text)
        #expect(
            imported.warnings.filter { $0.text.contains("peer_cert_as_clientid = dn is not supported") }.map(\.line)
                == [2]
        )
        #expect(self.warns(imported, 2, "peer_cert_as_username = cn is left out: ssl-c asks for no certificate"))
        #expect(try self.configuration(imported).listeners.map(\.userNameFrom) == [.commonName, .commonName, .client])
    }

    @Test func aUserWithoutAPasswordIsLeftOut() throws {
        let imported = try EMQX5Reader.read("authentication = \(Self.redis("a").dropLast()), username = u}")
        #expect(self.warns(imported, 1, "the user name u is left out"))
        #expect(try self.configuration(imported).authentication.redis.url.user == nil)
    }

    @Test func sentinelsWithoutAPortAreOnEMQXsDefaultPort() throws {
        let text =
            "authentication = \(Self.redis("a").dropLast()), redis_type = sentinel, sentinel = m, servers = \"s1,s2:26380\"}"
        #expect(try EMQX5Reader.read(text).sources[0].servers == ["s1:6379", "s2:26380"])
    }

    @Test func whatIsOffIsNamed() throws {
        let text = """
            authentication = [\(Self.redis("a")), {backend = redis, mechanism = password_based, enable = false}]
            authorization.sources = [{type = redis, enable = off, cmd = "x"}]
            """
        let imported = try EMQX5Reader.read(text)
        #expect(self.warns(imported, 1, "authenticator password_based:redis is off"))
        #expect(self.warns(imported, 2, "authorization source redis is off"))
        #expect(imported.sources.count == 1 && imported.sources[0].accessCommand == nil)
    }

    /// They were named only.
    @Test func limitsAndTLSOfListenersAreTakenOver() throws {
        let text = """
            listeners.ssl.default {
              bind = 8883
              max_connections = 50000
              max_conn_rate = "500/s"
              messages_rate = "100/10s"
              bytes_rate = "1MB/s"
              proxy_protocol = true
              ssl_options {
                certfile = a, keyfile = b, depth = 3, handshake_timeout = 20s, reuse_sessions = false
                versions = [tlsv1.3, tlsv1.2, tlsv1.1]
                ciphers = [TLS_AES_128_GCM_SHA256, ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-RSA-AES128-GCM-SHA256]
              }
            }
            listeners.ssl.strict { bind = 8884, max_conn_rate = infinity, ssl_options.versions = ["tlsv1.3"] }
            listeners.tcp.local { bind = "127.0.0.1:1883", max_connections = infinity, messages_rate = many }
            """
        let imported = try EMQX5Reader.read(text)
        let yaml = imported.yaml(passwordFiles: [])
        for lines in [
            "    max_connections: 50000\n    max_connection_rate: 500\n", "    handshake_timeout: 20000ms\n",
            "    publish_rate: {messages_per_second: 10, bytes_per_second: 1MiB}\n",
            "      verify_depth: 3\n", "      session_tickets: false\n",
            "      cipher_suites: \"TLS_AES_128_GCM_SHA256\"\n"
                + "      ciphers: \"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256\"\n",
            "      min_version: \"1.3\"\n",
        ] { #expect(yaml.contains(lines), "\(lines) is missing in\n\(yaml)") }
        #expect(yaml.matches(of: /_version:/).count == 1 && yaml.matches(of: /connection_rate/).count == 1)
        let warnings = imported.warnings.map(\.description)
        for start in [
            "7: proxy_protocol of ssl-default: name the load balancers' addresses in proxy_protocol.trusted",
            "10: TLS 1.0 and 1.1 are not offered here",
            "15: max_connections of tcp-local was infinity; it is 100000 here",
            "15: of tcp-local not taken over: messages_rate",
        ] { #expect(warnings.contains { $0.hasPrefix(start) }, "\(start): \(warnings)") }
        #expect(!warnings.contains { $0.contains("of ssl-default not taken") || $0.contains("ssl-strict not taken") })
        let mistakes = ImportedConfiguration.mistakes(in: yaml).filter {
            $0.contains("listeners") && !$0.contains("client_certificate")
        }
        #expect(mistakes.isEmpty, "\(mistakes)")
    }

    @Test func whatAListenerSaysBesideIsNamedWithItsLine() throws {
        let text = """
            listeners.ssl.default {
              bind = 8883
              mountpoint = "site/${clientid}"
              access_rules = ["deny 10.0.0.0/8", "allow all"]
              acceptors = 100
              ssl_options { certfile = a, keyfile = b, password = secret, hibernate_after = 3 }
            }
            """
        let warnings = try EMQX5Reader.read(text).warnings.map(\.description)
        for start in [
            "3: mountpoint of ssl-default is not taken over", "4: access_rules of ssl-default are not taken over",
            "6: the password of ssl-default's key",
            "1: of ssl-default not taken over: acceptors, ssl_options.hibernate_after",
        ] {
            #expect(warnings.contains { $0.hasPrefix(start) }, "\(start): \(warnings)")
        }
        #expect(!warnings.contains { $0.contains("secret") })
    }

    @Test func rowsInAnotherDatabaseOrUnderAnotherUserAreNamed() throws {
        let text = """
            authentication = [{mechanism = password_based, backend = redis, server = "r:6379", database = 1, username = a, password = x,
              cmd = "HMGET u:${username} password_hash", ssl.enable = true}]
            authorization.sources = [{type = redis, server = "r:6379", database = 5, username = b, password = x,
              cmd = "HGETALL acl:${username}"}]
            """
        let warnings = try EMQX5Reader.read(text).warnings.map(\.description)
        for what in ["another database", "another user or password", "another setting of TLS"] {
            #expect(
                warnings.contains { $0.hasPrefix("3: the rows are in another Redis") && $0.contains(what) },
                "\(warnings)"
            )
        }
        #expect(!warnings.contains { $0.contains("other servers") })
    }

    @Test func `regression: each setting of an authenticator that is not taken over is named with its line`() throws {
        let text = """
            authentication = [{mechanism = password_based, backend = redis, server = "r:6379"
              pool_size = 3
              auto_reconnect = true
              cmd = "HMGET u:${username} password_hash salt"
              password_hash_algorithm { name = sha256, rounds = 3 }
              unknown_thing = 9
              ssl { enable = true, verify = verify_peer
                cacertfile = "${EMQX_ETC_DIR}/ca.pem"
                versions = [tlsv1.3]
                depth = 2
              }
            }]
            node { name = x }
            cluster { name = y }
            authorization { cache { enable = true } }
            authentication_settings.node_cache.enable = true
            listeners.ssl.default { bind = 8883, ssl_options {
              keyfile = "${EMQX_ETC_DIR}/key.pem", verify = verify_peer } }
            """
        let imported = try EMQX5Reader.read(text)
        for (line, start) in [
            (2, "pool_size of redis-1 is not taken over: one connection"), (3, "auto_reconnect of redis-1"),
            (5, "password_hash_algorithm.rounds of redis-1"), (6, "unknown_thing of redis-1"),
            (8, "${EMQX_ETC_DIR} in cacertfile"), (9, "ssl.versions of redis-1"), (10, "ssl.depth of redis-1"),
            (13, "not taken over: node"), (14, "not taken over: cluster"),
            (15, "authorization.cache is not taken over"), (16, "authentication_settings.node_cache"),
            (18, "${EMQX_ETC_DIR} in keyfile"),
        ] {
            #expect(self.warns(imported, line, start), "\(line) \(start): \(imported.warnings)")
        }
        #expect(!imported.warnings.contains { $0.text.contains("${username}") })
        #expect(throws: Never.self) { try self.configuration(imported) }
    }

    @Test func `regression: a user name with characters of URLs is written encoded`() throws {
        let text = "authentication = \(Self.redis("a").dropLast()), username = \"we:i@rd/x%41 ö\", password = p}"
        let imported = try EMQX5Reader.read(text)
        let yaml = imported.yaml(passwordFiles: ["redis.password"])
        #expect(yaml.contains("redis://we%3Ai%40rd%2Fx%2541%20%C3%B6@a:6379/0"))
        #expect(throws: Never.self) { try self.configuration(imported) }
        #expect(RedisURL.percentEncoded("aZ09-._~[`{@\u{0}") == "aZ09-._~%5B%60%7B%40%00")
    }

    @Test func `regression: clientid_override is named with its line`() throws {
        let text = """
            authentication = [{mechanism = password_based, backend = redis, server = "r:6379"
              cmd = "HMGET u:${username} password_hash salt clientid_override"}]
            listeners.tcp.a.bind = "127.0.0.1:1"
            """
        let imported = try EMQX5Reader.read(text)
        #expect(self.warns(imported, 2, "clientid_override has no counterpart"))
        #expect(throws: Never.self) { try self.configuration(imported) }
    }

    /// Its rows counted for every client.
    @Test func `regression: rows that count under a precondition only are left out, and it is named with its line`()
        throws
    {
        let rows = #"type = redis, server = "a:6379", cmd = "HGETALL acl:${username}""#
        func imported(_ precondition: String) throws -> ImportedConfiguration {
            let text =
                "authentication = \(Self.redis("a"))\nauthorization.sources = [{\(rows)\n  precondition = \(precondition)}]"
            return try EMQX5Reader.read(text + "\nlisteners.tcp.a.bind = \"127.0.0.1:1\"")
        }
        let bound = try imported("\"regex_match(clientid, '^admin-')\"")
        #expect(self.warns(bound, 3, "precondition is not taken over, and without it the rows"))
        #expect(bound.sources.map(\.accessCommand) == [nil])
        #expect(try self.configuration(bound).authorization.noMatch == .deny)
        let free = try imported("\"\"")
        #expect(free.sources.map(\.accessCommand) == ["HGETALL acl:${username}"])
        #expect(!free.warnings.contains { $0.text.contains("precondition") })
        let other = try EMQX5Reader.read(
            "authentication = \(Self.redis("a"))\nauthorization.sources = [{\(rows), precondition = x}, {\(rows)}]"
        )
        #expect(other.sources.map(\.accessCommand) == ["HGETALL acl:${username}"])
        let authenticator = try EMQX5Reader.read("authentication = \(Self.redis("a").dropLast())\n, precondition = x}")
        #expect(
            self.warns(authenticator, 2, "precondition of redis-1 is not taken over: it is asked about every client")
        )
    }

    /// Only the first source was looked at; clients of the others lost their rights without a word.
    @Test func `regression: each source whose Redis does not have the rows is named`() throws {
        let text = """
            authentication = [\(Self.redis("a")), \(Self.redis("a").dropLast()), database = 1}, \(Self.redis("b"))]
            authorization.sources = [{type = redis, server = "a:6379", cmd = "HGETALL acl:${username}"}]
            """
        let imported = try EMQX5Reader.read(text)
        #expect(self.warns(imported, 2, "than the passwords of redis-2 (another database)"))
        #expect(self.warns(imported, 2, "than the passwords of redis-3 (other servers)"))
        #expect(imported.warnings.filter { $0.text.contains("another Redis") }.count == 2)
        #expect(imported.sources.allSatisfy { $0.accessCommand != nil })
    }

    /// `%u` became the user name, and `%%` one percent sign.
    @Test(arguments: [
        ("100%:${username}", "100%:u"), ("x%u:${username}", "x%u:u"), ("a%%b:${username}", "a%%b:u"),
        ("x%cy:${username}", "x%cy:u"), ("%x%%%d%:${username}%", "%x%%%d%:u%"),
    ])
    func `regression: a percent sign in a command stays one`(_ key: String, _ rendered: String) throws {
        let client = ClientAttributes(
            clientIdentifier: Array("c".utf8),
            userName: Array("u".utf8),
            peerAddress: [],
            identity: nil
        )
        let source = #"backend = redis, mechanism = password_based, server = "a:6379", cmd = "HMGET \#(key) password""#
        let rows = #"type = redis, server = "a:6379", cmd = "HGETALL \#(key)""#
        let imported = try EMQX5Reader.read("authentication = {\(source)}\nauthorization.sources = [{\(rows)}]")
        let command = try CommandTemplate(imported.sources[0].command)
        #expect(try command.render(client).key.redisKey == Array(rendered.utf8))
        let access = try CommandTemplate(try #require(imported.sources[0].accessCommand), purpose: .access)
        #expect(try access.render(client).key.redisKey == Array(rendered.utf8))
    }

    @Test func percentSignsOfTheFourthVersionStayPlaceholders() throws {
        let rows = #"type = redis, server = "a:6379", compatibility_mode = v4, cmd = "HGETALL %%u:%c:%C:%d%""#
        let imported = try EMQX5Reader.read("authentication = \(Self.redis("a"))\nauthorization.sources = [{\(rows)}]")
        #expect(imported.sources[0].accessCommand == "HGETALL %%%u:%c:%%C:%%d%%")
    }
}
