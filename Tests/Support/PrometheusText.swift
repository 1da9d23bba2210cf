/// A strict reader of Prometheus' text format, version 0.0.4, as far as we write it: every metric has one HELP, then one TYPE, then
/// its samples, and no sample is there twice.
package enum PrometheusText {
    package struct Sample: Equatable, Sendable {
        package var name: String
        package var labels: [String: String]
        package var value: String
    }

    package struct Family: Sendable {
        package var name: String
        package var help: String
        package var type = ""
        package var samples: [Sample] = []
    }

    package static func parse(_ text: String) throws -> [Family] {
        var families: [Family] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) where !line.isEmpty {
            func fail(_ reason: String) -> ProcessError { ProcessError(description: "\(reason): \(line)") }
            if line.hasPrefix("# HELP ") {
                let parts = line.dropFirst(7).split(separator: " ", maxSplits: 1)
                guard parts.count == 2 else { throw fail("no help") }
                guard !families.contains(where: { $0.name == parts[0] }) else { throw fail("a second HELP") }
                families.append(Family(name: String(parts[0]), help: String(parts[1])))
            } else if line.hasPrefix("# TYPE ") {
                let parts = line.dropFirst(7).split(separator: " ")
                guard parts.count == 2, let last = families.last, last.name == parts[0], last.type.isEmpty else {
                    throw fail("TYPE without its HELP")
                }
                guard ["counter", "gauge", "untyped"].contains(parts[1]) else { throw fail("an unknown type") }
                families[families.count - 1].type = String(parts[1])
            } else {
                guard let sample = Self.sample(line) else { throw fail("not a sample") }
                guard let last = families.last, last.name == sample.name, !last.type.isEmpty else {
                    throw fail("a sample without its TYPE")
                }
                guard !last.samples.contains(where: { $0.labels == sample.labels }) else {
                    throw fail("a second sample")
                }
                guard last.type != "counter" || last.name.hasSuffix("_total") else {
                    throw fail("a counter without _total")
                }
                families[families.count - 1].samples.append(sample)
            }
        }
        return families
    }

    private static func sample(_ line: Substring) -> Sample? {
        var rest = line
        guard let name = Self.name(&rest) else { return nil }
        var labels: [String: String] = [:]
        if rest.popFirst(if: "{") {
            while !rest.popFirst(if: "}") {
                guard let key = Self.name(&rest), rest.popFirst(if: "="), let value = Self.quoted(&rest),
                    labels.updateValue(value, forKey: key) == nil
                else { return nil }
                guard rest.popFirst(if: ",") || rest.first == "}" else { return nil }
            }
        }
        guard rest.popFirst(if: " "), !rest.isEmpty, Double(rest) != nil else { return nil }
        return Sample(name: name, labels: labels, value: String(rest))
    }

    private static func name(_ rest: inout Substring) -> String? {
        let name = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
        guard let first = name.first, !first.isNumber else { return nil }
        rest = rest.dropFirst(name.count)
        return String(name)
    }

    private static func quoted(_ rest: inout Substring) -> String? {
        guard rest.popFirst(if: "\"") else { return nil }
        var text = ""
        while let character = rest.popFirst() {
            switch character {
            case "\"": return text
            case "\\":
                switch rest.popFirst() {
                case "\\": text.append("\\")
                case "\"": text.append("\"")
                case "n": text.append("\n")
                default: return nil
                }
            default: text.append(character)
            }
        }
        return nil
    }
}

extension Substring {
    fileprivate mutating func popFirst(if character: Character) -> Bool {
        guard self.first == character else { return false }
        self.removeFirst()
        return true
    }
}
