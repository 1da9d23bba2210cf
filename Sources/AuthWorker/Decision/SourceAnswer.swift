import Common

/// What one of several sources said about a query.
struct SourceAnswer: Equatable {
    /// Its place among the sources.
    var source: Int
    var verdict: AuthVerdict
    /// The look-up went by the client's certificate, which is proved, not by a name that the client wrote into CONNECT.
    var isByCertificate = false

    /// The answer that explains what was decided. A source that refused a row that it has says more than one that cannot say at the moment;
    /// both than one that does not know the client or was given no password to compare, where the one that went by the certificate says
    /// most; and all of them than one that could not be asked, because the client has nothing for one of its placeholders.
    static func explaining(_ answers: [SourceAnswer]) -> SourceAnswer? {
        var best: SourceAnswer?
        for answer in answers where best.map({ answer.says(moreThan: $0) }) ?? true { best = answer }
        return best
    }

    private func says(moreThan other: SourceAnswer) -> Bool {
        if self.weight != other.weight { return self.weight > other.weight }
        guard self.weight == Self.weightOfUnknownClient else {
            // Of those that decide, and of those that cannot say, the last one ended it; else the first one counts.
            return self.weight > Self.weightOfUnknownClient
        }
        if self.isByCertificate != other.isByCertificate { return self.isByCertificate }
        return self.verdict.reason == .passwordMissing && other.verdict.reason != .passwordMissing
    }

    private static let weightOfUnknownClient = 1

    private var weight: Int {
        switch (self.verdict.outcome, self.verdict.reason) {
        case (.allow, _): 4
        case (.unknown, _): 2
        case (.deny, .fieldMissing): 0
        case (.deny, .noSuchDevice), (.deny, .passwordMissing): Self.weightOfUnknownClient
        case (.deny, _): 3
        }
    }

    // MARK: In the log

    private static let detailBytesMax = 120
    private static let accountBytesMax = 1024

    /// `devices: password-missing; applications: field-missing, the look-up needs a user name`: what all of them said, for a log line.
    static func account(_ answers: [SourceAnswer], names: [String]) -> [UInt8] {
        let parts = answers.map { answer in
            var text = "\(names[answer.source]): \(answer.verdict.reason)"
            let detail = answer.verdict.detail
            if !detail.isEmpty { text += ", " + Self.bounded(detail, Self.detailBytesMax) }
            return text
        }
        return Array(Self.bounded(Array(parts.joined(separator: "; ").utf8), Self.accountBytesMax).utf8)
    }

    private static func bounded(_ text: [UInt8], _ bytesMax: Int) -> String {
        guard text.count > bytesMax else { return String(decoding: text, as: UTF8.self) }
        // Not in the middle of a character.
        var end = bytesMax
        while end > 0, text[end] & 0xC0 == 0x80 { end -= 1 }
        return String(decoding: text[..<end], as: UTF8.self) + "…"
    }
}
