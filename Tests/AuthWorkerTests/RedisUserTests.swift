import Common
import TestSupport
import Testing

@testable import AuthWorker

/// Redis users with few rights, and passwords that change.
@Suite struct RedisUserTests {
    /// The line in docs/redis.md.
    private func documentedRights() throws -> [String] {
        let text = try repositoryFile("docs/redis.md")
        let line = text.split(separator: "\n").first { $0.hasPrefix("ACL SETUSER") }
        return try #require(line).split(separator: " ").map { $0 == ">PASSWORD" ? ">first" : String($0) }
    }

    @Test func theDocumentedRightsAreEnoughAndThePasswordMayChange() throws {
        let server = try RedisServer()
        try server.cli(["HSET", "tls_domain:a", "password", "secret"])
        let (_, answer) = try server.cli(self.documentedRights())
        #expect(answer.hasPrefix("OK"))
        let directory = try TemporaryDirectory("martlet-password")
        let file = directory.file("password")
        try writeFile(file, Array("first\n".utf8))
        var url = RedisURL.unixSocket(server.socketPath)
        url.user = "martlet"
        var configuration = Configuration.test(redis: url, cache: nil)
        configuration.authentication.redis.passwordFile = file
        let harness = try WorkerHarness(configuration)
        #expect(try harness.ask("a", password: "secret").outcome == .allow)
        try harness.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(try server.cli(["ACL", "LOG"]).output.allSatisfy(\.isWhitespace))

        // The new password is in the file; the connection that knows the old one breaks.
        try writeFile(file, Array("second\n".utf8))
        try server.cli(["ACL", "SETUSER", "martlet", "resetpass", ">second"])
        try server.cli(["CLIENT", "KILL", "USER", "martlet"])
        try harness.waitForStatus("redis_connections") { $0 == "2" }
        #expect(try harness.ask("a", password: "secret").outcome == .allow)
        try harness.waitForStatus("changes_learned_by") { $0 == "tracking" }
    }

    @Test func aRightThatIsGivenLaterIsUsed() throws {
        let server = try RedisServer()
        try server.cli(self.documentedRights())
        try server.cli(["ACL", "SETUSER", "martlet", "-client|tracking"])
        var url = RedisURL.unixSocket(server.socketPath)
        url.user = "martlet"
        let directory = try TemporaryDirectory("martlet-password")
        let file = directory.file("password")
        try writeFile(file, Array("first\n".utf8))
        var configuration = Configuration.test(redis: url, cache: nil)
        configuration.authentication.redis.passwordFile = file
        configuration.authentication.redis.pollIntervalNanoseconds = 200 * Nanoseconds.perMillisecond
        let harness = try WorkerHarness(configuration)
        try harness.waitForStatus("changes_learned_by") { $0 == "poll" }
        // A line in the log alone let operators believe that whom they remove is out within a second.
        #expect(harness.status("alarm").hasPrefix("Redis does not let this user learn of changes"))
        try server.cli(["ACL", "SETUSER", "martlet", "+client|tracking"])
        try harness.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(harness.status("alarm") == "0")
    }

    @Test func whoWantsToPollIsNotWarned() throws {
        let server = try RedisServer()
        var configuration = Configuration.test(redis: .unixSocket(server.socketPath), cache: nil)
        configuration.authentication.redis.invalidation = .poll
        let harness = try WorkerHarness(configuration)
        try harness.waitForStatus("changes_learned_by") { $0 == "poll" }
        #expect(harness.status("alarm") == "0")
    }

    @Test func `regression: look-ups that are refused are an alarm until one is not`() throws {
        let server = try RedisServer()
        try server.cli(["HSET", "tls_domain:a", "password", "secret"])
        try server.cli(["ACL", "SETUSER", "default", "-hmget"])
        let harness = try WorkerHarness(Configuration.test(redis: .unixSocket(server.socketPath), cache: nil))
        #expect(try harness.ask("a", password: "secret").reason == .redisError)
        #expect(harness.status("redis") == "in use")
        #expect(harness.status("alarm").hasPrefix("Redis refuses look-ups: NOPERM"))
        try server.cli(["ACL", "SETUSER", "default", "+hmget"])
        #expect(try harness.ask("a", password: "secret").outcome == .allow)
        #expect(harness.status("alarm") == "0")
    }

    @Test func aWrongPasswordIsUnknownAndSaysWhy() throws {
        let server = try RedisServer(options: ["--requirepass", "right"])
        let directory = try TemporaryDirectory("martlet-password")
        try writeFile(directory.file("password"), Array("wrong\n".utf8))
        var configuration = Configuration.test(redis: .unixSocket(server.socketPath), cache: nil)
        configuration.authentication.redis.passwordFile = directory.file("password")
        let harness = try WorkerHarness(configuration)
        #expect(try harness.ask("a", password: "secret").outcome == .unknown)
        try harness.waitForStatus("redis") { $0.hasPrefix("unavailable: Redis refused: WRONGPASS") }
    }
}
