/// The tool to a role: do something. Words, as on a command line.
public struct ControlCommand: Equatable, Sendable {
    /// The certificates that a client may show in a handshake, 100 KiB in DER, fit in as PEM.
    public static let bytesMax = 256 << 10

    public var words: [String]

    public init(_ words: [String]) {
        self.words = words
    }

    public func encode(into buffer: inout ByteBuffer) {
        let position = buffer.beginFrame(.controlCommand)
        for word in self.words { buffer.writeField(Array(word.utf8)) }
        buffer.endFrame(at: position)
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> ControlCommand? {
        guard body.count <= Self.bytesMax else { return nil }
        var reader = ByteReader(body)
        var words: [String] = []
        while !reader.isAtEnd {
            guard let word = reader.readField() else { return nil }
            words.append(String(decoding: word, as: UTF8.self))
        }
        return ControlCommand(words)
    }
}

/// A role to the tool: what came of it, in a sentence.
public struct ControlReply: Equatable, Sendable {
    public var isDone: Bool
    public var text: String

    /// Of an auth worker that was to drop what it knows nothing of; another one may.
    public static let notCached = ControlReply(isDone: false, text: "nothing is cached of it")

    public init(isDone: Bool, text: String) {
        self.isDone = isDone
        self.text = text
    }

    public func encode(into buffer: inout ByteBuffer) {
        let position = buffer.beginFrame(.controlReply)
        buffer.write(UInt8(self.isDone ? 1 : 0))
        buffer.writeField(Array(self.text.utf8))
        buffer.endFrame(at: position)
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> ControlReply? {
        var reader = ByteReader(body)
        guard let isDone = reader.readUInt8(), isDone <= 1, let text = reader.readField(), reader.isAtEnd else {
            return nil
        }
        return ControlReply(isDone: isDone == 1, text: String(decoding: text, as: UTF8.self))
    }
}
