import Common
import Glibc
import TestSupport
import Testing

@testable import AuthWorker

/// A real Redis that can be reached badly, or not at all. In each case: who was seen before gets in quickly, who is not known is told that
/// nobody can say, nobody gets in who should not, and after it Redis decides again.
@Suite struct OutageTests {
    struct Outage: Sendable, CustomTestStringConvertible {
        var name: String
        var fault: FaultyProxy.Fault
        var testDescription: String { self.name }
    }

    static let outages = [
        Outage(name: "latency above the time-out", fault: .delay(milliseconds: 700)),
        Outage(name: "dropped packets", fault: .swallow),
        Outage(name: "reset in mid-pipeline", fault: .resetAfter(1)),
        Outage(name: "garbage", fault: .answer(Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8))),
        Outage(name: "LOADING", fault: .answer(Array("-LOADING Redis is loading the dataset in memory\r\n".utf8))),
        Outage(
            name: "READONLY",
            fault: .answer(Array("-READONLY You can't write against a read only replica.\r\n".utf8))
        ),
        Outage(name: "WRONGTYPE", fault: .answer(Array("-WRONGTYPE Operation against a key\r\n".utf8))),
        Outage(name: "NOAUTH", fault: .answer(Array("-NOAUTH Authentication required.\r\n".utf8))),
        Outage(name: "a number where a list is due", fault: .answer(Array(":1\r\n".utf8))),
        Outage(name: "a nil where a list is due", fault: .answer(Array("$-1\r\n".utf8))),
        Outage(name: "a list that is too short", fault: .answer(Array("*0\r\n".utf8))),
        Outage(name: "an endless reply", fault: .answer(Array("$999999999\r\n".utf8))),
    ]

    @Test(arguments: Self.outages)
    func theFleetDoesNotNotice(_ outage: Outage) throws {
        let port = try RedisServer.freePort()
        let server = try RedisServer(.tcp(port: port))
        let proxy = try FaultyProxy(target: port)
        defer { proxy.stop() }
        let cache = try TemporaryDirectory("martlet-outage")
        var configuration = Configuration.test(
            redis: .tcp(host: "127.0.0.1", port: proxy.port),
            cache: cache.file("cache")
        )
        // Rows are old at once: each CONNECT asks Redis when it can.
        configuration.authentication.cache.positiveTTLNanoseconds = 1
        configuration.authentication.cache.negativeTTLNanoseconds = 1
        configuration.authentication.redis.queryTimeoutNanoseconds = 300 * Nanoseconds.perMillisecond
        let harness = try WorkerHarness(configuration)
        let known = (0..<50).map { "known-\($0)" }
        for device in known { try server.cli(["HSET", "tls_domain:\(device)", "password", "secret"]) }
        let queries = known.map { AuthQuery.device($0, password: "secret") }
        #expect(try harness.ask(queries).allSatisfy { $0.outcome == .allow })

        proxy.fault = outage.fault
        // The first ones may wait for one time-out; from then on nobody does.
        _ = try harness.ask(queries + [AuthQuery.device("stranger", password: "x")])
        let began = Clock.monotonic()
        for _ in 0..<5 {
            let verdicts = try harness.ask(queries)
            #expect(verdicts.allSatisfy { $0.outcome == .allow }, "\(verdicts.map(\.reason))")
            let others = try harness.ask([
                AuthQuery.device("stranger", password: "x"), AuthQuery.device("known-1", password: "wrong"),
            ])
            #expect(
                others.allSatisfy { $0.outcome == .unknown || $0.reason == .wrongPassword },
                "\(others.map(\.reason))"
            )
        }
        // Nobody waits for a time-out of Redis: 260 of them would take a minute and more.
        #expect(Clock.monotonic() - began < 20 * Nanoseconds.perSecond)

        proxy.fault = .none
        try waitUntil("Redis decides again") {
            try harness.ask("stranger", password: "x").reason == .noSuchDevice
        }
        #expect(try harness.ask("known-1", password: "wrong").reason == .wrongPassword)
        #expect(try harness.ask("known-1", password: "secret").source == .redis)
    }

    /// It waits for answers as long as a busy machine may need.
    private static func patientWorker(port: UInt16, cache: String? = nil) throws -> WorkerHarness {
        var configuration = Configuration.test(redis: .tcp(host: "127.0.0.1", port: port), cache: cache)
        configuration.authentication.redis.queryTimeoutNanoseconds = 30 * Nanoseconds.perSecond
        return try WorkerHarness(configuration)
    }

    /// As a server that is told to close its clients, or a proxy that moves them: devices that nobody has seen yet get in too.
    @Test func aConnectionThatBreaksOnceIsNoticedByNobody() throws {
        let port = try RedisServer.freePort()
        let server = try RedisServer(.tcp(port: port))
        let proxy = try FaultyProxy(target: port)
        defer { proxy.stop() }
        for index in 0..<200 { try server.cli(["HSET", "tls_domain:d-\(index)", "password", "secret"]) }
        let harness = try Self.patientWorker(port: proxy.port)
        #expect(try harness.ask("d-0", password: "secret").outcome == .allow)
        let began = Clock.monotonic()
        try waitUntil("the connection has been in use") {
            Clock.monotonic() - began > AuthLimits.reconnectInitialNanoseconds
        }
        proxy.fault = .resetOnce(bytes: 500)
        let verdicts = try harness.ask((1..<200).map { AuthQuery.device("d-\($0)", password: "secret") })
        let refused = verdicts.filter { $0.outcome != .allow }
        #expect(
            refused.isEmpty,
            "\(refused.count): \(refused.first.map { String(decoding: $0.detail, as: UTF8.self) } ?? "")"
        )
        #expect(proxy.fault == .none)
        #expect(harness.status("redis_asked_again") != "0")
    }

    /// It is asked together with whether Redis still is the same, and that is not known yet: nobody is denied until it is, nor let in
    /// with a row that was named as changed.
    @Test func whoIsRemovedWhileTheConnectionBreaksIsOutAsSoonAsRedisIsKnown() throws {
        let port = try RedisServer.freePort()
        let server = try RedisServer(.tcp(port: port))
        let proxy = try FaultyProxy(target: port)
        defer { proxy.stop() }
        let cache = try TemporaryDirectory("martlet-outage")
        let harness = try Self.patientWorker(port: proxy.port, cache: cache.file("cache"))
        let devices = (0..<60).map { "d-\($0)" } + ["gone"]
        for device in devices { try server.cli(["HSET", "tls_domain:\(device)", "password", "secret"]) }
        try harness.waitForStatus("changes_learned_by") { $0 == "tracking" }
        let queries = devices.map { AuthQuery.device($0, password: "secret") }
        #expect(try harness.ask(queries).allSatisfy { $0.outcome == .allow })
        let began = Clock.monotonic()
        try waitUntil("the connection has been in use") {
            Clock.monotonic() - began > AuthLimits.reconnectInitialNanoseconds
        }
        // All are asked for again, and the last one is not among those that are answered before the reset.
        harness.answers.changes = []
        for device in devices.dropLast() { try server.cli(["HSET", "tls_domain:\(device)", "other", "x"]) }
        try server.cli(["DEL", "tls_domain:gone"])
        try harness.turn { harness.answers.changes.flatMap(\.keyHashes).count == devices.count }
        harness.answers.kinds = []
        proxy.fault = .resetOnce(bytes: 500)
        let verdict = try harness.ask(queries).last
        #expect((verdict?.outcome, verdict?.reason) == (.unknown, .redisError))
        try harness.turn { harness.answers.kinds.contains(.authChanged) }
        #expect(harness.answers.kinds.last == .authChanged)
        #expect(try harness.ask("gone", password: "secret").reason == .noSuchDevice)
    }

    /// Pipelines of many worker turns, and resets all the time: an answer must never be taken for another question's.
    @Test func answersAreNeverMixedUp() throws {
        let port = try RedisServer.freePort()
        let server = try RedisServer(.tcp(port: port))
        let proxy = try FaultyProxy(target: port)
        defer { proxy.stop() }
        var configuration = Configuration.test(redis: .tcp(host: "127.0.0.1", port: proxy.port), cache: nil)
        configuration.authentication.redis.queryTimeoutNanoseconds = 500 * Nanoseconds.perMillisecond
        let harness = try WorkerHarness(configuration)
        for index in 0..<100 { try server.cli(["HSET", "tls_domain:d-\(index)", "password", "p-\(index)"]) }
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for round in 0..<60 {
            if round % 10 == 0 {
                // On a slow machine nobody would ever be let in otherwise, and nothing could be mixed up.
                proxy.fault = .none
                try waitUntil("Redis is there again") {
                    try harness.ask("d-0", password: "p-0").outcome == .allow
                }
            }
            proxy.fault = Bool.random(using: &random) ? .resetAfter(Int.random(in: 1...3000, using: &random)) : .none
            let pairs = (0..<40).map { _ in
                (Int.random(in: 0..<100, using: &random), Int.random(in: 0..<100, using: &random))
            }
            let verdicts = try harness.ask(pairs.map { AuthQuery.device("d-\($0.0)", password: "p-\($0.1)") })
            for (pair, verdict) in zip(pairs, verdicts) {
                let isRight = verdict.outcome == .unknown || (verdict.outcome == .allow) == (pair.0 == pair.1)
                #expect(isRight, "seed \(seed): d-\(pair.0) with p-\(pair.1) is \(verdict.outcome), \(verdict.reason)")
            }
            let own = try harness.ask((0..<20).map { AuthQuery.device("d-\($0)", password: "p-\($0)") })
            #expect(own.allSatisfy { $0.outcome != .deny }, "seed \(seed)")
        }
    }

    /// Distinct keys, and the same again while "no such device" is still believed.
    @Test func aFloodOfUnknownDevicesPushesOutNobodyAndAsksOnce() throws {
        let server = try RedisServer()
        let cache = try TemporaryDirectory("martlet-flood")
        var configuration = Configuration.test(redis: .unixSocket(server.socketPath), cache: cache.file("cache"))
        configuration.authentication.cache.memoryEntries = 1000
        configuration.authentication.cache.negativeEntries = 100_000
        configuration.authentication.cache.negativeTTLNanoseconds = 600 * Nanoseconds.perSecond
        for index in 0..<500 { try server.cli(["HSET", "tls_domain:known-\(index)", "password", "secret"]) }
        let harness = try WorkerHarness(configuration)
        // Before that nobody knows what has changed, and rows are asked for again.
        try harness.waitForStatus("changes_learned_by") { $0 == "tracking" }
        let known = (0..<500).map { AuthQuery.device("known-\($0)", password: "secret") }
        #expect(try harness.ask(known).allSatisfy { $0.outcome == .allow })
        let before = try server.calls(of: "hmget")
        for round in 0..<2 {
            for batch in 0..<20 {
                let strangers = (0..<1000).map { AuthQuery.device("stranger-\(batch)-\($0)", password: "x") }
                #expect(try harness.ask(strangers).allSatisfy { $0.reason == .noSuchDevice })
            }
            #expect(try server.calls(of: "hmget") - before == 20_000, "round \(round)")
        }
        #expect(try harness.ask(known).allSatisfy { $0.source == .memoryCache })
        #expect(harness.status("rows_in_memory") == "500")
        // Also not from the file.
        server.kill()
        harness.stop()
        let again = try WorkerHarness(configuration)
        #expect(try again.ask(known).allSatisfy { $0.outcome == .allow })
    }
}
