/// Cuts the output of a child into lines and puts its name in front of each. Bytes in, lines out.
package struct LinePrefixer {
    /// A longer line is cut into pieces of this size, so that a child cannot fill our memory.
    package static let lineBytesMax = 16 * 1024

    private let prefix: [UInt8]
    private var partial: [UInt8] = []
    /// The last line without its prefix: the reason when the child ends at start-up.
    package private(set) var lastLine = ""

    package init(name: String, width: Int) {
        let padding = String(repeating: " ", count: max(0, width - name.utf8.count))
        self.prefix = Array("\(name)\(padding) | ".utf8)
    }

    /// Complete lines with prefix and line feed; the rest waits.
    package mutating func lines(from bytes: some Sequence<UInt8>) -> [UInt8] {
        var output: [UInt8] = []
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                self.endLine(into: &output)
            } else {
                self.partial.append(byte)
                if self.partial.count >= Self.lineBytesMax { self.endLine(into: &output) }
            }
        }
        return output
    }

    /// What is left when the child has closed its output.
    package mutating func rest() -> [UInt8] {
        var output: [UInt8] = []
        if !self.partial.isEmpty { self.endLine(into: &output) }
        return output
    }

    private mutating func endLine(into output: inout [UInt8]) {
        if self.partial.last == UInt8(ascii: "\r") { self.partial.removeLast() }
        output += self.prefix + self.partial + [UInt8(ascii: "\n")]
        if !self.partial.isEmpty { self.lastLine = String(decoding: self.partial, as: UTF8.self) }
        self.partial.removeAll(keepingCapacity: true)
    }
}
