import AuthWorker
import Common
import TestSupport
import Testing

@Suite struct RedisClientTests {
    private static let millisecond = Nanoseconds.perMillisecond

    private func settings(_ change: (inout RedisClient.Settings) -> Void) -> RedisClient.Settings {
        var settings = RedisClient.Settings(clientName: "w")
        change(&settings)
        return settings
    }

    private func client(_ change: (inout RedisClient.Settings) -> Void = { _ in }) -> RedisClient {
        RedisClient(settings: self.settings(change), random: SeededRandom(seed: 1), now: 0)
    }

    private func readyClient(_ change: (inout RedisClient.Settings) -> Void = { _ in }) -> RedisClient {
        RedisClient.ready(self.settings(change))
    }

    private func written(_ client: inout RedisClient) -> String {
        defer { client.output.clear() }
        return String(decoding: client.output.array, as: UTF8.self)
    }

    private func get(_ key: String) -> [[UInt8]] { [Array("GET".utf8), Array(key.utf8)] }

    /// Arguments are counted bytes: what is in them does not matter.
    @Test func commandsAreArraysOfBulkStrings() throws {
        var client = self.readyClient()
        let long = String(repeating: "x", count: 1_234_567)
        try client.submit([[0, 13, 10, 255], [], Array("0123456789".utf8), Array(long.utf8)], token: 1, now: 1)
        client.fillPipeline(now: 1)
        let expected =
            Array("*4\r\n$4\r\n".utf8) + [0, 13, 10, 255] + Array("\r\n$0\r\n\r\n$10\r\n0123456789\r\n".utf8)
            + Array("$1234567\r\n\(long)\r\n".utf8)
        #expect(client.output.array == expected)
    }

    @Test func shakesHands() {
        var client = self.client {
            $0.user = Array("u".utf8)
            $0.password = Array("p\r\n".utf8)
            $0.database = 3
        }
        client.advance(now: 0)
        #expect(client.actions == [.connect])
        client.actions = []
        client.connected(now: 5)
        let expected =
            "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$3\r\np\r\n\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
            + "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$1\r\nw\r\n*1\r\n$4\r\nPING\r\n"
        #expect(self.written(&client) == expected)
        client.feed("+OK\r\n+OK\r\n-NOPERM no\r\n", now: 6)
        #expect(client.state != .ready)
        client.feed("+PONG\r\n", now: 7)
        #expect(client.state == .ready)
        #expect(client.actions == [.back(downNanoseconds: 7)])
    }

    @Test(arguments: [
        ("-WRONGPASS no\r\n", "WRONGPASS no"),
        ("+OK\r\n-ERR invalid DB index\r\n", "ERR invalid DB index"),
        ("+OK\r\n+OK\r\n+OK\r\n-LOADING Redis is loading\r\n", "LOADING Redis is loading"),
        ("+OK\r\n+OK\r\n+OK\r\n-NOAUTH Authentication required.\r\n", "NOAUTH Authentication required."),
    ])
    func aRefusedHandshakeIsAnOutage(_ replies: String, _ reason: String) {
        var client = self.client {
            $0.password = [1]
            $0.database = 3
        }
        client.advance(now: 0)
        client.connected(now: 0)
        client.actions = []
        client.feed(replies, now: 1)
        #expect(client.actions == [.close, .lost(.refused(reason))])
        #expect(throws: RedisFailure.unavailable("Redis refused: \(reason)")) {
            try client.submit(self.get("k"), token: 1, now: 2)
        }
    }

    @Test func lookupsBeforeTheFirstConnectionWaitForIt() throws {
        var client = self.client()
        try client.submit(self.get("k"), token: 9, now: 0)
        client.advance(now: 0)
        client.fillPipeline(now: 0)
        #expect(self.written(&client) == "")
        client.connected(now: 1)
        client.feed("+OK\r\n+PONG\r\n", now: 2)
        client.output.clear()
        client.fillPipeline(now: 2)
        #expect(self.written(&client) == "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
        client.actions = []
        client.feed("$-1\r\n", now: 3)
        #expect(client.actions == [.answered(token: 9, .null)])
    }

    @Test func lookupsWaitForTheServerToBeKnown() throws {
        var client = RedisClient(settings: .init(), random: SeededRandom(seed: 1), knowsServer: false, now: 0)
        client.advance(now: 0)
        try client.submit(self.get("k"), token: 1, now: 0)
        client.reconnect(.refused("another server is the master now"), now: 5)
        client.advance(now: 5)
        #expect(client.actions == [.connect], "nothing was lost")
    }

    @Test func lookupsAreRefusedWhenNobodyKnowsTheServer() throws {
        var client = RedisClient(settings: .init(), random: SeededRandom(seed: 1), knowsServer: false, now: 0)
        try client.submit(self.get("k"), token: 1, now: 0)
        client.serverNotFound(.silent)
        client.serverNotFound(.silent)
        #expect(client.actions == [.lost(.silent), .notAnswered(token: 1, .silent)])
        #expect(throws: RedisFailure.unavailable(RedisFailure.silent.description)) {
            try client.submit(self.get("k"), token: 2, now: 1)
        }
        client.actions = []
        client.reconnect(.refused("another server is the master now"), now: 5)
        client.advance(now: 5)
        #expect(client.actions == [.connect])
    }

    @Test func repliesComeWholeHoweverTheBytesAreCut() throws {
        let replies: [RedisReply] = [
            .array([.bulk(Array("a\r\nb".utf8)), .null]), .null, .bulk([]), .integer(-7), .error(Array("ERR x".utf8)),
            .status(Array("OK".utf8)), .array([]), .array([.array([.integer(1)]), .bulk([0, 255])]),
        ]
        let bytes =
            Array(
                "*2\r\n$4\r\na\r\nb\r\n$-1\r\n$-1\r\n$0\r\n\r\n:-7\r\n-ERR x\r\n+OK\r\n*0\r\n*2\r\n*1\r\n:1\r\n$2\r\n"
                    .utf8
            )
            + [0, 255] + Array("\r\n".utf8)
        let expected = replies.enumerated().map { RedisClient.Action.answered(token: UInt64($0.offset), $0.element) }
        for cut in 0...bytes.count {
            var client = self.readyClient()
            for token in replies.indices { try client.submit(self.get("k"), token: UInt64(token), now: 0) }
            client.fillPipeline(now: 0)
            for part in [bytes[..<cut], bytes[cut...]] {
                Array(part).withUnsafeBytes { client.received($0, now: 0) }
            }
            #expect(client.actions == expected, "cut at \(cut)")
        }
        var client = self.readyClient()
        for token in replies.indices { try client.submit(self.get("k"), token: UInt64(token), now: 0) }
        client.fillPipeline(now: 0)
        for byte in bytes { [byte].withUnsafeBytes { client.received($0, now: 0) } }
        #expect(client.actions == expected)
    }

    @Test(arguments: [
        "HTTP/1.1 400 Bad Request\r\n", "$-2147483648\r\n", "*2147483647\r\n", "*70000\r\n", "$9223372036854775807\r\n",
        "\0\0\0\0", "$1\r\na", ":nonsense\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    ])
    func garbageEndsTheConnectionAndDeniesNobody(_ garbage: String) throws {
        var client = self.readyClient()
        try client.submit(self.get("k"), token: 1, now: 0)
        client.fillPipeline(now: 0)
        client.feed(garbage, now: 1)
        // What could still become a reply is ended by the time-out.
        client.advance(now: 500 * Self.millisecond)
        #expect(!client.actions.contains { if case .answered = $0 { true } else { false } })
        #expect(client.actions.contains { if case .notAnswered(1, _) = $0 { true } else { false } })
        #expect(client.actions.contains(.close))
    }

    @Test func randomBytesNeverCrash() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let pieces = ["*", "$", ":", "-", "+", "\r\n", "1", "3", "-1", "99999", "abc", "\0"]
        for _ in 0..<2000 {
            var client = self.readyClient()
            for token in 0..<5 as Range<UInt64> { try client.submit(self.get("k"), token: token, now: 0) }
            client.fillPipeline(now: 0)
            let text = (0..<Int.random(in: 1...12, using: &random)).compactMap { _ in
                pieces.randomElement(using: &random)
            }
            client.feed(text.joined(), now: 1)
            client.feed(text.reversed().joined(), now: 2)
            client.failed(.closedByServer, now: 3)
            // Each look-up ends exactly once.
            var ended: [UInt64] = []
            for action in client.actions {
                switch action {
                case .answered(let token, _), .notAnswered(let token, _): ended.append(token)
                case .connect, .close, .lost, .back: break
                }
            }
            #expect(ended.sorted() == [0, 1, 2, 3, 4], "seed \(seed)")
        }
    }

    @Test func aReplyWithoutEndHasABound() throws {
        var client = self.readyClient()
        try client.submit(self.get("k"), token: 1, now: 0)
        client.fillPipeline(now: 0)
        client.feed("$1000000000\r\n", now: 0)
        let block = [UInt8](repeating: 0x61, count: 64 << 10)
        var blocks = 0
        while client.state == .ready, blocks < 100 {
            block.withUnsafeBytes { client.received($0, now: 0) }
            blocks += 1
        }
        #expect(blocks <= 17)
    }

    @Test("a reply that is too long is passed over, and the others are as without it", arguments: [13, 4096, 1 << 22])
    func tooLong(_ pieceBytes: Int) throws {
        let long = String(repeating: "x", count: AuthLimits.replyBytesMax)
        let elements = AuthLimits.replyElementsMax + 1
        let many = "*\(elements)\r\n" + String(repeating: ":1\r\n", count: elements)
        let small = "*2\r\n$1\r\na\r\n$-1\r\n"
        let bytes = Array(
            (small + "*2\r\n$\(long.utf8.count)\r\n\(long)\r\n:1\r\n" + small + many + small + "+\(long)\r\n:1\r\n")
                .utf8
        )
        var client = self.readyClient()
        for token in 0..<7 as Range<UInt64> { try client.submit(self.get("k"), token: token, now: 0) }
        client.fillPipeline(now: 0)
        for start in stride(from: 0, to: bytes.count, by: pieceBytes) {
            bytes[start..<min(bytes.count, start + pieceBytes)].withUnsafeBytes { client.received($0, now: 0) }
        }
        let reply = RedisReply.array([.bulk([0x61]), .null])
        var texts: [UInt64: String] = [:]
        var others: [RedisClient.Action] = []
        for action in client.actions {
            if case .answered(let token, let reply) = action, let text = reply.errorText {
                texts[token] = text
            } else {
                others.append(action)
            }
        }
        #expect(texts.keys.sorted() == [1, 3, 5])
        #expect(texts.values.allSatisfy { $0.contains("too long") })
        #expect(others == [0, 2, 4].map { .answered(token: $0, reply) } + [.answered(token: 6, .integer(1))])
        #expect(client.counters.tooLong == 3 && client.counters.failures == 0)
    }

    @Test func theLongestReplyIsTakenAndOneWithoutEndIsNotPassedOver() throws {
        var client = self.readyClient()
        for token in 0..<2 as Range<UInt64> { try client.submit(self.get("k"), token: token, now: 0) }
        client.fillPipeline(now: 0)
        let long = String(repeating: "x", count: AuthLimits.replyBytesMax - 12)
        client.feed("$\(long.utf8.count)\r\n\(long)\r\n", now: 0)
        #expect(client.actions == [.answered(token: 0, .bulk(Array(long.utf8)))])
        client.feed("*3\r\n:1\r\n$\(AuthLimits.replyBytesPassedMax)\r\n", now: 0)
        #expect(client.actions.contains(.close))
    }

    @Test func theOldestCommandDecidesAboutTheTimeOut() throws {
        var client = self.readyClient()
        try client.submit(self.get("a"), token: 1, now: 100 * Self.millisecond)
        client.fillPipeline(now: 100 * Self.millisecond)
        try client.submit(self.get("b"), token: 2, now: 500 * Self.millisecond)
        client.fillPipeline(now: 500 * Self.millisecond)
        #expect(client.nextDeadline == 600 * Self.millisecond)
        client.advance(now: 599 * Self.millisecond)
        #expect(client.actions.isEmpty)
        client.advance(now: 600 * Self.millisecond)
        #expect(
            client.actions == [
                .close, .lost(.queryTimedOut), .notAnswered(token: 1, .queryTimedOut),
                .notAnswered(token: 2, .queryTimedOut),
            ]
        )
        // A late answer belongs to nobody.
        client.actions = []
        client.feed("$1\r\nx\r\n", now: 601 * Self.millisecond)
        #expect(client.actions.isEmpty)
    }

    @Test func pipelineAndQueueAreBounded() throws {
        var client = self.readyClient {
            $0.pipelineMax = 2
            $0.queueMax = 3
        }
        for token in 1...3 { try client.submit(self.get("k"), token: UInt64(token), now: 0) }
        #expect(throws: RedisFailure.overloaded) { try client.submit(self.get("k"), token: 4, now: 0) }
        client.fillPipeline(now: 0)
        #expect((client.commandsInFlight, client.commandsQueued) == (2, 1))
        client.feed("$-1\r\n", now: 1)
        client.fillPipeline(now: 1)
        #expect((client.commandsInFlight, client.commandsQueued) == (2, 0))
        // What waits too long in the queue is told so; the connection stays.
        client.actions = []
        try client.submit(self.get("k"), token: 5, now: 2)
        client.feed("$-1\r\n", now: 450 * Self.millisecond)
        client.feed("$-1\r\n", now: 450 * Self.millisecond)
        client.actions = []
        client.advance(now: 999 * Self.millisecond)
        #expect(client.actions.isEmpty)
        client.advance(now: 1001 * Self.millisecond)
        #expect(client.actions == [.notAnswered(token: 5, .overloaded)])
        #expect(client.state == .ready)
    }

    @Test func whatABrokenConnectionLeftUnansweredIsAskedAgainOnce() throws {
        var client = self.readyClient()
        var now = AuthLimits.reconnectInitialNanoseconds
        for token in 1...2 as ClosedRange<UInt64> { try client.submit(self.get("\(token)"), token: token, now: now) }
        client.fillPipeline(now: now)
        try client.submit(self.get("3"), token: 3, now: now)
        client.output.clear()
        client.feed("$1\r\nx\r\n$1", now: now)
        client.failed(.closedByServer, now: now)
        #expect(client.actions == [.answered(token: 1, .bulk(Array("x".utf8))), .close])
        client.actions = []
        // New ones wait for the attempt.
        try client.submit(self.get("4"), token: 4, now: now)
        client.advance(now: now)
        #expect(client.actions == [.connect] && client.outage == nil)
        client.connected(now: now)
        client.feed("+OK\r\n+PONG\r\n", now: now)
        client.output.clear()
        client.fillPipeline(now: now)
        let commands = ["2", "3", "4"].map { "*2\r\n$3\r\nGET\r\n$1\r\n\($0)\r\n" }
        #expect(self.written(&client) == commands.joined())
        #expect(client.counters.repeated == 1)
        // It breaks again: what was asked twice is given up, the others have their second try.
        now += AuthLimits.reconnectInitialNanoseconds
        client.actions = []
        client.failed(.connectionError("reset"), now: now)
        #expect(client.actions == [.close, .notAnswered(token: 2, .connectionError("reset"))])
        // The attempt fails: that is an outage.
        client.advance(now: now)
        client.actions = []
        client.failed(.connect("refused"), now: now)
        #expect(
            client.actions == [
                .close, .lost(.connect("refused")), .notAnswered(token: 3, .connect("refused")),
                .notAnswered(token: 4, .connect("refused")),
            ]
        )
        #expect(client.commandsQueued == 0 && client.outage != nil)
    }

    /// A server that takes connections and closes them with the first command is not tried again without a pause.
    @Test func aConnectionThatWasHardlyThereIsAnOutage() throws {
        var client = self.readyClient()
        try client.submit(self.get("1"), token: 1, now: 1)
        client.fillPipeline(now: 1)
        client.failed(.closedByServer, now: 2)
        #expect(client.actions == [.close, .lost(.closedByServer), .notAnswered(token: 1, .closedByServer)])
    }

    @Test func backOffGrowsHasJitterAndABound() {
        var delays: Set<UInt64> = []
        for seed in 0..<20 {
            var client = RedisClient(settings: .init(), random: SeededRandom(seed: UInt64(seed)), now: 0)
            var now: Instant = 0
            for attempt in 0..<12 {
                client.advance(now: now)
                #expect(client.actions.last == .connect, "attempt \(attempt)")
                client.actions = []
                client.failed(.connect("refused"), now: now)
                guard case .waiting(let until) = client.state else {
                    Issue.record("not waiting")
                    return
                }
                #expect(until > now && until - now <= Nanoseconds.perSecond)
                if attempt == 0 { #expect(until - now <= 50 * Self.millisecond) }
                if attempt == 11 { delays.insert(until - now) }
                #expect(client.nextDeadline == until)
                now = until
            }
        }
        #expect(delays.count > 15)
    }

    @Test func anOutageIsToldOncePerReason() {
        var client = self.readyClient()
        var now: Instant = 0
        client.failed(.closedByServer, now: now)
        var told: [RedisFailure] = []
        for _ in 0..<10 {
            while case .waiting(let until) = client.state {
                now = until
                client.advance(now: now)
            }
            client.failed(.connect("refused"), now: now)
        }
        for action in client.actions { if case .lost(let failure) = action { told.append(failure) } }
        #expect(told == [.closedByServer, .connect("refused")])
    }

    @Test func aSilentConnectionIsFoundOutWithoutADevice() {
        var client = self.readyClient()
        let idle = client.nextDeadline ?? 0
        #expect(idle == Nanoseconds.perSecond)
        client.advance(now: idle)
        #expect(self.written(&client) == "*1\r\n$4\r\nPING\r\n")
        client.feed("+PONG\r\n", now: idle + 1)
        #expect(client.actions.isEmpty)
        client.advance(now: 2 * idle + 1)
        client.advance(now: client.nextDeadline ?? 0)
        #expect(client.actions == [.close, .lost(.queryTimedOut)])
    }

    @Test func theConnectTimeOutEndsAnAttempt() {
        var client = self.client()
        client.advance(now: 0)
        #expect(client.nextDeadline == Nanoseconds.perSecond)
        client.actions = []
        client.advance(now: Nanoseconds.perSecond)
        #expect(client.actions == [.close, .lost(.connectTimedOut)])
    }

    @Test func anAnswerToNothingIsAProtocolError() {
        var client = self.readyClient()
        client.feed("+OK\r\n", now: 1)
        #expect(client.actions.first == .close)
    }

    @Test func stoppingEndsWhatWaits() throws {
        var client = self.readyClient()
        try client.submit(self.get("k"), token: 1, now: 0)
        client.stop()
        #expect(client.actions == [.close, .notAnswered(token: 1, .stopped)])
        #expect(client.nextDeadline == nil)
        #expect(throws: RedisFailure.stopped) { try client.submit(self.get("k"), token: 2, now: 0) }
    }
}
