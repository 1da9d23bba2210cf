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
}
