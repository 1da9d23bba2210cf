import AuthWorker
import Common
import TestSupport
import Testing

/// What is known of rows by nobody having told that they changed.
@Suite struct ToldSpansTests {
    private static let day = 86_400.0

    @Test func `spans of several workers are one where they overlap`() {
        let spans = ToldSpans([
            .init(began: 100, until: 200), .init(began: 10, until: 20), .init(began: 150, until: 300),
            .init(began: 300, until: 310), .init(began: 9, until: 5),
        ])
        #expect(spans.spans == [.init(began: 10, until: 20), .init(began: 100, until: 310)])
        for (moment, end) in [(5, 5), (10, 20), (20, 20), (21, 21), (99, 99), (120, 310), (310, 310), (400, 400)] {
            #expect(spans.end(of: Int64(moment)) == Int64(end))
        }
    }

    /// As when changes are told, and proven to be, from now on for so many seconds.
    private func tell(_ harness: inout AuthenticatorHarness, seconds: Double) {
        harness.authenticator.told.begin(at: harness.time.monotonic)
        harness.advance(seconds: seconds)
        harness.authenticator.told.extend(until: harness.time.monotonic)
    }

    /// It had connected once, longer ago than `stale_max`, and was refused in the first moment of an outage.
    @Test func `a row is good for all of stale_max after the last moment at which a change would have been told`()
        throws
    {
        var harness = try AuthenticatorHarness()
        harness.rows["d"] = "p"
        harness.authenticator.told.begin(at: harness.time.monotonic)
        #expect(harness.ask("d", "p")?.outcome == .allow)
        self.tell(&harness, seconds: 30 * Self.day)
        harness.authenticator.told.end()
        harness.redis = .isDown
        #expect(harness.ask("d", "p")?.source == .staleCache)
        harness.advance(seconds: Self.day - 1)
        #expect(harness.ask("d", "p")?.source == .staleCache)
        harness.advance(seconds: 2)
        #expect(harness.ask("d", "p")?.outcome == .unknown)
    }

    @Test func `after a gap only what was fetched again counts`() throws {
        var harness = try AuthenticatorHarness()
        harness.rows = ["d": "p", "again": "p", "before": "p"]
        #expect(harness.ask("before", "p")?.outcome == .allow)
        harness.advance(seconds: 1)
        harness.authenticator.told.begin(at: harness.time.monotonic)
        #expect(harness.ask("d", "p")?.outcome == .allow)
        #expect(harness.ask("again", "p")?.outcome == .allow)
        self.tell(&harness, seconds: 600)
        harness.authenticator.told.end()
        harness.advance(seconds: 1)
        harness.authenticator.told.begin(at: harness.time.monotonic)
        harness.authenticator.allChanged(now: harness.time)
        #expect(harness.ask("again", "p")?.source == .redis)
        self.tell(&harness, seconds: Self.day)
        harness.redis = .isDown
        #expect(harness.ask("again", "p")?.source == .staleCache)
        for name in ["d", "before"] { #expect(harness.ask(name, "p")?.outcome == .unknown) }
    }

    /// Held back because too many vanished, it would have been good for ever.
    @Test func `a row that was named as changed becomes no newer`() throws {
        var harness = try AuthenticatorHarness { $0.readsCache = false }
        harness.rows["d"] = "p"
        harness.authenticator.told.begin(at: harness.time.monotonic)
        #expect(harness.ask("d", "p")?.outcome == .allow)
        harness.authenticator.flushed(now: harness.time)
        harness.rows = [:]
        harness.change("d")
        #expect(harness.ask("d", "p")?.source == .staleCache)
        self.tell(&harness, seconds: Self.day + 1)
        #expect(harness.ask("d", "p")?.outcome == .unknown)
    }

    @Test func `a worker that starts knows from the file until when changes were told`() throws {
        var harness = try AuthenticatorHarness()
        for name in ["d", "changed", "imported"] {
            harness.rows[name] = "p"
            #expect(harness.ask(name, "p")?.outcome == .allow)
        }
        let began = harness.wallMilliseconds
        harness.advance(seconds: 10 * Self.day)
        harness.disk[harness.key("imported")]?.isImported = true
        harness.anotherWorkerMarks("changed")
        harness.toldOnDisk = ToldSpans([.init(began: began, until: harness.wallMilliseconds)])
        harness.redis = .isDown
        try harness.restart()
        #expect(harness.ask("d", "p")?.source == .staleCache)
        for name in ["changed", "imported"] { #expect(harness.ask(name, "p")?.outcome == .unknown) }
        harness.advance(seconds: Self.day)
        #expect(harness.ask("d", "p")?.outcome == .unknown)
    }

    @Test func `a worker goes on where another one ended`() throws {
        var harness = try AuthenticatorHarness()
        harness.rows["d"] = "p"
        #expect(harness.ask("d", "p")?.outcome == .allow)
        let began = harness.wallMilliseconds
        harness.advance(seconds: 2 * Self.day)
        // It was told before the other one was no more.
        try harness.restart()
        harness.authenticator.told.begin(at: harness.time.monotonic)
        harness.advance(seconds: 1)
        harness.authenticator.toldOnDisk = ToldSpans([.init(began: began, until: harness.wallMilliseconds)])
        harness.redis = .isDown
        #expect(harness.ask("d", "p")?.source == .staleCache)
        self.tell(&harness, seconds: 2 * Self.day)
        #expect(harness.ask("d", "p")?.source == .staleCache)
    }
}
