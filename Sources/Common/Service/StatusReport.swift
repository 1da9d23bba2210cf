/// What a role says of itself when the tool asks: lines of `name value`, in the order in which people want to read them.
public struct StatusReport: Sendable {
    public struct Line: Equatable, Sendable {
        public var name: String
        public var value: String
    }

    public var lines: [Line] = []

    public init() {}

    public mutating func add(_ name: String, _ value: some CustomStringConvertible) {
        self.lines.append(Line(name: name, value: value.description))
    }

    public func encode(into buffer: inout ByteBuffer) {
        let position = buffer.beginFrame(.statusReport)
        for line in self.lines {
            // A line is a line, whatever an error text in it says.
            buffer.write(Array("\(Self.name(line.name)) \(line.value)".utf8.map { $0 < 0x20 ? UInt8(ascii: " ") : $0 }))
            buffer.write(UInt8(ascii: "\n"))
        }
        buffer.endFrame(at: position)
    }

    /// A name as it arrives: the first space ends it, and names of sources may hold some.
    public static func name(_ name: String) -> String {
        String(decoding: name.utf8.map { $0 == 0x20 ? UInt8(ascii: "_") : $0 }, as: UTF8.self)
    }

    public static func decode(_ body: UnsafeRawBufferPointer) -> StatusReport {
        var report = StatusReport()
        for line in String(decoding: body, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
            report.add(String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
        }
        return report
    }
}
