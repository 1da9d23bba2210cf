/// Names one look-up: the Redis key, and whatever else of the command depends on the client.
public struct LookupKey: Hashable, Sendable {
    /// What Redis names when it announces a change.
    public let redisKey: [UInt8]
    /// The rendered arguments after the key, each after its length; empty when they are the same for all clients.
    public let variant: [UInt8]
    /// Other Redis keys that the answer is made from; they are in `variant` as well, so that equality need not look.
    public let relatedKeys: [[UInt8]]
    /// Of this process alone: what is looked up in several tables for each CONNECT is hashed once.
    private let digest: Int

    public static func == (left: LookupKey, right: LookupKey) -> Bool {
        left.digest == right.digest && left.redisKey == right.redisKey && left.variant == right.variant
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.digest)
    }

    public init(redisKey: [UInt8], variant: [UInt8] = [], relatedKeys: [[UInt8]] = []) {
        self.redisKey = redisKey
        self.variant = variant
        self.relatedKeys = relatedKeys
        var hasher = Hasher()
        hasher.combine(redisKey)
        hasher.combine(variant)
        self.digest = hasher.finalize()
    }

    /// The key's number on links, the same in every process (FNV-1a, 64 bits). Changes are announced under it; two keys with
    /// one number cost a needless look-up and nothing else. Never 0.
    public var hash: UInt64 { Self.hash(of: self.redisKey) }

    /// The same of the other keys.
    public var relatedHashes: [UInt64] { self.relatedKeys.map(Self.hash) }

    public static func hash(of redisKey: [UInt8]) -> UInt64 {
        let hash = FNV1a(redisKey).value
        return hash == 0 ? 1 : hash
    }

    /// A field after its length, so that two fields cannot be cut in another place.
    public static func append(_ field: [UInt8], to bytes: inout [UInt8]) {
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: field.count).littleEndian) { bytes += $0 }
        bytes += field
    }

    /// The fields that were appended; nil: the bytes are none.
    public static func fields(of bytes: [UInt8]) -> [[UInt8]]? {
        var fields: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            guard rest.count >= 4 else { return nil }
            let count = rest.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(4)
            guard rest.count >= count else { return nil }
            fields.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return fields
    }
}
