/// Reads HOCON: objects with or without the outer braces, `=` and `:`, keys with dots, lists, quotes, triple quotes, comments.
/// Substitutions outside of quotes and includes are named as problems and left out.
struct HOCONParser {
    struct Failure: Error, Equatable {
        var line: Int
        var text: String
    }

    private let bytes: [UInt8]
    private var index = 0
    private var line = 1
    private(set) var problems: [Failure] = []
    private static let depthMax = 32

    init(_ text: String) {
        self.bytes = Array(text.utf8)
    }

    /// The whole text.
    mutating func parse() throws(Failure) -> HOCONValue {
        self.skipSpace(withLines: true)
        if self.take(UInt8(ascii: "{")) {
            let value = try self.readMembers(until: UInt8(ascii: "}"), depth: 0)
            self.skipSpace(withLines: true)
            return value
        }
        return try self.readMembers(until: nil, depth: 0)
    }

    private var current: UInt8? { self.index < self.bytes.count ? self.bytes[self.index] : nil }

    private func failure(_ text: String) -> Failure { Failure(line: self.line, text: text) }

    private mutating func advance() {
        if self.current == UInt8(ascii: "\n") { self.line += 1 }
        self.index += 1
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard self.current == byte else { return false }
        self.advance()
        return true
    }

    private func starts(with text: String) -> Bool { self.bytes[self.index...].starts(with: Array(text.utf8)) }

    private mutating func skipSpace(withLines: Bool) {
        while let byte = self.current {
            if byte == UInt8(ascii: "#") || self.starts(with: "//") {
                while let byte = self.current, byte != UInt8(ascii: "\n") { self.index += 1 }
            } else if byte == 0x20 || byte == 0x09 || byte == 0x0D || (withLines && byte == UInt8(ascii: "\n")) {
                self.advance()
            } else {
                return
            }
        }
    }

    private mutating func readMembers(until end: UInt8?, depth: Int) throws(Failure) -> HOCONValue {
        guard depth < Self.depthMax else { throw self.failure("objects are nested too deep") }
        var object = HOCONValue.object([])
        while true {
            self.skipSpace(withLines: true)
            if let end, self.take(end) { return object }
            guard self.current != nil else {
                if end == nil { return object }
                throw self.failure("the file ends within braces")
            }
            if self.take(UInt8(ascii: ",")) { continue }
            let line = self.line
            let path = try self.readPath()
            if path == ["include"] {
                self.problems.append(Failure(line: line, text: "include is not followed; import that file too"))
                self.skipLine()
                continue
            }
            self.skipSpace(withLines: false)
            if self.current == UInt8(ascii: "{") {
                object.set(path, try self.readValue(depth: depth + 1), line: line)
                continue
            }
            _ = self.take(UInt8(ascii: "+"))
            guard self.take(UInt8(ascii: "=")) || self.take(UInt8(ascii: ":")) else {
                throw self.failure("= or : is missing after \(path.joined(separator: "."))")
            }
            self.skipSpace(withLines: true)
            object.set(path, try self.readValue(depth: depth + 1), line: line)
        }
    }

    private mutating func skipLine() {
        while let byte = self.current, byte != UInt8(ascii: "\n") { self.index += 1 }
    }

    private mutating func readPath() throws(Failure) -> [String] {
        var path: [String] = []
        while true {
            if self.current == UInt8(ascii: "\"") {
                path.append(try self.readQuoted())
            } else {
                var word: [UInt8] = []
                while let byte = self.current, !Array(" \t\r\n.=:{}[],#\"+".utf8).contains(byte) {
                    word.append(byte)
                    self.index += 1
                }
                guard !word.isEmpty else { throw self.failure("a key is missing") }
                path.append(String(decoding: word, as: UTF8.self))
            }
            guard self.take(UInt8(ascii: ".")) else { return path }
        }
    }

    private mutating func readValue(depth: Int) throws(Failure) -> HOCONValue {
        guard depth < Self.depthMax else { throw self.failure("values are nested too deep") }
        switch self.current {
        case nil:
            throw self.failure("a value is missing")
        case UInt8(ascii: "{"):
            self.advance()
            return try self.readMembers(until: UInt8(ascii: "}"), depth: depth + 1)
        case UInt8(ascii: "["):
            self.advance()
            return try self.readArray(depth: depth + 1)
        case UInt8(ascii: "\""):
            return .text(try self.readQuoted())
        default:
            return .text(self.readUnquoted())
        }
    }

    private mutating func readArray(depth: Int) throws(Failure) -> HOCONValue {
        var elements: [HOCONValue] = []
        while true {
            self.skipSpace(withLines: true)
            if self.take(UInt8(ascii: "]")) { return .array(elements) }
            guard self.current != nil else { throw self.failure("the file ends within a list") }
            if self.take(UInt8(ascii: ",")) { continue }
            elements.append(try self.readValue(depth: depth + 1))
        }
    }

    /// To the end of the line, or what ends a value.
    private mutating func readUnquoted() -> String {
        var word: [UInt8] = []
        let line = self.line
        while let byte = self.current, !Array("\n,{}[]#".utf8).contains(byte), !self.starts(with: "//") {
            if self.starts(with: "${") {
                self.problems.append(Failure(line: line, text: "a substitution is left out"))
                while let byte = self.current, byte != UInt8(ascii: "}"), byte != UInt8(ascii: "\n") { self.index += 1 }
                if self.current == UInt8(ascii: "}") { self.index += 1 }
                continue
            }
            word.append(byte)
            self.index += 1
        }
        // What ends no value that we know must not be met for ever.
        if word.isEmpty, let byte = self.current, byte != UInt8(ascii: "\n"), byte != UInt8(ascii: "#") {
            self.advance()
        }
        while let last = word.last, last == 0x20 || last == 0x09 || last == 0x0D { word.removeLast() }
        return String(decoding: word, as: UTF8.self)
    }

    private mutating func readQuoted() throws(Failure) -> String {
        let start = self.line
        if self.starts(with: "\"\"\"") {
            self.index += 3
            var text: [UInt8] = []
            while self.current != nil, !self.starts(with: "\"\"\"") {
                text.append(self.bytes[self.index])
                self.advance()
            }
            guard self.current != nil else { throw Failure(line: start, text: "the quote has no end") }
            self.index += 3
            return String(decoding: text, as: UTF8.self)
        }
        self.index += 1
        var text: [UInt8] = []
        while let byte = self.current, byte != UInt8(ascii: "\"") {
            guard byte != UInt8(ascii: "\n") else { break }
            self.index += 1
            guard byte == UInt8(ascii: "\\"), let escaped = self.current else {
                text.append(byte)
                continue
            }
            self.index += 1
            switch escaped {
            case UInt8(ascii: "n"): text.append(0x0A)
            case UInt8(ascii: "t"): text.append(0x09)
            case UInt8(ascii: "r"): text.append(0x0D)
            default: text.append(escaped)
            }
        }
        guard self.take(UInt8(ascii: "\"")) else { throw Failure(line: start, text: "the quote has no end") }
        return String(decoding: text, as: UTF8.self)
    }
}
