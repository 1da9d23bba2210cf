import Common

/// Blocks of a report, for people and for programs.
enum ReportText {
    static func people(_ lines: Report.Block) -> String {
        let block = AskedSources.withSentences(lines)
        let width = block.map(\.name.count).max() ?? 0
        return block.map { line in
            let space = String(repeating: " ", count: width - line.name.count + 2)
            return line.name + space + ReadableText.escaped(line.value)
        }.joined(separator: "\n")
    }

    /// A list of objects; a name that is there several times has a list of values, and `asked` is a list of objects.
    static func json(_ blocks: [Report.Block]) -> String {
        "[" + blocks.map { Self.object($0) }.joined(separator: ",") + "]"
    }

    private static func object(_ block: Report.Block) -> String {
        var names: [String] = []
        for line in block where !names.contains(line.name) && !AskedSources.isPart(line) { names.append(line.name) }
        let members = names.map { name in
            let values = block.filter { $0.name == name }.map { Self.value($0) }
            return "\(JSONText.quoted(name)):" + (values.count == 1 ? values[0] : "[\(values.joined(separator: ","))]")
        }
        let asked = AskedSources.blocks(of: block)
        let list = asked.isEmpty ? [] : ["\(JSONText.quoted(AskedSources.name)):\(Self.json(asked))"]
        return "{\((members + list).joined(separator: ","))}"
    }

    /// What is counted or measured; all else may look like a number and be a name.
    private static let numbers: Set = [
        "took_us", "rows_in_memory", "absent_keys_in_memory", "rows_on_disk", "absent_rows_on_disk",
        "rows_named_as_changed", "oldest_row_seconds", "newest_row_seconds",
    ]
    private static let flags: Set = ["in_force"]

    private static func value(_ line: Report.Line) -> String {
        let isNumber = Self.numbers.contains(line.name) && Int64(line.value) != nil
        let isFlag = Self.flags.contains(line.name) && ["true", "false"].contains(line.value)
        return isNumber || isFlag ? line.value : JSONText.quoted(line.value)
    }
}
