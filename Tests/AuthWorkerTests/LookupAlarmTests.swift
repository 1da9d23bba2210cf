import Common
import TestSupport
import Testing

@testable import AuthWorker

/// Look-ups that fail while the connection holds, or with it, are an alarm.
@Suite struct LookupAlarmTests {
    private static let second = Nanoseconds.perSecond

    @Test func `look-ups that all fail for five seconds are an alarm until one is answered`() {
        var health = LookupHealth()
        health.failed("CLUSTERDOWN", now: 0)
        #expect(health.alarm(now: 10 * Self.second) == nil, "nobody has asked since")
        health.failed("CLUSTERDOWN again", now: 5 * Self.second)
        #expect(health.alarm(now: 5 * Self.second) == "CLUSTERDOWN again")
        #expect(health.alarm(now: 66 * Self.second) == nil, "nobody has asked for a minute")
        health.failed("CLUSTERDOWN", now: 70 * Self.second)
        #expect(health.alarm(now: 70 * Self.second) != nil)
        health.succeeded()
        health.failed("CLUSTERDOWN", now: 71 * Self.second)
        #expect(health.alarm(now: 71 * Self.second) == nil)
    }

    @Test func `regression: errors, answers of the wrong shape and an outage are alarms`() throws {
        let server = try RedisServer()
        try server.cli(["SET", "tls_domain:a", "no hash"])
        let log = RecordedMessages()
        let worker = try WorkerHarness(
            Configuration.test(redis: .unixSocket(server.socketPath), cache: nil),
            logHandler: log
        )
        try worker.turn {
            _ = try worker.ask("a", password: "secret")
            return worker.status("alarm").hasPrefix("no look-up has been answered for some seconds")
        }
        #expect(worker.status("alarm").contains("WRONGTYPE"))
        try server.cli(["DEL", "tls_domain:a"])
        #expect(try worker.ask("a", password: "secret").reason == .noSuchDevice)
        #expect(worker.status("alarm") == "0")
        server.kill()
        try worker.waitForStatus("alarm") { $0.hasPrefix("Redis cannot be reached") }
    }

    /// A fake Redis' number where a list is due: nothing in the log said so.
    @Test func `regression: an answer of the wrong shape is told`() throws {
        let port = try RedisServer.freePort()
        let server = try RedisServer(.tcp(port: port))
        defer { server.kill() }
        let proxy = try FaultyProxy(target: port)
        defer { proxy.stop() }
        let log = RecordedMessages()
        let redis = RedisURL.tcp(host: "127.0.0.1", port: proxy.port)
        let worker = try WorkerHarness(Configuration.test(redis: redis, cache: nil), logHandler: log)
        #expect(try worker.ask("a", password: "secret").reason == .noSuchDevice)
        proxy.fault = .answer(Array(":1\r\n".utf8))
        #expect(try worker.ask("b", password: "secret").outcome == .unknown)
        #expect(log.messages.contains("Redis answers what cannot be understood"))
    }

    @Test func `regression: the alarm of a refused command ends when that one is answered`() throws {
        let server = try RedisServer()
        try server.cli(["HSET", "tls_domain:a", "password", "secret"])
        try server.cli(["ACL", "SETUSER", "default", "-hget"])
        var configuration = Configuration.test(redis: .unixSocket(server.socketPath), cache: nil)
        configuration.authentication.superCommand = "HGET tls_domain:%C is_superuser"
        let worker = try WorkerHarness(configuration)
        #expect(try worker.ask("a", password: "secret").reason == .redisError)
        #expect(worker.status("alarm").hasPrefix("Redis refuses look-ups: NOPERM"))
        try server.cli(["ACL", "SETUSER", "default", "+hget"])
        #expect(try worker.ask("a", password: "secret").outcome == .allow)
        #expect(worker.status("alarm") == "0")
    }
}
