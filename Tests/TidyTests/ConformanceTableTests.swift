import Testing

/// docs/conformance.md against the lists of the standards and against the sources.
@Suite struct ConformanceTableTests {
    private struct Row {
        var identifier: String
        var asks: String
        var place: String
        var tests: String
    }

    /// Appendix B of MQTT 5.0 and of 3.1.1: sections, and the statements' numbers within them.
    private static let five: [(String, ClosedRange<Int>)] = [
        ("1.5.4", 1...3), ("1.5.5", 1...1), ("1.5.7", 1...1), ("2.1.3", 1...1), ("2.2.1", 2...6), ("2.2.2", 1...1),
        ("3.1.0", 1...2), ("3.1.2", 1...30), ("3.1.3", 1...12), ("3.1.4", 1...6), ("3.2.0", 1...2), ("3.2.2", 1...22),
        ("3.3.1", 1...13), ("3.3.2", 1...20), ("3.3.4", 1...10), ("3.4.2", 1...3), ("3.5.2", 1...3), ("3.6.1", 1...1),
        ("3.6.2", 1...3), ("3.7.2", 1...3), ("3.8.1", 1...1), ("3.8.3", 1...5), ("3.8.4", 1...8), ("3.9.2", 1...2),
        ("3.9.3", 1...2), ("3.10.1", 1...1), ("3.10.3", 1...2), ("3.10.4", 1...6), ("3.11.2", 1...2), ("3.11.3", 1...2),
        ("3.12.4", 1...1), ("3.14.0", 1...1), ("3.14.1", 1...1), ("3.14.2", 1...4), ("3.14.4", 1...3),
        ("3.15.1", 1...1),
        ("3.15.2", 1...3), ("4.1.0", 1...2), ("4.2.0", 1...1), ("4.3.1", 1...1), ("4.3.2", 1...5), ("4.3.3", 1...13),
        ("4.4.0", 1...2), ("4.5.0", 1...2), ("4.6.0", 1...6), ("4.7.0", 1...1), ("4.7.1", 1...2), ("4.7.2", 1...1),
        ("4.7.3", 1...4), ("4.8.2", 1...6), ("4.9.0", 1...3), ("4.12.0", 1...7), ("4.12.1", 1...2), ("4.13.1", 1...1),
        ("4.13.2", 1...1), ("6.0.0", 1...4),
    ]

    private static let three: [(String, ClosedRange<Int>)] = [
        ("1.5.3", 1...3), ("2.2.2", 1...2), ("2.3.1", 1...7), ("3.1.0", 1...2), ("3.1.2", 1...24), ("3.1.3", 1...11),
        ("3.1.4", 1...5), ("3.2.0", 1...1), ("3.2.2", 1...6), ("3.3.1", 1...12), ("3.3.2", 1...3), ("3.3.4", 1...1),
        ("3.3.5", 1...2), ("3.6.1", 1...1), ("3.8.1", 1...1), ("3.8.3", 1...4), ("3.8.4", 1...6), ("3.9.3", 1...2),
        ("3.10.1", 1...1), ("3.10.3", 1...2), ("3.10.4", 1...6), ("3.12.4", 1...1), ("3.14.1", 1...1),
        ("3.14.4", 1...3),
        ("4.1.0", 1...2), ("4.3.1", 1...1), ("4.3.2", 1...2), ("4.3.3", 1...2), ("4.4.0", 1...1), ("4.5.0", 1...2),
        ("4.6.0", 1...6), ("4.7.1", 1...3), ("4.7.2", 1...1), ("4.7.3", 1...4), ("4.8.0", 1...2), ("6.0.0", 1...4),
        ("7.0.0", 1...2), ("7.1.1", 1...1), ("7.1.2", 1...1),
    ]

    private static func identifiers(_ list: [(String, ClosedRange<Int>)]) -> [String] {
        list.flatMap { section, numbers in numbers.map { "MQTT-\(section)-\($0)" } }
    }

    private static func document() throws -> String {
        try #require(SourceTree.file("docs/conformance.md")).text
    }

    /// The rows of the table under a heading.
    private static func rows(_ heading: String, _ document: String) -> [Row] {
        var rows: [Row] = []
        var isInside = false
        for line in document.split(separator: "\n") {
            if line.hasPrefix("## ") { isInside = line == "## \(heading)" }
            guard isInside, line.hasPrefix("| MQTT-") else { continue }
            let cells = line.split(separator: "|").map { String($0.drop { $0 == " " }.trimmed) }
            guard cells.count == 4 else {
                Issue.record("not four cells: \(line)")
                continue
            }
            rows.append(Row(identifier: cells[0], asks: cells[1], place: cells[2], tests: cells[3]))
        }
        return rows
    }

    private static func quoted(_ cell: String) -> [Substring] {
        cell.split(separator: "`", omittingEmptySubsequences: false).enumerated().filter { $0.offset % 2 == 1 }.map(
            \.element
        )
    }

    @Test func everyStatementOfBothStandardsHasARow() throws {
        let document = try Self.document()
        #expect(Self.rows("MQTT 5.0", document).map(\.identifier) == Self.identifiers(Self.five))
        #expect(Self.rows("MQTT 3.1.1", document).map(\.identifier) == Self.identifiers(Self.three))
    }

    @Test func everyStatementIsPutInWordsEnforcedAndShown() throws {
        let document = try Self.document()
        for row in Self.rows("MQTT 5.0", document) + Self.rows("MQTT 3.1.1", document) {
            #expect(!row.asks.isEmpty, "\(row.identifier)")
            let isOurs =
                !row.place.hasPrefix("client") && row.place != "not offered"
                && row.place != "the broker connects to no other"
            #expect(!isOurs || !Self.quoted(row.tests).isEmpty, "\(row.identifier) is not shown by any test")
            #expect(!isOurs || row.place == "there is none" || !Self.quoted(row.place).isEmpty, "\(row.identifier)")
        }
    }

    @Test func everyNamedTestExists() throws {
        let tests = SourceTree.swiftFiles.filter { $0.path.hasPrefix("Tests/") }
        let existing = Set(tests.flatMap { Declarations(of: $0.text).members })
        let document = try Self.document()
        let rows = Self.rows("MQTT 5.0", document) + Self.rows("MQTT 3.1.1", document)
        for name in Set(rows.flatMap { Self.quoted($0.tests) }) {
            #expect(existing.contains(String(name)), "no test is named \(name)")
        }
    }

    @Test func everyNamedPlaceExists() throws {
        let files = SourceTree.sources.map { Declarations(of: $0.text) }
        let document = try Self.document()
        let rows = Self.rows("MQTT 5.0", document) + Self.rows("MQTT 3.1.1", document)
        for place in Set(rows.flatMap { Self.quoted($0.place) }) {
            let parts = place.split(separator: ".").map(String.init)
            let ofType = files.filter { $0.types.contains(parts[0]) }
            #expect(!ofType.isEmpty, "no type \(parts[0])")
            guard parts.count == 2 else { continue }
            #expect(ofType.contains { $0.members.contains(parts[1]) }, "no \(place)")
        }
    }
}

/// The names that a file declares.
private struct Declarations {
    /// Also of extensions.
    var types: Set<String> = []
    /// Functions and variables.
    var members: Set<String> = []

    init(of text: String) {
        for line in text.utf8.split(separator: UInt8(ascii: "\n")) {
            // `func `a name of words``
            let quoted = line.split(separator: UInt8(ascii: "`"), omittingEmptySubsequences: false)
            if quoted.count >= 3, String(quoted[0])?.hasSuffix("func ") == true, let name = String(quoted[1]) {
                self.members.insert(name)
                continue
            }
            var former: Substring.UTF8View?
            for word in line.split(separator: UInt8(ascii: " ")) {
                if let former { self.note(String(former) ?? "", word) }
                former = word
            }
        }
    }

    private mutating func note(_ keyword: String, _ word: Substring.UTF8View) {
        let name = word.prefix { byte in
            byte == UInt8(ascii: "_") || (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
                || (0x61...0x7A).contains(byte)
        }
        switch keyword {
        case "struct", "class", "enum", "extension": self.types.insert(String(name) ?? "")
        case "func", "var": self.members.insert(String(name) ?? "")
        default: break
        }
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var result = self
        while result.last == " " { result.removeLast() }
        return result
    }
}
