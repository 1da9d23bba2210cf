/// Texts for messages.
enum ConfigurationText {
    /// A text from the file as messages show it: no hidden characters, not longer than a line bears.
    static func shown(_ text: String) -> String {
        var result = ""
        var count = 0
        for scalar in text.unicodeScalars {
            if count == 80 { return result + "…" }
            result.unicodeScalars.append(ReadableText.isHidden(scalar) ? "?" : scalar)
            count += 1
        }
        return result
    }

    /// `section.key`; the key alone at the top level.
    static func path(_ section: String, _ key: String) -> String {
        section.isEmpty ? key : "\(section).\(key)"
    }

    /// `a, b or c`.
    static func alternatives(_ words: [String]) -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " or " + last
    }

    /// `"x" is not one of …`, with the word that was probably meant.
    static func notOneOf(_ text: String, _ words: [String]) -> String {
        let hint = Self.nearest(to: text, among: words).map { "; did you mean \($0)?" } ?? ""
        return "\"\(Self.shown(text))\" is not \(Self.alternatives(words))\(hint)"
    }

    /// The candidate that somebody who wrote `word` most likely meant; nil when none is near.
    static func nearest(to word: String, among candidates: [String]) -> String? {
        let wanted = Array(word.utf8.prefix(64)).map(Self.lowerCase)
        let bound = max(1, wanted.count / 3)
        var best: (distance: Int, candidate: String)?
        for candidate in candidates {
            let distance = Self.distance(wanted, Array(candidate.utf8).map(Self.lowerCase))
            if distance <= bound, distance < best?.distance ?? Int.max { best = (distance, candidate) }
        }
        return best?.candidate
    }

    private static func lowerCase(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): return byte | 0x20
        case UInt8(ascii: "-"): return UInt8(ascii: "_")
        default: return byte
        }
    }

    /// Insertions, deletions, replacements and swaps of neighbours that turn one into the other.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var beforePrevious: [Int] = []
        var previous = Array(0...right.count)
        for row in left.indices {
            var current = [row + 1]
            for column in right.indices {
                var cost = min(current[column], previous[column + 1]) + 1
                cost = min(cost, previous[column] + (left[row] == right[column] ? 0 : 1))
                if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                    cost = min(cost, beforePrevious[column - 1] + 1)
                }
                current.append(cost)
            }
            beforePrevious = previous
            previous = current
        }
        return previous[right.count]
    }
}
