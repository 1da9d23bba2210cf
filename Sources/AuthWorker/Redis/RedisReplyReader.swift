import CHiredis

/// Bytes in, replies out, in whatever pieces the bytes come: hiredis' parser.
struct RedisReplyReader: ~Copyable {
    private let reader: UnsafeMutablePointer<redisReader>

    init() {
        guard let reader = martlet_reader_create() else { preconditionFailure("out of memory") }
        self.reader = reader
    }

    deinit {
        martlet_reader_free(self.reader)
    }

    /// Throws when the bytes cannot be Redis': nothing more can be read from this connection.
    mutating func feed(_ bytes: UnsafeRawBufferPointer) throws(RedisFailure) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        let waiting = self.reader.pointee.len - self.reader.pointee.pos
        guard waiting + bytes.count <= AuthLimits.replyBytesMax else {
            throw .protocolError("a reply is longer than \(AuthLimits.replyBytesMax) bytes")
        }
        let result = redisReaderFeed(self.reader, start.assumingMemoryBound(to: CChar.self), bytes.count)
        guard result == REDIS_OK else { throw self.failure }
    }

    /// The next whole reply; nil: more bytes are needed.
    mutating func next() throws(RedisFailure) -> RedisReply? {
        var object: UnsafeMutableRawPointer?
        guard redisReaderGetReply(self.reader, &object) == REDIS_OK else { throw self.failure }
        guard let object else { return nil }
        defer { freeReplyObject(object) }
        return Self.convert(object.assumingMemoryBound(to: redisReply.self))
    }

    private var failure: RedisFailure {
        let text = withUnsafeBytes(of: self.reader.pointee.errstr) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        return .protocolError(text)
    }

    /// hiredis bounds the depth of nested arrays to 7.
    private static func convert(_ reply: UnsafeMutablePointer<redisReply>) -> RedisReply {
        switch reply.pointee.type {
        case REDIS_REPLY_STRING: return .bulk(Self.text(reply))
        case REDIS_REPLY_STATUS: return .status(Self.text(reply))
        case REDIS_REPLY_ERROR: return .error(Self.text(reply))
        case REDIS_REPLY_INTEGER: return .integer(reply.pointee.integer)
        case REDIS_REPLY_ARRAY:
            var elements: [RedisReply] = []
            elements.reserveCapacity(Int(reply.pointee.elements))
            for index in 0..<Int(reply.pointee.elements) {
                guard let element = reply.pointee.element?[index] else { continue }
                elements.append(Self.convert(element))
            }
            return .array(elements)
        default: return .null
        }
    }

    private static func text(_ reply: UnsafeMutablePointer<redisReply>) -> [UInt8] {
        [UInt8](
            UnsafeRawBufferPointer(start: reply.pointee.str, count: reply.pointee.str == nil ? 0 : reply.pointee.len)
        )
    }
}
