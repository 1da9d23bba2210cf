import AuthCache
import AuthWorker
import Common
import TestSupport
import Testing

/// How a suspension of denial ends, with a real Redis.
@Suite struct LostRowsTests {
    let cache: TemporaryDirectory
    let redis: RedisServer
    let devices = (0..<60).map { "d\($0)" }

    init() throws {
        self.cache = try TemporaryDirectory("martlet-cache")
        self.redis = try RedisServer()
    }

    private func configuration(_ redis: RedisServer) -> Configuration {
        .test(redis: .unixSocket(redis.socketPath), cache: self.cache.file("auth"))
    }

    private func load(_ devices: some Sequence<String>, _ redis: RedisServer) throws {
        let script = devices.map { "redis.call('hset', 'tls_domain:\($0)', 'password', 'p')" }.joined(separator: "\n")
        try redis.cli(["eval", script, "0"])
    }

    private var queries: [AuthQuery] { self.devices.map { .device($0, password: "p") } }

    private func warm(_ worker: WorkerHarness) throws {
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(try worker.ask(self.queries).allSatisfy { $0.outcome == .allow })
        try worker.waitForStatus("cache_rows_written") { Int($0) ?? 0 >= self.devices.count }
    }

    /// Those that were back counted no more as soon as they were fetched, so that three of three were missing, for ever.
    @Test(arguments: [false, true])
    func `regression: a suspension ends though some rows stay away`(_ restarts: Bool) throws {
        try self.load(self.devices, self.redis)
        var worker = try WorkerHarness(self.configuration(self.redis))
        try self.warm(worker)
        self.redis.kill()
        try self.redis.start()
        try worker.waitForStatus("alarm") { $0.contains("martlet auth confirm-mass-revoke") }
        // Some are back, and fetched, before the others are.
        try self.load(self.devices.dropFirst(40), self.redis)
        try worker.turn { try worker.ask(self.queries).count(where: { $0.source == .redis }) == 20 }
        #expect(try worker.ask("d1", password: "p").source == .staleCache)
        if restarts {
            worker.stop()
            worker = try WorkerHarness(self.configuration(self.redis))
        }
        try self.load(self.devices.dropFirst(3), self.redis)
        try worker.turn { try worker.ask(self.queries).count(where: { $0.outcome == .deny }) == 3 }
        #expect(worker.status("alarm") == "0")
        try self.redis.cli(["del", "tls_domain:d50"])
        try worker.turn { try worker.ask("d50", password: "p").reason == .noSuchDevice }
    }

    @Test func `an empty Redis ends no suspension, whatever is fetched meanwhile`() throws {
        try self.load(self.devices, self.redis)
        let worker = try WorkerHarness(self.configuration(self.redis))
        try self.warm(worker)
        try self.redis.cli(["flushall"])
        try worker.waitForStatus("alarm") { $0.hasPrefix("Redis has lost rows") }
        let new = (0..<60).map { "new\($0)" }
        try self.load(new, self.redis)
        #expect(try worker.ask(new.map { .device($0, password: "p") }).allSatisfy { $0.source == .redis })
        // What came back is lost again.
        try self.load(self.devices.prefix(20), self.redis)
        try worker.turn { try worker.ask(self.queries).count(where: { $0.source == .redis }) == 20 }
        try self.redis.cli(["flushall"])
        let asked = try self.redis.calls(of: "exists")
        try worker.turn { try self.redis.calls(of: "exists") >= asked + 3 * self.devices.count }
        #expect(worker.status("alarm").hasPrefix("Redis has lost rows"))
        #expect(try worker.ask(self.queries).allSatisfy { $0.outcome == .allow })
    }

    /// It said that there had been nothing to confirm, though it had the alarm until the first one was told.
    @Test func `regression: a worker that heard of the confirmation from another one says so`() throws {
        try self.load(self.devices, self.redis)
        let first = try WorkerHarness(self.configuration(self.redis))
        let log = RecordedMessages()
        let second = try WorkerHarness(self.configuration(self.redis), logHandler: log)
        try self.warm(first)
        try second.waitForStatus("changes_learned_by") { $0 == "tracking" }
        let confirmation = ControlCommand(["auth", "confirm-mass-revoke"])
        #expect(second.service.perform(confirmation)?.text.hasPrefix("nothing to confirm") == true)
        try self.redis.cli(["flushall"])
        try first.waitForStatus("alarm") { $0.hasPrefix("Redis has lost rows") }
        try second.turn { log.messages.contains { $0.hasPrefix("Redis has lost rows") } }
        #expect(first.service.perform(confirmation)?.text == "devices without a row are denied from now on")
        try second.turn { log.messages.contains("rows decide again") }
        let text = second.service.perform(confirmation)?.text
        #expect(text == "confirmed by another auth worker already, or the rows are back", "\(text ?? "")")
    }
}
