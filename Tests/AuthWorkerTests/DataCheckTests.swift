import Common
import Testing

@testable import AuthCache
@testable import AuthWorker

@Suite struct DataCheckTests {
    private func check(_ nodes: [Int]) -> DataCheck {
        var check = DataCheck()
        check.begin(nodes: nodes, isWhole: true, now: 0)
        return check
    }

    private func error(_ text: String) -> RedisReply { .error(Array(text.utf8)) }

    @Test func aSampleIsCompleteWithItsLastAnswer() {
        var check = self.check([0, 0, 0])
        let tokens = (0..<3).map { check.token($0) }
        #expect(tokens.allSatisfy { DataCheck.isToken($0) && $0 != DataCheck.runIDToken } && Set(tokens).count == 3)
        let answers: [(Int, RedisReply)] = [
            (1, .integer(1)), (0, .integer(0)), (0, .integer(0)), (2, self.error("NOPERM")), (2, .integer(1)),
        ]
        var complete: [Bool] = []
        for (index, answer) in answers { complete.append(check.answered(tokens[index], answer)) }
        #expect(complete == [false, false, false, true, false], "after the last one nothing is awaited")
        #expect(check.sample == RowSample(count: 2, absent: 1) && check.isWhole && !check.isInVain)
    }

    /// Asked while a worker connected, answered before FLUSHALL, read after it: the rows were there, and the suspension ended at once.
    @Test func `regression: answers from before a flush do not say that rows are back`() {
        var check = self.check([0, 0])
        let before = (0..<2).map { check.token($0) }
        var complete = [check.answered(before[0], .integer(1))]
        check.abandon()
        complete.append(check.answered(before[1], .integer(1)))
        check.begin(nodes: [0, 0], isWhole: true, now: 0)
        for (token, answer) in [(before[0], 1), (check.token(0), 0), (check.token(1), 0)] as [(UInt64, Int64)] {
            complete.append(check.answered(token, .integer(answer)))
        }
        #expect(complete == [false, false, false, false, true])
        #expect(check.sample == RowSample(count: 2, absent: 2))
    }

    /// The check went by the rows that had been answered, all of which were there.
    @Test(arguments: ["CLUSTERDOWN The cluster is down", "LOADING Redis is loading the dataset in memory"])
    func `regression: an error that comes and goes is no answer`(_ text: String) {
        var check = self.check([0, 0])
        _ = check.answered(check.token(0), .integer(1))
        let isComplete = check.answered(check.token(1), self.error(text))
        #expect(isComplete && check.isInVain && check.obstacle == text)
        check.begin(nodes: [0, 0], isWhole: true, now: 0)
        #expect(!check.isInVain && check.obstacle == nil)
    }

    @Test func `rows of a node that is away are left out, and are counted by nodes`() {
        var check = self.check([0, 1, 1, 2, 2])
        for (index, answer) in [(0, 1), (1, 0), (2, 0), (3, 1)] as [(Int, Int64)] {
            _ = check.answered(check.token(index), .integer(answer))
        }
        let isComplete = check.notAnswered(check.token(4), .closedByServer, isGone: true)
        #expect(isComplete && !check.isInVain)
        #expect(check.sample == RowSample(count: 4, absent: 2))
        #expect(check.samplesOfNodes.contains(RowSample(count: 2, absent: 2)) && check.samplesOfNodes.count == 3)
    }

    @Test func `an answer that does not come is not waited for for ever`() {
        let check = self.check([0])
        #expect(!check.mayAsk(now: Nanoseconds.perSecond))
        #expect(check.mayAsk(now: 6 * Nanoseconds.perSecond))
    }

    @Test func `the rows of a suspension are known to those that start later`() throws {
        let rows = LostRows(suspendedSince: 1234, keys: [Array("a\nb".utf8), [0, 255]], isWhole: true)
        #expect(LostRows(text: rows.text) == rows)
        for text in ["", "x", "1 2\n", "1 2\n0g\n", "1 x\n00\n"] { #expect(LostRows(text: Array(text.utf8)) == nil) }
        let long = LostRows(suspendedSince: 1, keys: [[1], Array(repeating: 0, count: 5000)], isWhole: false)
        #expect(LostRows(text: long.text) == LostRows(suspendedSince: 1, keys: [[1]], isWhole: false))
    }
}
