import AuthWorker
import Common
import TestSupport
import Testing

/// Which commands go first, and what of the time that passes is Redis'.
@Suite struct RedisPaceTests {
    private static let millisecond = Nanoseconds.perMillisecond

    /// With eight places for commands.
    private func readyClient(pipelineMax: Int = 8) -> RedisClient {
        RedisClient.ready(
            RedisClient.Settings(
                connectTimeoutNanoseconds: 30 * Nanoseconds.perSecond,
                pipelineMax: pipelineMax
            )
        )
    }

    private func submit(
        _ tokens: ClosedRange<UInt64>,
        _ urgency: CommandUrgency,
        to client: inout RedisClient,
        now: Instant = 0
    ) throws {
        for token in tokens { try client.submit([Array("k\(token)".utf8)], token: token, urgency: urgency, now: now) }
    }

    /// The names of the commands that are written next.
    private func written(_ client: inout RedisClient, now: Instant = 0) -> [String] {
        client.fillPipeline(now: now)
        defer { client.output.clear() }
        let lines = String(decoding: client.output.array, as: UTF8.self).split(separator: "\r\n")
        return lines.filter { $0.hasPrefix("k") || $0 == "ASKING" }.map(String.init)
    }

    private func answer(_ count: Int, _ client: inout RedisClient, now: Instant = 0) {
        client.feed(String(repeating: "$-1\r\n", count: count), now: now)
    }

    @Test("who waits for CONNACK goes before refetches that were there first, and these have a share")
    func order() throws {
        var client = self.readyClient()
        try self.submit(101...110, .background, to: &client)
        try self.submit(1...20, .client, to: &client)
        #expect(self.written(&client) == ["k1", "k2", "k3", "k4", "k5", "k6", "k7", "k101"])
        self.answer(8, &client)
        #expect(self.written(&client) == ["k8", "k9", "k10", "k11", "k12", "k13", "k14", "k102"])
        self.answer(8, &client)
        // Without others it is all theirs, but for what must be left free.
        #expect(self.written(&client) == ["k15", "k16", "k17", "k18", "k19", "k20", "k103", "k104"])
        #expect(client.commandsInBackground == 8 && client.commandsQueued == 6)
    }

    @Test("refetches leave room for those who come after them")
    func room() throws {
        var client = self.readyClient()
        try self.submit(101...110, .background, to: &client)
        #expect(self.written(&client) == ["k101", "k102"])
        try self.submit(1...1, .client, to: &client)
        #expect(self.written(&client) == ["k1"])
        self.answer(2, &client)
        #expect(self.written(&client) == ["k103", "k104"])
        #expect(client.commandsInBackground == 8)
    }

    @Test("a refetch that waits has no deadline, a client has one")
    func deadlines() throws {
        let settings = RedisClient.Settings(connectTimeoutNanoseconds: 30 * Nanoseconds.perSecond)
        var client = RedisClient(settings: settings, random: SeededRandom(seed: 1), now: 0)
        client.advance(now: 0)
        try self.submit(101...200, .background, to: &client)
        try self.submit(1...1, .client, to: &client)
        client.actions = []
        client.advance(now: 1000 * Self.millisecond)
        #expect(client.actions == [.notAnswered(token: 1, .queryTimedOut)])
        client.advance(now: 20 * Nanoseconds.perSecond)
        #expect(client.commandsQueued == 100 && client.counters.timeouts == 1)
    }

    /// The worker came back to its loop after two seconds, and Redis was called lost, though it had had no time to answer.
    @Test("a loop that is late does not hold that against Redis, but a silent server is found out")
    func lateness() throws {
        var client = self.readyClient()
        try self.submit(1...1, .client, to: &client)
        _ = self.written(&client)
        client.advance(now: 2000 * Self.millisecond)
        #expect(client.actions.isEmpty && client.state == .ready)
        self.answer(1, &client, now: 2001 * Self.millisecond)
        #expect(client.actions == [.answered(token: 1, .null)])
        // Again, but there is no answer.
        client.actions = []
        try self.submit(2...2, .client, to: &client, now: 3000 * Self.millisecond)
        _ = self.written(&client, now: 3000 * Self.millisecond)
        client.advance(now: 5000 * Self.millisecond)
        #expect(client.actions.isEmpty)
        client.advance(now: 7000 * Self.millisecond)
        #expect(client.actions == [.close, .lost(.queryTimedOut), .notAnswered(token: 2, .queryTimedOut)])
        #expect(client.counters.timeouts == 1)
    }

    @Test("look-ups do not expire in the queue because the loop was late")
    func queue() throws {
        var client = self.readyClient(pipelineMax: 1)
        try self.submit(1...100, .client, to: &client)
        #expect(self.written(&client) == ["k1"])
        self.answer(1, &client, now: 3000 * Self.millisecond)
        client.actions = []
        client.advance(now: 3000 * Self.millisecond)
        #expect(client.actions.isEmpty && client.commandsQueued == 99)
        #expect(self.written(&client, now: 3000 * Self.millisecond) == ["k2"])
    }

    @Test("a connection that the late loop has not looked at is not given up")
    func connecting() {
        var client = RedisClient(settings: .init(), random: SeededRandom(seed: 1), now: 0)
        client.advance(now: 0)
        client.advance(now: 5 * Nanoseconds.perSecond)
        #expect(client.actions == [.connect])
        client.connected(now: 5 * Nanoseconds.perSecond)
        client.advance(now: 8 * Nanoseconds.perSecond)
        client.feed("+OK\r\n+PONG\r\n", now: 8 * Nanoseconds.perSecond)
        #expect(client.state == .ready)
    }

    @Test("what has come is to be read before a deadline counts")
    func overdue() throws {
        var client = self.readyClient()
        try self.submit(1...1, .client, to: &client)
        _ = self.written(&client)
        let before = client.isOverdue(now: 499 * Self.millisecond)
        let after = client.isOverdue(now: 500 * Self.millisecond)
        self.answer(1, &client, now: 500 * Self.millisecond)
        let isAnswered = !client.isOverdue(now: 500 * Self.millisecond)
        #expect(!before && after && isAnswered)
    }

    /// ASKING holds for the next command of the connection.
    @Test("no refetch comes between a command and the one that it leads")
    func leads() throws {
        var client = self.readyClient()
        try self.submit(101...110, .background, to: &client)
        try self.submit(1...6, .client, to: &client)
        try client.submit([Array("ASKING".utf8)], token: 7, leadsNext: true, now: 0)
        try self.submit(8...9, .client, to: &client)
        #expect(self.written(&client) == ["k1", "k2", "k3", "k4", "k5", "k6", "ASKING", "k8"])
        self.answer(8, &client)
        #expect(self.written(&client) == ["k101", "k9", "k102"])
    }

    @Test("what a broken connection left unanswered is asked again in its order")
    func brokenConnection() throws {
        var client = self.readyClient()
        let now = AuthLimits.reconnectInitialNanoseconds
        try self.submit(101...104, .background, to: &client, now: now)
        try self.submit(1...2, .client, to: &client, now: now)
        #expect(self.written(&client, now: now) == ["k1", "k2", "k101", "k102"])
        client.failed(.closedByServer, now: now)
        #expect(client.commandsInBackground == 4)
        client.advance(now: now)
        client.connected(now: now)
        client.feed("+OK\r\n+PONG\r\n", now: now)
        client.output.clear()
        #expect(self.written(&client, now: now) == ["k1", "k2", "k101", "k102"])
        client.actions = []
        client.failed(.queryTimedOut, now: now)
        #expect(client.actions.count == 8, "closed, told, and each of the six has its end")
        #expect(client.commandsInBackground == 0)
    }
}
