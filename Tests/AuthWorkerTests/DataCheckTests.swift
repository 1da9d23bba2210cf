import Testing

@testable import AuthWorker

@Suite struct DataCheckTests {
    @Test func aSampleIsCompleteWithItsLastAnswer() {
        var check = DataCheck()
        let token = check.begin(3)
        #expect(DataCheck.isToken(token) && token != DataCheck.runIDToken)
        var complete: [Bool] = []
        for answer in [RedisReply.integer(1), .integer(0), .error(Array("NOPERM".utf8)), .integer(1)] {
            complete.append(check.answered(token, answer))
        }
        #expect(complete == [false, false, true, false], "after the last one nothing is awaited")
        #expect(check.sample == 2 && check.absent == 1 && check.isWhole)
    }

    /// Asked while a worker connected, answered before FLUSHALL, read after it: the rows were there, and the suspension ended at once.
    @Test func `regression: answers from before a flush do not say that rows are back`() {
        var check = DataCheck()
        let before = check.begin(2)
        var complete = [check.answered(before, .integer(1))]
        check.abandon()
        complete.append(check.answered(before, .integer(1)))
        let after = check.begin(2)
        for (token, answer) in [(before, 1), (after, 0), (after, 0)] as [(UInt64, Int64)] {
            complete.append(check.answered(token, .integer(answer)))
        }
        #expect(complete == [false, false, false, false, true])
        #expect(check.sample == 2 && check.absent == 2)
    }
}
