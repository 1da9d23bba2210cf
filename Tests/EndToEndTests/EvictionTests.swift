import Common
import TestSupport
import Testing

/// A Redis that makes room by removing rows.
@Suite struct EvictionTests {
    @Test func `a Redis that may evict devices is an alarm for as long as it may`() throws {
        let broker = try TestBroker()
        try broker.provision("live", password: "secret")
        let worker = broker.authWorkers[0]
        try worker.waitForLog("Redis in use")
        #expect(try !broker.status(of: "authworker").contains("maxmemory-policy"))

        _ = try broker.redisCommand("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
        try worker.waitForLog("Redis evicts rows when it has 104857600 bytes (maxmemory-policy allkeys-lru)")
        #expect(try broker.status(of: "authworker").contains("alarm Redis evicts rows"))

        _ = try broker.redisCommand("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
        try worker.waitForLog("Redis evicts no rows of devices any more")
        #expect(try !broker.status(of: "authworker").contains("alarm"))
    }

    @Test func `a user who may not ask for INFO authenticates as before`() throws {
        let broker = try TestBroker()
        try broker.provision("live", password: "secret")
        _ = try broker.redisCommand("ACL", "SETUSER", "default", "-info")
        try broker.restartAuthWorker()
        try broker.authWorkers[0].waitForLog("Redis in use")
        let loop = try EventLoop()
        let tls = try broker.tlsContext(try broker.pki.device("live"))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        #expect(try client.connect(clientIdentifier: "live", userName: "u", password: "secret").returnCode == 0)
    }
}
