/// Which broker's file it is said to be.
enum ImportedDialect: String {
    case emqx4
    case emqx5

    var title: String { self == .emqx4 ? "EMQX 4" : "EMQX 5 or 6" }

    /// The other command, where the text looks like a file of its; nil: it does not.
    func advice(for text: String, file: String) -> String? {
        let other = self == .emqx4 ? Self.emqx5 : .emqx4
        guard other.isLikely(text) else { return nil }
        return "it looks like a file of \(other.title): martlet import \(other.rawValue) \(file)"
    }

    private func isLikely(_ text: String) -> Bool {
        let words =
            self == .emqx4
            ? ["auth.redis.", "listener.", "allow_anonymous", "acl_nomatch"]
            : ["authentication", "authorization", "listeners", "{"]
        return ImportedText.lines(text).contains { line in
            let content = ImportedText.trimmed(line)
            return words.contains { content.hasPrefix($0) || content.hasPrefix("\"\($0)\"") }
        }
    }
}
