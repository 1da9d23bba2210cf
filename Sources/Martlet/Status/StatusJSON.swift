import Common

/// The answers of all roles as one JSON object; docs/troubleshooting.md names its members.
enum StatusJSON {
    static func render(_ processes: [StatusClient.Process], sources: [String]) -> String {
        let areUp = processes.allSatisfy(\.isUp)
        return "{\"ok\":\(areUp),\"processes\":[" + processes.map { Self.process($0, sources) }.joined(separator: ",")
            + "]}"
    }

    private static func process(_ process: StatusClient.Process, _ sources: [String]) -> String {
        var members = [
            Self.member("process", JSONText.quoted(process.name)),
            Self.member("role", JSONText.quoted(process.role)),
            Self.member("up", "\(process.isUp)"),
        ]
        switch process.answer {
        case .silent(let reason):
            members.append(Self.member("reason", JSONText.quoted(reason)))
        case .report(let lines):
            let status = StatusFigures(lines, sources: sources)
            if let pid = status.processIdentifier { members.append(Self.member("pid", pid)) }
            if let uptime = status.uptimeSeconds { members.append(Self.member("uptime_seconds", uptime)) }
            members += Self.contents(of: status, source: "")
            let named = sources.filter { !$0.isEmpty }
            if process.role == "authworker", !named.isEmpty {
                let parts = named.map {
                    Self.member($0, "{\(Self.contents(of: status, source: $0).joined(separator: ","))}")
                }
                members.append(Self.member("sources", "{\(parts.joined(separator: ","))}"))
            }
        }
        return "{\(members.joined(separator: ","))}"
    }

    private static func contents(of status: StatusFigures, source: String) -> [String] {
        let alarms = status.alarms.filter { $0.source == source }.map { JSONText.quoted($0.value) }
        let values = Self.values(status.figures.filter { $0.source == source })
        return [Self.member("alarms", "[\(alarms.joined(separator: ","))]"), Self.member("values", values)]
    }

    /// Numbers as numbers; those that have a label as an object by its value.
    private static func values(_ figures: [StatusFigures.Figure]) -> String {
        var names: [String] = []
        var plain: [String: String] = [:]
        var labelled: [String: [String]] = [:]
        for figure in figures {
            if plain[figure.name] == nil, labelled[figure.name] == nil { names.append(figure.name) }
            let value = figure.isNumber ? figure.value : JSONText.quoted(figure.value)
            if let label = figure.label {
                labelled[figure.name, default: []].append(Self.member(label.value, value))
            } else {
                plain[figure.name] = value
            }
        }
        let members = names.map { name in
            Self.member(name, labelled[name].map { "{\($0.joined(separator: ","))}" } ?? plain[name] ?? "null")
        }
        return "{\(members.joined(separator: ","))}"
    }

    private static func member(_ name: String, _ value: String) -> String { "\(JSONText.quoted(name)):\(value)" }
}
