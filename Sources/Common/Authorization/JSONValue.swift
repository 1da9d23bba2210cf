/// A JSON value (RFC 8259), as far as access rows need it: of numbers that are no whole ones only that they are there.
public indirect enum JSONValue: Equatable, Sendable {
    case null
    case flag(Bool)
    case integer(Int)
    /// A fraction, or one that is too large.
    case otherNumber
    case text([UInt8])
    case list([JSONValue])
    /// In the order written.
    case object([Member])

    public struct Member: Equatable, Sendable {
        public var name: [UInt8]
        public var value: JSONValue
    }

    static func isSpace(_ byte: UInt8) -> Bool { [0x20, 0x09, 0x0A, 0x0D].contains(byte) }

    /// Nil for anything but one whole value, and for one nested deeper than 32 levels.
    public init?(_ bytes: [UInt8]) {
        var parser = JSONParser(bytes: bytes)
        guard let value = parser.readValue(depth: 0), parser.isAtEnd() else { return nil }
        self = value
    }

    /// An object's member; the last one where a name stands twice.
    public subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.name == Array(name.utf8) }?.value
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    var index = 0
    private static let depthMax = 32

    init(bytes: [UInt8]) { self.bytes = bytes }

    private mutating func skipSpace() {
        while self.index < self.bytes.count, JSONValue.isSpace(self.bytes[self.index]) { self.index += 1 }
    }

    mutating func isAtEnd() -> Bool {
        self.skipSpace()
        return self.index == self.bytes.count
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        self.skipSpace()
        guard self.index < self.bytes.count, self.bytes[self.index] == byte else { return false }
        self.index += 1
        return true
    }

    private mutating func take(word: String) -> Bool {
        guard self.bytes[self.index...].starts(with: Array(word.utf8)) else { return false }
        self.index += word.utf8.count
        return true
    }

    mutating func readValue(depth: Int) -> JSONValue? {
        self.skipSpace()
        guard depth < Self.depthMax, self.index < self.bytes.count else { return nil }
        switch self.bytes[self.index] {
        case UInt8(ascii: "{"): return self.readObject(depth)
        case UInt8(ascii: "["): return self.readList(depth)
        case UInt8(ascii: "\""): return self.readText().map { .text($0) }
        case UInt8(ascii: "t"): return self.take(word: "true") ? .flag(true) : nil
        case UInt8(ascii: "f"): return self.take(word: "false") ? .flag(false) : nil
        case UInt8(ascii: "n"): return self.take(word: "null") ? .null : nil
        default: return self.readNumber()
        }
    }

    private mutating func readObject(_ depth: Int) -> JSONValue? {
        guard self.take(UInt8(ascii: "{")) else { return nil }
        var members: [JSONValue.Member] = []
        if self.take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            self.skipSpace()
            guard let name = self.readText(), self.take(UInt8(ascii: ":")),
                let value = self.readValue(depth: depth + 1)
            else { return nil }
            members.append(.init(name: name, value: value))
            if self.take(UInt8(ascii: "}")) { return .object(members) }
            guard self.take(UInt8(ascii: ",")) else { return nil }
        }
    }

    private mutating func readList(_ depth: Int) -> JSONValue? {
        guard self.take(UInt8(ascii: "[")) else { return nil }
        var elements: [JSONValue] = []
        if self.take(UInt8(ascii: "]")) { return .list(elements) }
        while true {
            guard let value = self.readValue(depth: depth + 1) else { return nil }
            elements.append(value)
            if self.take(UInt8(ascii: "]")) { return .list(elements) }
            guard self.take(UInt8(ascii: ",")) else { return nil }
        }
    }

    private func isNext(_ characters: String) -> Bool {
        self.index < self.bytes.count && characters.utf8.contains(self.bytes[self.index])
    }

    /// - Returns: how many there are.
    private mutating func skipDigits() -> Int {
        let start = self.index
        while self.index < self.bytes.count, (0x30...0x39).contains(self.bytes[self.index]) { self.index += 1 }
        return self.index - start
    }

    /// RFC 8259, section 6.
    private mutating func readNumber() -> JSONValue? {
        let start = self.index
        if self.isNext("-") { self.index += 1 }
        let digits = self.index
        guard self.skipDigits() > 0 else { return nil }
        guard self.bytes[digits] != UInt8(ascii: "0") || self.index == digits + 1 else { return nil }
        var isWhole = true
        if self.isNext(".") {
            self.index += 1
            isWhole = false
            guard self.skipDigits() > 0 else { return nil }
        }
        if self.isNext("eE") {
            self.index += 1
            isWhole = false
            if self.isNext("+-") { self.index += 1 }
            guard self.skipDigits() > 0 else { return nil }
        }
        guard isWhole, let number = Int(String(decoding: self.bytes[start..<self.index], as: UTF8.self)) else {
            return .otherNumber
        }
        return .integer(number)
    }

    private mutating func readText() -> [UInt8]? {
        guard self.index < self.bytes.count, self.bytes[self.index] == UInt8(ascii: "\"") else { return nil }
        self.index += 1
        var text: [UInt8] = []
        while self.index < self.bytes.count {
            let byte = self.bytes[self.index]
            self.index += 1
            switch byte {
            case UInt8(ascii: "\""): return text
            case UInt8(ascii: "\\"):
                guard let escaped = self.readEscape() else { return nil }
                text += escaped
            case 0..<0x20: return nil
            default: text.append(byte)
            }
        }
        return nil
    }

    private mutating func readEscape() -> [UInt8]? {
        guard self.index < self.bytes.count else { return nil }
        let byte = self.bytes[self.index]
        self.index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0C]
        case UInt8(ascii: "n"): return [0x0A]
        case UInt8(ascii: "r"): return [0x0D]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "u"):
            guard let first = self.readUnit() else { return nil }
            var scalar = UInt32(first)
            if (0xD800...0xDBFF).contains(first) {
                guard self.take(word: "\\u"), let second = self.readUnit(), (0xDC00...0xDFFF).contains(second) else {
                    return nil
                }
                scalar = 0x10000 + (UInt32(first) - 0xD800) << 10 + (UInt32(second) - 0xDC00)
            }
            return UnicodeScalar(scalar).map { Array(String(Character($0)).utf8) }
        default: return nil
        }
    }

    private mutating func readUnit() -> UInt16? {
        guard self.index + 4 <= self.bytes.count else { return nil }
        let digits = self.bytes[self.index..<(self.index + 4)]
        guard digits.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0 | 0x20) }) else { return nil }
        self.index += 4
        return UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
    }
}
