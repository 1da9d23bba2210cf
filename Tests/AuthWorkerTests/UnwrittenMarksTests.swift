import Common
import Testing

@testable import AuthWorker

@Suite struct UnwrittenMarksTests {
    private func key(_ name: String, related: [String] = []) -> LookupKey {
        LookupKey(redisKey: Array(name.utf8), relatedKeys: related.map { Array($0.utf8) })
    }

    @Test func aMarkCountsUntilItIsWritten() {
        var marks = UnwrittenMarks()
        let (a, b) = (Array("a".utf8), self.key("b", related: ["a"]))
        #expect(!marks.concern(self.key("a")))
        marks.add(a)
        marks.add(a)
        #expect(marks.concern(self.key("a")) && marks.concern(b) && !marks.concern(self.key("c")))
        marks.written(a)
        #expect(marks.concern(self.key("a")) && marks.concern(b))
        marks.written(a)
        #expect(!marks.concern(self.key("a")) && !marks.concern(b))
    }

    @Test func aMarkOfAllConcernsEachKey() {
        var marks = UnwrittenMarks()
        marks.addAll()
        marks.addAll()
        marks.writtenAll()
        #expect(marks.concern(self.key("a")))
        marks.writtenAll()
        #expect(!marks.concern(self.key("a")))
    }

    /// Beyond what is remembered one by one, any row may be meant.
    @Test func aFloodOfMarksForgetsNone() {
        var marks = UnwrittenMarks()
        let names = (0...AuthLimits.namedKeysMax).map { Array("\($0)".utf8) }
        for name in names { marks.add(name) }
        #expect(marks.concern(self.key("another")))
        for name in names.dropLast() { marks.written(name) }
        #expect(marks.concern(self.key("another")))
        marks.written(names[names.count - 1])
        #expect(!marks.concern(self.key("another")) && !marks.concern(self.key("0")))
    }
}
