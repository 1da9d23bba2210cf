import Common
import TLS

/// Redis keys of some of the rows that were known when Redis lost rows: while denial is suspended they are asked for, by all workers of
/// the host and those that start meanwhile. One line for each, in hexadecimal digits, after one that says which suspension it is.
package struct LostRows: Equatable, Sendable {
    /// When denial was suspended, milliseconds since 1970.
    package let suspendedSince: Int64
    package let keys: [[UInt8]]
    /// There were no more.
    package let isWhole: Bool

    package init(suspendedSince: Int64, keys: [[UInt8]], isWhole: Bool) {
        self.suspendedSince = suspendedSince
        self.keys = keys
        self.isWhole = isWhole
    }

    /// Longer keys are left out: a file of some megabytes at most.
    private static let keyBytesMax = 1024
    static let textBytesMax = 4 << 20

    /// Nil: it is none.
    init?(text: [UInt8]) {
        let lines = text.split(separator: UInt8(ascii: "\n"))
        let words = String(decoding: lines.first ?? [], as: UTF8.self).split(separator: " ")
        guard words.count == 2, let since = Int64(words[0]), let count = Int(words[1]) else { return nil }
        let keys = lines.dropFirst().compactMap { Hex.decode(Array($0)) }
        guard !keys.isEmpty, keys.count + 1 == lines.count else { return nil }
        self.init(suspendedSince: since, keys: keys, isWhole: count == keys.count)
    }

    var text: [UInt8] {
        let keys = self.keys.filter { $0.count <= Self.keyBytesMax }
        // Of a sample a part is one, too.
        var text = Array("\(self.suspendedSince) \(self.isWhole ? keys.count : 0)\n".utf8)
        for key in keys { text += Hex.encode(key) + [UInt8(ascii: "\n")] }
        return text
    }
}
