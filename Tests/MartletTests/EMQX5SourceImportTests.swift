import Common
import Testing

@testable import Martlet

/// What `martlet import emqx5` makes of sources: their order, and what they say of passwords.
@Suite struct EMQX5SourceImportTests {
    /// - Parameter rest: more of the authenticator, with a comma in front.
    private func read(
        _ rest: String = "",
        hash: String = "{name = sha256}",
        _ more: String = ""
    ) throws -> ImportedConfiguration {
        try EMQX5Reader.read(
            """
            listeners.tcp.local.bind = "127.0.0.1:1883"
            authentication = {mechanism = password_based, backend = redis, server = "a:6379"\(rest)
              cmd = "HMGET a:${username} password_hash salt", password_hash_algorithm = \(hash)}
            \(more)
            """
        )
    }

    private func warns(_ imported: ImportedConfiguration, _ line: Int, _ text: String) -> Bool {
        imported.warnings.contains { $0.line == line && $0.text.contains(text) }
    }

    private func configuration(_ imported: ImportedConfiguration) throws -> Configuration {
        let yaml = imported.yaml(passwordFiles: imported.sources.map { $0.password.map { _ in "redis.password" } })
        return try Configuration.parse(Array(yaml.utf8), file: "made.yaml", baseDirectory: "/base")
    }

    private static let rows = #"{type = redis, server = "a:6379", cmd = "HGETALL acl:${username}"}"#

    /// Rows came before rules, so that they allowed what a file ahead of them denied.
    @Test(arguments: ["{type = file, path = x}", "{type = built_in_database}", "{type = http}"])
    func rulesComeFirstWhereASourceStandsAheadOfRedis(_ source: String) throws {
        let imported = try self.read("", "authorization {no_match = deny, sources = [\n\(source)\n\(Self.rows)\n]}")
        #expect(try self.configuration(imported).authorization.accessRows == .last)
        #expect(self.warns(imported, 5, "write its rules into authorization.rules, what it denies above all"))
        #expect(self.warns(imported, 5, "so acl: last is written"))
    }

    @Test func rowsComeFirstWhereRedisDoes() throws {
        for sources in [
            "\(Self.rows), {type = file}", "{type = file, enable = false}, \(Self.rows)", Self.rows,
            "{type = file}, {type = redis, enable = false, cmd = x}",
        ] {
            let imported = try self.read("", "authorization.sources = [\(sources)]")
            #expect(try self.configuration(imported).authorization.accessRows == .first, "\(sources)")
            #expect(!imported.warnings.contains { $0.text.contains("acl: last") })
        }
    }

    @Test func aSourceBehindRedisIsNamedWhereRulesComeFirst() throws {
        let imported = try self.read(
            "",
            "authorization.sources = [{type = file}\n\(Self.rows)\n{type = built_in_database}]"
        )
        #expect(imported.accessRows == "last")
        #expect(self.warns(imported, 6, "it stands behind redis, but with acl: last all rules are asked before rows"))
    }

    /// The words were the password.
    @Test func aPasswordInAFileStaysThere() throws {
        let text = #", password = "file:///etc/secret/redis", username = u"#
        let imported = try self.read(text, "authorization.sources = [\(Self.rows.dropLast())\(text)}]")
        let redis = try self.configuration(imported).authentication.redis
        #expect(redis.passwordFile == "/etc/secret/redis" && redis.url.user == "u")
        #expect(imported.sources[0].password == nil)
        #expect(self.warns(imported, 2, "stays in the file /etc/secret/redis"))
        #expect(!imported.warnings.contains { $0.text.contains("another user or password") })
        let inFolder = try self.read(#", password = "file://${EMQX_ETC_DIR}/redis""#)
        #expect(self.warns(inFolder, 2, "is in the file ${EMQX_ETC_DIR}/redis: write what ${…} in it stands for"))
    }

    /// EMQX does not use it either.
    @Test func bcryptMayAskForASalt() throws {
        let imported = try self.read(hash: "{name = bcrypt}")
        let source = try self.configuration(imported).authentication.sources[0]
        #expect(source.passwordHash == PasswordHash(.bcrypt(usesSaltField: false), salt: .ignored))
    }

    @Test func aHashThatIsNotKnownIsNotPlain() throws {
        let text =
            #"authentication = {mechanism = password_based, backend = redis, cmd = "HMGET a:${username} password_hash""#
        let imported = try EMQX5Reader.read("\(text), password_hash_algorithm {name = argon2}}")
        #expect(self.warns(imported, 1, "password_hash_algorithm argon2 is not known"))
        let mistakes = ImportedConfiguration.mistakes(in: imported.yaml(passwordFiles: []))
        #expect(mistakes.contains { $0.hasPrefix("authentication.password_hash") }, "\(mistakes)")
    }

    @Test(arguments: ["1.0", "two"]) func aDatabaseThatIsNoNumberIsNamed(_ database: String) throws {
        let imported = try self.read(", database = \(database)")
        #expect(self.warns(imported, 2, "database of redis-1 is \(database), which is no number: 0 is written"))
    }

    private static func authenticator(_ key: String) -> String {
        "{mechanism = password_based, backend = redis, server = \"a:1\", cmd = \"HMGET \(key):${username} password_hash salt\"}"
    }

    /// The common chain was asked about its clients as well.
    @Test func `regression: a listener's own chain is asked instead of the common one`() throws {
        let text = """
            authentication = [\(Self.authenticator("g"))]
            listeners.tcp.a {bind = "127.0.0.1:1", authentication = [\(Self.authenticator("a")), \(Self.authenticator("b"))]}
            listeners.tcp.b {bind = "127.0.0.1:2"}
            listeners.tcp.c {bind = "127.0.0.1:3", authentication = null}
            authorization.sources = [\(Self.rows)]
            """
        let imported = try EMQX5Reader.read(text)
        let sources = try self.configuration(imported).authentication.sources
        #expect(sources.map(\.name) == ["redis-1", "redis-2", "redis-3"])
        #expect(sources.map(\.listeners) == [["tcp-b", "tcp-c"], ["tcp-a"], ["tcp-a"]])
        #expect(sources.map { $0.command.prefix(7) } == ["HMGET g", "HMGET a", "HMGET b"])
        #expect(sources.allSatisfy { $0.accessCommand == "HGETALL acl:${username}" })
        #expect(self.warns(imported, 2, "it becomes redis-2, redis-3, with listeners: [tcp-a]"))
    }

    @Test func `regression: where only listeners have chains the others were open`() throws {
        let own = "listeners.tcp.a {bind = \"127.0.0.1:1\", authentication = \(Self.authenticator("a"))}\n"
        let all = try EMQX5Reader.read(own)
        #expect(try self.configuration(all).authentication.sources.map(\.listeners) == [["tcp-a"]])
        #expect(!all.warnings.contains { $0.text.contains("every client") })
        let one = try EMQX5Reader.read(own + "listeners.tcp.b {bind = \"127.0.0.1:2\"}\n")
        #expect(self.warns(one, 0, "but that of tcp-a: every client of tcp-b was let in"))
        #expect(throws: ConfigurationError.self) { try self.configuration(one) }
        let unused = try EMQX5Reader.read(own + "authentication = [\(Self.authenticator("g"))]")
        #expect(try self.configuration(unused).authentication.sources.map(\.listeners) == [["tcp-a"]])
        #expect(self.warns(unused, 2, "authentication is left out"))
        let null = try EMQX5Reader.read("listeners.tcp.a {bind = \"127.0.0.1:1\"}\nauthentication = null")
        #expect(self.warns(null, 2, "authentication is null, which is none: every client was let in"))
    }

    /// Nobody is let in by the common chain who was not in EMQX.
    @Test func `regression: a chain that cannot be written lets nothing start`() throws {
        let text = """
            authentication = [\(Self.authenticator("g"))]
            listeners.tcp.a {bind = "127.0.0.1:1", authentication = [{mechanism = jwt}]}
            listeners.tcp.b {bind = "127.0.0.1:2"}
            """
        let imported = try EMQX5Reader.read(text)
        #expect(self.warns(imported, 2, "no source is asked about its clients until you write one"))
        let mistakes = ImportedConfiguration.mistakes(in: imported.yaml(passwordFiles: []))
        #expect(mistakes.contains { $0.contains("none of authentication.sources is asked about") }, "\(mistakes)")
    }

    @Test func `regression: a second source of rows is named as such`() throws {
        let imported = try self.read("", "authorization.sources = [\(Self.rows)\n\(Self.rows)]")
        #expect(self.warns(imported, 5, "this is the second authorization source redis"))
        #expect(!imported.warnings.contains { $0.text.contains("write its rules") })
    }

    @Test func `regression: a hash that is a word is named`() throws {
        let imported = try self.read(hash: "\"plain\"")
        #expect(self.warns(imported, 2, "password_hash_algorithm = plain has no name"))
        #expect(try !self.read().warnings.contains { $0.text.contains("password_hash_algorithm") })
    }

    @Test func `regression: the query's timeout is taken over`() throws {
        let imported = try self.read(", query_timeout = 2s")
        #expect(try self.configuration(imported).authentication.redis.queryTimeoutNanoseconds == 2_000_000_000)
        #expect(!imported.warnings.contains { $0.text.contains("query_timeout") })
    }
}
