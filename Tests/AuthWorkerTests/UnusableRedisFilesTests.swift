import Common
import Glibc
import TestSupport
import Testing

@testable import AuthWorker

/// Workers that start while a file for Redis, a password or a certificate, cannot be used: they did not start, and the cached fleet was out.
@Suite struct UnusableRedisFilesTests {
    enum Fault: CaseIterable {
        case missing
        case empty
    }

    private let cache: TemporaryDirectory

    init() throws {
        self.cache = try TemporaryDirectory("martlet-files")
    }

    private static func spoil(_ file: String, _ fault: Fault) throws {
        switch fault {
        case .missing: unlink(file)
        case .empty: try writeFile(file, [])
        }
    }

    /// Who was seen before is let in, the others are told that Redis is unavailable and why; both end when the file is there again.
    private func check(_ configuration: Configuration, _ file: String, _ fault: Fault) throws {
        let bytes = try readFile(file)
        let first = try WorkerHarness(configuration)
        #expect(try first.ask("a", password: "secret").outcome == .allow)
        first.stop()
        try Self.spoil(file, fault)
        let worker = try WorkerHarness(configuration)
        try worker.waitForStatus("redis") { $0.hasPrefix("unavailable: ") && $0.contains(file) }
        try worker.turn { try worker.ask("a", password: "secret").outcome == .allow }
        #expect(try worker.ask("b", password: "secret").reason == .redisUnavailable)
        try writeFile(file, bytes)
        try worker.waitForStatus("redis") { $0.hasPrefix("in use") }
        #expect(try worker.ask("b", password: "secret").reason == .noSuchDevice)
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
    }

    @Test(arguments: Fault.allCases)
    func `regression: a worker starts without the password for Redis`(_ fault: Fault) throws {
        let server = try RedisServer(options: ["--requirepass", "right"])
        #expect(try server.cli(["-a", "right", "HSET", "tls_domain:a", "password", "secret"]).status == 0)
        let directory = try TemporaryDirectory("martlet-password")
        let file = directory.file("password")
        try writeFile(file, Array("right\n".utf8))
        var configuration = Configuration.test(
            redis: .unixSocket(server.socketPath),
            cache: self.cache.file("cache")
        )
        configuration.authentication.redis.passwordFile = file
        try self.check(configuration, file, fault)
    }

    @Test(arguments: Fault.allCases)
    func `regression: a worker starts without the authorities for Redis`(_ fault: Fault) throws {
        let certificates = try TestCertificates()
        let port = try RedisServer.freePort()
        let server = try RedisServer(
            options: [
                "--tls-port", "\(port)", "--tls-cert-file", certificates.server.certificate, "--tls-key-file",
                certificates.server.key, "--tls-ca-cert-file", certificates.caFile, "--tls-auth-clients", "no",
                "--bind", "127.0.0.1",
            ]
        )
        try server.cli(["HSET", "tls_domain:a", "password", "secret"])
        let directory = try TemporaryDirectory("martlet-ca")
        let file = directory.file("ca.pem")
        try writeFile(file, try readFile(certificates.caFile))
        let url = RedisURL(server: .tcp(host: "127.0.0.1", port: port), usesTLS: true)
        var configuration = Configuration.test(redis: url, cache: self.cache.file("cache"))
        configuration.authentication.redis.tls.caFile = file
        try self.check(configuration, file, fault)
    }
}
