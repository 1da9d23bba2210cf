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
}
