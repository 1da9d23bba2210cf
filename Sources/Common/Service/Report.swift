/// What a role answers to a question with several results: blocks of lines `name: value`, blocks apart by an empty line.
public struct Report: Equatable, Sendable {
    public struct Line: Equatable, Sendable {
        public var name: String
        public var value: String

        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    public typealias Block = [Line]

    public var blocks: [Block] = []

    public init(_ blocks: [Block] = []) {
        self.blocks = blocks
    }

    public var text: String {
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

    public init(text: String) {
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
    public mutating func add(_ name: String, _ value: some CustomStringConvertible) {
        self.append(Report.Line(name: name, value: value.description))
    }

    /// Leaves out what is empty.
    public mutating func add(_ name: String, bytes: [UInt8]?) {
        guard let bytes, !bytes.isEmpty else { return }
        self.add(name, String(decoding: bytes, as: UTF8.self))
    }

    public func value(_ name: String) -> String? { self.first { $0.name == name }?.value }
}
