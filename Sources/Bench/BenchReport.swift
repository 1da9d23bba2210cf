import Common

/// What a run gave: named figures in order, and what was wrong.
package struct BenchReport: Sendable {
    package enum Value: Sendable, Equatable {
        case number(Double)
        case count(Int)
        case text(String)
    }

    package private(set) var lines: [(name: String, value: Value)] = []
    /// Sentences; empty: every message arrived as it should.
    package private(set) var problems: [String] = []

    package init() {}

    package var isGood: Bool { self.problems.isEmpty }

    mutating func add(_ name: String, _ value: Double) { self.lines.append((name, .number(value))) }
    mutating func add(_ name: String, _ value: Int) { self.lines.append((name, .count(value))) }
    mutating func add(_ name: String, _ value: String) { self.lines.append((name, .text(value))) }

    /// In microseconds.
    mutating func add(_ name: String, _ histogram: Histogram) {
        guard histogram.count > 0 else { return }
        for (suffix, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
            self.add("\(name)_\(suffix)_us", Double(histogram.quantile(share)) / 1000)
        }
        self.add("\(name)_max_us", Double(histogram.maximum) / 1000)
    }

    mutating func complain(_ problem: String) { self.problems.append(problem) }

    package var people: String {
        let width = self.lines.map(\.name.utf8.count).max() ?? 0
        let figures = self.lines.map { line in
            line.name + String(repeating: " ", count: width - line.name.utf8.count + 2) + Self.text(line.value)
        }
        return (figures + self.problems.map { "WRONG  \($0)" }).joined(separator: "\n")
    }

    /// One object on one line.
    package var json: String {
        var members = self.lines.map { line in
            if case .text(let text) = line.value { return "\"\(line.name)\":\(JSONText.quoted(text))" }
            return "\"\(line.name)\":\(Self.text(line.value))"
        }
        members.append("\"ok\":\(self.isGood)")
        members.append("\"problems\":[" + self.problems.map { JSONText.quoted($0) }.joined(separator: ",") + "]")
        return "{\(members.joined(separator: ","))}"
    }

    /// Three digits behind the point, without zeros at the end.
    private static func text(_ value: Value) -> String {
        switch value {
        case .text(let text): return text
        case .count(let count): return "\(count)"
        case .number(let number):
            guard number.isFinite, abs(number) < 1e15 else { return "0" }
            let thousandths = Int((number * 1000).rounded())
            let fraction = "\(abs(thousandths) % 1000 + 1000)".dropFirst()
            let text = "\(thousandths < 0 ? "-" : "")\(abs(thousandths) / 1000).\(fraction)"
            return text.hasSuffix("000") ? String(text.dropLast(4)) : text
        }
    }
}
