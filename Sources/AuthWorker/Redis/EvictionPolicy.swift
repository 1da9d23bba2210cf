import Common

/// What a Redis server does when its memory is full, by its reply to INFO memory.
struct EvictionPolicy: Equatable {
    /// Bytes; 0: no limit.
    let maximumMemory: UInt64
    /// `noeviction`, `allkeys-lru`, `volatile-ttl`, ….
    let name: String

    /// nil: it says nothing of that, or the user may not ask.
    init?(reply: RedisReply) {
        guard let name = reply.infoField("maxmemory_policy"), !name.isEmpty else { return nil }
        self.name = ReadableText.escaped(String(decoding: name, as: UTF8.self))
        self.maximumMemory = UInt64(String(decoding: reply.infoField("maxmemory") ?? [], as: UTF8.self)) ?? 0
    }

    /// Rows that do not expire by themselves may go too, and with each the device that it stands for.
    var takesAnyRow: Bool { self.maximumMemory > 0 && self.name.hasPrefix("allkeys") }
}
