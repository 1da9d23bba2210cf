/// An answer to a GET.
struct HTTPAnswer: Equatable {
    var status: Int
    var location: String?
    var body: [UInt8] = []
}

/// Takes answers apart, in whatever pieces they come: head, then a body that ends by its length, by chunks or with the connection.
struct HTTPAnswerParser {
    private enum Framing: Equatable {
        case length(Int)
        case chunked
        case untilEnd
    }

    /// Interim answers before the one that counts.
    private static let interimMax = 8

    private let headBytesMax: Int
    private let bodyBytesMax: Int
    private var buffer: [UInt8] = []
    private var answer: HTTPAnswer?
    private var framing = Framing.untilEnd
    private var interimCount = 0

    init(headBytesMax: Int, bodyBytesMax: Int) {
        self.headBytesMax = headBytesMax
        self.bodyBytesMax = bodyBytesMax
    }

    /// Nil: more is to come. No bytes: the connection has ended.
    mutating func feed(_ bytes: [UInt8]) throws(HTTPClient.Failure) -> HTTPAnswer? {
        self.buffer += bytes
        while self.answer == nil {
            guard let end = Self.headEnd(self.buffer) else {
                guard self.buffer.count <= self.headBytesMax else { throw .init("the answer's head is too long") }
                return nil
            }
            try self.readHead(Array(self.buffer[..<end]))
            self.buffer.removeFirst(end + 4)
        }
        guard self.buffer.count <= self.bodyBytesMax + self.headBytesMax else {
            throw .init("the answer is longer than \(self.bodyBytesMax) bytes")
        }
        switch self.framing {
        case .length(let count):
            guard self.buffer.count >= count else { return nil }
            self.answer?.body = Array(self.buffer[..<count])
            return self.answer
        case .untilEnd:
            guard bytes.isEmpty else { return nil }
            self.answer?.body = self.buffer
            return self.answer
        case .chunked:
            guard let body = try Self.joinChunks(self.buffer) else { return nil }
            self.answer?.body = body
            return self.answer
        }
    }

    private static func headEnd(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= 4 else { return nil }
        return (0...(bytes.count - 4)).first { bytes[$0..<$0 + 4].elementsEqual([13, 10, 13, 10]) }
    }

    private mutating func readHead(_ bytes: [UInt8]) throws(HTTPClient.Failure) {
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\r\n", omittingEmptySubsequences: false)
        let words = lines[0].split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            throw .init("what answers is no HTTP/1.1 server")
        }
        guard !Self.isInterim(status) else {
            self.interimCount += 1
            guard self.interimCount <= Self.interimMax else {
                throw .init("the server sends nothing but interim answers (status \(status))")
            }
            return
        }
        var answer = HTTPAnswer(status: status)
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            switch line[..<colon].lowercased() {
            case "content-length":
                // Digits alone (RFC 9110, section 8.6), perhaps more than a number here holds.
                guard !value.isEmpty, value.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
                    throw .init("the answer's Content-Length is no number of bytes")
                }
                guard let count = Int(value), count <= self.bodyBytesMax else {
                    throw .init("the answer is longer than \(self.bodyBytesMax) bytes")
                }
                if self.framing != .chunked { self.framing = .length(count) }
            case "transfer-encoding" where value.lowercased() == "chunked": self.framing = .chunked
            case "location": answer.location = String(value)
            default: break
            }
        }
        self.answer = answer
    }

    /// "100 Continue" and others: no more than a head, and the answer itself follows (RFC 9110, section 15.2). What follows 101 is not HTTP.
    private static func isInterim(_ status: Int) -> Bool { (100...199).contains(status) && status != 101 }

    /// Nil: the last chunk is not there yet.
    private static func joinChunks(_ bytes: [UInt8]) throws(HTTPClient.Failure) -> [UInt8]? {
        var rest = bytes[...]
        var body: [UInt8] = []
        while let end = rest.firstIndex(of: 10) {
            let line = rest[..<end].prefix { $0 != UInt8(ascii: ";") && $0 != 13 }
            guard let count = Int(String(decoding: line, as: UTF8.self), radix: 16), count >= 0 else {
                throw .init("the answer's chunks are broken")
            }
            if count == 0 { return body }
            let start = end + 1
            guard rest.endIndex - start >= count + 2 else { return nil }
            body += rest[start..<start + count]
            rest = rest[(start + count + 2)...]
        }
        return nil
    }
}
