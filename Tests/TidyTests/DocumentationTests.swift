import Testing

@Suite struct DocumentationTests {
    /// What stands between backticks.
    private func quoted(_ text: String) -> [String] {
        let parts = text.split(separator: "`", omittingEmptySubsequences: false)
        return parts.enumerated().filter { $0.offset % 2 == 1 }.map { String($0.element) }
    }

    /// `Type` or `Type.member`, with or without parentheses behind it.
    private func symbol(_ text: String) -> [String]? {
        guard let head = text.split(separator: "(").first else { return nil }
        let names = head.split(separator: ".", omittingEmptySubsequences: false)
        let isSymbol =
            names.count <= 2 && (names[0].first?.isUppercase ?? false)
            && names.allSatisfy { !$0.isEmpty && $0.allSatisfy { $0.isLetter || $0.isNumber } }
        return isSymbol ? names.map(String.init) : nil
    }

    @Test("Types and functions that docs/architecture.md names exist")
    func architecture() {
        guard let document = SourceTree.file("docs/architecture.md") else { return }
        let modules = Set(SourceTree.sources.map { $0.path.split(separator: "/")[1] })
        var found = 0
        for name in self.quoted(document.text) {
            guard let symbol = self.symbol(name) else { continue }
            if symbol.count == 1, modules.contains(Substring(symbol[0])) { continue }
            found += 1
            // A type's members stand in files that name the type.
            let isThere = SourceTree.sources.contains { file in
                symbol.allSatisfy { !SwiftText.lines(of: $0, in: file.code).isEmpty }
            }
            if !isThere { Issue.record("docs/architecture.md names \(name), which is not in Sources") }
        }
        #expect(found > 0)
    }

    @Test("Files and folders that the documentation names exist")
    func paths() {
        let all = SourceTree.files.map(\.path)
        for document in SourceTree.files where document.path.hasSuffix(".md") {
            for name in self.quoted(document.text) {
                let isPath = ["Sources/", "Tests/", "docs/", "deploy/", "scripts/"].contains { name.hasPrefix($0) }
                guard isPath, !name.contains(where: { "*{ <…".contains($0) }) else { continue }
                let path = name.hasSuffix("/") ? String(name.dropLast()) : name
                if !all.contains(where: { $0 == path || $0.hasPrefix(path + "/") }) {
                    Issue.record("\(document.path) names \(name), which is not there")
                }
            }
        }
    }

    @Test("Every decision record has its parts, and a number of its own")
    func decisions() {
        let records = SourceTree.files.filter { $0.path.hasPrefix("docs/adr/0") }
        let numbers = records.map { $0.path.split(separator: "/")[2].prefix(4) }
        #expect(Set(numbers).count == numbers.count)
        for record in records {
            for heading in ["## Context", "## Decision", "## Consequences"] where !record.text.contains(heading) {
                Issue.record("\(record.path) has no \(heading)")
            }
        }
    }
}
