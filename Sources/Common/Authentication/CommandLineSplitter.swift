/// Splits a command the way redis-cli does: words at spaces, `"…"` with `\n \r \t \b \a \xHH \"`, `'…'` with `\'`.
public enum CommandLineSplitter {
    public struct Argument: Equatable, Sendable {
        public var bytes: [UInt8]
        /// Where in the line each byte comes from, counted from 0.
        public var positions: [Int]
    }

    private enum State: Equatable {
        case plain
        case doubleQuoted(start: Int)
        case singleQuoted(start: Int)
    }

    /// - Throws: `TemplateError` for a quote without an end, or one that something other than a space follows.
    public static func split(_ line: [UInt8]) throws(TemplateError) -> [Argument] {
        var arguments: [Argument] = []
        var index = 0
        while true {
            while index < line.count, Self.isSpace(line[index]) { index += 1 }
            guard index < line.count else { return arguments }
            arguments.append(try Self.readArgument(line, &index))
        }
    }

    private static func readArgument(_ line: [UInt8], _ index: inout Int) throws(TemplateError) -> Argument {
        var argument = Argument(bytes: [], positions: [])
        var state = State.plain
        while index < line.count {
            let byte = line[index]
            let position = index
            index += 1
            switch state {
            case .plain:
                switch byte {
                case UInt8(ascii: "\""): state = .doubleQuoted(start: position)
                case UInt8(ascii: "'"): state = .singleQuoted(start: position)
                case _ where Self.isSpace(byte): return argument
                default: argument.append(byte, position)
                }
            case .doubleQuoted:
                if byte == UInt8(ascii: "\\") {
                    guard let escaped = Self.readEscape(line, &index) else { break }
                    argument.append(escaped, position)
                } else if byte == UInt8(ascii: "\"") {
                    try Self.expectEnd(line, index)
                    return argument
                } else {
                    argument.append(byte, position)
                }
            case .singleQuoted:
                if byte == UInt8(ascii: "\\"), index < line.count, line[index] == UInt8(ascii: "'") {
                    index += 1
                    argument.append(UInt8(ascii: "'"), position)
                } else if byte == UInt8(ascii: "'") {
                    try Self.expectEnd(line, index)
                    return argument
                } else {
                    argument.append(byte, position)
                }
            }
        }
        switch state {
        case .plain: return argument
        case .doubleQuoted(let start), .singleQuoted(let start):
            throw TemplateError(reason: "the quote has no end", position: start + 1)
        }
    }

    /// What stands after a backslash; nil at the end of the line.
    private static func readEscape(_ line: [UInt8], _ index: inout Int) -> UInt8? {
        guard index < line.count else { return nil }
        let byte = line[index]
        index += 1
        switch byte {
        case UInt8(ascii: "n"): return 0x0A
        case UInt8(ascii: "r"): return 0x0D
        case UInt8(ascii: "t"): return 0x09
        case UInt8(ascii: "b"): return 0x08
        case UInt8(ascii: "a"): return 0x07
        case UInt8(ascii: "x"):
            guard index + 1 < line.count, let high = Self.hexDigit(line[index]),
                let low = Self.hexDigit(line[index + 1])
            else { return byte }
            index += 2
            return high << 4 | low
        default: return byte
        }
    }

    private static func expectEnd(_ line: [UInt8], _ index: Int) throws(TemplateError) {
        guard index < line.count, !Self.isSpace(line[index]) else { return }
        throw TemplateError(reason: "after a closing quote there must be a space", position: index + 1)
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (0x09...0x0D).contains(byte)
    }

    static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

extension CommandLineSplitter.Argument {
    fileprivate mutating func append(_ byte: UInt8, _ position: Int) {
        self.bytes.append(byte)
        self.positions.append(position)
    }
}
