import Common

/// What an auth worker tells of each source that it asked, in their order: lines `asked.1.source`, `asked.1.verdict`, …, `asked.2.source`.
enum AskedSources {
    static let name = "asked"
    private static let prefix = "asked."

    static func isPart(_ line: Report.Line) -> Bool { line.name.hasPrefix(Self.prefix) }

    /// A block for each source, its lines without what is in front of their names.
    static func blocks(of block: Report.Block) -> [Report.Block] {
        var (blocks, last): ([Report.Block], Substring?) = ([], nil)
        for line in block where Self.isPart(line) {
            let parts = line.name.split(separator: ".", maxSplits: 2)
            guard parts.count == 3 else { continue }
            if last != parts[1] { blocks.append([]) }
            last = parts[1]
            blocks[blocks.count - 1].append(Report.Line(name: String(parts[2]), value: line.value))
        }
        return blocks
    }

    /// For people: a line for each source instead, where the first line about one was.
    static func withSentences(_ block: Report.Block) -> Report.Block {
        guard let place = block.firstIndex(where: Self.isPart) else { return block }
        let sentences = Self.blocks(of: block).map { asked in
            // Of the source that explains the decision all the rest is there already.
            let isShown = asked.value("source") == block.value("source")
            return Report.Line(name: Self.name, value: Self.sentence(asked, isShort: isShown))
        }
        return block[..<place] + sentences + block[place...].filter { !Self.isPart($0) }
    }

    private static func sentence(_ asked: Report.Block, isShort: Bool) -> String {
        let head = ["verdict", "reason", "detail"].compactMap { asked.value($0) }.joined(separator: ", ")
        let answer = "\(asked.value("source") ?? ""): \(head)"
        guard !isShort else { return answer }
        let state = ["file", "key", "in_memory", "on_disk"].flatMap { name in
            asked.filter { $0.name == name }.map { "\(name): \($0.value)" }
        }
        return ([answer] + asked.filter { $0.name == "command" }.map(\.value) + state).joined(separator: "; ")
    }
}
