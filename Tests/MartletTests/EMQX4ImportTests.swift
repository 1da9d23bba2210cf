import Common
import Testing

@testable import Martlet

/// What `martlet import emqx4` lost, or took for something else.
@Suite struct EMQX4ImportTests {
    private static let source = "auth.redis.auth_cmd = HMGET mqtt_user:%u password\n"

    private func warns(_ imported: ImportedConfiguration, _ line: Int, _ text: String) -> Bool {
        imported.warnings.contains { $0.line == line && $0.text.contains(text) }
    }

    private func configuration(_ imported: ImportedConfiguration) throws -> Configuration {
        let yaml = imported.yaml(passwordFiles: imported.sources.map { $0.password.map { _ in "redis.password" } })
        return try Configuration.parse(Array(yaml.utf8), file: "made.yaml", baseDirectory: "/base")
    }

    @Test(arguments: ImportSamples.emqx4) func windowsLineEndsAndByteOrderMarksChangeNothing(_ text: String) {
        let plain = EMQX4Reader.read(text + "\n")
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(plain.sources.count == 1)
        #expect(EMQX4Reader.read(lines.joined(separator: "\r\n") + "\r\n") == plain)
        #expect(EMQX4Reader.read("\u{FEFF}" + text + "\n") == plain)
    }

    @Test func sentinelsWithoutAPortAreOnEMQXsDefaultPort() throws {
        let text =
            Self.source
            + "auth.redis.type = sentinel\nauth.redis.sentinel = m\nauth.redis.server = 10.0.0.5, s2:26380,[::1]\n"
        let imported = EMQX4Reader.read(text)
        #expect(imported.sources[0].servers == ["10.0.0.5:6379", "s2:26380", "[::1]:6379"])
        guard case .sentinel(let sentinel) = try self.configuration(imported).authentication.redis.topology else {
            return #expect(Bool(false))
        }
        #expect(sentinel.servers.first == .tcp(host: "10.0.0.5", port: 6379))
    }

    @Test func partsOfTheCertificateThatMartletDoesNotUseAreNamed() throws {
        let text =
            Self.source + """
                listener.ssl.external = 8883
                listener.ssl.external.verify = verify_peer
                listener.ssl.external.peer_cert_as_username = crt
                listener.ssl.external.peer_cert_as_clientid = dn
                listener.tcp.external = 1883
                listener.tcp.external.peer_cert_as_username = cn
                """
        let imported = EMQX4Reader.read(text)
        #expect(self.warns(imported, 4, "peer_cert_as_username = crt is not supported"))
        #expect(self.warns(imported, 5, "peer_cert_as_clientid = dn is not supported"))
        #expect(self.warns(imported, 7, "peer_cert_as_username = cn is left out: tcp-external asks for no certificate"))
        #expect(try self.configuration(imported).listeners.map(\.userNameFrom) == [.client, .client])
    }

    @Test func emptyValuesAreNone() throws {
        let text = Self.source + "auth.redis.super_cmd =\nauth.redis.acl_cmd = \nauth.redis.password = \"\"\n"
        let imported = EMQX4Reader.read(text)
        let source = try self.configuration(imported).authentication.sources[0]
        #expect(source.superCommand == nil && source.accessCommand == nil && source.redis.passwordFile == nil)
        #expect(imported.accessRows == "first")
    }

    @Test func aListenerThatIsOffIsLeftOutByName() throws {
        let text =
            Self.source + """
                listener.ssl.external = 8883
                listener.ssl.external.max_connections = 10
                listener.ssl.external.enable = off
                listener.tcp.internal = 127.0.0.1:1883
                """
        let imported = EMQX4Reader.read(text)
        #expect(self.warns(imported, 4, "listener ssl.external is off, and left out"))
        #expect(!imported.warnings.contains { $0.text.contains("max_connections") })
        #expect(try self.configuration(imported).listeners.map(\.name) == ["tcp-internal"])
        #expect(
            self.warns(
                EMQX4Reader.read("listener.ssl.a = 1\nlistener.ssl.a.enable = false"),
                0,
                "no listener is taken over"
            )
        )
    }

    @Test func aListenerOfThisHostAloneIsNotOpenToTheNetwork() throws {
        let local = EMQX4Reader.read(Self.source + "listener.tcp.internal = 127.0.0.1:11883\n")
        #expect(!local.warnings.contains { $0.text.contains("open to the network") })
        #expect(try self.configuration(local).listeners[0].allowInsecureNetwork == false)
        let open = EMQX4Reader.read(Self.source + "listener.tcp.external = 11883\n")
        #expect(self.warns(open, 2, "tcp-external is open to the network"))
        #expect(try self.configuration(open).listeners[0].allowInsecureNetwork)
    }

    @Test(arguments: [
        ("sha256 # hash", "sha256", true), ("pub#lic", "pub#lic", false), ("\"a # b\"", "a # b", false),
        ("\"a # b\" # c", "a # b", true), ("x\t#", "x", true), ("\"", "\"", false), ("# x", nil, true),
    ])
    func commentsBehindValuesAreLeftOutByLine(_ written: String, _ value: String?, _ isNamed: Bool) {
        let imported = EMQX4Reader.read(Self.source + "auth.redis.password = \(written)\n")
        #expect(imported.sources[0].password == value)
        #expect(self.warns(imported, 2, "what follows # is taken for a comment") == isNamed)
    }

    /// Its rows were said to need no change.
    @Test func rowsThatAreNamedAfterASubjectWithEscapesAreNamed() {
        let text = """
            auth.redis.auth_cmd = HMGET tls_subject:%d password
            auth.redis.super_cmd = HGET mqtt_user:%u is_superuser
            auth.redis.acl_cmd = HGETALL acl:%d
            """
        let imported = EMQX4Reader.read(text)
        for line in [1, 3] { #expect(self.warns(imported, line, #"for O=A\,B it asked for O=A,B"#)) }
        #expect(!imported.warnings.contains { $0.line == 2 })
        #expect(imported.sources[0].accessCommand == "HGETALL acl:%d")
    }

    @Test(arguments: [
        ("HMGET 'user:%u' password", true), ("HMGET user:%u \"password\"", true), ("HMGET user:%u password", false),
    ])
    func quotesAreNamed(_ command: String, _ isNamed: Bool) {
        let imported = EMQX4Reader.read("auth.redis.auth_cmd = \(command)\n")
        #expect(self.warns(imported, 1, "EMQX 4 knows no quotes") == isNamed)
        #expect(imported.sources[0].command == command)
    }

    @Test func aPlaceholderThatStandsTwiceIsNamed() {
        let imported = EMQX4Reader.read(
            "auth.redis.auth_cmd = HMGET u:%u:%u password\nauth.redis.acl_cmd = HGETALL %c:%u\n"
        )
        #expect(self.warns(imported, 1, "EMQX 4 fills in %u once"))
        #expect(!imported.warnings.contains { $0.line == 2 })
    }

    /// The hash itself was the password then.
    @Test func theHashOfEmqttd2IsTakenOver() throws {
        let old = EMQX4Reader.read(Self.source + "auth.redis.passwd.hash = sha256\n")
        #expect(try self.configuration(old).authentication.sources[0].passwordHash == .sha256)
        #expect(!old.warnings.contains { $0.text.contains("hash") })
        let both = EMQX4Reader.read(
            Self.source + "auth.redis.passwd.hash = md5\nauth.redis.password_hash = sha256\n"
        )
        #expect(try self.configuration(both).authentication.sources[0].passwordHash == .sha256)
        #expect(self.warns(both, 2, "auth.redis.passwd.hash is left out"))
        let unknown = EMQX4Reader.read(Self.source + "auth.redis.passwd.hash = pbkdf2\n")
        #expect(self.warns(unknown, 2, "passwd.hash"))
        #expect(throws: ConfigurationError.self) { try self.configuration(unknown) }
    }

    @Test func withoutAHashPlainIsNamed() throws {
        let imported = EMQX4Reader.read(Self.source)
        #expect(self.warns(imported, 0, "there is no auth.redis.password_hash: plain is written"))
        #expect(imported.yaml(passwordFiles: [nil]).contains("password_hash: \"plain\""))
    }

    @Test func aDatabaseThatIsNoNumberIsNamed() {
        let imported = EMQX4Reader.read(Self.source + "auth.redis.database = db2\n")
        #expect(self.warns(imported, 2, "auth.redis.database is db2, which is no number: 0 is written"))
    }

    @Test func aDatabaseOfAClusterIsLeftOut() throws {
        let imported = EMQX4Reader.read(
            Self.source + "auth.redis.type = cluster\nauth.redis.server = a,b:7000\nauth.redis.database = 2\n"
        )
        #expect(self.warns(imported, 3, "database 2 is left out"))
        let topology = try self.configuration(imported).authentication.redis.topology
        #expect(topology == .cluster([.tcp(host: "a", port: 6379), .tcp(host: "b", port: 7000)]))
    }

    /// In EMQX 4 nobody is a superuser without `super_cmd`; names do not count there, places do.
    @Test(arguments: [
        ("HMGET u:%u password salt is_superuser", "salt,sha256", "HMGET u:%u password salt", "would make superusers"),
        ("HMGET u:%u password salt x 'a b'", "salt,sha256", "HMGET u:%u password salt", "x, a b are left out"),
        ("HMGET 'u %u' password salt x", "salt,sha256", "HMGET \"u %u\" password salt", "x is left out"),
        ("hmget u:%u hash s salt", "sha256,salt", "hmget u:%u hash s", "salt is left out"),
        ("HMGET u:%u password is_superuser", "sha256", "HMGET u:%u password", "nobody becomes a superuser"),
        ("HMGET u:%u password is_superuser", "salt,sha256", "", "no command is written"),
        ("HMGET u:%u is_superuser hash", "salt,sha256", "", "first value (is_superuser)"),
        ("HMGET u:%u salt password", "salt,sha256", "", "first value (salt) for the hash and the second (password)"),
        ("HMGET u:%u password password_hash salt", "salt,sha256", "", "no command is written"),
        ("HMGET u:%u password salt", "salt,sha256", "HMGET u:%u password salt", nil),
        ("HMGET u:%u pw s", "salt,sha256", "HMGET u:%u pw s", nil),
        ("MGET a:%u b:%u:x c:1", "salt,sha256", "MGET a:%u b:%u:x c:1", nil),
        ("HGET u:%u salt", "sha256", "HGET u:%u salt", nil),
    ])
    func `regression: fields of emqx4 go by their places`(
        _ command: String,
        _ hash: String,
        _ written: String,
        _ warning: String?
    ) throws {
        for superuser in ["", "auth.redis.super_cmd = HGET s:%u is_superuser\n"] {
            let imported = EMQX4Reader.read(
                "auth.redis.auth_cmd = \(command)\nauth.redis.password_hash = \(hash)\n\(superuser)"
            )
            #expect(imported.sources[0].command == written)
            let named = imported.warnings.filter { $0.line == 1 && $0.text.hasPrefix("auth.redis.auth_cmd") }
            #expect(named.isEmpty == (warning == nil), "\(named)")
            if let warning { #expect(named.contains { $0.text.contains(warning) }, "\(named)") }
            if written.isEmpty {
                #expect(throws: ConfigurationError.self) { try self.configuration(imported) }
            } else {
                let commands = try self.configuration(imported).authentication.sources[0].commands()
                #expect(!commands.row.fields.contains(.isSuperuser))
            }
        }
    }

    @Test(arguments: [
        ("GET u:%u:%%", "u:me:%%"), ("GET u:%%u:%s%", "u:%me:%s%"),
        ("GET u:%u:${clientid}$u${", "u:me:${clientid}$u${"),
        ("GET %c:${$}:%x%C", "id:${$}:%xname"),
    ])
    func `regression: what is no placeholder in emqx4 is sent as it stands`(_ command: String, _ key: String) throws {
        let client = ClientAttributes(
            clientIdentifier: Array("id".utf8),
            userName: Array("me".utf8),
            identity: CertificateIdentity(
                commonName: Array("name".utf8),
                subject: [],
                issuer: [],
                serialNumber: [],
                fingerprint: [],
                alternativeNames: [],
                notAfter: 0
            )
        )
        let text = """
            auth.redis.auth_cmd = \(command)
            auth.redis.super_cmd = \(command)
            auth.redis.acl_cmd = \(command.replacing("GET", with: "SMEMBERS"))
            """
        let source = try self.configuration(EMQX4Reader.read(text)).authentication.sources[0]
        let commands = try source.commands().render(client).commands
        #expect(commands.map { String(decoding: $0[1], as: UTF8.self) } == [key, key, key])
    }

    @Test func `regression: names that would come from CONNECT are named as such`() throws {
        let text =
            Self.source + """
                listener.ssl.external = 8883
                listener.ssl.external.verify = verify_peer
                listener.ssl.external.fail_if_no_peer_cert = true
                listener.ssl.external.peer_cert_as_username = md5
                listener.ssl.external.peer_cert_as_clientid = CN
                """
        let imported = EMQX4Reader.read(text)
        #expect(self.warns(imported, 5, "are what CONNECT says here, so that each device can take another one's name"))
        #expect(imported.listeners[0].clientIDFromCommonName)
        #expect(!imported.warnings.contains { $0.line == 6 })
    }

    @Test func `regression: limits of listeners are taken over as those of emqx5`() throws {
        let text =
            Self.source + """
                auth.redis.query_timeout = 5s
                auth.redis.pool = 8
                listener.ssl.a = 8883
                listener.ssl.a.max_connections = 1024
                listener.ssl.a.max_conn_rate = 500
                listener.ssl.a.tls_versions = tlsv1.2,tlsv1.1
                listener.ssl.a.ciphers = ECDHE-RSA-AES128-GCM-SHA256,TLS_AES_128_GCM_SHA256
                listener.ssl.a.handshake_timeout = 15s
                listener.ssl.a.enable_crl_check = on
                listener.ssl.a.crl_cache_urls = http://a/b.crl
                """
        let imported = EMQX4Reader.read(text)
        let configuration = try self.configuration(imported)
        let listener = configuration.listeners[0]
        #expect(listener.maxConnections == 1024)
        #expect(
            imported.listeners[0].settings.map { "\($0.key): \($0.value)" } == [
                "max_connections: 1024", "max_connection_rate: 500", "handshake_timeout: 15000ms",
            ]
        )
        #expect(imported.listeners[0].tlsSettings.map(\.key) == ["max_version", "cipher_suites", "ciphers"])
        #expect(configuration.authentication.redis.queryTimeoutNanoseconds == 5_000_000_000)
        #expect(self.warns(imported, 3, "see redis.pipeline_max"))
        #expect(self.warns(imported, 7, "TLS 1.0 and 1.1 are not offered"))
        #expect(self.warns(imported, 10, "revocation lists: set crl_directory"))
        #expect(self.warns(imported, 11, "write them into tls.crl_urls"))
        #expect(imported.warnings.filter { $0.line > 0 }.count == 4, "\(imported.warnings)")
        let long = EMQX4Reader.read(Self.source + "auth.redis.query_timeout = 1.5s\n")
        #expect(self.warns(long, 2, "redis.query_timeout is 1ms to 60s, in forms such as 5s and 500ms"))
    }
}
