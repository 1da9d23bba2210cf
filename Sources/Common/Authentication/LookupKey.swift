/// Names one look-up: the Redis key, and whatever else of the command depends on the client.
package struct LookupKey: Hashable, Sendable {
    /// What Redis names when it announces a change.
    package var redisKey: [UInt8]
    /// The rendered arguments after the key, each after its length; empty when they are the same for all clients.
    package var variant: [UInt8]

    package init(redisKey: [UInt8], variant: [UInt8] = []) {
        self.redisKey = redisKey
        self.variant = variant
    }

    /// The key's number on links, the same in every process (FNV-1a, 64 bits). Changes are announced under it; two keys with
    /// one number cost a needless look-up and nothing else. Never 0.
    package var hash: UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in self.redisKey {
            hash ^= UInt64(byte)
            hash = hash &* 0x0000_0100_0000_01B3
        }
        return hash == 0 ? 1 : hash
    }
}
