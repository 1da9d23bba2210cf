/// Reads HOCON: objects with or without the outer braces, `=` and `:`, keys with dots, lists, quotes, triple quotes, comments.
/// Substitutions outside of quotes are values of the same file; others, and includes, are named as problems and left out.
struct HOCONParser {
    struct Failure: Error, Equatable {
        var line: Int
        var text: String
    }

    private let bytes: [UInt8]
    private var index = 0
    private var line = 1
    private(set) var problems: [Failure] = []
    /// What `${…}` names.
    private(set) var references: Set<[String]> = []
    private static let depthMax = 32

    init(_ text: String) {
        self.bytes = Array(ImportedText.bytes(text))
    }

    /// The whole text.
    mutating func parse() throws(Failure) -> HOCONValue {
        let root = try self.readRoot()
        guard !self.references.isEmpty else { return root }
        var references = HOCONReferences(root: root)
        let resolved = try references.resolved()
        for problem in references.problems where !self.problems.contains(problem) { self.problems.append(problem) }
        self.problems.sort { $0.line < $1.line }
        return resolved
    }

    private mutating func readRoot() throws(Failure) -> HOCONValue {
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
            if path == ["include"], try self.skipIncluded(line: line) { continue }
            self.skipSpace(withLines: false)
            var isAppended = false
            if self.current != UInt8(ascii: "{") {
                isAppended = self.take(UInt8(ascii: "+"))
                guard self.take(UInt8(ascii: "=")) || (!isAppended && self.take(UInt8(ascii: ":"))) else {
                    throw self.failure("= or : is missing after \(path.joined(separator: "."))")
                }
                self.skipSpace(withLines: true)
            }
            let value = try self.readValue(depth: depth + 1)
            guard object.set(path, isAppended ? .addition(value.elements) : value, line: line) else {
                let name = path.joined(separator: ".")
                let text = "\(name) is left out: it names no element of the list; they count from 1"
                self.problems.append(Failure(line: line, text: text))
                continue
            }
        }
    }

    /// What stands behind `include`: a name, in quotes or not, or one in quotes within `file(…)`, `url(…)`, `classpath(…)` or
    /// `required(…)`; other settings may follow on the line. False: it is a key like any other.
    private mutating func skipIncluded(line: Int) throws(Failure) -> Bool {
        self.skipBlanks()
        var open = 0
        while let word = ["file(", "url(", "classpath(", "required("].first(where: { self.starts(with: $0) }) {
            self.index += word.utf8.count
            self.skipBlanks()
            open += 1
        }
        if self.current == UInt8(ascii: "\"") {
            _ = try self.readQuoted()
        } else {
            let start = self.index
            while let byte = self.current, !Array(" \t\r\n,=:{}[]()#\"+".utf8).contains(byte) { self.index += 1 }
            guard self.index > start else {
                guard open == 0 else { throw self.failure("a name is missing after include") }
                return false
            }
        }
        for _ in 0..<open {
            self.skipBlanks()
            guard self.take(UInt8(ascii: ")")) else { throw self.failure(") is missing after include") }
        }
        self.problems.append(Failure(line: line, text: "include is not followed; import that file too"))
        return true
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
            guard path.count < Self.depthMax else { throw self.failure("the key has too many parts") }
        }
    }

    private mutating func readValue(depth: Int) throws(Failure) -> HOCONValue {
        guard depth < Self.depthMax else { throw self.failure("values are nested too deep") }
        var parts = [HOCONValue.Part(value: try self.readPart(depth: depth), space: "", line: self.line)]
        while let last = parts.last {
            let start = self.index
            self.skipBlanks()
            guard self.continues(last.value) else { break }
            let space = String(decoding: self.bytes[start..<self.index], as: UTF8.self)
            let value = try self.readPart(depth: depth)
            guard last.value.isPlain, value.isPlain else {
                parts.append(HOCONValue.Part(value: value, space: space, line: self.line))
                continue
            }
            guard let joined = last.value.joined(with: value, space: space) else {
                throw self.failure("these values do not go together")
            }
            parts[parts.count - 1].value = joined
        }
        return parts.count == 1 ? parts[0].value : .joined(parts)
    }

    private mutating func skipBlanks() {
        while let byte = self.current, byte == 0x20 || byte == 0x09 || byte == 0x0D { self.index += 1 }
    }

    /// Values of one kind that stand side by side are one. Anything else begins the next key: EMQX needs neither comma nor line end. Text
    /// without quotes behind one in quotes is either, as what stands behind it tells.
    private func continues(_ value: HOCONValue) -> Bool {
        switch (value, self.current) {
        case (.object, UInt8(ascii: "{")), (.array, UInt8(ascii: "[")), (.text, UInt8(ascii: "\"")): true
        case (.reference, let next?): !Array("\n,}]#".utf8).contains(next) && !self.starts(with: "//")
        case (.text, _): self.starts(with: "${") || self.isUnquotedValue
        default: self.starts(with: "${")
        }
    }

    /// Here is text without quotes that ends with a value's end, another text or a reference, and not as keys do.
    private var isUnquotedValue: Bool {
        guard let first = self.current, !Array("\n,}]#\"".utf8).contains(first), !self.starts(with: "//") else {
            return false
        }
        var ahead = self.index
        while ahead < self.bytes.count {
            let rest = self.bytes[ahead...]
            let byte = self.bytes[ahead]
            if Array("\n,}]#\"".utf8).contains(byte) || rest.starts(with: "//".utf8) || rest.starts(with: "${".utf8) {
                return true
            }
            if Array("=:{[+".utf8).contains(byte) { return false }
            ahead += 1
        }
        return true
    }

    private mutating func readPart(depth: Int) throws(Failure) -> HOCONValue {
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
            return self.starts(with: "${") ? try self.readReference() : .text(self.readUnquoted())
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

    /// `${path}` or `${?path}`
    private mutating func readReference() throws(Failure) -> HOCONValue {
        self.index += 2
        _ = self.take(UInt8(ascii: "?"))
        self.skipBlanks()
        let path = try self.readPath()
        self.skipBlanks()
        guard self.take(UInt8(ascii: "}")) else {
            throw self.failure("} is missing after ${\(path.joined(separator: "."))")
        }
        self.references.insert(path)
        return .reference(HOCONValue.Reference(path: path, line: self.line))
    }

    /// To the end of the line, or what ends a value.
    private mutating func readUnquoted() -> String {
        var word: [UInt8] = []
        let start = self.index
        while let byte = self.current, !Array("\n,{}[]#\"".utf8).contains(byte), !self.starts(with: "//") {
            if self.starts(with: "${") { break }
            word.append(byte)
            self.index += 1
        }
        // What ends no value that we know must not be met for ever.
        if self.index == start, let byte = self.current, byte != UInt8(ascii: "\n"), byte != UInt8(ascii: "#") {
            self.advance()
        }
        // Blanks count only between two parts, where they are read again.
        while let last = word.last, last == 0x20 || last == 0x09 || last == 0x0D {
            word.removeLast()
            if self.bytes[self.index - 1] == last { self.index -= 1 }
        }
        return String(decoding: word, as: UTF8.self)
    }

    private mutating func readQuoted() throws(Failure) -> String {
        let start = self.line
        if self.starts(with: "\"\"\"") {
            self.index += 3
            let begin = self.index
            while self.current != nil, !self.starts(with: "\"\"\"") { self.advance() }
            guard self.current != nil else { throw Failure(line: start, text: "the quote has no end") }
            let text = Self.block(self.bytes[begin..<self.index])
            self.index += 3
            return String(decoding: text, as: UTF8.self)
        }
        self.index += 1
        var text: [UInt8] = []
        while let byte = self.current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\n") {
            self.index += 1
            guard byte == UInt8(ascii: "\\"), let escaped = self.current, escaped != UInt8(ascii: "\n") else {
                text.append(byte)
                continue
            }
            self.index += 1
            switch escaped {
            case UInt8(ascii: "b"): text.append(0x08)
            case UInt8(ascii: "f"): text.append(0x0C)
            case UInt8(ascii: "n"): text.append(0x0A)
            case UInt8(ascii: "r"): text.append(0x0D)
            case UInt8(ascii: "t"): text.append(0x09)
            case UInt8(ascii: "u"): text += try self.readScalar()
            default: text.append(escaped)
            }
        }
        guard self.take(UInt8(ascii: "\"")) else { throw Failure(line: start, text: "the quote has no end") }
        return String(decoding: text, as: UTF8.self)
    }

    /// What stands behind `\u`, as UTF-8: four digits, or twice four for what UTF-16 writes as a pair.
    private mutating func readScalar() throws(Failure) -> [UInt8] {
        var value = try self.readFourDigits()
        if (0xD800..<0xDC00).contains(value), self.starts(with: "\\u") {
            self.index += 2
            let low = try self.readFourDigits()
            guard (0xDC00..<0xE000).contains(low) else { throw self.failure("\\u names half a character") }
            value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(value) else { throw self.failure("\\u names half a character") }
        return Array(String(Character(scalar)).utf8)
    }

    private mutating func readFourDigits() throws(Failure) -> UInt32 {
        let digits = self.bytes[self.index...].prefix(4)
        let isNumber = digits.allSatisfy { Character(UnicodeScalar($0)).isHexDigit }
        guard digits.count == 4, isNumber, let value = UInt32(String(decoding: digits, as: UTF8.self), radix: 16) else {
            throw self.failure("four hexadecimal digits are missing after \\u")
        }
        self.index += 4
        return value
    }

    /// What stands between triple quotes. EMQX leaves out a `~` at either end, which keeps quotes apart from the text's own; with a
    /// line end behind the first one, also the indentation that all lines have in common.
    private static func block(_ text: ArraySlice<UInt8>) -> [UInt8] {
        let tilde = UInt8(ascii: "~")
        let lines = ImportedText.lines(text)
        guard lines.count > 1, lines[0].elementsEqual([tilde]) else {
            let isMarked = text.count >= 2 && text.first == tilde && text.last == tilde
            return Array(isMarked ? text.dropFirst().dropLast() : text)
        }
        var rest = Array(lines.dropFirst())
        if let last = rest.last, last.last == tilde { rest[rest.count - 1] = last.dropLast() }
        func indentation(_ line: ArraySlice<UInt8>) -> Int { line.prefix { $0 == 0x20 }.count }
        let common = rest.map { ($0.count, indentation($0)) }.filter { $0.0 > $0.1 }.map(\.1).min() ?? 0
        return Array(rest.map { $0.dropFirst(min(common, indentation($0))) }.joined(separator: [UInt8(ascii: "\n")]))
    }
}
