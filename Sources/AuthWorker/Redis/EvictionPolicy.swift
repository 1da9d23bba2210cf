import Common

/// What a Redis server does when its memory is full, by its reply to INFO memory.
struct EvictionPolicy: Equatable {
    /// Bytes; 0: no limit.
    var maximumMemory: UInt64 = 0
    /// `noeviction`, `allkeys-lru`, `volatile-ttl`, ….
    var name = ""

    /// nil: it says nothing of that, or the user may not ask.
    init?(reply: RedisReply) {
        guard case .bulk(let text) = reply else { return nil }
        for line in text.split(whereSeparator: { $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\n") }) {
            guard line.count <= 100, let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            let value = ReadableText.escaped(String(decoding: line[(colon + 1)...], as: UTF8.self))
            switch line[..<colon] {
            case let field where field.elementsEqual("maxmemory".utf8): self.maximumMemory = UInt64(value) ?? 0
            case let field where field.elementsEqual("maxmemory_policy".utf8): self.name = value
            default: break
            }
        }
        guard !self.name.isEmpty else { return nil }
    }

    /// Rows that do not expire by themselves may go too, and with each the device that it stands for.
    var takesAnyRow: Bool { self.maximumMemory > 0 && self.name.hasPrefix("allkeys") }
}
