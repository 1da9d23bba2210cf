import Glibc

/// Just enough understanding of Swift's text, as swift-format lays it out.
enum SwiftText {
    /// A file's bytes with what is inside comments and string literals left out, line for line.
    static func code(_ text: String) -> [UInt8] {
        var text = text
        return text.withUTF8 { bytes in
            var code: [UInt8] = []
            code.reserveCapacity(bytes.count)
            var state = State.code
            var index = 0
            while index < bytes.count {
                let byte = bytes[index]
                let next = index + 1 < bytes.count ? bytes[index + 1] : 0
                let isTriple = byte == quote && next == quote && index + 2 < bytes.count && bytes[index + 2] == quote
                if byte == newline {
                    code.append(byte)
                    if state != .multilineString { state = .code }
                    index += 1
                    continue
                }
                switch state {
                case .comment:
                    index += 1
                case .code where byte == slash && next == slash:
                    state = .comment
                case .code where isTriple:
                    state = .multilineString
                    index += 3
                case .multilineString where isTriple:
                    state = .code
                    index += 3
                case .string where byte == quote:
                    state = .code
                    index += 1
                case .string, .multilineString:
                    // A backslash takes the next character with it.
                    index += byte == backslash && next != newline ? 2 : 1
                case .code:
                    if byte == quote { state = .string }
                    code.append(byte)
                    index += 1
                }
            }
            return code
        }
    }

    private enum State {
        case code
        case comment
        case string
        case multilineString
    }

    private static let newline = UInt8(ascii: "\n")
    private static let quote = UInt8(ascii: "\"")
    private static let slash = UInt8(ascii: "/")
    private static let backslash = UInt8(ascii: "\\")

    /// The same as lines.
    static func codeLines(_ text: String) -> [String] {
        self.code(text).split(separator: self.newline, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
    }

    /// Numbers of the lines, counted from 1, on which the word stands: not as the end of a longer one (`factor` is no `actor`).
    static func lines(of word: String, in bytes: [UInt8]) -> [Int] {
        var lines: [Int] = []
        let pattern = Array(word.utf8)
        bytes.withUnsafeBytes { memory in
            guard let base = memory.baseAddress else { return }
            var offset = 0
            var line = 1
            var counted = 0
            while let found = memchr(base + offset, Int32(pattern[0]), memory.count - offset) {
                let position = UnsafeRawPointer(found) - base
                offset = position + 1
                guard position + pattern.count <= memory.count, memcmp(found, pattern, pattern.count) == 0,
                    position == 0 || !self.continuesWord(memory[position - 1], pattern[0])
                else { continue }
                for index in counted..<position where memory[index] == self.newline { line += 1 }
                counted = position
                lines.append(line)
            }
        }
        return lines
    }

    private static func continuesWord(_ before: UInt8, _ first: UInt8) -> Bool {
        func isLetter(_ byte: UInt8) -> Bool {
            let lower = byte | 0x20
            return (lower >= 0x61 && lower <= 0x7A) || (byte >= 0x30 && byte <= 0x39) || byte == UInt8(ascii: "_")
        }
        return isLetter(before) && isLetter(first)
    }

    /// The modules that a file imports.
    static func imports(_ lines: [String]) -> [String] {
        lines.filter { $0.utf8.count < 120 && $0.utf8.contains(UInt8(ascii: "i")) }.compactMap { line in
            let words = line.split(separator: " ")
            guard let position = words.firstIndex(of: "import"),
                words[..<position].allSatisfy({ $0.hasPrefix("@") || ["internal", "package", "private"].contains($0) })
            else { return nil }
            let kinds: Set<Substring> = ["struct", "class", "enum", "func", "protocol", "typealias", "var", "let"]
            let name = words[(position + 1)...].first { !kinds.contains($0) }
            return name.map { String($0.split(separator: ".")[0]) }
        }
    }

    struct Function {
        var name: String
        /// Counted from 1.
        var line: Int
        /// From the line with its name to that with the closing brace.
        var lineCount: Int
    }

    /// The functions and initialisers with a body of more than one line.
    static func functions(_ lines: [String]) -> [Function] {
        var functions: [Function] = []
        for (start, line) in lines.enumerated() {
            guard let name = self.declaredName(line) else { continue }
            let indentation = String(line.prefix { $0 == " " })
            guard let brace = self.openingBrace(lines, from: start, indentation) else { continue }
            let end = lines[(brace + 1)...].firstIndex { $0.hasPrefix(indentation + "}") } ?? lines.count - 1
            functions.append(Function(name: name, line: start + 1, lineCount: end - start + 1))
        }
        return functions
    }

    private static func declaredName(_ line: String) -> String? {
        var words = line.split(separator: " ")[...]
        while let word = words.first, word.hasPrefix("@") || self.modifiers.contains(word) { words.removeFirst() }
        guard let keyword = words.first else { return nil }
        if keyword == "func", words.count > 1 {
            return String(words[words.startIndex + 1].prefix { $0 != "(" && $0 != "<" })
        }
        for name in ["init", "deinit", "subscript"] where keyword.hasPrefix(name) {
            let next = keyword.dropFirst(name.count).first
            if next == nil || next == "(" || next == "?" || next == "<" { return name }
        }
        return nil
    }

    private static let modifiers: Set<Substring> = [
        "package", "private", "fileprivate", "internal", "static", "final", "mutating", "override", "convenience",
        "required", "nonisolated", "borrowing", "consuming", "class",
    ]

    /// The line on which a declaration's body begins; nil when it has none, as in a protocol, or stands on one line.
    private static func openingBrace(_ lines: [String], from start: Int, _ indentation: String) -> Int? {
        for index in start..<lines.count {
            let line = lines[index]
            let isOwnLevel = line.hasPrefix(indentation) && !line.hasPrefix(indentation + " ")
            if index > start, isOwnLevel {
                let rest = line.dropFirst(indentation.count)
                guard [")", "{", "where", "->", "throws"].contains(where: { rest.hasPrefix($0) }) else { return nil }
            }
            guard index == start || isOwnLevel else { continue }
            let last = line.last { $0 != " " }
            if last == "{" { return index }
            if last == "}", line.contains("{") { return nil }
        }
        return nil
    }
}
