import AuthWorker
import Common
import TestSupport
import Testing

@Suite struct InvalidationSubscriberTests {
    private static let millisecond = Nanoseconds.perMillisecond

    private func connected(
        _ mode: InvalidationSubscriber.Mode = .auto,
        prefixes: [String] = ["d:"]
    ) -> InvalidationSubscriber {
        var subscriber = InvalidationSubscriber(
            settings: RedisClient.Settings(clientName: "w"),
            mode: mode,
            prefixes: prefixes.map { Array($0.utf8) },
            random: SeededRandom(seed: 1),
            now: 0
        )
        subscriber.advance(now: 0)
        subscriber.connected(now: 0)
        return subscriber
    }

    private func feed(_ subscriber: inout InvalidationSubscriber, _ text: String, now: Instant = 0) {
        Array(text.utf8).withUnsafeBytes { subscriber.received($0, now: now) }
    }

    private func written(_ subscriber: inout InvalidationSubscriber) -> [String] {
        defer { subscriber.output.clear() }
        let words = String(decoding: subscriber.output.array, as: UTF8.self).split(separator: "\r\n")
        var lines: [String] = []
        for word in words where !word.hasPrefix("$") {
            if word.hasPrefix("*") {
                lines.append("")
            } else {
                lines[lines.count - 1] += (lines.last == "" ? "" : " ") + word
            }
        }
        return lines
    }

    private func array(_ words: String...) -> String {
        "*\(words.count)\r\n" + words.map { "$\($0.utf8.count)\r\n\($0)\r\n" }.joined()
    }

    private func subscribed(_ channel: String) -> String {
        "*3\r\n$9\r\nsubscribe\r\n$\(channel.utf8.count)\r\n\(channel)\r\n:1\r\n"
    }

    private func tracking() -> InvalidationSubscriber {
        var subscriber = self.connected()
        self.feed(&subscriber, "+OK\r\n:42\r\n+OK\r\n")
        self.feed(&subscriber, self.subscribed("__redis__:invalidate"))
        self.feed(&subscriber, self.subscribed("martlet:revoke"))
        return subscriber
    }

    @Test func `tracking is turned on with the connection itself as the target`() {
        var subscriber = self.connected(prefixes: ["d:", "dev", "d:x", "acl:"])
        #expect(subscriber.actions == [.connect])
        subscriber.actions = []
        #expect(self.written(&subscriber) == ["CLIENT SETNAME w-changes", "CLIENT ID"])
        self.feed(&subscriber, "+OK\r\n:42\r\n")
        #expect(self.written(&subscriber) == ["CLIENT TRACKING ON REDIRECT 42 BCAST PREFIX d: PREFIX dev PREFIX acl:"])
        self.feed(&subscriber, "+OK\r\n")
        #expect(self.written(&subscriber) == ["SUBSCRIBE __redis__:invalidate"])
        self.feed(&subscriber, self.subscribed("__redis__:invalidate"))
        #expect(self.written(&subscriber) == ["SUBSCRIBE martlet:revoke"])
        #expect(subscriber.actions.isEmpty)
        self.feed(&subscriber, self.subscribed("martlet:revoke"))
        #expect(subscriber.actions == [.active(.tracking, refused: [])])
    }

    @Test func `changes, removals of everything and published revocations are told`() {
        var subscriber = self.tracking()
        subscriber.actions = []
        self.feed(&subscriber, "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n" + self.array("d:a", "d:b"))
        self.feed(&subscriber, "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*-1\r\n")
        self.feed(&subscriber, self.array("message", "martlet:revoke", "d:c"))
        #expect(
            subscriber.actions == [
                .changed([Array("d:a".utf8), Array("d:b".utf8)]), .flushed, .changed([Array("d:c".utf8)]),
            ]
        )
    }

    @Test func `without the right to track, keyspace events are used when they are on`() {
        var subscriber = self.connected()
        self.feed(&subscriber, "+OK\r\n:42\r\n-NOPERM no\r\n")
        _ = self.written(&subscriber)
        self.feed(&subscriber, self.array("notify-keyspace-events", "AKE"))
        #expect(self.written(&subscriber) == ["PSUBSCRIBE __keyspace@0__:d:*"])
        self.feed(&subscriber, self.subscribed("__keyspace@0__:d:*") + self.subscribed("martlet:revoke"))
        guard case .active(.keyspace, let refused)? = subscriber.actions.last else {
            Issue.record("not active: \(subscriber.actions)")
            return
        }
        #expect(refused.count == 1 && refused[0].contains("CLIENT TRACKING"))
        subscriber.actions = []
        self.feed(&subscriber, self.array("pmessage", "__keyspace@0__:d:*", "__keyspace@0__:d:a:b", "del"))
        #expect(subscriber.actions == [.changed([Array("d:a:b".utf8)])])
    }

    @Test func `what the server says of keyspace events is what is proven, and events turned off are a loss`() {
        var subscriber = self.connected(.keyspace)
        self.feed(&subscriber, "+OK\r\n" + self.array("notify-keyspace-events", "AK"), now: 10)
        self.feed(&subscriber, self.subscribed("__keyspace@0__:d:*") + self.subscribed("martlet:revoke"), now: 20)
        #expect(subscriber.method == .keyspace && subscriber.asksForKeyspaceEvents)
        subscriber.actions = []
        let ping = 20 + AuthLimits.subscriptionPingNanoseconds
        subscriber.advance(now: ping)
        self.feed(&subscriber, self.array("pong", ""), now: ping + 1)
        #expect(subscriber.provenAt == 10)
        func flags(_ text: String) -> RedisReply {
            .array([.bulk(Array("notify-keyspace-events".utf8)), .bulk(Array(text.utf8))])
        }
        // Of before this connection; an error that passes.
        let early = subscriber.learnedKeyspaceEvents(flags(""), askedAt: 19, now: ping)
        let passing = subscriber.learnedKeyspaceEvents(.error(Array("LOADING".utf8)), askedAt: 21, now: ping)
        let told = subscriber.learnedKeyspaceEvents(flags("AK"), askedAt: 50, now: ping)
        #expect(early && passing && told && subscriber.provenAt == 50 && subscriber.actions.isEmpty)
        let refused = subscriber.learnedKeyspaceEvents(.error(Array("NOPERM no".utf8)), askedAt: 60, now: ping)
        #expect(!refused && subscriber.provenAt == ping && subscriber.actions.isEmpty)
        let off = subscriber.learnedKeyspaceEvents(flags("KEx"), askedAt: 70, now: ping)
        #expect(off && subscriber.method == nil)
        guard case .lost? = subscriber.actions.last else { return #expect(Bool(false), "\(subscriber.actions)") }
    }

    @Test(arguments: ["-NOAUTH Authentication required.\r\n", "-LOADING Redis is loading\r\n", "-BUSY a script\r\n"])
    func `an error that passes is no reason to poll`(_ error: String) {
        for answers in ["+OK\r\n", "+OK\r\n:42\r\n", "+OK\r\n:42\r\n+OK\r\n"] {
            var subscriber = self.connected()
            self.feed(&subscriber, answers + error)
            #expect(subscriber.actions.last == .close && subscriber.method == nil, "\(subscriber.actions)")
        }
    }

    @Test func `with nothing allowed it polls, and says what was refused`() {
        var subscriber = self.connected()
        self.feed(&subscriber, "-NOPERM a\r\n-NOPERM b\r\n-NOPERM c\r\n-NOPERM d\r\n")
        guard case .active(.poll, let refused)? = subscriber.actions.last else {
            Issue.record("not active: \(subscriber.actions)")
            return
        }
        #expect(refused.count == 3)
    }

    @Test func `who has to poll tries again, and tracks when the right has been given`() {
        var subscriber = self.connected()
        self.feed(&subscriber, "+OK\r\n-NOPERM no\r\n-NOPERM no\r\n" + self.subscribed("martlet:revoke"))
        #expect(subscriber.method == .poll)
        subscriber.actions = []
        let tried = [subscriber.tryAgain(now: 5), subscriber.tryAgain(now: 5)]
        #expect(tried == [true, false])
        #expect(subscriber.actions == [.close])
        subscriber.advance(now: 5)
        subscriber.connected(now: 5)
        self.feed(&subscriber, "+OK\r\n:42\r\n+OK\r\n" + self.subscribed("__redis__:invalidate"), now: 6)
        self.feed(&subscriber, self.subscribed("martlet:revoke"), now: 6)
        #expect(subscriber.actions == [.close, .connect, .active(.tracking, refused: [])])
        // What works stays, and so does what was asked for.
        let isTried = subscriber.tryAgain(now: 7)
        #expect(!isTried)
        var polling = self.connected(.poll)
        self.feed(&polling, "+OK\r\n" + self.subscribed("martlet:revoke"))
        let isPollingTried = polling.tryAgain(now: 7)
        #expect(polling.method == .poll && !isPollingTried)
    }

    @Test func `a second of silence is a loss, a PING every quarter of a second prevents it`() {
        var subscriber = self.tracking()
        subscriber.actions = []
        subscriber.output.clear()
        for step in 1...8 as ClosedRange<UInt64> {
            let now = step * 250 * Self.millisecond
            subscriber.advance(now: now)
            #expect(self.written(&subscriber) == ["PING"])
            self.feed(&subscriber, "*2\r\n$4\r\npong\r\n$0\r\n\r\n", now: now)
        }
        #expect(subscriber.actions.isEmpty)
        for step in 9...11 as ClosedRange<UInt64> { subscriber.advance(now: step * 250 * Self.millisecond) }
        #expect(subscriber.actions.isEmpty)
        subscriber.advance(now: 3000 * Self.millisecond)
        #expect(subscriber.actions == [.close, .lost(.silent)])
    }

    @Test func `regression: time in which the process did not run is no silence of the server`() {
        var subscriber = self.tracking()
        subscriber.actions = []
        subscriber.advance(now: 250 * Self.millisecond)
        self.feed(&subscriber, "*2\r\n$4\r\npong\r\n$0\r\n\r\n", now: 260 * Self.millisecond)
        subscriber.output.clear()
        subscriber.advance(now: 5000 * Self.millisecond)
        #expect(subscriber.actions.isEmpty)
        #expect(self.written(&subscriber) == ["PING"])
        self.feed(&subscriber, self.array("message", "martlet:revoke", "d:c"), now: 5000 * Self.millisecond)
        #expect(subscriber.actions == [.changed([Array("d:c".utf8)])])
        // A server that is gone is noticed though the process is stalled again and again.
        subscriber.actions = []
        subscriber.advance(now: 5600 * Self.millisecond)
        subscriber.advance(now: 6200 * Self.millisecond)
        #expect(subscriber.actions.isEmpty)
        subscriber.advance(now: 6800 * Self.millisecond)
        #expect(subscriber.actions == [.close, .lost(.silent)])
    }

    @Test func `news that are too long end the connection, so that none is missed`() {
        var subscriber = self.tracking()
        subscriber.actions = []
        let channel = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"
        self.feed(&subscriber, channel + "*1\r\n$\(AuthLimits.replyBytesMax + 1)\r\n")
        #expect(subscriber.actions.contains { if case .lost = $0 { true } else { false } })
    }

    @Test func `garbage ends the connection, at every place`() {
        let good = "+OK\r\n:42\r\n+OK\r\n" + self.subscribed("__redis__:invalidate") + self.subscribed("martlet:revoke")
        for cut in 0..<good.utf8.count {
            var subscriber = self.connected()
            self.feed(&subscriber, String(good.prefix(cut)))
            subscriber.actions = []
            self.feed(&subscriber, "\u{1}!!garbage\r\n\r\n$x\r\n")
            subscriber.advance(now: 10 * Nanoseconds.perSecond)
            #expect(subscriber.actions.contains(.close) || subscriber.actions.contains(.connect), "cut at \(cut)")
        }
    }
}
