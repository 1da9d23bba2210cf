import Common

/// The answers of all roles as a table, with what each says of itself below its row.
package enum StatusTable {
    /// Shown in columns of their own.
    private static let columns = ["process", "pid", "uptime_seconds"]
    private static let detailsWidth = 100

    /// - Parameter showsZeros: also shows counters that are 0.
    package static func render(_ processes: [StatusClient.Process], showsZeros: Bool = false) -> String {
        var rows = [["PROCESS", "STATE", "PID", "UPTIME"]]
        var details: [[String]] = [[]]
        for process in processes {
            switch process.answer {
            case .silent(let reason):
                rows.append([process.name, "down", "-", "-"])
                details.append([ReadableText.escaped(reason)])
            case .report(let lines):
                func value(_ name: String) -> String? { lines.first { $0.name == name }?.value }
                let uptime = value("uptime_seconds").flatMap { UInt64($0) }.map(Self.uptime)
                rows.append([process.name, "up", value("pid") ?? "-", uptime ?? "-"].map { ReadableText.escaped($0) })
                let shown = lines.filter { !Self.columns.contains($0.name) && (showsZeros || $0.value != "0") }
                details.append(Self.wrap(shown.map { ReadableText.escaped("\($0.name)=\($0.value)") }))
            }
        }
        let widths = (0..<4).map { column in rows.map { $0[column].unicodeScalars.count }.max() ?? 0 }
        var text: [String] = []
        for (row, lines) in zip(rows, details) {
            let cells = zip(row, widths).map { cell, width in
                cell + String(repeating: " ", count: width - cell.unicodeScalars.count)
            }
            text.append(String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed()))
            text += lines.map { "    \($0)" }
        }
        return text.joined(separator: "\n")
    }

    /// Joins words to lines of at most `detailsWidth`.
    private static func wrap(_ words: [String]) -> [String] {
        var lines: [String] = []
        for word in words {
            if let last = lines.last, last.unicodeScalars.count + 1 + word.unicodeScalars.count <= Self.detailsWidth {
                lines[lines.count - 1] = "\(last) \(word)"
            } else {
                lines.append(word)
            }
        }
        return lines
    }

    /// `3d4h`, `5h12m`, `1m20s`, `42s`: the two largest units.
    static func uptime(_ seconds: UInt64) -> String {
        switch seconds {
        case 86_400...: return "\(seconds / 86_400)d\(seconds % 86_400 / 3600)h"
        case 3600...: return "\(seconds / 3600)h\(seconds % 3600 / 60)m"
        case 60...: return "\(seconds / 60)m\(seconds % 60)s"
        default: return "\(seconds)s"
        }
    }

}
