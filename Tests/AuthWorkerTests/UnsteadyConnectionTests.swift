import Common
import TestSupport
import Testing

@testable import AuthWorker

/// Connections that can be made, answer PING and some look-ups, and break all the same, again and again: they were made anew 20 times a
/// second by each worker, with as many looks for all rows and lines in the log.
@Suite struct UnsteadyConnectionTests {
    private static let millisecond = Nanoseconds.perMillisecond

    /// Connects, has a look-up answered, and breaks.
    ///
    /// - Returns: the delay before the next attempt.
    private func breakOnce(_ client: inout RedisClient, now: inout Instant, _ failure: RedisFailure?) throws -> UInt64 {
        client.advance(now: now)
        client.connected(now: now)
        client.feed("+OK\r\n+PONG\r\n", now: now)
        #expect(client.state == .ready)
        try client.submit([Array("GET".utf8), [1]], token: 1, now: now)
        client.fillPipeline(now: now)
        now += 100 * Self.millisecond
        client.feed("$1\r\nx\r\n", now: now)
        if let failure { client.failed(failure, now: now) } else { client.feed("x\r\n", now: now) }
        guard case .waiting(let until) = client.state else {
            Issue.record("it did not break")
            return 0
        }
        defer { now = until }
        return until - now
    }

    @Test(arguments: [nil, .closedByServer, .queryTimedOut] as [RedisFailure?])
    func `regression: connections that break soon are made at growing intervals`(_ failure: RedisFailure?) throws {
        var client = RedisClient(settings: .init(), random: SeededRandom(seed: 1), now: 0)
        var now: Instant = 0
        var delays: [UInt64] = []
        for _ in 0..<12 { delays.append(try self.breakOnce(&client, now: &now, failure)) }
        #expect(delays.suffix(3).allSatisfy { $0 >= 500 * Self.millisecond }, "\(delays)")
        #expect(delays.allSatisfy { $0 <= AuthLimits.reconnectMaximumNanoseconds })
        #expect(client.breaksAgainAndAgain(now: now) != nil)

        client.advance(now: now)
        client.connected(now: now)
        client.feed("+OK\r\n+PONG\r\n", now: now)
        #expect(client.breaksAgainAndAgain(now: now) != nil, "it has shown nothing yet")
        now += 6 * Nanoseconds.perSecond
        #expect(client.breaksAgainAndAgain(now: now) == nil)
        client.failed(.queryTimedOut, now: now)
        guard case .waiting(let until) = client.state else {
            Issue.record("not waiting")
            return
        }
        #expect(until - now <= AuthLimits.reconnectInitialNanoseconds)
        #expect(client.breaksAgainAndAgain(now: now) == nil)
    }

    @Test func `regression: the log has few lines about connections that break, whatever the reasons`() throws {
        var log = ConnectionLog()
        var told: [ConnectionLog.Line] = []
        for index in 0..<100 as Range<UInt64> {
            let now = index * 50 * Self.millisecond
            if let line = log.lost("a", .protocolError("\(index)"), now: now) {
                told.append(line)
                let isTold = log.back("a")
                #expect(isTold)
            } else if index < 99 {
                let isTold = log.back("a")
                #expect(!isTold, "nobody was told that it was lost")
            }
        }
        #expect(told.map(\.failure) == (0..<3).map { .protocolError("\($0)") })
        let other = ConnectionLog.Line(server: "b", failure: .closedByServer, leftOut: 0)
        let line = log.lost("b", .closedByServer, now: 5 * Nanoseconds.perSecond)
        #expect(line == other)
        // It stayed away: that is told when there is room again.
        let overdue = log.overdue(away: ["a"], now: 15 * Nanoseconds.perSecond)
        #expect(overdue == [ConnectionLog.Line(server: "a", failure: .protocolError("99"), leftOut: 97)])
        let later = log.overdue(away: ["a"], now: 16 * Nanoseconds.perSecond)
        let isTold = log.back("a")
        #expect(later.isEmpty && isTold)
    }

    /// Sentinels have named another master meanwhile.
    @Test func aServerThatIsNotUsedAnyMoreIsNotToldLost() {
        var log = ConnectionLog()
        for index in 0..<8 { _ = log.lost("a", .connect("\(index)"), now: 0) }
        let overdue = log.overdue(away: ["b"], now: 10 * Nanoseconds.perSecond)
        let later = log.overdue(away: ["a"], now: 20 * Nanoseconds.perSecond)
        #expect(overdue.isEmpty && later.isEmpty)
    }

    /// Each Sentinel named another one, and none was a master: 42 lines in four seconds.
    @Test func `regression: masters that change all the time are few lines, and the last ones are told`() {
        var log = ConnectionLog()
        let told = (0..<20 as Range<UInt64>).map { log.mastersChanged(now: $0 * 400 * Self.millisecond) }
        #expect(told.prefix(4) == [0, 0, 0, 0] && told.dropFirst(4).allSatisfy { $0 == nil })
        #expect(log.hasUntoldMasters)
        let later = log.mastersChanged(now: 12 * Nanoseconds.perSecond)
        #expect(later == 16)
        #expect(!log.hasUntoldMasters)
    }

    /// Another reason within an outage that was told: the end of it is told too.
    @Test func theEndOfAnOutageThatWasToldIsTold() {
        var log = ConnectionLog()
        for index in 0..<8 { _ = log.lost("a", .connect("\(index)"), now: 0) }
        let isTold = log.back("a")
        let overdue = log.overdue(away: ["a"], now: 10 * Nanoseconds.perSecond)
        #expect(isTold && overdue.isEmpty)
    }
}
