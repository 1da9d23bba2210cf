/// Text with placeholders, taken apart once: `tls_domain:%C` is the bytes `tls_domain:` and the common name.
///
/// `%%` stands for a percent sign and `${$}` for a dollar sign. What a placeholder is replaced by is never looked at again, so
/// that a client id of `%C` stays three characters.
public struct TemplateText: Equatable, Sendable {
    public enum Segment: Equatable, Sendable {
        case literal([UInt8])
        case placeholder(Placeholder)
    }

    public let segments: [Segment]

    /// - Parameter positions: where in the text that the reader of an error sees each byte comes from; nil: `text` is that text.
    /// - Throws: `TemplateError` for a placeholder that does not exist, or one without an end.
    public init(_ text: [UInt8], positions: [Int]? = nil) throws(TemplateError) {
        var segments: [Segment] = []
        var literal: [UInt8] = []
        var index = 0
        func position() -> Int { (positions.map { index < $0.count ? $0[index] : index } ?? index) + 1 }
        while index < text.count {
            let next = index + 1 < text.count ? text[index + 1] : nil
            let found: Placeholder
            switch (text[index], next) {
            case (UInt8(ascii: "%"), UInt8(ascii: "%")):
                literal.append(UInt8(ascii: "%"))
                index += 2
                continue
            case (UInt8(ascii: "%"), .some(let letter)) where Self.isLetter(letter):
                guard let placeholder = Placeholder.allCases.first(where: { $0.letter == letter }) else {
                    throw TemplateError.unknown("%\(Character(UnicodeScalar(letter)))", position: position())
                }
                found = placeholder
                index += 2
            case (UInt8(ascii: "$"), UInt8(ascii: "{")):
                guard let end = text[index...].firstIndex(of: UInt8(ascii: "}")) else {
                    throw TemplateError(reason: "the placeholder has no closing brace", position: position())
                }
                let name = Array(text[(index + 2)..<end])
                if name == [UInt8(ascii: "$")] {
                    literal.append(UInt8(ascii: "$"))
                    index = end + 1
                    continue
                }
                guard let placeholder = Placeholder.allCases.first(where: { Array($0.name.utf8) == name }) else {
                    throw TemplateError.unknown("${\(String(decoding: name, as: UTF8.self))}", position: position())
                }
                found = placeholder
                index = end + 1
            case (let byte, _):
                literal.append(byte)
                index += 1
                continue
            }
            if !literal.isEmpty { segments.append(.literal(literal)) }
            literal = []
            segments.append(.placeholder(found))
        }
        if !literal.isEmpty { segments.append(.literal(literal)) }
        self.segments = segments
    }

    public init(_ text: String) throws(TemplateError) {
        try self.init(Array(text.utf8))
    }

    /// Text in which nothing is a placeholder.
    public init(literal text: [UInt8]) {
        self.segments = text.isEmpty ? [] : [.literal(text)]
    }

    /// Text from a database rather than from the configuration: what is no placeholder stands for itself, as nobody could be
    /// told of a mistake. `${$}` is a dollar sign here too, and `%%` is two percent signs.
    public init(stored text: [UInt8]) {
        var segments: [Segment] = []
        var literal: [UInt8] = []
        var index = 0
        let dollar = Array("${$}".utf8)
        while index < text.count {
            if text[index] == dollar[0], text[index...].starts(with: dollar) {
                literal.append(UInt8(ascii: "$"))
                index += dollar.count
                continue
            }
            guard let (placeholder, end) = Self.placeholder(in: text, at: index) else {
                literal.append(text[index])
                index += 1
                continue
            }
            if !literal.isEmpty { segments.append(.literal(literal)) }
            literal = []
            segments.append(.placeholder(placeholder))
            index = end
        }
        if !literal.isEmpty { segments.append(.literal(literal)) }
        self.segments = segments
    }

    private static func placeholder(in text: [UInt8], at index: Int) -> (Placeholder, end: Int)? {
        guard index + 1 < text.count else { return nil }
        switch (text[index], text[index + 1]) {
        case (UInt8(ascii: "%"), let letter):
            return Placeholder.allCases.first { $0.letter == letter }.map { ($0, index + 2) }
        case (UInt8(ascii: "$"), UInt8(ascii: "{")):
            guard let end = text[index...].firstIndex(of: UInt8(ascii: "}")) else { return nil }
            let name = Array(text[(index + 2)..<end])
            return Placeholder.allCases.first { Array($0.name.utf8) == name }.map { ($0, end + 1) }
        default: return nil
        }
    }

    public var placeholders: [Placeholder] {
        self.segments.compactMap { if case .placeholder(let placeholder) = $0 { placeholder } else { nil } }
    }

    /// What comes before the first placeholder.
    public var literalPrefix: [UInt8] {
        if case .literal(let bytes) = self.segments.first { return bytes }
        return []
    }

    /// The text itself when there is no placeholder in it.
    public var constant: [UInt8]? {
        switch self.segments.count {
        case 0: return []
        case 1: if case .literal(let bytes) = self.segments[0] { return bytes } else { return nil }
        default: return nil
        }
    }

    /// Why a template cannot be filled in for a client.
    public enum RenderFailure: Error, Equatable, Sendable, CustomStringConvertible {
        /// The client has no such value, or an empty one.
        case missing(Placeholder)
        /// The value holds bytes that may not go there.
        case notAllowed(Placeholder)

        public var description: String {
            switch self {
            case .missing(let placeholder):
                "\(Self.owner(of: placeholder)) has no \(placeholder.title.dropFirst(2)) for ${\(placeholder.name)}"
            case .notAllowed(let placeholder):
                "what the client has for ${\(placeholder.name)} holds characters that may not go there"
            }
        }

        private static func owner(of placeholder: Placeholder) -> String {
            switch placeholder {
            case .userName, .clientIdentifier: "the CONNECT"
            case .peerHost: "the connection"
            default: "the client"
            }
        }
    }

    /// Fills in the client's values. Values with control characters are refused wherever they go: nothing good has them, and
    /// logs, keys and topics should not.
    public func render(_ client: ClientAttributes) throws(RenderFailure) -> [UInt8] {
        try self.render(client) { value, _ in !Self.hasControlCharacters(value) }
    }

    /// The same for topic filters: wildcards and separators in a value would widen what the rule allows.
    public func renderTopic(_ client: ClientAttributes) throws(RenderFailure) -> [UInt8] {
        try self.render(client) { value, atStart in
            if Self.hasControlCharacters(value) { return false }
            if atStart && value.first == UInt8(ascii: "$") { return false }
            return !value.contains { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "#") || $0 == UInt8(ascii: "/") }
        }
    }

    private func render(
        _ client: ClientAttributes,
        where isAllowed: (_ value: [UInt8], _ atStart: Bool) -> Bool
    ) throws(RenderFailure) -> [UInt8] {
        if self.segments.count == 1, case .literal(let bytes) = self.segments[0] { return bytes }
        var result: [UInt8] = []
        result.reserveCapacity(Self.renderedBytesUsual)
        for segment in self.segments {
            switch segment {
            case .literal(let bytes):
                result += bytes
            case .placeholder(let placeholder):
                guard let value = client.value(of: placeholder) else { throw .missing(placeholder) }
                guard isAllowed(value, result.isEmpty) else { throw .notAllowed(placeholder) }
                result += value
            }
        }
        return result
    }

    private static var renderedBytesUsual: Int { 64 }

    /// U+0000 to U+001F and U+007F to U+009F, the latter two bytes long in UTF-8.
    public static func hasControlCharacters(_ bytes: [UInt8]) -> Bool {
        var previous: UInt8 = 0
        for byte in bytes {
            if byte < 0x20 || byte == 0x7F { return true }
            if previous == 0xC2 && (0x80...0x9F).contains(byte) { return true }
            previous = byte
        }
        return false
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
}

/// A mistake in a template, for whoever wrote it.
public struct TemplateError: Error, Equatable, CustomStringConvertible, Sendable {
    public var reason: String
    /// Bytes from the start of the text, counted from 1.
    public var position: Int

    public init(reason: String, position: Int) {
        self.reason = reason
        self.position = position
    }

    static func unknown(_ placeholder: String, position: Int) -> TemplateError {
        let advice = placeholder.utf8.first == UInt8(ascii: "%") ? "%% is a percent sign" : "${$} is a dollar sign"
        return TemplateError(
            reason: "there is no placeholder \(placeholder); there are \(Placeholder.listing), and \(advice)",
            position: position
        )
    }

    public var description: String { "\(self.reason) (at character \(self.position))" }
}
