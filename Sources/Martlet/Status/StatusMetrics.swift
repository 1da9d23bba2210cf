import Common

/// The answers of all roles in Prometheus' text format, version 0.0.4: `martlet_`, the role, and the name that the status has; with
/// `_total` behind counters.
enum StatusMetrics {
    /// A line of the format, without its name.
    private struct Sample {
        var labels: [(key: String, value: String)]
        var value: String

        var text: String {
            let labels = self.labels.map { "\($0.key)=\"\(StatusMetrics.escaped($0.value))\"" }
            return "{\(labels.joined(separator: ","))} \(self.value)"
        }
    }

    /// All samples of a metric stand together, whatever process they are of.
    private struct Family {
        var name: String
        var metric: StatusMetric
        var samples: [Sample] = []
    }

    /// Lines without the last one's end.
    static func render(_ processes: [StatusClient.Process], sources: [String]) -> String {
        var families: [Family] = []
        var places: [String: Int] = [:]
        func add(_ name: String, _ metric: StatusMetric, _ sample: Sample) {
            let place = places[name] ?? families.count
            if place == families.count {
                places[name] = place
                families.append(Family(name: name, metric: metric))
            }
            families[place].samples.append(sample)
        }
        for process in processes {
            let own = [(key: "process", value: process.name)]
            add(
                "martlet_up",
                StatusMetric(.gauge, "1: the process answers."),
                Sample(labels: own, value: process.isUp ? "1" : "0")
            )
            guard case .report(let lines) = process.answer else { continue }
            let status = StatusFigures(lines, sources: sources)
            if let uptime = status.uptimeSeconds {
                let metric = StatusMetric(.gauge, "Seconds since the process began.")
                add("martlet_uptime_seconds", metric, Sample(labels: own, value: uptime))
            }
            let alarms = StatusMetric(.gauge, "Alarms in force; martlet status tells which.")
            add("martlet_alarms", alarms, Sample(labels: own, value: "\(status.alarms.count)"))
            for figure in status.figures {
                guard let (name, metric, label, value) = Self.metric(figure, role: process.role) else { continue }
                let source = figure.source.isEmpty ? [] : [(key: "source", value: figure.source)]
                let sample = Sample(labels: own + source + (label.map { [$0] } ?? []), value: value)
                add("martlet_\(process.role)_\(name)", metric, sample)
            }
        }
        return families.map { family in
            let (name, metric) = (family.name, family.metric)
            let head = "# HELP \(name) \(Self.escapedHelp(metric.help))\n# TYPE \(name) \(metric.kind.rawValue)\n"
            return head + family.samples.map { name + $0.text }.joined(separator: "\n")
        }.joined(separator: "\n")
    }

    /// Nil: a text, of which a number cannot be made.
    private static func metric(
        _ figure: StatusFigures.Figure,
        role: String
    ) -> (
        name: String, metric: StatusMetric, label: (key: String, value: String)?, value: String
    )? {
        let label = figure.label
        var (name, value) = (figure.name, figure.value)
        if let word = StatusMetric.words[name], !figure.isNumber {
            name += "_up"
            value = value == word || value.hasPrefix("\(word),") ? "1" : "0"
        } else if !figure.isNumber {
            return nil
        }
        // What a later release counts is shown too.
        let metric = StatusMetric.all[role]?[name] ?? StatusMetric(.untyped, "As in martlet status.")
        guard name.utf8.allSatisfy(Self.isNameByte), label?.key.utf8.allSatisfy(Self.isNameByte) ?? true else {
            return nil
        }
        if metric.kind == .counter, !name.hasSuffix("_total") { name += "_total" }
        return (name, metric, label, value)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }

    private static func escapedHelp(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
    }
}
