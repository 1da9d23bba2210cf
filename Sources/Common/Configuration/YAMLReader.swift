import CYAML

/// Reads one YAML document through libyaml's events into nodes.
///
/// What a configuration does not need is refused with its place: anchors and aliases (a few bytes can stand for gigabytes),
/// tags, several documents, nesting beyond `depthMax`, more than `nodesMax` values.
struct YAMLReader {
    /// Deepest nesting; the configuration's own is 6.
    static let depthMax = 32
    /// Values in all; a configuration of 1,000 listeners has some 30,000.
    static let nodesMax = 200_000

    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let bytes: UnsafeBufferPointer<UInt8>
    /// For values that are not from a file.
    private let fixedOrigin: ConfigurationOrigin?
    private var nodes = 0
    private var problems: [ConfigurationError.Problem] = []
    /// Of the last event.
    private var lastOrigin = ConfigurationOrigin.file(line: 1, column: 1)

    /// The document's value, nil for an empty document, and keys that are there twice (of which the first counts).
    ///
    /// - Parameter origin: where all of it was written; nil: in a file, so that line and column say it.
    static func read(
        _ text: [UInt8],
        origin: ConfigurationOrigin? = nil
    ) throws(ConfigurationError.Problem) -> (root: YAMLNode?, duplicates: [ConfigurationError.Problem]) {
        let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
        defer { parser.deallocate() }
        guard yaml_parser_initialize(parser) == 1 else {
            throw ConfigurationError.Problem(origin: origin, key: "", message: "not read: out of memory")
        }
        defer { yaml_parser_delete(parser) }
        // libyaml insists on a pointer; a line feed more changes nothing. With the encoding set it takes no byte order mark.
        let terminated = ByteOrderMark.removed(from: text) + [UInt8(ascii: "\n")]
        let outcome = terminated.withUnsafeBufferPointer { bytes in
            // Without this a byte order mark would choose UTF-16.
            yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
            yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
            var reader = YAMLReader(parser: parser, bytes: bytes, fixedOrigin: origin)
            return Result { () throws(ConfigurationError.Problem) in
                let root = try reader.readStream()
                return (root: root, duplicates: reader.problems)
            }
        }
        return try outcome.get()
    }

    private init(
        parser: UnsafeMutablePointer<yaml_parser_t>,
        bytes: UnsafeBufferPointer<UInt8>,
        fixedOrigin: ConfigurationOrigin?
    ) {
        self.parser = parser
        self.bytes = bytes
        self.fixedOrigin = fixedOrigin
    }

    private enum Event {
        case streamStart
        case streamEnd
        case documentStart
        case documentEnd
        case scalar(String, isQuoted: Bool)
        case sequenceStart
        case sequenceEnd
        case mappingStart
        case mappingEnd
    }

    private mutating func readStream() throws(ConfigurationError.Problem) -> YAMLNode? {
        var root: YAMLNode?
        var documents = 0
        while true {
            let (event, origin) = try self.next()
            switch event {
            case .streamEnd:
                return root
            case .documentStart:
                documents += 1
                if documents > 1 { throw self.problem("a second document begins here; write one only", origin) }
                let (first, firstOrigin) = try self.next()
                root = try self.readNode(first, firstOrigin, path: "", depth: 0)
            case .streamStart, .documentEnd, .scalar, .sequenceStart, .sequenceEnd, .mappingStart, .mappingEnd:
                continue
            }
        }
    }

    private mutating func readNode(
        _ event: Event,
        _ origin: ConfigurationOrigin,
        path: String,
        depth: Int
    ) throws(ConfigurationError.Problem) -> YAMLNode {
        guard depth <= Self.depthMax else { throw self.problem("nested deeper than \(Self.depthMax) levels", origin) }
        self.nodes += 1
        guard self.nodes <= Self.nodesMax else { throw self.problem("more than \(Self.nodesMax) values", origin) }
        switch event {
        case .scalar(let text, let isQuoted):
            return YAMLNode(value: .scalar(text, isQuoted: isQuoted), origin: origin)
        case .sequenceStart:
            var elements: [YAMLNode] = []
            while true {
                let (next, nextOrigin) = try self.next()
                if case .sequenceEnd = next { return YAMLNode(value: .sequence(elements), origin: origin) }
                let elementPath = ConfigurationText.path(path, "\(elements.count)")
                elements.append(try self.readNode(next, nextOrigin, path: elementPath, depth: depth + 1))
            }
        case .mappingStart:
            return try self.readMapping(origin, path: path, depth: depth)
        case .streamStart, .streamEnd, .documentStart, .documentEnd, .sequenceEnd, .mappingEnd:
            throw self.problem("not valid YAML: a value was expected", origin)
        }
    }

    private mutating func readMapping(
        _ origin: ConfigurationOrigin,
        path: String,
        depth: Int
    ) throws(ConfigurationError.Problem) -> YAMLNode {
        var entries: [YAMLNode.Entry] = []
        var firstOrigins: [[UInt8]: ConfigurationOrigin] = [:]
        while true {
            let (event, keyOrigin) = try self.next()
            if case .mappingEnd = event { return YAMLNode(value: .mapping(entries), origin: origin) }
            guard case .scalar(let key, _) = event else {
                throw self.problem("a list or section cannot be a key", keyOrigin)
            }
            let keyPath = ConfigurationText.path(path, key)
            let (valueEvent, valueOrigin) = try self.next()
            let value = try self.readNode(valueEvent, valueOrigin, path: keyPath, depth: depth + 1)
            if let first = firstOrigins[Array(key.utf8)] {
                var place = ""
                if case .file(let line, _) = first { place = ", first in line \(line)" }
                self.problems.append(
                    ConfigurationError.Problem(
                        origin: keyOrigin,
                        key: ConfigurationText.shown(keyPath),
                        message: "is there twice\(place); remove one"
                    )
                )
                continue
            }
            firstOrigins[Array(key.utf8)] = keyOrigin
            entries.append(YAMLNode.Entry(key: key, keyOrigin: keyOrigin, value: value))
        }
    }

    private func problem(_ message: String, _ origin: ConfigurationOrigin?) -> ConfigurationError.Problem {
        ConfigurationError.Problem(origin: origin, key: "", message: message)
    }

    private func origin(_ mark: yaml_mark_t) -> ConfigurationOrigin {
        self.fixedOrigin ?? .file(line: Int(clamping: mark.line) + 1, column: Int(clamping: mark.column) + 1)
    }
}

// MARK: - libyaml

extension YAMLReader {
    private mutating func next() throws(ConfigurationError.Problem) -> (Event, ConfigurationOrigin) {
        var event = yaml_event_t()
        guard yaml_parser_parse(self.parser, &event) == 1 else { throw self.parserProblem() }
        defer { yaml_event_delete(&event) }
        let origin = self.origin(event.start_mark)
        self.lastOrigin = origin
        switch event.type {
        case YAML_STREAM_START_EVENT: return (.streamStart, origin)
        case YAML_STREAM_END_EVENT: return (.streamEnd, origin)
        case YAML_DOCUMENT_START_EVENT: return (.documentStart, origin)
        case YAML_DOCUMENT_END_EVENT: return (.documentEnd, origin)
        case YAML_SEQUENCE_END_EVENT: return (.sequenceEnd, origin)
        case YAML_MAPPING_END_EVENT: return (.mappingEnd, origin)
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            try self.refuse(anchor: scalar.anchor, tag: scalar.tag, origin)
            guard let value = scalar.value else { return (.scalar("", isQuoted: false), origin) }
            let text = String(decoding: UnsafeBufferPointer(start: value, count: scalar.length), as: UTF8.self)
            return (.scalar(text, isQuoted: scalar.style != YAML_PLAIN_SCALAR_STYLE), origin)
        case YAML_SEQUENCE_START_EVENT:
            let start = event.data.sequence_start
            try self.refuse(anchor: start.anchor, tag: start.tag, origin)
            return (.sequenceStart, origin)
        case YAML_MAPPING_START_EVENT:
            let start = event.data.mapping_start
            try self.refuse(anchor: start.anchor, tag: start.tag, origin)
            return (.mappingStart, origin)
        case YAML_ALIAS_EVENT:
            throw self.problem("aliases (*name) are not supported; write the value out", origin)
        default:
            throw self.problem("not valid YAML: unknown event", origin)
        }
    }

    private func refuse(
        anchor: UnsafeMutablePointer<yaml_char_t>?,
        tag: UnsafeMutablePointer<yaml_char_t>?,
        _ origin: ConfigurationOrigin
    ) throws(ConfigurationError.Problem) {
        if anchor != nil {
            throw self.problem("anchors (&name) are not supported; write the value out where it is needed", origin)
        }
        if tag != nil { throw self.problem("tags (!name) are not supported; remove it", origin) }
    }

    private func parserProblem() -> ConfigurationError.Problem {
        let parser = self.parser.pointee
        let what = parser.problem.map { String(cString: $0) } ?? "unknown error"
        switch parser.error {
        case YAML_READER_ERROR:
            return self.problem("not UTF-8 text: \(what)", self.place(of: parser.problem_offset))
        case YAML_MEMORY_ERROR:
            return self.problem("not read: out of memory", self.fixedOrigin)
        case YAML_PARSER_ERROR where self.endsBefore(parser.problem_mark):
            // libyaml would name the line behind the last.
            return self.problem("not valid YAML: what begins or goes on here has no end", self.lastOrigin)
        default:
            var context = ""
            if let text = parser.context {
                context = "\(String(cString: text)) (from line \(Int(clamping: parser.context_mark.line) + 1)), "
            }
            return self.problem("not valid YAML: \(context)\(what)", self.origin(parser.problem_mark))
        }
    }

    /// Whether nothing but blanks, line ends and comments follows.
    private func endsBefore(_ mark: yaml_mark_t) -> Bool {
        let rest = self.bytes.dropFirst(Int(clamping: mark.index))
        return rest.allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }
    }

    /// Line and column of a byte that the reader refused; columns count characters.
    private func place(of offset: Int) -> ConfigurationOrigin {
        if let fixedOrigin = self.fixedOrigin { return fixedOrigin }
        var (line, column) = (1, 1)
        for byte in self.bytes.prefix(max(0, offset)) {
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return .file(line: line, column: column)
    }
}
