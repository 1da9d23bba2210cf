import Common
import TestSupport
import Testing

@testable import Bench

/// What `martlet bench` says of a broker that does something wrong.
@Suite struct TrafficScenarioTests {
    private func perform(
        _ kind: BenchRun.Kind,
        against broker: FakeBroker,
        _ set: (inout BenchOptions) -> Void
    ) throws -> BenchReport {
        var options = BenchOptions()
        options.port = broker.port
        (options.clients, options.subscribers, options.publishers) = (2, 2, 2)
        (options.warmUpSeconds, options.seconds, options.quietSeconds) = (0.1, 0.5, 8)
        set(&options)
        return try BenchRun.perform(kind, options) { _ in }
    }

    private func figure(_ name: String, in report: BenchReport) -> Double {
        switch report.lines.first(where: { $0.name == name })?.value {
        case .number(let number): number
        case .count(let count): Double(count)
        case .text, nil: -1
        }
    }

    /// Only what arrived within the measured span was in the histogram: 0.1 % of the messages, the fast ones.
    @Test(arguments: [Double?.none, 200])
    func `regression: a stall at the end of the run is charged`(rate: Double?) throws {
        let broker = try FakeBroker(.init(stall: (from: 0.5, to: 2.5)))
        defer { broker.stop() }
        let report = try self.perform(.pairs, against: broker) { ($0.rate, $0.seconds) = (rate, 1) }
        #expect(report.isGood, "\(report.people)")
        #expect(self.figure("latency_max_us", in: report) > 900_000, "\(report.people)")
        if rate != nil { #expect(self.figure("latency_p90_us", in: report) > 900_000, "\(report.people)") }
    }

    @Test(arguments: [QoS.atLeastOnce, .exactlyOnce])
    func `regression: acknowledgements that never come are told`(qos: QoS) throws {
        let broker = try FakeBroker(.init(isMute: true))
        defer { broker.stop() }
        let report = try self.perform(.pairs, against: broker) { ($0.qos, $0.rate, $0.quietSeconds) = (qos, 50, 3) }
        #expect(!report.isGood)
        #expect(self.figure("unacknowledged", in: report) == Double(broker.seen.messages), "\(report.people)")
        #expect(report.problems.contains { $0.hasPrefix("unacknowledged: ") }, "\(report.people)")
        #expect(self.figure("lost", in: report) == 0, "\(report.people)")
    }

    /// Each message that was lost took its place in the window away, until nothing was sent any more.
    @Test func `regression: lost messages give their places back`() throws {
        let broker = try FakeBroker(.init(dropsEvery: 2))
        defer { broker.stop() }
        let report = try self.perform(.pairs, against: broker) { ($0.window, $0.seconds, $0.quietSeconds) = (4, 4, 3) }
        #expect(!report.isGood && self.figure("lost", in: report) > 0)
        #expect(self.figure("stalls", in: report) > 0, "\(report.people)")
        // Sixteen until all places are taken, and as many after two seconds.
        #expect(broker.seen.messages > 24, "\(report.people)")
    }

    @Test(arguments: [QoS.atLeastOnce, .exactlyOnce])
    func `regression: refused messages give their places back, and are not lost`(qos: QoS) throws {
        let broker = try FakeBroker(.init(refusesEvery: 2))
        defer { broker.stop() }
        let report = try self.perform(.fanin, against: broker) { ($0.qos, $0.window) = (qos, 2) }
        #expect(self.figure("refused", in: report) == Double(broker.seen.messages / 2), "\(report.people)")
        #expect(broker.seen.messages > 20, "\(report.people)")
        #expect(self.figure("lost", in: report) == 0, "\(report.people)")
        #expect(report.problems.count == 1 && report.problems[0].hasSuffix("messages were refused with 0x97"))
    }

    @Test(arguments: [BenchRun.Kind.fanout, .fanin, .pairs])
    func `regression: subscriptions that were refused lose no messages`(kind: BenchRun.Kind) throws {
        let broker = try FakeBroker(.init(refusedClient: "martlet-bench-0"))
        defer { broker.stop() }
        let report = try self.perform(kind, against: broker) { $0.window = 2 }
        #expect(self.figure("lost", in: report) == 0, "\(report.people)")
        #expect(broker.seen.messages > 20, "\(report.people)")
        #expect(report.problems.count == 1 && report.problems[0].contains("SUBACK 0x80"), "\(report.people)")
    }

    @Test(arguments: [4..<5, 8..<16, 15..<16, 0..<4, 20..<21, 100..<128])
    func `regression: damage anywhere is seen, and ends nothing`(damage: Range<Int>) throws {
        let broker = try FakeBroker(.init(damagesEvery: 5, damage: damage))
        defer { broker.stop() }
        let report = try self.perform(.fanout, against: broker) { ($0.rate, $0.quietSeconds) = (100, 3) }
        #expect(self.figure("corrupt", in: report) > 0, "\(report.people)")
        #expect(self.figure("corrupt", in: report) == self.figure("lost", in: report), "\(report.people)")
        #expect(self.figure("latency_max_us", in: report) < 60e6, "\(report.people)")
    }

    @Test(arguments: [QoS.atLeastOnce, .exactlyOnce])
    func `regression: a rate keeps the broker's Receive Maximum`(qos: QoS) throws {
        let broker = try FakeBroker(.init(connack: [0x21, 0, 3], acknowledgesTogether: 3))
        defer { broker.stop() }
        let report = try self.perform(.fanout, against: broker) {
            ($0.qos, $0.rate, $0.publishers) = (qos, 1000, 1)
        }
        #expect(report.isGood, "\(report.people)")
        #expect(broker.seen.mostUnacknowledged <= 3 && broker.seen.messages > 300, "\(report.people)")
    }

    @Test func `regression: what the broker takes no message of ends the run`() throws {
        let small = try FakeBroker(.init(connack: [0x27, 0, 0, 0, 100]))
        defer { small.stop() }
        let larger = #expect(throws: BenchFailure.self) { try self.perform(.pairs, against: small) { _ in } }
        #expect(larger?.description.contains("Maximum Packet Size is 100") == true, "\(larger?.description ?? "")")
        let low = try FakeBroker(.init(connack: [0x24, 1]))
        defer { low.stop() }
        let higher = #expect(throws: BenchFailure.self) {
            try self.perform(.pairs, against: low) { $0.qos = .exactlyOnce }
        }
        #expect(higher?.description.contains("Maximum QoS is 1") == true, "\(higher?.description ?? "")")
        #expect(small.seen.messages == 0 && low.seen.messages == 0)
    }

    @Test func `regression: lasting sessions are ended with the run`() throws {
        let broker = try FakeBroker()
        defer { broker.stop() }
        _ = try self.perform(.pairs, against: broker) { $0.keepsSessions = true }
        #expect(try EventLoop().turn { broker.seen.endedSessions == 4 })
        let old = try FakeBroker()
        defer { old.stop() }
        _ = try self.perform(.pairs, against: old) { ($0.keepsSessions, $0.version) = (true, .v3_1_1) }
        #expect(old.seen.cleanConnects == 4)
    }

    @Test func `regression: PINGREQ keeps connections within the broker's Server Keep Alive`() throws {
        let broker = try FakeBroker(.init(connack: [0x13, 0, 1]))
        defer { broker.stop() }
        _ = try self.perform(.pairs, against: broker) { ($0.seconds, $0.rate) = (1.5, 1) }
        #expect(broker.seen.pings >= 4)
    }

    /// The event loop's own wait is rounded up to the next millisecond.
    @Test func `regression: messages are sent when they are due`() throws {
        let loop = try EventLoop()
        let timer = try PreciseTimer(loop)
        defer { timer.end() }
        var least = UInt64.max
        for _ in 0..<200 where least > 300_000 {
            let due = Clock.monotonic() + 200_000
            var isOver = false
            timer.schedule(at: due) {
                least = min(least, Clock.monotonic() - due)
                isOver = true
            }
            #expect(try loop.turn { isOver })
        }
        #expect(least <= 300_000)
    }
}
