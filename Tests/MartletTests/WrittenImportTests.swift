import Common
import Testing

@testable import Martlet

/// What is written is a configuration; and where it cannot be, that is said.
@Suite struct WrittenImportTests {
    private func mistakes(_ imported: ImportedConfiguration) -> [String] {
        let files = imported.sources.map { $0.password.map { _ in "redis.password" } }
        return ImportedConfiguration.mistakes(in: imported.yaml(passwordFiles: files))
    }

    @Test(arguments: ImportSamples.emqx4) func samplesOfEMQX4PassTheCheck(_ text: String) {
        #expect(self.mistakes(EMQX4Reader.read(text)) == [])
    }

    @Test(arguments: ImportSamples.emqx5) func samplesOfEMQX5PassTheCheck(_ text: String) throws {
        #expect(try self.mistakes(EMQX5Reader.read(text)) == [])
    }

    @Test(arguments: [
        // EMQX takes it for plain: somebody has to choose.
        (
            "auth.redis.auth_cmd = GET user:%c\nauth.redis.password_hash = md5,sha256,salt",
            "authentication.password_hash"
        ),
        (
            "auth.redis.auth_cmd = HMGET a:%u password\nauth.redis.password_hash = pbkdf2,sha256,1000,20",
            "asks for no salt"
        ),
        ("listener.ssl.external = 8883\nlistener.ssl.external.verify = verify_peer", "authentication.sources"),
        ("auth.redis.server = a b\nauth.redis.auth_cmd = HMGET x:%u password", "redis.url"),
        ("auth.redis.server = a\nacl_nomatch = \"x: [\"", "authorization.no_match"),
    ])
    func whatCannotBeWrittenIsNamed(_ text: String, _ mistake: String) {
        let mistakes = self.mistakes(EMQX4Reader.read(text))
        #expect(mistakes.count == 1 && mistakes[0].contains(mistake), "\(mistakes)")
    }

    @Test func wordsOfTheFileStayValues() throws {
        let text = """
            authentication = {mechanism = password_based, backend = redis, cmd = "HMGET a:${username} password salt"
              password_hash_algorithm {name = pbkdf2, mac_fun = "sha256, iterations: 1", iterations = 5}}
            """
        #expect(self.mistakes(try EMQX5Reader.read(text)).contains { $0.contains("mac_fun") })
    }

    /// One spoke of the %C of a command that the file did not have.
    @Test func `regression: without a Redis authenticator there is one mistake`() throws {
        let text = #"""
            listeners.tcp.default { bind = "127.0.0.1:1883" }
            authentication = [{ mechanism = scram, backend = built_in_database }]
            """#
        let mistakes = self.mistakes(try EMQX5Reader.read(text))
        #expect(mistakes == ["authentication.sources: has 0 elements; there must be 1 to 16"])
    }
}
