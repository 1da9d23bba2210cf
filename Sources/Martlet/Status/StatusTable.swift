import Common

/// The answers of all roles as a table.
package enum StatusTable {
    /// Shown in columns of their own.
    private static let columns = ["process", "pid", "uptime_seconds"]

    package static func render(_ processes: [StatusClient.Process]) -> String {
        var rows = [["PROCESS", "STATE", "PID", "UPTIME", "DETAILS"]]
        for process in processes {
            switch process.answer {
            case .silent(let reason):
                rows.append([process.name, "down", "-", "-", Self.printable(reason)])
            case .report(let lines):
                func value(_ name: String) -> String? { lines.first { $0.name == name }?.value }
                let details = lines.filter { !Self.columns.contains($0.name) }.map { "\($0.name)=\($0.value)" }
                let uptime = value("uptime_seconds").flatMap { UInt64($0) }.map(Self.uptime)
                let row = [process.name, "up", value("pid") ?? "-", uptime ?? "-", details.joined(separator: " ")]
                rows.append(row.map(Self.printable))
            }
        }
        let widths = (0..<4).map { column in rows.map { $0[column].unicodeScalars.count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.enumerated().map { column, text in
                guard column < widths.count else { return text }
                return text + String(repeating: " ", count: widths[column] - text.unicodeScalars.count)
            }
            return String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n")
    }

    /// `3d4h`, `5h12m`, `42s`: the two largest units.
    static func uptime(_ seconds: UInt64) -> String {
        switch seconds {
        case 86_400...: return "\(seconds / 86_400)d\(seconds % 86_400 / 3600)h"
        case 3600...: return "\(seconds / 3600)h\(seconds % 3600 / 60)m"
        case 60...: return "\(seconds / 60)m\(seconds % 60)s"
        default: return "\(seconds)s"
        }
    }

    private static func printable(_ text: String) -> String {
        let scalars = text.unicodeScalars.map { $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) ? "?" : $0 }
        return String(String.UnicodeScalarView(scalars))
    }
}
