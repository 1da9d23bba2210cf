/// What a role answers to a question with several results: blocks of lines `name: value`, blocks apart by an empty line.
package struct Report: Equatable, Sendable {
    package struct Line: Equatable, Sendable {
        package var name: String
        package var value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    package typealias Block = [Line]

    package var blocks: [Block] = []

    package init(_ blocks: [Block] = []) {
        self.blocks = blocks
    }

    package var text: String {
        self.blocks.map { block in
            block.map { line in
                // A line is a line, whatever a client's name holds.
                let value = String(
                    decoding: line.value.utf8.map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: " ") : $0 },
                    as: UTF8.self
                )
                return "\(line.name): \(value)\n"
            }.joined()
        }.joined(separator: "\n")
    }

    package init(text: String) {
        for part in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if part.isEmpty {
                if self.blocks.last?.isEmpty == false { self.blocks.append([]) }
                continue
            }
            if self.blocks.isEmpty { self.blocks.append([]) }
            let colon = part.firstIndex(of: ":") ?? part.endIndex
            let value = part[colon...].dropFirst().drop { $0 == " " }
            self.blocks[self.blocks.count - 1].append(Line(name: String(part[..<colon]), value: String(value)))
        }
        self.blocks.removeAll { $0.isEmpty }
    }
}

extension [Report.Line] {
    package mutating func add(_ name: String, _ value: some CustomStringConvertible) {
        self.append(Report.Line(name: name, value: value.description))
    }

    /// Leaves out what is empty.
    package mutating func add(_ name: String, bytes: [UInt8]?) {
        guard let bytes, !bytes.isEmpty else { return }
        self.add(name, String(decoding: bytes, as: UTF8.self))
    }

    package func value(_ name: String) -> String? { self.first { $0.name == name }?.value }
}
