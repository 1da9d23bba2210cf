import CHiredis

/// Bytes in, replies out, in whatever pieces the bytes come: hiredis' parser, which is given whole replies.
struct RedisReplyReader: ~Copyable {
    private let reader: UnsafeMutablePointer<redisReader>
    private let passesOverLong: Bool
    private var scanner = ReplyScanner()
    /// The beginning of a reply that is not over.
    private var begun: [UInt8] = []
    private var isPassingOver = false
    private var scanFailure: RedisFailure?
    /// Replies that were too long.
    private(set) var passedOver: UInt64 = 0

    /// Stands in for a reply that was passed over.
    private static let tooLong = Array("-\(Self.tooLongText)\r\n".utf8)
    /// As which it is seen.
    static let tooLongText =
        "the reply is too long: more than \(AuthLimits.replyBytesMax) bytes or \(AuthLimits.replyElementsMax) elements"

    /// - Parameter passesOverLong: a reply that is too long becomes an error reply. Otherwise nothing more can be read then: whoever is
    ///   told of changes must not miss one.
    init(passesOverLong: Bool = false) {
        guard let reader = martlet_reader_create() else { preconditionFailure("out of memory") }
        self.reader = reader
        self.passesOverLong = passesOverLong
    }

    deinit {
        martlet_reader_free(self.reader)
    }

    /// What is wrong with the bytes is thrown by `next`, after the replies before it.
    mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0, self.scanFailure == nil else { return }
        var position = 0
        /// Whole replies that hiredis has not been given yet.
        var whole = 0..<0
        while position < bytes.count, self.scanFailure == nil {
            switch self.scanner.scan(bytes, &position) {
            case .more:
                break
            case .ended where self.isPassingOver:
                self.isPassingOver = false
                self.passedOver += 1
                Self.tooLong.withUnsafeBytes { self.give($0) }
                whole = position..<position
            case .ended:
                self.giveBegun()
                whole = whole.lowerBound..<position
            case .tooLong where self.passesOverLong:
                self.isPassingOver = true
                self.begun = []
                self.give(bytes, whole)
                whole = position..<position
            case .tooLong:
                self.scanFailure = .protocolError("a reply is longer than \(AuthLimits.replyBytesMax) bytes")
            case .failed(let reason):
                self.scanFailure = .protocolError(reason)
            }
        }
        self.give(bytes, whole)
        guard self.scanFailure == nil, !self.isPassingOver else { return }
        self.begun += bytes[whole.upperBound...]
    }

    private mutating func giveBegun() {
        guard !self.begun.isEmpty else { return }
        let begun = self.begun
        self.begun = []
        begun.withUnsafeBytes { self.give($0) }
    }

    private mutating func give(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        self.give(UnsafeRawBufferPointer(rebasing: bytes[range]))
    }

    private mutating func give(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        let result = redisReaderFeed(self.reader, start.assumingMemoryBound(to: CChar.self), bytes.count)
        if result != REDIS_OK { self.scanFailure = self.failure }
    }

    /// The next whole reply; nil: more bytes are needed. Throws when the bytes cannot be Redis': nothing more can be read from this
    /// connection.
    mutating func next() throws(RedisFailure) -> RedisReply? {
        var object: UnsafeMutableRawPointer?
        guard redisReaderGetReply(self.reader, &object) == REDIS_OK else { throw self.failure }
        guard let object else {
            if let failure = self.scanFailure { throw failure }
            // Whole replies were given: hiredis finds their ends elsewhere.
            guard self.reader.pointee.len == self.reader.pointee.pos, self.reader.pointee.ridx <= 0 else {
                throw .protocolError("a reply has no clear end")
            }
            return nil
        }
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
