import Common

/// What a process said of itself, taken apart for programs: whose it is, and which label its name carries.
struct StatusFigures {
    struct Figure: Equatable {
        /// The name of the auth worker's source; empty: of the process, or of its only source.
        var source: String
        var name: String
        /// What stands in braces behind the name, such as `reason="banned"`.
        var label: (key: String, value: String)?
        var value: String

        static func == (one: Figure, other: Figure) -> Bool {
            one.source == other.source && one.name == other.name && one.value == other.value
                && one.label?.key == other.label?.key && one.label?.value == other.label?.value
        }

        /// A whole number of JSON and of Prometheus.
        var isNumber: Bool {
            let digits = self.value.hasPrefix("-") ? self.value.dropFirst() : self.value[...]
            guard (1...20).contains(digits.utf8.count), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
                return false
            }
            return digits.utf8.first != UInt8(ascii: "0") || digits.utf8.count == 1
        }
    }

    private static let alarmName = "alarm"
    private static let ownNames = ["process", "pid", "uptime_seconds"]

    private(set) var processIdentifier: String?
    private(set) var uptimeSeconds: String?
    private(set) var alarms: [Figure] = []
    /// All others, in their order.
    private(set) var figures: [Figure] = []

    /// - Parameter sources: the names of the configuration's sources.
    init(_ lines: [StatusReport.Line], sources: [String]) {
        let longestFirst = sources.filter { !$0.isEmpty }.sorted { $0.utf8.count > $1.utf8.count }
        for line in lines {
            let figure = Self.figure(line, longestFirst)
            switch (figure.source, figure.name) {
            case ("", "pid") where figure.isNumber: self.processIdentifier = figure.value
            case ("", "uptime_seconds") where figure.isNumber: self.uptimeSeconds = figure.value
            case (_, Self.alarmName): self.alarms.append(figure)
            case ("", let name) where Self.ownNames.contains(name): break
            default: self.figures.append(figure)
            }
        }
    }

    private static func figure(_ line: StatusReport.Line, _ sources: [String]) -> Figure {
        let source = sources.first { line.name.hasPrefix(StatusReport.name($0 + ".")) } ?? ""
        let name = source.isEmpty ? line.name[...] : line.name.dropFirst(source.count + 1)
        guard let open = name.firstIndex(of: "{"), name.hasSuffix("\"}"),
            let equals = name[open...].firstIndex(of: "="), name[equals...].hasPrefix("=\"")
        else { return Figure(source: source, name: String(name), value: line.value) }
        let key = name[open..<equals].dropFirst()
        let value = name[equals...].dropFirst(2).dropLast(2)
        return Figure(
            source: source,
            name: String(name[..<open]),
            label: (String(key), String(value)),
            value: line.value
        )
    }
}

extension StatusClient.Process {
    /// `listener` of `listener-2`.
    var role: String { String(self.name.prefix { $0 != "-" }) }
}
