import Common

/// Blocks of a report, for people and for programs.
enum ReportText {
    static func people(_ block: Report.Block) -> String {
        let width = block.map(\.name.count).max() ?? 0
        return block.map { line in
            let space = String(repeating: " ", count: width - line.name.count + 2)
            return line.name + space + ReadableText.escaped(line.value)
        }.joined(separator: "\n")
    }

    /// A list of objects; a name that is there several times has a list of values.
    static func json(_ blocks: [Report.Block]) -> String {
        "[" + blocks.map { Self.object($0) }.joined(separator: ",") + "]"
    }

    private static func object(_ block: Report.Block) -> String {
        var names: [String] = []
        for line in block where !names.contains(line.name) { names.append(line.name) }
        let members = names.map { name in
            let values = block.filter { $0.name == name }.map { Self.quoted($0.value) }
            return "\(Self.quoted(name)):" + (values.count == 1 ? values[0] : "[\(values.joined(separator: ","))]")
        }
        return "{\(members.joined(separator: ","))}"
    }

    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
