import Common

/// A reply of Redis (RESP2), as far as the quick start needs it.
package enum RESPValue: Equatable, Sendable {
    case status([UInt8])
    case error([UInt8])
    case integer(Int64)
    case bulk([UInt8]?)

    /// A command as an array of bulk strings.
    package static func encode(command: [[UInt8]]) -> [UInt8] {
        var bytes = Array("*\(command.count)\r\n".utf8)
        for argument in command {
            bytes += Array("$\(argument.count)\r\n".utf8) + argument + Array("\r\n".utf8)
        }
        return bytes
    }

    package enum Result: Equatable, Sendable {
        case needMore
        case value(RESPValue, byteCount: Int)
        /// Not one of the replies that our commands get.
        case invalid
    }

    /// No reply that we ask for is longer.
    private static let bulkBytesMax: Int64 = 64 * 1024

    /// The reply at the front of `bytes`.
    package static func decode(_ bytes: [UInt8]) -> Result {
        guard let end = bytes.firstIndex(of: UInt8(ascii: "\r")) else {
            return bytes.count > Int(Self.bulkBytesMax) ? .invalid : .needMore
        }
        guard end + 1 < bytes.count else { return .needMore }
        guard end > 0, bytes[end + 1] == UInt8(ascii: "\n") else { return .invalid }
        let text = Array(bytes[1..<end])
        let next = end + 2
        switch bytes[0] {
        case UInt8(ascii: "+"): return .value(.status(text), byteCount: next)
        case UInt8(ascii: "-"): return .value(.error(text), byteCount: next)
        case UInt8(ascii: ":"):
            guard let number = Int64(String(decoding: text, as: UTF8.self)) else { return .invalid }
            return .value(.integer(number), byteCount: next)
        case UInt8(ascii: "$"):
            guard let count = Int64(String(decoding: text, as: UTF8.self)) else { return .invalid }
            if count == -1 { return .value(.bulk(nil), byteCount: next) }
            guard count >= 0, count <= Self.bulkBytesMax else { return .invalid }
            let last = next + Int(count)
            guard bytes.count >= last + 2 else { return .needMore }
            return .value(.bulk(Array(bytes[next..<last])), byteCount: last + 2)
        default:
            return .invalid
        }
    }
}
