/// What Redis answered to one command (RESP2).
package enum RedisReply: Equatable, Sendable {
    case bulk([UInt8])
    case null
    case array([RedisReply])
    case integer(Int64)
    /// `+OK`
    case status([UInt8])
    /// `-WRONGTYPE Operation against …`
    case error([UInt8])

    /// The text of an error reply, fit for a log line.
    package var errorText: String? {
        guard case .error(let bytes) = self else { return nil }
        return String(decoding: bytes.prefix(200).map { $0 < 0x20 ? UInt8(ascii: " ") : $0 }, as: UTF8.self)
    }

    /// A field's value in the reply to INFO, `name:value` in a line of at most 100 bytes; nil: it does not say.
    func infoField(_ name: String) -> [UInt8]? {
        guard case .bulk(let text) = self else { return nil }
        let start = Array("\(name):".utf8)
        for line in text.split(whereSeparator: { $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\n") }) {
            if line.starts(with: start), line.count <= 100 { return Array(line.dropFirst(start.count)) }
        }
        return nil
    }

    /// How often a command was called, by the reply to INFO commandstats, `cmdstat_swapdb:calls=1,usec=31,…`: commands that were never
    /// called are not in it. Nil: it is no such reply.
    func callCount(of command: String) -> UInt64? {
        guard case .bulk(let text) = self else { return nil }
        let start = Array("cmdstat_\(command):calls=".utf8)
        for line in text.split(whereSeparator: { $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\n") })
        where line.starts(with: start) {
            let digits = line.dropFirst(start.count).prefix { (0x30...0x39).contains($0) }
            return UInt64(String(decoding: digits, as: UTF8.self))
        }
        return 0
    }
}
