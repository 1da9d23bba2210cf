import Common
import TestSupport
import Testing

@Suite struct TopicFilterTests {
    private func matches(_ filter: String, _ topic: String) -> Bool {
        Array(filter.utf8).withUnsafeBytes { filter in
            Array(topic.utf8).withUnsafeBytes { TopicFilter.matches(filter: filter, topic: $0) }
        }
    }

    private func covers(_ general: String, _ specific: String) -> Bool {
        Array(general.utf8).withUnsafeBytes { general in
            Array(specific.utf8).withUnsafeBytes { TopicFilter.covers(general, $0) }
        }
    }

    private func parse(_ filter: String) -> TopicFilter.Parsed {
        Array(filter.utf8).withUnsafeBytes { TopicFilter.parse($0) }
    }

    @Test(
        "Section 4.7 by its own examples",
        arguments: [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("sport/#", "sports", false),
            ("#", "a/b/c", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/broker", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/monitor", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("ACCOUNTS", "Accounts", false),
            ("a/+/c", "a//c", true),
            ("a/b", "a/bc", false),
            ("a/bc", "a/b", false),
            ("+/#", "a", true),
        ]
    )
    func matchingExamples(filter: String, topic: String, expected: Bool) {
        #expect(self.matches(filter, topic) == expected)
    }

    @Test(
        "Wildcards only where 4.7.1 allows them",
        arguments: [
            ("", false), ("#", true), ("+", true), ("/", true), ("a/#", true), ("a#", false), ("a/#/b", false),
            ("sport+", false), ("+/tennis/#", true), ("a/+b", false), ("##", false), ("#/", false), ("a//b", true),
            ("a/\0", false), ("$SYS/#", true), ("+/+/+", true), ("++", false),
        ]
    )
    func validity(filter: String, expected: Bool) {
        #expect((self.parse(filter) == .plain) == expected)
    }

    @Test("Shared subscriptions, section 4.8.2")
    func shared() {
        #expect(self.parse("$share/group/a/+") == .shared(group: 7..<12, filter: 13..<16))
        #expect(self.parse("$share/g//a") == .shared(group: 7..<8, filter: 9..<11))
        for filter in ["$share/", "$share/g", "$share/g/", "$share//a", "$share/g+/a", "$share/#/a", "$share/g/a#"] {
            #expect(self.parse(filter) == .invalid, "\(filter)")
        }
        #expect(self.parse("$share") == .plain)
        #expect(self.parse("$shared/a/b") == .plain)
    }

    @Test("matches() against a naive oracle over all short topics and filters")
    func matchingOracle() {
        let topics = Self.words(levels: ["", "a", "b", "$a"], upTo: 3).filter { !$0.isEmpty }
        let filters = Self.words(levels: ["", "a", "$a", "+", "#"], upTo: 3).filter { self.parse($0) == .plain }
        for filter in filters {
            for topic in topics {
                #expect(self.matches(filter, topic) == Self.oracle(filter, topic), "\(filter) \(topic)")
            }
        }
    }

    @Test("covers() against brute force: all topics over an alphabet with a name the filters do not use")
    func coveringOracle() {
        let topics = Self.words(levels: ["", "a", "other", "$a", "$other"], upTo: 4).filter { !$0.isEmpty }
        let filters = Self.words(levels: ["", "a", "$a", "+", "#"], upTo: 3).filter { self.parse($0) == .plain }
        let matched = filters.map { filter in Set(topics.indices.filter { Self.oracle(filter, topics[$0]) }) }
        for (general, generalMatched) in zip(filters, matched) {
            for (specific, specificMatched) in zip(filters, matched) {
                let expected = specificMatched.isSubset(of: generalMatched)
                if self.covers(general, specific) != expected {
                    Issue.record("\(general) covers \(specific) should be \(expected)")
                }
            }
        }
    }

    @Test("Matching and covering survive filters that break the rules")
    func malformedFilters() {
        var random = SeededRandom(seed: testSeed())
        let alphabet = Array("+#/a$".utf8)
        for _ in 0..<20_000 {
            let one = (0..<Int.random(in: 0...6, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? 0
            }
            let two = (0..<Int.random(in: 0...6, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? 0
            }
            one.withUnsafeBytes { one in
                two.withUnsafeBytes { two in
                    _ = TopicFilter.matches(filter: one, topic: two)
                    _ = TopicFilter.covers(one, two)
                    _ = TopicFilter.withoutShare(one)
                }
            }
        }
        #expect(!self.matches("#/a", "b/a"))
        #expect(!self.covers("#/a", "b/a"))
        #expect(!self.covers("", "a"))
    }

    /// All sequences of one to `count` levels.
    private static func words(levels: [String], upTo count: Int) -> [String] {
        var result: [String] = []
        var last = levels
        for length in 1...count {
            result += last
            if length < count { last = last.flatMap { word in levels.map { word + "/" + $0 } } }
        }
        return result
    }

    /// Section 4.7 word by word, on split levels.
    private static func oracle(_ filter: String, _ topic: String) -> Bool {
        if topic.hasPrefix("$"), filter.hasPrefix("+") || filter.hasPrefix("#") { return false }
        let names = topic.split(separator: "/", omittingEmptySubsequences: false)
        let patterns = filter.split(separator: "/", omittingEmptySubsequences: false)
        if patterns.last == "#" {
            let head = patterns.dropLast()
            return names.count >= head.count && zip(head, names).allSatisfy { $0 == "+" || $0 == $1 }
        }
        return names.count == patterns.count && zip(patterns, names).allSatisfy { $0 == "+" || $0 == $1 }
    }
}
