import Common
import TLS
import TestSupport
import Testing

@testable import AuthWorker

/// `rediss://` against a real redis-server that wants TLS.
@Suite struct RedisTLSTests {
    private let certificates: TestCertificates
    private let port: UInt16
    private let server: RedisServer

    init() throws {
        self.certificates = try TestCertificates()
        self.port = try RedisServer.freePort()
        self.server = try RedisServer(
            options: [
                "--tls-port", "\(self.port)", "--tls-cert-file", self.certificates.server.certificate, "--tls-key-file",
                self.certificates.server.key, "--tls-ca-cert-file", self.certificates.caFile, "--tls-auth-clients",
                "yes", "--bind", "127.0.0.1",
            ]
        )
        try self.server.cli(["HSET", "tls_domain:a", "password", "secret"])
    }

    private func configuration(host: String = "127.0.0.1", showsCertificate: Bool = true) throws -> Configuration {
        let url = RedisURL(server: .tcp(host: host, port: self.port), usesTLS: true)
        var configuration = Configuration.test(redis: url, cache: nil)
        configuration.authentication.redis.tls.caFile = self.certificates.caFile
        if showsCertificate {
            let files = try self.certificates.client("worker")
            configuration.authentication.redis.tls.certificateFile = files.certificate
            configuration.authentication.redis.tls.keyFile = files.key
        }
        return configuration
    }

    @Test func devicesAreLookedUpAndChangesAreToldOverTLS() throws {
        let harness = try WorkerHarness(self.configuration())
        #expect(try harness.ask("a", password: "secret").outcome == .allow)
        #expect(try harness.ask("a", password: "wrong").reason == .wrongPassword)
        #expect(try harness.ask("b", password: "secret").reason == .noSuchDevice)
        try harness.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(harness.status("redis") == "in use")
        // More than a TLS record each way.
        let many = (0..<2000).map { AuthQuery.device("device-\($0)", password: "secret") }
        #expect(try harness.ask(many).allSatisfy { $0.reason == .noSuchDevice })
    }

    @Test func aServerOfAnotherAuthorityIsNotBelieved() throws {
        let other = try TestCertificates(commonName: "Other CA")
        var configuration = try self.configuration()
        configuration.authentication.redis.tls.caFile = other.caFile
        let harness = try WorkerHarness(configuration)
        #expect(try harness.ask("a", password: "secret").outcome == .unknown)
        try harness.waitForStatus("redis") { $0.hasPrefix("unavailable: TLS to 127.0.0.1:\(self.port)") }
        configuration.authentication.redis.tls.verify = .none
        let believing = try WorkerHarness(configuration)
        #expect(try believing.ask("a", password: "secret").outcome == .allow)
    }

    @Test func theCertificateMustBeForTheHost() throws {
        var configuration = try self.configuration()
        configuration.authentication.redis.tls.serverName = "redis.example"
        let harness = try WorkerHarness(configuration)
        #expect(try harness.ask("a", password: "secret").outcome == .unknown)
        try harness.waitForStatus("redis") { $0.hasPrefix("unavailable: TLS to") }
        configuration.authentication.redis.tls.serverName = "localhost"
        #expect(try WorkerHarness(configuration).ask("a", password: "secret").outcome == .allow)
    }

    @Test func aServerThatWantsACertificateGetsOne() throws {
        let harness = try WorkerHarness(self.configuration(showsCertificate: false))
        #expect(try harness.ask("a", password: "secret").outcome == .unknown)
        try harness.waitForStatus("redis") { $0.hasPrefix("unavailable: ") }
    }

    @Test func aLostConnectionComesBack() throws {
        let harness = try WorkerHarness(self.configuration())
        #expect(try harness.ask("a", password: "secret").outcome == .allow)
        try self.server.cli(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        try harness.waitForStatus("redis_connections") { $0 == "2" }
        #expect(try harness.ask("a", password: "secret").outcome == .allow)
    }

    /// TLS where plain text is spoken, and the other way round.
    @Test func plainAndTLSDoNotMix() throws {
        var configuration = try self.configuration()
        configuration.authentication.redis.url.usesTLS = false
        let harness = try WorkerHarness(configuration)
        #expect(try harness.ask("a", password: "secret").outcome == .unknown)
        let plainPort = try RedisServer.freePort()
        let plain = try RedisServer(.tcp(port: plainPort))
        defer { plain.kill() }
        configuration.authentication.redis.url = RedisURL(
            server: .tcp(host: "127.0.0.1", port: plainPort),
            usesTLS: true
        )
        #expect(try WorkerHarness(configuration).ask("a", password: "secret").outcome == .unknown)
    }

    /// They were those of the start, and nothing said so.
    @Test func `regression: the files are read again at SIGHUP, and what is broken changes nothing`() throws {
        var configuration = try self.configuration()
        let folder = try TemporaryDirectory("martlet-redis-tls")
        let shown = try #require(configuration.authentication.redis.tls.certificateFile)
        let key = try #require(configuration.authentication.redis.tls.keyFile)
        let other = try TestCertificates(commonName: "Other CA")
        let stranger = try other.client("worker")
        let files = (ca: folder.file("ca.pem"), certificate: folder.file("worker.crt"), key: folder.file("worker.key"))
        func install(_ certificate: String, _ key: String) throws {
            try writeFile(files.certificate, try readFile(certificate))
            try writeFile(files.key, try readFile(key))
        }
        try writeFile(files.ca, try readFile(self.certificates.caFile))
        try withExtendedLifetime(other) { try install(stranger.certificate, stranger.key) }
        configuration.authentication.redis.tls.caFile = files.ca
        configuration.authentication.redis.tls.certificateFile = files.certificate
        configuration.authentication.redis.tls.keyFile = files.key
        let log = RecordedMessages()
        let harness = try WorkerHarness(configuration, logHandler: log)
        #expect(try harness.ask("a", password: "secret").outcome == .unknown)

        try install(shown, key)
        harness.service.reload(configuration)
        try harness.waitForStatus("redis") { $0 == "in use" }
        try harness.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(log.messages.contains("certificates for Redis read again, connections from now on use them"))

        try writeFile(files.ca, Array("broken".utf8))
        harness.service.reload(configuration)
        #expect(log.messages.contains("certificates for Redis not usable, those read before stay in use"))
        let connections = harness.status("redis_connections")
        try self.server.cli(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        try harness.waitForStatus("redis_connections") { $0 != connections }
        #expect(try harness.ask("a", password: "secret").outcome == .allow)
    }
}
